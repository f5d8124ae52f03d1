#!/usr/bin/env bash
# Speaker verification on speakers that eSpeak NG makes up: no download, a few minutes on two cores.
#
#   ./run.sh                                       everything
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1    another training on the same features
set -euo pipefail

stage=0           # first stage to run
stop_stage=8      # last stage to run
skip_stages=      # stages to leave out, for example "1 3"
data=data         # folder of the data directories, and of the corpus itself
exp=exp/ge2e      # folder of the model and of what is made with it
nj=$(nproc)       # parallel jobs
threads=2         # threads of the training; they decide the last digits of its result
device=auto       # where to train: auto, cpu or cuda
seed=0            # seed of the training
corpus_seed=0     # seed of the corpus: other speakers, other sentences
num_train=80      # speakers to train with
num_dev=10        # speakers whose EER decides which model is best
num_test=20       # speakers to test with
num_utterances=12 # utterances of each speaker
train_config=     # training configuration [default: conf/train.toml of the recipe]
results=          # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=              # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/conf/train.toml}
results=${results:-$RECIPE/RESULTS.md}
features=$RECIPE/conf/features.toml

if should_run 0 "Make the corpus and its data directories"; then
  job "$exp/log/make_corpus.log" "$RECIPE/local/make_corpus.py" --corpus-dir "$data/corpus" --data-dir "$data" --nj "$nj" \
    --seed "$corpus_seed" --num-train "$num_train" --num-dev "$num_dev" --num-test "$num_test" --num-utterances "$num_utterances"
  sv-make-trials "$data/test"
fi

if should_run 1 "Slower and faster copies of the training speakers"; then
  need "$data/train/wav.scp" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
fi

if should_run 2 "Filter banks"; then
  need "$data/train_sp/wav.scp" 1
  for name in train_sp dev test; do
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$features" "$data/$name"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/train_sp/feats.scp" 2
  for name in train_sp dev test; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$features" "$data/$name"
  done
fi

if should_run 4 "Train"; then
  need "$data/train_sp/vad.scp" 3
  job "$exp/log/train.log" sv-train --config "$train_config" --valid "$data/dev" --seed "$seed" --device "$device" \
    --threads "$threads" "$data/train_sp" "$exp"
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$exp/model.json" 4
  spread "$exp/log/dvector.log" sv-extract-dvector "$exp" "$data/test" "$exp/test"
  job "$exp/log/control.log" sv-extract-control "$data/test" "$exp/control"
fi

if should_run 6 "Score"; then
  need "$exp/test/dvector.scp" 5
  sv-score "$data/test/trials" --test "$exp/test/dvector.scp" -o "$exp/test/scores"
  sv-score "$data/test/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores" 6
  evaluate "control: quietest tenth of the frames, untrained" "$data/test/trials" "$exp/control/scores"
  evaluate "GE2E LSTM, seed $seed" "$data/test/trials" "$exp/test/scores"
fi

if should_run 8 "Show it on one page"; then
  need "$exp/test/scores" 6
  sv-report "GE2E LSTM=$data/test/trials,$exp/test/scores" "control=$data/test/trials,$exp/control/scores" --model "GE2E LSTM=$exp" \
    --embeddings "GE2E LSTM=$exp/test/dvector.scp,$data/test" --title "Synthetic speakers, seed $seed" --wall-time "$(wall_time)" \
    --command "$(recipe_command)" -o "$exp/report.html" >"$exp/report_rows.md"
  echo "The report, for a browser: $exp/report.html"
fi
