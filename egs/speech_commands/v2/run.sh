#!/usr/bin/env bash
# Tables 1 and 2 of Wan et al. 2018 on Speech Commands v0.01: MultiReader against plain mixing of two sources, GE2E against TE2E.
# The large source holds many speakers who say one keyword, the small one a few others who say two. Tested with all four pairs of an
# enrolled and a verified keyword, on the test speakers of v1.
#
#   ./run.sh                                        everything; downloads the corpus (1.4 GB)
#   ./run.sh --corpus /corpora/speech_commands      with a corpus that is there
#   ./run.sh --systems "ge2e_multireader ge2e_mixed" --seeds 0 --results rows.md    a part of it
#   ./run.sh --scale full --device cuda             networks of the paper's sizes
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav [default: the official release is downloaded]
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, for configurations that add noise [default: noise is made up]
data=data     # folder of the data directories
exp=exp       # folder of the models: SCALE/SYSTEM/seedSEED
nj=$(nproc)   # parallel jobs
threads=1     # threads of a training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
systems=      # what to train [default: all that has a training configuration]
scale=small   # small (narrow networks, half a minute on a core each) or full (the paper's sizes, for a GPU)
seeds="0 1 2" # seeds of the trainings
keywords="bed cat" # keyword of the large source, and the other one
num_small=30  # speakers of the small source
num_enroll=1  # utterances of an enrollment model
num_test=150  # speakers to test with, as in v1
num_dev=100   # speakers whose EER decides which model is best, as in v1
train_configs= # folder of training configurations, one a system [default: conf/SCALE of the recipe]
tables=       # systems, columns and claims: "FILE FILE ..." [default: conf/table*.toml of the recipe]
results=      # file that the tables are written to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
results=${results:-$RECIPE/RESULTS.md}
v1=$RECIPE/../v1
features=$v1/conf/features.toml
url=https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz
sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d
train_configs=${train_configs:-$RECIPE/conf/$scale}
if [ ! -d "$train_configs" ]; then refuse "--scale needs small or full, got '$scale'"; fi
models=$exp/$scale
if [ -z "$systems" ]; then systems=$(for path in "$train_configs"/*.toml; do basename "$path" .toml; done); fi
runs=()
for seed in $seeds; do
  for system in $systems; do runs+=("$system/seed$seed"); done
done

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive --sha256 "$sha256" "$url" "$data/download/speech_commands"
    corpus=$data/download/speech_commands
  fi
  "$v1/local/prepare_speech_commands.py" --num-test "$num_test" --num-dev "$num_dev" "$corpus" "$data/all"
  "$RECIPE/local/choose_sources.py" --keywords "$keywords" --num-small "$num_small" "$data/all" "$data"
  "$RECIPE/local/make_keyword_trials.py" --num-enroll "$num_enroll" "$data/test"
fi

if should_run 1 "Slower and faster copies of the training speakers; noise"; then
  need "$data/small/wav.scp" 0
  for name in small large; do
    sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/$name" "$data/${name}_sp"
  done
  noise_to "$data/noise" --folds "1 2 3"
fi

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for name in small_sp large_sp dev test noise; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity; both sources in one directory"; then
  need "$data/test/feats.scp" 2
  for name in small_sp large_sp dev test; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$features" --resample "$data/$name"
  done
  sv-combine-data "$data/mixed" "$data/small_sp" "$data/large_sp"
fi

if should_run 4 "Train: MultiReader from both sources, or one data directory"; then
  need "$data/mixed/vad.scp" 3
  for run in "${runs[@]}"; do
    system=${run%/*}
    case $system in
      *_multireader) sources=(--train "small:$data/small_sp" --train "large:$data/large_sp") ;;
      *_small_alone) sources=(--train "small:$data/small_sp") ;;
      *_large_alone) sources=(--train "large:$data/large_sp") ;;
      *) sources=(--train "mixed:$data/mixed") ;;
    esac
    job "$models/$run/log/train.log" sv-train --config "$train_configs/$system.toml" "${sources[@]}" --valid "$data/dev" \
      --noise "$data/noise" --seed "${run##*/seed}" --device "$device" --threads "$threads" --timing-log "$models/$run/timing.jsonl" "$models/$run"
  done
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$models/${runs[0]}/model.json" 4
  for run in "${runs[@]}"; do
    spread "$models/$run/log/dvector.log" sv-extract-dvector "$models/$run" "$data/test" "$models/$run/test"
  done
  job "$models/control/log/control.log" sv-extract-control "$data/test" "$models/control/test"
fi

if should_run 6 "Score: enrolled with one keyword, verified with one"; then
  need "$models/${runs[0]}/test/dvector.scp" 5
  for run in control "${runs[@]}"; do
    for trials in "$data"/test/trials_*; do
      sv-score "$trials" --enroll-spk2utt "$data/test/enroll" --test "$models/$run/test/dvector.scp" \
        -o "$models/$run/test/scores_${trials##*/trials_}"
    done
  done
fi

if should_run 7 "Tables: systems, seeds and what the paper claims"; then
  need "$models/${runs[0]}/test/scores_all" 6
  chosen=("$RECIPE"/conf/table*.toml)
  if [ -n "$tables" ]; then read -ra chosen <<<"$tables"; fi
  for table in "${chosen[@]}"; do
    sv-tabulate "$table" --exp "$models" --data "$data" -o "$results" --charts "$models/charts_$(basename "$table" .toml)" \
      --allow-missing --command "$(recipe_command)"
  done
fi
