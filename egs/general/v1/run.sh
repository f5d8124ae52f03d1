#!/usr/bin/env bash
# The ready model: one network for spoken sentences and keywords, in several languages, through telephones and codecs, trained
# from open speech by MultiReader, calibrated on speakers that trained nothing.
#
#   ./run.sh --corpora /corpora                     everything; /corpora holds an4, speech_commands, ... (see below)
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1     another training on the same features
#   ./run.sh --stage 4 --network ecapa --system "ECAPA-TDNN"    the second network
#   ./run.sh --stage 4 --train-config mine.toml --codecs-config none --exp exp/mine --system "My network"    another one
#   ./run.sh --stage 9 --publish ../../../sv_toolkit/ready    put the model where the package takes it from
set -euo pipefail

stage=0       # first stage to run
stop_stage=9  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpora=      # folder of the corpora: an4, speech_commands, arabic_speech_commands, librispeech_clips/LibriSpeech/train-clean-100
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: synthetic noise is generated]
data=data     # folder of the data directories
network=lstm  # lstm or ecapa
exp=          # folder of the model and of what is made with it [default: exp/NETWORK]
nj=2          # parallel jobs
threads=2     # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu, cuda or mps
seed=0        # seed of the training
num_voices=300 # synthetic voices to train with
train_config= # training configuration [default: conf/NETWORK.toml of the recipe]
codecs_config= # how that training goes on, with consistency, or none [default: conf/NETWORK_codecs.toml of the recipe]
calibrate_on="readers/dev readers/halves readers/short an4/dev keywords/dev" # lists of speakers that trained nothing
system="GE2E LSTM" # what the rows of results call it
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
publish=      # folder that the model is copied to in the last stage [default: none]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
exp=${exp:-exp/$network}
train_config=${train_config:-$RECIPE/conf/$network.toml}
codecs_config=${codecs_config:-$RECIPE/conf/${network}_codecs.toml}
results=${results:-$RECIPE/RESULTS.md}
features=$RECIPE/conf/features.toml
sources="readers an4 arabic keywords" # those with speed copies; synthetic voices have none
coded="readers an4" # those with copies through codecs

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpora" ]; then refuse "--corpora names the folder of the corpora; README.md of this recipe says where each comes from"; fi
  "$RECIPE/../../an4/v1/local/prepare_an4.py" --num-dev 10 "$corpora/an4" "$data/an4"
  "$RECIPE/../../speech_commands/v1/local/prepare_speech_commands.py" --words "bed cat happy" --num-test 150 --num-dev 100 \
    "$corpora/speech_commands" "$data/keywords"
  "$RECIPE/../../arabic_commands/v1/local/prepare_arabic_commands.py" "$corpora/arabic_speech_commands" "$data/arabic_folds"
  sv-combine-data "$data/arabic/train" "$data/arabic_folds/fold1/train" "$data/arabic_folds/fold1/test"
  "$RECIPE/local/cut_readers.py" "$corpora/librispeech_clips/LibriSpeech/train-clean-100" "$data/readers"
  job "$exp/log/make_corpus.log" "$RECIPE/../../synthetic/v1/local/make_corpus.py" --corpus-dir "$data/synthetic/corpus" \
    --data-dir "$data/synthetic" --nj "$nj" --seed 7 --num-train "$num_voices" --num-dev 20 --num-test 20 --num-utterances 14
  for name in an4/test keywords/test synthetic/test an4/dev keywords/dev readers/dev readers/halves readers/short; do
    sv-make-trials "$data/$name"
  done
fi

if should_run 1 "Copies of the training speakers: slower, faster, through codecs; noise and rooms"; then
  need "$data/readers/train/wav.scp" 0
  for name in $sources; do
    sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/$name/train" "$data/$name/train_sp"
  done
  for name in $coded; do
    job "$exp/log/codecs_$name.log" make_codec_copies --nj "$nj" "$data/$name/train" "$data/$name/codecs"
  done
  noise_to "$data/noise" --folds "1 2 3"
  make_rooms "$data/rooms"
fi

training="readers/train_sp an4/train_sp arabic/train_sp keywords/train_sp synthetic/train readers/codecs an4/codecs"
held_out="readers/dev readers/halves readers/short an4/dev keywords/dev" # pieces of readers are 2.4, 6 and 1.6 s long
tests="an4/test keywords/test synthetic/test"

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for name in $training $held_out $tests noise rooms; do
    job "$exp/log/fbank_${name//\//_}.log" sv-extract-fbank --config "$features" --resample --nj "$nj" "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/an4/test/feats.scp" 2
  for name in $training $held_out $tests; do
    job "$exp/log/vad_${name//\//_}.log" sv-compute-vad --config "$features" --resample --nj "$nj" --max-bad 10 "$data/$name" # a short piece may hold a pause alone
  done
fi

