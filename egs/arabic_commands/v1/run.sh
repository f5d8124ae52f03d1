#!/usr/bin/env bash
# Does MultiReader (Wan et al. 2018, section 2.3) carry across languages? Keywords of 24 speakers of Arabic are the small source, Speech
# Commands the large one. Two folds: each trains with one half of the Arabic speakers and tests the other, so that all are tested.
#
#   ./run.sh --corpus /corpora/arabic/dataset       everything; downloads Speech Commands (1.4 GB)
#   ./run.sh --corpus /corpora/arabic/dataset --large /corpora/speech_commands      with a corpus that is there
#   ./run.sh --stage 4 --systems "multireader mixed" --seeds "3 4"      more of some of it
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds KEYWORD/*.wav of Arabic Speech Commands
large=        # folder that holds WORD/*.wav of Speech Commands v0.01 [default: the official release is downloaded]
data=data     # folder of the data directories
exp=exp       # folder of the models: SCALE/SYSTEM/seedSEED/foldFOLD
systems=      # what to train [default: all that has a training configuration]
seeds="0 1 2" # seeds of the trainings
scale=small   # small (a narrow network, half a minute on a core each) or full (the paper's sizes, for a GPU)
nj=$(nproc)   # parallel jobs
threads=1     # threads of a training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
num_test=150  # speakers of Speech Commands that are left out, as in its recipe: those to test with
num_dev=100   # and those to tune with
keywords=all  # Arabic keywords to take
num_enroll=3  # utterances of an enrollment model
nontargets=30 # nontarget trials of an utterance, at most
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
commands=$RECIPE/../../speech_commands/v1
features=$commands/conf/features.toml
models=$exp/$scale
if [ -z "$systems" ]; then systems=$(for path in "$train_configs"/*.toml; do basename "$path" .toml; done); fi
runs=()
for seed in $seeds; do
  for system in $systems; do runs+=("$system/seed$seed"); done
done
url=https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.01.tar.gz
sha256=743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d

if should_run 0 "Prepare the data directories and trials"; then
  if [ -z "$corpus" ]; then
    refuse "--corpus DIR is needed: the folder dataset of the GitHub project abdulkaderghandoura/arabic-speech-commands-dataset"
  fi
  if [ -z "$large" ]; then
    job "$exp/log/download.log" fetch_archive --sha256 "$sha256" "$url" "$data/download/speech_commands"
    large=$data/download/speech_commands
  fi
  "$RECIPE/local/prepare_arabic_commands.py" --keywords "$keywords" "$corpus" "$data"
  "$commands/local/prepare_speech_commands.py" --num-test "$num_test" --num-dev "$num_dev" "$large" "$data/large"
  for fold in 1 2; do
    for keyword in same different; do
      sv-make-trials --keyword "$keyword" --num-enroll "$num_enroll" --nontargets "$nontargets" \
        --enroll-spk2utt-out "$data/fold$fold/test/enroll_$keyword" -o "$data/fold$fold/test/trials_$keyword" "$data/fold$fold/test"
    done
  done
fi

if should_run 1 "Slower and faster copies of the training speakers; the trials of both folds in one directory"; then
  need "$data/fold2/test/trials_different" 0
  for name in fold1/train fold2/train large/train; do
    sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/$name" "$data/${name}_sp"
  done
  sv-combine-data "$data/test" "$data/fold1/test" "$data/fold2/test"
  for name in trials_same trials_different enroll_same enroll_different; do
    cat "$data/fold1/test/$name" "$data/fold2/test/$name" >"$data/test/$name"
  done
fi

if should_run 2 "Filter banks"; then
  need "$data/test/wav.scp" 1
  for name in fold1/train_sp fold2/train_sp large/train_sp test; do
    spread "$exp/log/fbank_${name//\//_}.log" sv-extract-fbank --config "$features" --resample "$data/$name"
  done
fi

if should_run 3 "Voice activity; both sources in one directory"; then
  need "$data/test/feats.scp" 2
  for name in fold1/train_sp fold2/train_sp large/train_sp test; do
    spread "$exp/log/vad_${name//\//_}.log" sv-compute-vad --config "$features" --resample "$data/$name"
  done
  for fold in 1 2; do
    sv-combine-data "$data/fold$fold/mixed" "$data/fold$fold/train_sp" "$data/large/train_sp"
    sv-subset-data --spk-list "$data/fold$fold/test/spk2utt" "$data/test" "$data/fold$fold/tested"
  done
fi

if should_run 4 "Train: for each half of the Arabic speakers, or once without them"; then
  need "$data/fold2/mixed/vad.scp" 3
  for run in "${runs[@]}"; do
    system=${run%/*}
    for fold in 1 2; do
      model=$models/$run/fold$fold
      case $system in
        *multireader) sources=(--train "small:$data/fold$fold/train_sp" --train "large:$data/large/train_sp") ;;
        *small_alone) sources=(--train "small:$data/fold$fold/train_sp") ;;
        *large_alone) sources=(--train "large:$data/large/train_sp") model=$models/$run/fold1 ;;
        *) sources=(--train "mixed:$data/fold$fold/mixed") ;;
      esac
      job "$model/log/train.log" sv-train --config "$train_configs/$system.toml" "${sources[@]}" --seed "${run##*/seed}" \
        --device "$device" --threads "$threads" "$model"
    done
  done
fi

if should_run 5 "Extract d-vectors of the speakers that a model has not seen, and the untrained control"; then
  need "$models/${runs[0]}/fold1/model.json" 4
  for run in "${runs[@]}"; do
    for fold in 1 2; do
      model=$models/$run/fold$fold
      case $run in *large_alone/*) model=$models/$run/fold1 ;; esac
      spread "$models/$run/log/dvector_fold$fold.log" sv-extract-dvector "$model" "$data/fold$fold/tested" "$models/$run/test$fold"
    done
  done
  for fold in 1 2; do
    job "$models/control/log/control_fold$fold.log" sv-extract-control "$data/fold$fold/tested" "$models/control/test$fold"
  done
fi

if should_run 6 "Score each fold; the scores of both in one file"; then
  need "$models/${runs[0]}/test2/dvector.scp" 5
  for run in control "${runs[@]}"; do
    for keyword in same different; do
      for fold in 1 2; do
        sv-score "$data/fold$fold/test/trials_$keyword" --enroll-spk2utt "$data/fold$fold/test/enroll_$keyword" \
          --test "$models/$run/test$fold/dvector.scp" -o "$models/$run/test$fold/scores_$keyword"
      done
      cat "$models/$run/test1/scores_$keyword" "$models/$run/test2/scores_$keyword" >"$models/$run/scores_$keyword"
    done
  done
fi

if should_run 7 "Table: systems, seeds, and what is asked of them"; then
  need "$models/${runs[0]}/scores_same" 6
  chosen=("$RECIPE"/conf/table*.toml)
  if [ -n "$tables" ]; then read -ra chosen <<<"$tables"; fi
  for table in "${chosen[@]}"; do
    sv-tabulate "$table" --exp "$models" --data "$data" -o "$results" --allow-missing --command "$(recipe_command)"
  done
fi
