#!/usr/bin/env bash
# The DNN i-vector of Deep Speaker, section 4.2, on CMU AN4: a network says which phone is spoken, and its posteriors take the place of the
# background model's. It is trained on synthetic voices, whose phones eSpeak NG knows. Beside it the i-vectors of v3.
#
#   ./run.sh                                        everything; downloads the corpus (64 MB)
#   ./run.sh --corpus /corpora/an4                  with a corpus that is there
#   ./run.sh --num-dev 14 --data data/tune --exp exp/tune    tuning on held-out training speakers
set -euo pipefail

stage=0       # first stage to run
stop_stage=9  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
corpus=       # folder that holds wav/an4_clstk [default: the official release is downloaded]
transcripts=  # an4_test.transcription, to measure the labels on real speech [default: of the release, where it is there]
data=data     # folder of the data directories
exp=exp       # folder of the models and of what is made with them
seeds="0 1 2" # seeds of the i-vector trainings; one classifier serves them all
scale=small   # small (minutes on one core) or full (the paper's sizes)
num_voices=100 # synthetic voices to train the classifier with
num_utterances=12 # utterances of each
nj=$(nproc)   # parallel jobs; the results do not depend on it
threads=1     # threads of the classifier's training; they decide the last digits of its result
num_dev=0     # training speakers to hold out, for tuning: they are then scored instead of the test speakers
any_size=false # accept a corpus of another size than the official release
configs=      # folder of phones.toml, ubm.toml and phonetic.toml [default: conf/SCALE of the recipe]
backend_config= # LDA and PLDA [default: conf/backend.toml of v3]
table=        # systems and claims of the table [default: conf/table.toml of the recipe]
results=      # file that the tables are written into [default: RESULTS.md of the recipe; with --num-dev, of --exp]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
v1=$RECIPE/../v1
v3=$RECIPE/../v3
synthetic=$RECIPE/../../synthetic/v1/local
configs=${configs:-$RECIPE/conf/$scale}
if [ ! -d "$configs" ]; then refuse "--scale needs small or full, got '$scale'"; fi
backend_config=${backend_config:-$v3/conf/backend.toml}
table=${table:-$RECIPE/conf/table.toml}
scored="test"
if [ "$num_dev" -gt 0 ]; then scored="dev" results=${results:-$exp/RESULTS.md}; fi
results=${results:-$RECIPE/RESULTS.md}
url=http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz
phones=$exp/phones
posteriors_of() { # DATA: sets given to the option that $system needs
  given=()
  if [ "$system" = phonetic ]; then given=(--posteriors "$phones/$1/posteriors.scp"); fi
}

if should_run 0 "Prepare the data directories"; then
  if [ -z "$corpus" ]; then
    job "$exp/log/download.log" fetch_archive "$url" "$data/download/an4_sphere"
    corpus=$data/download/an4_sphere/an4
  fi
  "$v1/local/prepare_an4.py" --num-dev "$num_dev" --any-size "$any_size" "$corpus" "$data"
  sv-make-trials "$data/$scored"
fi

if should_run 1 "Synthetic voices whose phones are known"; then
  need "$data/$scored/trials" 0
  job "$exp/log/voices.log" "$synthetic/make_phone_corpus.py" --corpus-dir "$data/phones/corpus" --data-dir "$data/phones" \
    --num-train "$num_voices" --num-heldout $(((num_voices + 9) / 10)) --num-utterances "$num_utterances" --nj "$nj"
fi

if should_run 2 "Cepstra for i-vectors; filter banks for the classifier and the control"; then
  need "$data/phones/train/phones.ctm" 1
  sv-perturb-speed --factor 0.9 --factor 1.1 --include-original "$data/train" "$data/train_sp"
  for name in train_sp "$scored"; do
    spread "$exp/log/mfcc_$name.log" sv-extract-mfcc --config "$v3/conf/features.toml" --resample "$data/$name"
    spread "$exp/log/fbank_$name.log" sv-extract-fbank --config "$v1/conf/features.toml" --resample "$data/$name" "$data/fbank/$name"
  done
  for name in train heldout; do
    spread "$exp/log/fbank_voices_$name.log" sv-extract-fbank --config "$v1/conf/features.toml" "$data/phones/$name"
  done
