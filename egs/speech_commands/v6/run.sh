#!/usr/bin/env bash
# The keyword front end of text-dependent verification: a small detector of bed, cat and happy, false alarms an hour against misses,
# and the EER of verification behind it.  The background is cut into halves by speaker: a detector hears each, trained with the other.
#
#   ./run.sh --corpus /corpora/speech_commands --an4 /corpora/an4 --librispeech /corpora/LibriSpeech --noise /corpora/ESC-10
#   ./run.sh --stage 7 --wuw /corpora/wuw_keywords ...    the times of keywords in telephone calls, too
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds WORD/*.wav of Speech Commands
an4=          # background: folder of AN4
librispeech=  # background: folder of LibriSpeech readers
arabic=       # background: folder of Arabic Speech Commands
noise=        # folder of CLASS/FOLD-*.ogg, such as ESC-10 [default: noise is made up]
wuw=          # folder of the WUW Corpus II: times of keywords in calls [default: not]
data=data     # folder of the data directories
exp=exp       # folder of the detectors and of what is made with them
nj=$(nproc)   # parallel jobs
seed=0        # seed of the training
folds="a:b b:a" # halves of the background: trained with the first, tried on the second; the first of these detectors is verified behind
words="bed cat happy" # the keywords
num_test=150  # speakers to test with, out of those with three clips or more
num_dev=100   # speakers to tune with, out of the same
model=default # what verifies behind the detector; default is the model that comes with the toolkit
train_config= # configuration of the detector [default: conf/keyword.toml of the recipe]
wuw_config=   # the same for telephone calls [default: conf/telephone.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
train_config=${train_config:-$RECIPE/conf/keyword.toml}
wuw_config=${wuw_config:-$RECIPE/conf/telephone.toml}
results=${results:-$RECIPE/RESULTS.md}

first=${folds%%:*}

# train_detector NAME KEYWORDS BACKGROUND HELD-OUT [OPTION...]: the detector $exp/NAME
train_detector() {
  job "$exp/log/train_$1.log" sv-train-keyword "${@:5}" --resample --seed "$seed" --noise "$data/noise" --background "$data/noise" \
    --background "$3" --held-out "$4" "$2" "$exp/$1"
}

# listen DETECTOR DATA OUT [OPTION...]: what the detector hears
listen() {
  job "$exp/log/detect_${3//\//_}.log" sv-detect-keyword --resample --nj "$nj" "${@:4}" "$exp/$1" "$2" "$exp/$3"
}

# measure NAME RUN... [OPTION...]: rows of misses and false alarms
measure() {
  "$RECIPE/local/measure_detections.py" --name "$1" --results "$results" --wall-time "$(wall_time)" --command "$(recipe_command)" "${@:2}"
}

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then refuse "--corpus DIR is needed: Speech Commands v0.01, which recipe v1 downloads"; fi
  if [ -z "$an4$librispeech$arabic" ]; then refuse "--an4, --librispeech or --arabic DIR is needed: speech without the keywords"; fi
  "$RECIPE/../v1/local/prepare_speech_commands.py" --words "$words" --num-test "$num_test" --num-dev "$num_dev" --least-clips 1 \
    "$corpus" "$data"
  sv-make-trials --keyword same "$data/test"
  "$RECIPE/local/prepare_background.py" ${an4:+--an4 "$an4"} ${librispeech:+--librispeech "$librispeech"} ${arabic:+--arabic "$arabic"} "$data"
  noise_to "$data/noise" --folds "1 2 3"
  if [ -n "$noise" ]; then prepare_noise --folds "4 5" "$noise" "$data/background_noise"; fi
fi

if should_run 1 "Train a detector with each half of the background"; then
  need "$data/background_${folds%%:*}/wav.scp" 0
  for fold in $folds; do
    train_detector "detector_${fold%:*}" "$data/train" "$data/background_${fold%:*}" "$data/background_${fold#*:}" --config "$train_config" \
      --held-out "$data/test" --held-out "$data/dev"
  done
fi

if should_run 2 "Detect: keyword recordings, and background that the detector has not heard"; then
  need "$exp/detector_$first/keyword.json" 1
  for fold in $folds; do
    own=${fold%:*}
    listen "detector_$own" "$data/test" "$own/test"
    listen "detector_$own" "$data/background_${fold#*:}" "$own/background"
  done
  listen "detector_$first" "$data/dev" "$first/dev"
  for name in dev test noise; do
    if [ -d "$data/background_$name" ]; then listen "detector_$first" "$data/background_$name" "$first/background_$name"; fi
  done
fi

if should_run 3 "Misses against false alarms an hour"; then
  need "$exp/$first/test/detections.tsv" 2
  runs=()
  for fold in $folds; do runs+=("$data/test=$exp/${fold%:*}/test,$exp/${fold%:*}/background"); done
  for name in test noise; do
    if [ -d "$exp/$first/background_$name" ]; then runs[0]+=",$exp/$first/background_$name"; fi
  done
  if [ -d "$exp/$first/background_dev" ]; then measure "development" "$data/dev=$exp/$first/dev,$exp/$first/background_dev"; fi
  measure "test" "${runs[@]}" --thresholds "$exp/thresholds.json" --chart "$exp/det.svg" | tee "$exp/detections.txt"
fi

if should_run 4 "Segments around the keywords; d-vectors of them and of whole recordings"; then
  need "$exp/thresholds.json" 3
  listen "detector_$first" "$data/test" segments --best
  for name in "$exp/segments" "$data/test"; do
    spread "$exp/log/dvector_${name##*/}.log" sv-extract-dvector "$model" "$name" "$exp/dvector_${name##*/}"
  done
fi

if should_run 5 "Score"; then
  need "$exp/dvector_segments/dvector.scp" 4
  "$RECIPE/local/detected_trials.py" --overwrite "$data/test/trials" "$data/test" "$exp/segments" "$exp/thresholds.json" "$exp/trials_detected"
  sv-score "$data/test/trials" --test "$exp/dvector_test/dvector.scp" -o "$exp/scores_whole"
  sv-score "$exp/trials_detected" --test "$exp/dvector_segments/dvector.scp" -o "$exp/scores_behind"
fi

if should_run 6 "The EER behind the detector beside that of whole recordings"; then
  need "$exp/scores_behind" 5
  common=(--utt2spk "$data/test/utt2spk" --results "$results" --wall-time "$(wall_time)" --command "$(recipe_command)")
  "$RECIPE/local/behind.py" "${common[@]}" --name "pairs of which both passed at 2 false alarms an hour" "$exp/trials_detected" \
    "$exp/scores_whole" "$exp/scores_behind" | tee "$exp/behind.txt"
  "$RECIPE/local/behind.py" "${common[@]}" --name "all pairs, a missed keyword is a rejection" "$data/test/trials" "$exp/scores_whole" \
    "$exp/scores_behind"
fi

if should_run 7 "Telephone calls: segments beside the table of keyword times"; then
  need "$exp/behind.txt" 6
  if [ -z "$wuw" ]; then
    echo "no --wuw: left out" >&2
  else
    "$RECIPE/../../wuw/v1/local/prepare_wuw.py" --num-test 30 "$wuw" "$data/wuw"
    for name in train test; do "$RECIPE/local/whole_calls.py" "$data/wuw/$name" "$data/calls/$name"; done
    train_detector detector_wuw "$data/calls/train" "$data/background_$first" "$data/calls/test" --config "$wuw_config"
    listen detector_wuw "$data/calls/test" calls --best
    "$RECIPE/local/whole_calls.py" --results "$results" --wall-time "$(wall_time)" --command "$(recipe_command)" "$data/wuw/test" "$exp/calls"
  fi
fi
