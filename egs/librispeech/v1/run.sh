#!/usr/bin/env bash
# Text-independent speaker verification on LibriSpeech: 251 readers to train with (or up to 2338), 40 others to tune with, 40 to test with.
# Every reader was recorded in a few chapters: trials within a chapter and across chapters are told apart.
#
#   ./run.sh                                        everything; downloads train-clean-100, dev-clean, test-clean (7 GB)
#   ./run.sh --corpus /corpora                      with a corpus that is there: /corpora/LibriSpeech/train-clean-100/...
#   ./run.sh --subsets "train-clean-100 train-clean-360 train-other-500" --device cuda --amp bf16    all of it, on a GPU
#   ./run.sh --stage 4 --seed 1 --exp exp/seed1     another training on the same features
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds LibriSpeech [default: the official archives are downloaded]
subsets=train-clean-100 # subsets to train with
noise=        # folder of CLASS/*.wav, such as musan/noise, to train with [default: noise is made up]
data=data     # folder of the data directories
exp=exp/ge2e  # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs
threads=$(nproc) # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
amp=          # precision of the network: none, bf16 or fp16 [default: what the configuration says]
seed=0        # seed of the training
per_utterance=20 # target and nontarget trials of each test utterance
any_size=false # accept subsets of other sizes than the official release
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
features=$RECIPE/conf/features.toml
on_gpu=()
if [ "$device" = cuda ]; then on_gpu=(--device cuda); fi
lists="any same different" # chapters of the two sides of a target trial
url=https://www.openslr.org/resources/12

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    corpus=$data/download
    for subset in $subsets dev-clean test-clean; do
      job "$exp/log/download_$subset.log" fetch_archive --md5-file "$RECIPE/conf/md5sum.txt" "$url/$subset.tar.gz" "$corpus/$subset"
    done
  fi
  "$RECIPE/local/prepare_librispeech.py" --train "$subsets" --any-size "$any_size" "$corpus" "$data"
  for list in $lists; do
    sv-make-trials --session "$list" --per-utterance "$per_utterance" -o "$data/test/trials_$list" "$data/test"
  done
fi

if should_run 1 "Slower and faster copies of the training speakers; noise"; then
  need "$data/train/wav.scp" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  noise_to "$data/noise"
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
  job "$exp/log/train.log" sv-train --config "$train_config" ${amp:+--set "trainer.amp=$amp"} --valid "$data/dev" --noise "$data/noise" \
    --seed "$seed" --device "$device" --threads "$threads" "$data/train_sp" "$exp"
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$exp/model.json" 4
  spread "$exp/log/dvector.log" sv-extract-dvector "${on_gpu[@]}" "$exp" "$data/test" "$exp/test"
  job "$exp/log/control.log" sv-extract-control "$data/test" "$exp/control"
fi

if should_run 6 "Score: any chapters, within a chapter, across chapters"; then
  need "$exp/test/dvector.scp" 5
  for list in $lists; do
    sv-score "$data/test/trials_$list" --test "$exp/test/dvector.scp" -o "$exp/test/scores_$list"
    sv-score "$data/test/trials_$list" --test "$exp/control/dvector.scp" -o "$exp/control/scores_$list"
  done
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores_any" 6
  for list in $lists; do
    evaluate "target trials of $list chapters, control: quietest tenth of the frames, untrained" "$data/test/trials_$list" "$exp/control/scores_$list"
    evaluate "target trials of $list chapters, GE2E LSTM, $subsets, seed $seed" "$data/test/trials_$list" "$exp/test/scores_$list"
  done
fi