fi

if should_run 3 "Voice activity, as in v1"; then
  need "$data/$scored/feats.scp" 2
  for name in train_sp "$scored"; do
    spread "$exp/log/vad_$name.log" sv-compute-vad --config "$v1/conf/features.toml" --resample "$data/$name"
  done
fi

if should_run 4 "Train the classifier of frames; posteriors"; then
  need "$data/phones/heldout/feats.scp" 2
  job "$phones/log/train.log" sv-train-phones --config "$configs/phones.toml" --threads "$threads" --valid "$data/phones/heldout" \
    "$data/phones/train" "$phones"
  for name in train_sp "$scored"; do
    spread "$phones/log/posteriors_$name.log" sv-extract-posteriors "$phones" "$data/fbank/$name" "$phones/$name"
  done
  spread "$phones/log/posteriors_heldout.log" sv-extract-posteriors "$phones" "$data/phones/heldout" "$phones/heldout"
fi

if should_run 5 "How good the labels are"; then
  need "$phones/heldout/posteriors.scp" 4
  found=${corpus:-$data/download/an4_sphere/an4}/etc/an4_test.transcription
  if [ -z "$transcripts" ] && [ "$scored" = "test" ] && [ -f "$found" ]; then transcripts=$found; fi
  "$RECIPE/local/measure_labels.py" --append-to "$results" ${transcripts:+--transcripts "$transcripts"} \
    "$phones" "$data/phones/heldout" "$phones/heldout/posteriors.scp" "$phones/$scored/posteriors.scp"
fi

if should_run 6 "Train i-vectors by the background model, and by phones"; then
  need "$phones/train_sp/posteriors.scp" 4
  for seed in $seeds; do
    for system in ubm phonetic; do
      own=$exp/$system/seed$seed
      posteriors_of train_sp
      spread "$own/log/train.log" sv-train-ivector --config "$configs/$system.toml" --seed "$seed" "${given[@]}" "$data/train_sp" "$own"
    done
  done
fi

if should_run 7 "Extract i-vectors, and the untrained control; train the back ends"; then
  need "$exp/phonetic/seed${seeds%% *}/ivector.json" 6
  job "$exp/log/control.log" sv-extract-control "$data/fbank/$scored" "$exp/control"
  for seed in $seeds; do
    for system in ubm phonetic; do
      own=$exp/$system/seed$seed
      for name in train_sp "$scored"; do
        posteriors_of "$name"
        spread "$own/log/ivector_$name.log" sv-extract-ivector "${given[@]}" "$own" "$data/$name" "$own/$name"
      done
      job "$own/log/backend.log" sv-train-backend --config "$backend_config" "$own/train_sp/ivector.scp" "$data/train_sp" "$own/backend"
    done
  done
fi

if should_run 8 "Score"; then
  need "$exp/phonetic/seed${seeds%% *}/backend/backend.json" 7
  sv-score "$data/$scored/trials" --test "$exp/control/dvector.scp" -o "$exp/control/scores"
  for seed in $seeds; do
    for system in ubm phonetic; do
      own=$exp/$system/seed$seed
      sv-score "$data/$scored/trials" --test "$own/$scored/ivector.scp" -o "$own/scores_cosine"
      sv-score "$data/$scored/trials" --test "$own/$scored/ivector.scp" --backend "$own/backend" -o "$own/scores"
    done
  done
fi

if should_run 9 "Table: i-vectors by the background model and by phones"; then
  need "$exp/phonetic/seed${seeds%% *}/scores" 8
  ln -sfn "$scored" "$data/scored" # the trials that the table names
  sv-tabulate "$table" --exp "$exp" --data "$data" -o "$results" --charts "$(dirname "$results")/charts" --allow-missing \
    --command "$(recipe_command)"
fi
