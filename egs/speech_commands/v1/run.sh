#!/usr/bin/env bash
# Text-dependent speaker verification on Speech Commands v0.01: one-second keywords of well over a thousand speakers.
#
#   ./run.sh                                        everything; downloads the corpus (1.4 GB)
#   ./run.sh --corpus /corpora/speech_commands      with a corpus that is there
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1     another training on the same features
#   ./run.sh --features-config conf/telephone.toml --data data/telephone --exp exp/telephone    what a telephone passes
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav [default: the official release is downloaded]
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp/ge2e  # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs
threads=2     # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
seed=0        # seed of the training
words="bed cat happy" # the keywords to take, or all
enroll="1 2"  # numbers of utterances that enrollment models are made of
num_test=150  # speakers to test with, out of those with three clips or more
num_dev=100   # speakers whose EER decides which model is best, out of the same
wuw=          # folder of the WUW Corpus II: the model is tried across its sessions, too [default: not]
train_config= # training configuration, such as conf/ecapa.toml [default: conf/train.toml of the recipe]
system="GE2E LSTM" # what the rows of results call it
features_config= # filter banks and voice activity [default: conf/features.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/conf/train.toml}
results=${results:-$RECIPE/RESULTS.md}
features=${features_config:-$RECIPE/conf/features.toml}
url=https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz
sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive --sha256 "$sha256" "$url" "$data/download/speech_commands"
    corpus=$data/download/speech_commands
  fi
  "$RECIPE/local/prepare_speech_commands.py" --words "$words" --num-test "$num_test" --num-dev "$num_dev" "$corpus" "$data"
  sv-make-trials "$data/test"
  for count in $enroll; do
    for keyword in same different; do
      sv-make-trials --keyword "$keyword" --num-enroll "$count" --enroll-spk2utt-out "$data/test/enroll${count}_$keyword" \
        -o "$data/test/trials_enroll${count}_$keyword" "$data/test"
    done
  done
  if [ -n "$wuw" ]; then
    "$RECIPE/local/prepare_wuw.py" "$wuw" "$data/wuw"
    sv-make-trials --session different --per-utterance 50 "$data/wuw"
  fi
fi

if should_run 1 "Slower and faster copies of the training speakers; noise"; then
  need "$data/train/wav.scp" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  noise_to "$data/noise" --folds "1 2 3"
fi

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for name in train_sp dev test noise ${wuw:+wuw}; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/test/feats.scp" 2
  for name in train_sp dev test ${wuw:+wuw}; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$features" --resample "$data/$name"
  done
fi

if should_run 4 "Train"; then
  need "$data/test/vad.scp" 3
  job "$exp/log/train.log" sv-train --config "$train_config" --valid "$data/dev" --noise "$data/noise" --seed "$seed" \
    --device "$device" --threads "$threads" "$data/train_sp" "$exp"
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$exp/model.json" 4
  for name in test ${wuw:+wuw}; do
    spread "$exp/log/dvector_$name.log" sv-extract-dvector "$exp" "$data/$name" "$exp/$name"
    job "$exp/log/control_$name.log" sv-extract-control "$data/$name" "$exp/control_$name"
  done
fi

if should_run 6 "Score: all pairs, enrollment models, and across sessions"; then
  need "$exp/test/dvector.scp" 5
  for name in test ${wuw:+wuw}; do
    sv-score "$data/$name/trials" --test "$exp/$name/dvector.scp" -o "$exp/$name/scores"
    sv-score "$data/$name/trials" --test "$exp/control_$name/dvector.scp" -o "$exp/control_$name/scores"
  done
  for count in $enroll; do
    for keyword in same different; do
      sv-score "$data/test/trials_enroll${count}_$keyword" --enroll-spk2utt "$data/test/enroll${count}_$keyword" \
        --test "$exp/test/dvector.scp" -o "$exp/test/scores_enroll${count}_$keyword"
    done
  done
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores" 6
  for name in test ${wuw:+wuw}; do
    evaluate "$name, control: quietest tenth of the frames, untrained" "$data/$name/trials" "$exp/control_$name/scores"
    evaluate "$name, $system, seed $seed" "$data/$name/trials" "$exp/$name/scores" --by keyword
  done
  for count in $enroll; do
    for keyword in same different; do
      evaluate "test, enrolled with $count, $keyword keyword, $system, seed $seed" "$data/test/trials_enroll${count}_$keyword" \
        "$exp/test/scores_enroll${count}_$keyword" --enroll-spk2utt "$data/test/enroll${count}_$keyword"
    done
  done
fi
