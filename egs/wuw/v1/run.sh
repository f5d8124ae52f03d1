#!/usr/bin/env bash
# Speaker verification across days and telephones on the WUW Corpus II: five keywords, speakers who called in up to 25 times over weeks.
# 75 speakers to train with, 14 to tune with, 30 to test with. Only trials between different calls count.
#
#   ./run.sh --corpus /corpora/wuw_keywords         everything
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1     another training on the same features
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds utterances.tsv and SPEAKER/*.flac
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp/ge2e  # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs
threads=2     # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
seed=0        # seed of the training
num_test=30   # speakers to test with
num_dev=14    # speakers to tune with; their EER decides which model is best
enroll="1 2 3 5" # utterances of the first call that enrollment models are made of
train_config= # training configuration [default: conf/train.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/conf/train.toml}
results=${results:-$RECIPE/RESULTS.md}
features=$RECIPE/conf/telephone.toml

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then refuse "--corpus DIR is needed: the keywords of the GitHub project wake-up-word/wuw-corpus-ii, with utterances.tsv"; fi
  "$RECIPE/local/prepare_wuw.py" --num-test "$num_test" --num-dev "$num_dev" "$corpus" "$data"
  for name in dev test; do sv-make-trials --session different "$data/$name"; done
  for count in $enroll; do "$RECIPE/local/make_call_trials.py" --num-enroll "$count" "$data/test"; done
fi

if should_run 1 "Slower and faster copies of the training speakers; noise"; then
  need "$data/train/wav.scp" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  noise_to "$data/noise" --folds "1 2 3"
fi

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for name in train_sp dev test noise; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/test/feats.scp" 2
  for name in train_sp dev test; do
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
  for name in dev test; do spread "$exp/log/dvector_$name.log" sv-extract-dvector "$exp" "$data/$name" "$exp/$name"; done
  job "$exp/log/control.log" sv-extract-control "$data/test" "$exp/control"
fi

if should_run 6 "Score: pairs of different calls, and enrollment in the first call"; then
  need "$exp/test/dvector.scp" 5
  for name in dev test; do sv-score "$data/$name/trials" --test "$exp/$name/dvector.scp" -o "$exp/$name/scores"; done
  sv-score "$data/test/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  for count in $enroll; do
    sv-score "$data/test/trials_enroll$count" --enroll-spk2utt "$data/test/enroll$count" --test "$exp/test/dvector.scp" \
      -o "$exp/test/scores_enroll$count"
  done
fi

if should_run 7 "Evaluate by days between calls, by telephones, by utterances enrolled with"; then
  need "$exp/test/scores" 6
  evaluate "pairs across calls, control: quietest tenth of the frames, untrained" "$data/test/trials" "$exp/control/scores"
  evaluate "pairs across calls, GE2E LSTM, seed $seed" "$data/test/trials" "$exp/test/scores" --by days --by device --by keyword
  for count in $enroll; do
    evaluate "enrolled with $count utterances of the first call, GE2E LSTM, seed $seed" "$data/test/trials_enroll$count" \
      "$exp/test/scores_enroll$count" --enroll-spk2utt "$data/test/enroll$count"
  done
fi
