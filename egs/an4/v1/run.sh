#!/usr/bin/env bash
# Text-independent speaker verification on CMU AN4: 74 speakers to train with, 10 to test with, one session of each.
#
#   ./run.sh                                        everything; downloads the corpus (64 MB)
#   ./run.sh --corpus /corpora/an4                  with a corpus that is there
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1     another training on the same features
#   ./run.sh --stage 8 --fuse "exp/ge2e exp/seed1" --exp exp/fused    several trainings as one system
#   ./run.sh --num-dev 12 --data data/tune --exp exp/tune --stop-stage 4    tuning on held-out training speakers
set -euo pipefail

stage=0       # first stage to run
stop_stage=8  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds wav/an4_clstk [default: the official release is downloaded]
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp/ge2e  # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs
threads=2     # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
seed=0        # seed of the training
num_dev=0     # training speakers to hold out, for tuning; their EER then decides which model is best
any_size=false # accept a corpus of another size than the official release
train_config= # training configuration, such as conf/ecapa.toml [default: conf/train.toml of the recipe]
system="GE2E LSTM" # what the rows of results call it
fuse=         # folders of trainings, such as "exp/ge2e exp/seed1", whose scores are added [default: this one stands alone]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/conf/train.toml}
results=${results:-$RECIPE/RESULTS.md}
features=$RECIPE/conf/features.toml
held_out=()
if [ "$num_dev" -gt 0 ]; then held_out=(dev); fi
url=http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive "$url" "$data/download/an4_sphere"
    corpus=$data/download/an4_sphere/an4
  fi
  "$RECIPE/local/prepare_an4.py" --num-dev "$num_dev" --any-size "$any_size" "$corpus" "$data"
  sv-make-trials "$data/test"
fi

if should_run 1 "Slower and faster copies of the training speakers; noise"; then
  need "$data/train/wav.scp" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  noise_to "$data/noise" --folds "1 2 3"
fi

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for name in train_sp test noise "${held_out[@]}"; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/test/feats.scp" 2
  for name in train_sp test "${held_out[@]}"; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$features" --resample "$data/$name"
  done
fi

if should_run 4 "Train"; then
  need "$data/test/vad.scp" 3
  job "$exp/log/train.log" sv-train --config "$train_config" ${held_out:+--valid "$data/dev"} --noise "$data/noise" --seed "$seed" \
    --device "$device" --threads "$threads" "$data/train_sp" "$exp"
fi

if should_run 5 "Extract d-vectors, also of the training speakers as a cohort, and the untrained control"; then
  need "$exp/model.json" 4
  sv-subset-data --utt-list "$data/train/utt2spk" "$data/train_sp" "$data/train_original"
  for name in train_original test; do
    spread "$exp/log/dvector_$name.log" sv-extract-dvector "$exp" "$data/$name" "$exp/$name"
  done
  job "$exp/log/control.log" sv-extract-control "$data/test" "$exp/control"
fi

if should_run 6 "Score: cosines, and adaptive s-norm against the training speakers"; then
  need "$exp/train_original/dvector.scp" 5
  sv-score "$data/test/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  sv-score "$data/test/trials" --test "$exp/test/dvector.scp" -o "$exp/test/scores_cosine"
  sv-normalize-scores "$data/test/trials" "$exp/test/scores_cosine" --test "$exp/test/dvector.scp" --top 10 \
    --cohort "$exp/train_original/dvector.scp" --cohort-utt2spk "$data/train_original/utt2spk" -o "$exp/test/scores"
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores" 6
  evaluate "control: quietest tenth of the frames, untrained" "$data/test/trials" "$exp/control/scores"
  evaluate "$system, cosine, seed $seed" "$data/test/trials" "$exp/test/scores_cosine"
  evaluate "$system, adaptive s-norm, seed $seed" "$data/test/trials" "$exp/test/scores"
fi

if should_run 8 "Add the scores of several trainings"; then
  need "$data/test/trials" 0
  if [ -n "$fuse" ]; then
    scores=()
    for folder in $fuse; do
      need "$folder/test/scores" 6
      scores+=(--scores "$folder/test/scores")
    done
    mkdir -p "$exp/test"
    sv-fuse --method mean-variance "${scores[@]}" -o "$exp/test/scores"
    evaluate "$system, adaptive s-norm, $fuse fused" "$data/test/trials" "$exp/test/scores"
  else
    echo "Nothing to add: --fuse \"exp/ge2e exp/seed1\" names the folders of several trainings"
  fi
fi