if should_run 4 "Train, then go on with consistency of copies through codecs and their originals"; then
  need "$data/an4/test/vad.scp" 3
  for name in $coded; do sv-combine-data "$data/$name/both" "$data/$name/train_sp" "$data/$name/codecs"; done
  train() { # LOG CONFIG EXP KIND [options]; KIND: train_sp, or both, with copies through codecs
    local log=$1 config=$2 out=$3 kind=$4
    shift 4
    job "$exp/log/$log" sv-train --config "$config" "$@" --train "readers:$data/readers/$kind" --train "an4:$data/an4/$kind" \
      --train "arabic:$data/arabic/train_sp" --train "synthetic:$data/synthetic/train" --train "keywords:$data/keywords/train_sp" \
      --valid "readers:$data/readers/dev" --valid "an4:$data/an4/dev" --valid "keywords:$data/keywords/dev" \
      --noise "$data/noise" --reverb "$data/rooms" --seed "$seed" --device "$device" --threads "$threads" "$out"
  }
  if [ "$codecs_config" = none ]; then
    train train.log "$train_config" "$exp" train_sp
  else
    train train.log "$train_config" "$exp/first" train_sp
    train train_codecs.log "$codecs_config" "$exp" both --init "$exp/first"
  fi
fi

if should_run 5 "Extract d-vectors, and the untrained control of the tests"; then
  need "$exp/model.json" 4
  for name in $held_out $tests; do
    job "$exp/log/dvector_${name//\//_}.log" sv-extract-dvector --nj "$nj" "$exp" "$data/$name" "$exp/$name"
  done
  for name in $tests; do
    job "$exp/log/control_${name//\//_}.log" sv-extract-control "$data/$name" "$exp/control/$name"
  done
fi

if should_run 6 "Score"; then
  need "$exp/an4/test/dvector.scp" 5
  for name in $held_out $tests; do sv-score "$data/$name/trials" --test "$exp/$name/dvector.scp" -o "$exp/$name/scores"; done
  for name in $tests; do sv-score "$data/$name/trials" --test "$exp/control/$name/dvector.scp" -o "$exp/control/$name/scores"; done
fi

if should_run 7 "Calibrate on held-out speakers of sentences and keywords, with durations as a measure of quality"; then
  need "$exp/an4/dev/scores" 6
  mkdir -p "$exp/calibration"
  for name in $calibrate_on; do cat "$data/$name/trials"; done >"$exp/calibration/trials"
  for name in $calibrate_on; do cat "$exp/$name/scores"; done >"$exp/calibration/scores"
  for name in $calibrate_on; do cat "$data/$name/utt2num_frames"; done | LC_ALL=C sort >"$exp/calibration/utt2num_frames"
  for name in $calibrate_on; do cat "$data/$name/utt2spk"; done | LC_ALL=C sort >"$exp/calibration/utt2spk"
  awk '{ print $1, ($2 + 1.5) / 100 }' "$exp/calibration/utt2num_frames" >"$exp/calibration/utt2dur" # frames of 25 ms every 10 ms
  sv-calibrate "$exp/calibration/trials" "$exp/calibration/scores" --model "$exp" --utt2num-frames "$exp/calibration/utt2num_frames" \
    --prior 0.05
  for name in $tests; do
    echo "$name, calibrated:"
    sv-calibrate --apply "$exp" "$data/$name/trials" "$exp/$name/scores" --utt2num-frames "$data/$name/utt2num_frames" \
      -o "$exp/$name/llrs"
  done
fi

if should_run 8 "Evaluate"; then
  need "$exp/calibration.json" 7
  for name in $held_out; do sv-eval "$data/$name/trials" "$exp/$name/scores" --json "$exp/$name/eval.json" >"$exp/$name/eval"; done
  for name in $tests; do
    evaluate "$name, control: quietest tenth of the frames, untrained" "$data/$name/trials" "$exp/control/$name/scores" \
      --json "$exp/control/$name/eval.json"
    evaluate "$name, $system, seed $seed" "$data/$name/trials" "$exp/$name/scores" --json "$exp/$name/eval.json"
    sv-eval "$data/$name/trials" "$exp/$name/llrs" --calibrated --json "$exp/$name/llrs.json" >"$exp/$name/llrs_eval"
  done
fi

if should_run 9 "Publish"; then
  need "$exp/calibration.json" 7
  if [ -n "$publish" ]; then
    if [ -z "$corpora" ]; then refuse "--corpora names the folder of the corpora: copies of the test speakers of AN4 go through codecs"; fi
    mkdir -p "$publish"
    cp "$exp/model.json" "$exp/model.safetensors" "$exp/calibration.json" "$publish/"
    job "$exp/log/codecs.log" python3 "$RECIPE/../../../benchmarks/codecs.py" --model "$publish" --corpus "$corpora/an4/wav/an4test_clstk"
    "$RECIPE/local/card_tables.py" "$exp" "$RECIPE/../../../benchmarks/results/codecs.json" "$publish/CARD.md"
  else
    echo "Nothing is published: --publish names the folder"
  fi
fi
