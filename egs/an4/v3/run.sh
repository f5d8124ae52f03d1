#!/usr/bin/env bash
# The classical baseline on CMU AN4: cepstra, i-vectors, LDA and PLDA, on the trials, silence trimming and level of v1.
#
#   ./run.sh                                        everything; downloads the corpus (64 MB)
#   ./run.sh --corpus /corpora/an4                  with a corpus that is there
#   ./run.sh --stage 3 --seed 1 --exp exp/seed1     another training on the same features
#   ./run.sh --num-dev 14 --data data/tune --exp exp/tune    tuning on held-out training speakers
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds wav/an4_clstk [default: the official release is downloaded]
data=data     # folder of the data directories
exp=exp/ivector # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs; the results do not depend on it
seed=0        # seed of the training
num_dev=0     # training speakers to hold out, for tuning: they are then scored instead of the test speakers
any_size=false # accept a corpus of another size than the official release
ivector_config= # background model and total variability [default: conf/ivector.toml of the recipe]
backend_config= # LDA and PLDA [default: conf/backend.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe; with --num-dev, of --exp]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
ivector_config=${ivector_config:-$RECIPE/conf/ivector.toml}
backend_config=${backend_config:-$RECIPE/conf/backend.toml}
cepstra=$RECIPE/conf/features.toml
v1=$RECIPE/../v1
scored="test"
if [ "$num_dev" -gt 0 ]; then scored="dev"; fi
of=
if [ "$scored" = dev ]; then of="held-out training speakers, " results=${results:-$exp/RESULTS.md}; fi
results=${results:-$RECIPE/RESULTS.md}
url=http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive "$url" "$data/download/an4_sphere"
    corpus=$data/download/an4_sphere/an4
  fi
  "$v1/local/prepare_an4.py" --num-dev "$num_dev" --any-size "$any_size" "$corpus" "$data"
  sv-make-trials "$data/$scored"
fi

if should_run 1 "Cepstra, also of slower and faster copies of the training speakers; filter banks for the control"; then
  need "$data/$scored/trials" 0
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  for name in train_sp "$scored"; do
    spread "$exp/log/mfcc_$name.log" sv-extract-mfcc --config "$cepstra" --resample "$data/$name"
  done
  spread "$exp/log/fbank_control.log" sv-extract-fbank --config "$v1/conf/features.toml" --resample "$data/$scored" "$data/control"
fi

if should_run 2 "Voice activity, as in v1"; then
  need "$data/$scored/feats.scp" 1
  for name in train_sp "$scored"; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$v1/conf/features.toml" --resample "$data/$name"
  done
fi

if should_run 3 "Train the background model and the total variability matrix"; then
  need "$data/$scored/vad.scp" 2
  spread "$exp/log/train.log" sv-train-ivector --config "$ivector_config" --seed "$seed" "$data/train_sp" "$exp"
fi

if should_run 4 "Extract i-vectors, and the untrained control"; then
  need "$exp/ivector.json" 3
  for name in train_sp "$scored"; do
    spread "$exp/log/ivector_$name.log" sv-extract-ivector "$exp" "$data/$name" "$exp/$name"
  done
  job "$exp/log/control.log" sv-extract-control "$data/control" "$exp/control"
fi

if should_run 5 "Train the back end"; then
  need "$exp/$scored/ivector.scp" 4
  job "$exp/log/backend.log" sv-train-backend --config "$backend_config" "$exp/train_sp/ivector.scp" "$data/train_sp" "$exp/backend"
fi

if should_run 6 "Score"; then
  need "$exp/backend/backend.json" 5
  sv-score "$data/$scored/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  sv-score "$data/$scored/trials" --test "$exp/$scored/ivector.scp" -o "$exp/$scored/scores_cosine"
  sv-score "$data/$scored/trials" --test "$exp/$scored/ivector.scp" --backend "$exp/backend" -o "$exp/$scored/scores"
fi

if should_run 7 "Evaluate"; then
  need "$exp/$scored/scores" 6
  evaluate "${of}control: quietest tenth of the frames, untrained" "$data/$scored/trials" "$exp/control/scores"
  evaluate "${of}i-vector, cosine, seed $seed" "$data/$scored/trials" "$exp/$scored/scores_cosine"
  evaluate "${of}i-vector, LDA and PLDA, seed $seed" "$data/$scored/trials" "$exp/$scored/scores"
fi
