#!/usr/bin/env bash
# Table 2 of Heo et al. 2019 and Table 5 of Li et al. 2017 (Deep Speaker) on Speech Commands v0.01, on the trials and silence trimming of v1.
#
#   ./run.sh                                        everything; downloads the corpus (1.4 GB)
#   ./run.sh --corpus /corpora/speech_commands      with a corpus that is there
#   ./run.sh --stage 4 --systems "gru_softmax gru_triplet" --seeds "0 1 2 3 4"      more of some of it
#   ./run.sh --scale full --device cuda             the papers' sizes
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav [default: the official release is downloaded]
data=data     # folder of the data directories
exp=exp       # folder of the models: SCALE/SYSTEM/seedSEED
systems=      # what to train [default: all that has a training configuration]
seeds="0 1 2" # seeds of the trainings
scale=small   # small (narrow networks, a minute on a core each) or full (the papers' sizes, for a GPU)
nj=$(nproc)   # parallel jobs
threads=2     # threads of a training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
words="bed cat happy" # the keywords to take, or all
num_test=150  # speakers to test with, out of those with three clips or more
num_dev=100   # speakers whose EER decides which model is best, out of the same
copies=false  # train with slower and faster copies of the training speakers too, as speakers of their own (v1 does)
train_configs= # folder of training configurations, one a system [default: conf/SCALE of the recipe]
tables=       # systems, columns and claims: "FILE FILE ..." [default: conf/table*.toml of the recipe]
results=      # file that the tables are written into [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_configs=${train_configs:-$RECIPE/conf/$scale}
if [ ! -d "$train_configs" ]; then refuse "--scale needs small or full, got '$scale'"; fi
results=${results:-$RECIPE/RESULTS.md}
features=$RECIPE/conf/features.toml
v1=$RECIPE/../v1
models=$exp/$scale
train=train
if [ "$copies" = true ]; then train=train_sp; fi
if [ -z "$systems" ]; then
  for path in "$train_configs"/*.toml; do
    case $path in *.pretrain.toml) ;; *) systems+=" $(basename "$path" .toml)" ;; esac
  done
fi
runs=()
for seed in $seeds; do
  for system in $systems; do runs+=("$system/seed$seed"); done
done
url=https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz
sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive --sha256 "$sha256" "$url" "$data/download/speech_commands"
    corpus=$data/download/speech_commands
  fi
  "$v1/local/prepare_speech_commands.py" --words "$words" --num-test "$num_test" --num-dev "$num_dev" "$corpus" "$data"
fi

if should_run 1 "Trials; where asked for, slower and faster copies of the training speakers"; then
  need "$data/test/wav.scp" 0
  sv-make-trials "$data/test"
  if [ "$copies" = true ]; then
    sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  fi
fi

if should_run 2 "Filter banks"; then
  need "$data/test/trials" 1
  for name in "$train" dev test; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/test/feats.scp" 2
  for name in "$train" dev test; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$features" --resample "$data/$name"
  done
fi

if should_run 4 "Train"; then
  need "$data/test/vad.scp" 3
  for run in "${runs[@]}"; do
    options=(--valid "$data/dev" --seed "${run##*/seed}" --device "$device" --threads "$threads")
    config=$train_configs/${run%/*}
    init=()
    if [ -e "$config.pretrain.toml" ]; then
      job "$models/$run/log/pretrain.log" sv-train --config "$config.pretrain.toml" "${options[@]}" \
        --timing-log "$models/$run/pretrain_timing.jsonl" "$data/$train" "$models/$run/pretrain"
      init=(--init "$models/$run/pretrain")
    fi
    job "$models/$run/log/train.log" sv-train --config "$config.toml" "${options[@]}" "${init[@]}" \
      --timing-log "$models/$run/timing.jsonl" "$data/$train" "$models/$run"
  done
fi

if should_run 5 "Extract d-vectors, also of the training speakers for the histogram, and the untrained control"; then
  need "$models/${runs[0]}/model.json" 4
  for run in "${runs[@]}"; do
    spread "$models/$run/log/dvector.log" sv-extract-dvector "$models/$run" "$data/test" "$models/$run/test"
  done
  job "$models/control/log/control.log" sv-extract-control "$data/test" "$models/control"
  for run in resnet_center/seed0 resnet_center_bases/seed0; do
    if [ -e "$models/$run/model.json" ]; then
      spread "$models/$run/log/dvector_train.log" sv-extract-dvector "$models/$run" "$data/$train" "$models/$run/train"
    fi
  done
fi

if should_run 6 "Score"; then
  need "$models/${runs[0]}/test/dvector.scp" 5
  sv-score "$data/test/trials" --test "$models/control/dvector.scp" -o "$models/control/scores"
  for run in "${runs[@]}"; do
    sv-score "$data/test/trials" --test "$models/$run/test/dvector.scp" -o "$models/$run/test/scores"
  done
fi

if should_run 7 "Tables: systems, seeds and what the papers claim; cosines between speakers with and without L_BS"; then
  need "$models/${runs[0]}/test/scores" 6
  chosen=("$RECIPE"/conf/table*.toml)
  if [ -n "$tables" ]; then read -ra chosen <<<"$tables"; fi
  for table in "${chosen[@]}"; do
    sv-tabulate "$table" --exp "$models" --data "$data" -o "$results" --allow-missing --command "$(recipe_command)"
  done
  for name in train test; do
    embedded=()
    for run in resnet_center/seed0 resnet_center_bases/seed0; do
      if [ -e "$models/$run/$name/dvector.scp" ]; then embedded+=(--embeddings "${run%/*}=$models/$run/$name/dvector.scp"); fi
    done
    if [ ${#embedded[@]} -eq 4 ]; then
      sv-report "${embedded[@]}" --title "Cosines between speakers, $name" -o "$models/between_speakers_$name.html" --charts "$models/charts_$name"
      mkdir -p "$(dirname "$results")/charts"
      cp "$models/charts_$name/impostor-cosines.svg" "$(dirname "$results")/charts/between-speakers-$name.svg"
    fi
  done
fi
