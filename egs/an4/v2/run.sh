#!/usr/bin/env bash
# Table 3 of Wan et al. 2018 (GE2E) on CMU AN4: softmax, TE2E and GE2E train the same network on the features of v1.
#
#   ./run.sh                                        everything; downloads the corpus (64 MB)
#   ./run.sh --corpus /corpora/an4                  with a corpus that is there
#   ./run.sh --stage 4 --seeds "3 4"                more trainings on the same features
#   ./run.sh --scale full --device cuda             the paper's sizes
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds wav/an4_clstk [default: the official release is downloaded]
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp       # folder of the models: SCALE/SYSTEM/seedSEED
systems="softmax te2e ge2e" # what to train
seeds="0 1 2" # seeds of the trainings
scale=small   # small (v1's network, minutes on two cores) or full (the paper's sizes, for a GPU)
nj=$(nproc)   # parallel jobs
threads=2     # threads of a training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
num_dev=14    # training speakers held out: their EER is what training is followed by, and decides which model is best
any_size=false # accept a corpus of another size than the official release
train_configs= # folder of training configurations, one a system [default: conf/SCALE of the recipe]
table=        # systems, columns and claims of the table [default: conf/table.toml of the recipe]
results=      # file that the table is written into [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_configs=${train_configs:-$RECIPE/conf/$scale}
table=${table:-$RECIPE/conf/table.toml}
results=${results:-$RECIPE/RESULTS.md}
if [ ! -d "$train_configs" ]; then refuse "--scale needs small or full, got '$scale'"; fi
v1=$RECIPE/../v1
features=$v1/conf/features.toml
models=$exp/$scale
runs=()
for seed in $seeds; do
  for system in $systems; do runs+=("$system/seed$seed"); done
done
url=http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive "$url" "$data/download/an4_sphere"
    corpus=$data/download/an4_sphere/an4
  fi
  "$v1/local/prepare_an4.py" --num-dev "$num_dev" --any-size "$any_size" "$corpus" "$data"
  sv-make-trials "$data/test"
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

if should_run 4 "Train: $systems"; then
  need "$data/test/vad.scp" 3
  for run in "${runs[@]}"; do
    job "$models/$run/log/train.log" sv-train --config "$train_configs/${run%/*}.toml" --valid "$data/dev" --noise "$data/noise" \
      --seed "${run##*/seed}" --device "$device" --threads "$threads" --timing-log "$models/$run/timing.jsonl" "$data/train_sp" "$models/$run"
  done
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$models/${runs[0]}/model.json" 4
  for run in "${runs[@]}"; do
    spread "$models/$run/log/dvector.log" sv-extract-dvector "$models/$run" "$data/test" "$models/$run/test"
  done
  job "$models/control/log/control.log" sv-extract-control "$data/test" "$models/control"
fi

if should_run 6 "Score"; then
  need "$models/${runs[0]}/test/dvector.scp" 5
  sv-score "$data/test/trials" --test "$models/control/dvector.scp" -o "$models/control/scores"
  for run in "${runs[@]}"; do
    sv-score "$data/test/trials" --test "$models/$run/test/dvector.scp" -o "$models/$run/test/scores"
  done
fi

if should_run 7 "Table: systems, seeds and what the paper claims"; then
  need "$models/${runs[0]}/test/scores" 6
  sv-tabulate "$table" --exp "$models" --data "$data" -o "$results" --charts "$(dirname "$results")/charts" --allow-missing \
    --command "$(recipe_command)"
fi
