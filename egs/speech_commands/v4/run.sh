#!/usr/bin/env bash
# The classical baseline on Speech Commands v0.01: cepstra, i-vectors, LDA and PLDA, on the trials and silence trimming of v1.
#
#   ./run.sh                                        everything; downloads the corpus (1.4 GB)
#   ./run.sh --corpus /corpora/speech_commands      with a corpus that is there
#   ./run.sh --stage 3 --seed 1 --exp exp/seed1     another training on the same features
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav [default: the official release is downloaded]
data=data     # folder of the data directories
exp=exp/ivector # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs; the results do not depend on it
seed=0        # seed of the training
words="bed cat happy" # the keywords to take, or all
enroll="1 2"  # numbers of utterances that enrollment models are made of
num_test=150  # speakers to test with, out of those with three clips or more
num_dev=100   # speakers to tune with, out of the same
ivector_config= # background model and total variability [default: conf/ivector.toml of the recipe]
backend_config= # LDA and PLDA [default: conf/backend.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
ivector_config=${ivector_config:-$RECIPE/conf/ivector.toml}
backend_config=${backend_config:-$RECIPE/conf/backend.toml}
results=${results:-$RECIPE/RESULTS.md}
cepstra=$RECIPE/conf/features.toml
v1=$RECIPE/../v1
url=https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz
sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive --sha256 "$sha256" "$url" "$data/download/speech_commands"
    corpus=$data/download/speech_commands
  fi
  "$v1/local/prepare_speech_commands.py" --words "$words" --num-test "$num_test" --num-dev "$num_dev" "$corpus" "$data"
  for name in dev test; do
    sv-make-trials "$data/$name"
  done
  for count in $enroll; do
    for keyword in same different; do
      sv-make-trials --keyword "$keyword" --num-enroll "$count" --enroll-spk2utt-out "$data/test/enroll${count}_$keyword" \
        -o "$data/test/trials_enroll${count}_$keyword" "$data/test"
    done
  done
fi

if should_run 1 "Cepstra, also of slower and faster copies of the training speakers; filter banks for the control"; then
  need "$data/test/trials" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  for name in train_sp dev test; do
    spread "$exp/log/mfcc_$name.log" sv-extract-mfcc --config "$cepstra" --resample "$data/$name"
  done
  spread "$exp/log/fbank_control.log" sv-extract-fbank --config "$v1/conf/features.toml" --resample "$data/test" "$data/control"
fi

if should_run 2 "Voice activity, as in v1"; then
  need "$data/test/feats.scp" 1
  for name in train_sp dev test; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$v1/conf/features.toml" --resample "$data/$name"
  done
fi

if should_run 3 "Train the background model and the total variability matrix"; then
  need "$data/test/vad.scp" 2
  spread "$exp/log/train.log" sv-train-ivector --config "$ivector_config" --seed "$seed" "$data/train_sp" "$exp"
fi

if should_run 4 "Extract i-vectors, and the untrained control"; then
  need "$exp/ivector.json" 3
  for name in train_sp dev test; do
    spread "$exp/log/ivector_$name.log" sv-extract-ivector "$exp" "$data/$name" "$exp/$name"
  done
  job "$exp/log/control.log" sv-extract-control "$data/control" "$exp/control"
fi

if should_run 5 "Train the back end"; then
  need "$exp/test/ivector.scp" 4
  job "$exp/log/backend.log" sv-train-backend --config "$backend_config" "$exp/train_sp/ivector.scp" "$data/train_sp" "$exp/backend"
fi

if should_run 6 "Score: all pairs, of the development speakers too, and enrollment models"; then
  need "$exp/backend/backend.json" 5
  sv-score "$data/test/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  sv-score "$data/test/trials" --test "$exp/test/ivector.scp" -o "$exp/test/scores_cosine"
  for name in dev test; do
    sv-score "$data/$name/trials" --test "$exp/$name/ivector.scp" --backend "$exp/backend" -o "$exp/$name/scores"
  done
  for count in $enroll; do
    for keyword in same different; do
      sv-score "$data/test/trials_enroll${count}_$keyword" --enroll-spk2utt "$data/test/enroll${count}_$keyword" \
        --test "$exp/test/ivector.scp" --backend "$exp/backend" -o "$exp/test/scores_enroll${count}_$keyword"
    done
  done
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores" 6
  evaluate "test, control: quietest tenth of the frames, untrained" "$data/test/trials" "$exp/control/scores"
  evaluate "test, i-vector, cosine, seed $seed" "$data/test/trials" "$exp/test/scores_cosine"
  evaluate "test, i-vector, LDA and PLDA, seed $seed" "$data/test/trials" "$exp/test/scores" --by keyword
  for count in $enroll; do
    for keyword in same different; do
      evaluate "test, enrolled with $count, $keyword keyword, i-vector, LDA and PLDA, seed $seed" \
        "$data/test/trials_enroll${count}_$keyword" "$exp/test/scores_enroll${count}_$keyword" \
        --enroll-spk2utt "$data/test/enroll${count}_$keyword"
    done
  done
fi
