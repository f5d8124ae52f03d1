#!/usr/bin/env bash
# From scores to decisions on Speech Commands: ECAPA-TDNN (v1) and i-vectors (v4), normalised, fused, calibrated, on one page.
#
#   ./run.sh                                        everything; downloads the corpus (1.4 GB)
#   ./run.sh --corpus /corpora/speech_commands      with a corpus that is there
#   ./run.sh --stage 1 --seed 1 --exp exp/seed1     other trainings on the same features
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav [default: the official release is downloaded]
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp/fused # folder of the models and of what is made with them
nj=$(nproc)   # parallel jobs
threads=2     # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
seed=0        # seed of the trainings
words="bed cat happy" # the keywords to take, or all
num_test=150  # speakers to test with, out of those with three clips or more
num_dev=200 # speakers that weights and thresholds are learned from, out of the same
train_config= # training configuration [default: conf/ecapa.toml of v1]
ivector_config= # background model and total variability [default: conf/ivector.toml of v4]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/../v1/conf/ecapa.toml}
results=${results:-$RECIPE/RESULTS.md}
trials=$data/mfcc # the same utterances and lists as $data/fbank
common=(--words "$words" --num-test "$num_test" --num-dev "$num_dev" --nj "$nj" --seed "$seed" ${corpus:+--corpus "$corpus"} ${cmd:+--cmd "$cmd"})

if should_run 0 "Recipe v4: cepstra, i-vectors, LDA and PLDA"; then
  "$RECIPE/../v4/run.sh" --stop-stage 6 --data "$data/mfcc" --exp "$exp/ivector" "${common[@]}" \
    ${ivector_config:+--ivector-config "$ivector_config"}
fi

if should_run 1 "Recipe v1: filter banks, ECAPA-TDNN"; then
  need "$exp/ivector/test/scores" 0
  "$RECIPE/../v1/run.sh" --stop-stage 4 --data "$data/fbank" --exp "$exp/ecapa" --train-config "$train_config" --threads "$threads" \
    --device "$device" ${noise:+--noise "$noise"} "${common[@]}"
fi

if should_run 2 "D-vectors and the untrained control"; then
  need "$exp/ecapa/model.json" 1
  for name in train_sp dev test; do
    spread "$exp/log/dvector_$name.log" sv-extract-dvector "$exp/ecapa" "$data/fbank/$name" "$exp/ecapa/$name"
  done
  job "$exp/log/control.log" sv-extract-control "$data/fbank/test" "$exp/control"
fi

if should_run 3 "Score: cosines, adaptive s-norm against the training speakers"; then
  need "$exp/ecapa/test/dvector.scp" 2
  sv-score "$trials/test/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  for name in dev test; do
    own=$exp/ecapa/$name
    sv-score "$trials/$name/trials" --test "$own/dvector.scp" -o "$own/scores_cosine"
    sv-normalize-scores "$trials/$name/trials" "$own/scores_cosine" --test "$own/dvector.scp" --cohort "$exp/ecapa/train_sp/dvector.scp" \
      --cohort-utt2spk "$data/fbank/train_sp/utt2spk" -o "$own/scores"
  done
fi

if should_run 4 "Fuse, with weights learned on the development speakers"; then
  need "$exp/ecapa/test/scores" 3
  mkdir -p "$exp/both/dev" "$exp/both/test"
  sv-fuse --scores "$exp/ecapa/dev/scores" --scores "$exp/ivector/dev/scores" --weights-from "$trials/dev/trials" \
    --save "$exp/both/fusion.json" -o "$exp/both/dev/scores"
  sv-fuse --scores "$exp/ecapa/test/scores" --scores "$exp/ivector/test/scores" --apply "$exp/both/fusion.json" -o "$exp/both/test/scores"
fi

if should_run 5 "Calibrate on the development speakers"; then
  need "$exp/both/test/scores" 4
  for system in ecapa:as-norm ivector:plda both:fusion; do
    own=$exp/${system%:*}
    sv-calibrate --bend --scoring "${system#*:}" "$trials/dev/trials" "$own/dev/scores" -o "$own/calibration.json"
    sv-calibrate --apply "$own/calibration.json" "$own/test/scores" -o "$own/test/llrs"
  done
  sv-calibrate --bend --model "$exp/ecapa" "$trials/dev/trials" "$exp/ecapa/dev/scores_cosine"
fi

if should_run 6 "Evaluate"; then
  need "$exp/both/test/llrs" 5
  evaluate "control: quietest tenth of the frames, untrained" "$trials/test/trials" "$exp/control/scores"
  evaluate "ECAPA-TDNN, cosine, seed $seed" "$trials/test/trials" "$exp/ecapa/test/scores_cosine"
  evaluate "ECAPA-TDNN, adaptive s-norm, seed $seed" "$trials/test/trials" "$exp/ecapa/test/llrs" --calibrated
  evaluate "i-vector, LDA and PLDA, seed $seed" "$trials/test/trials" "$exp/ivector/test/llrs" --calibrated
  evaluate "both, fused and calibrated, seed $seed" "$trials/test/trials" "$exp/both/test/llrs" --calibrated --hull |
    tee "$exp/both/test/evaluation.txt"
fi

if should_run 7 "Show all on one page"; then
  need "$exp/both/test/evaluation.txt" 6
  sv-report "both=$trials/test/trials,$exp/both/test/llrs" "ECAPA-TDNN=$trials/test/trials,$exp/ecapa/test/llrs" \
    "i-vector=$trials/test/trials,$exp/ivector/test/llrs" "control=$trials/test/trials,$exp/control/scores" --calibrated both \
    --calibrated ECAPA-TDNN --calibrated i-vector --model ECAPA-TDNN="$exp/ecapa" \
    --embeddings ECAPA-TDNN="$exp/ecapa/test/dvector.scp,$data/fbank/test" --title "Speech Commands, seed $seed" \
    --wall-time "$(wall_time)" --command "$(recipe_command)" -o "$exp/report.html" --charts "$exp/charts" >"$exp/report_rows.md"
  echo "The report: $exp/report.html; a decision: sv-verify --model $exp/ecapa a.wav b.wav"
fi
