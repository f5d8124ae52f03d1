#!/usr/bin/env bash
# Text-independent speaker verification on VoxCeleb: 1211 speakers of VoxCeleb1 to train with, or 5994 of VoxCeleb2, or both; the official
# trial lists. The user brings the corpora; trial lists and names come from robots.ox.ac.uk and openslr.org, or from --trials-dir.
#
#   ./run.sh --vox1 /corpora/voxceleb1                              the LSTM of GE2E, on a processor or a GPU
#   ./run.sh --vox1 V1 --device cuda --amp bf16 --gpus 4            the same on four GPUs
#   ./run.sh --vox1 V1 --vox2 V2 --train vox2 --lists "veri_test2 list_test_all2 list_test_hard2"    VoxCeleb1-O, -E and -H
#   ./run.sh --vox1 V1 --features-config conf/features_64.toml --data data/64 --train-config conf/deep_speaker_rescnn.toml --exp exp/softmax
#   ./run.sh --stage 4 --data data/64 --train-config conf/deep_speaker_rescnn_triplet.toml --init exp/softmax --exp exp/triplet
#
# VoxCeleb2 comes as .m4a: convert it once, `find DIR -name '*.m4a' -exec sh -c 'ffmpeg -nostdin -i "$1" -ac 1 -ar 16000 "${1%.m4a}.flac"' sh {} ';'`
set -euo pipefail

stage=0       # first stage to run
stop_stage=7  # last stage to run
skip_stages=  # stages to leave out, for example "1 3"
vox1=         # VoxCeleb1, dev and test: SPEAKER/VIDEO/NUMBER.wav below it, or below wav, dev/wav, test/wav, vox1_dev_wav/wav, ...
vox2=         # the dev part of VoxCeleb2 as .wav or .flac: SPEAKER/VIDEO/NUMBER.flac below it, or below dev/aac, dev/wav, ...
trials_dir=   # folder of the trial lists and of vox1_meta.csv, vox2_meta.csv [default: they are downloaded]
train=vox1    # what to train with: vox1, vox2 or both
lists="veri_test2 veri_test" # trial lists to test with; list_test_all2 and list_test_hard2 want --train vox2
noise=        # folder of CLASS/*.wav, such as musan/noise, to train with [default: noise is made up]
speeds=       # factors of sped-up copies as further speakers, for example "0.9 1.1" [default: none]
data=data     # folder of the data directories
exp=exp/ge2e_lstm # folder of the model and of what is made with it
nj=$(nproc)   # parallel jobs
threads=$(nproc) # threads of the training; they decide the last digits of its result
device=auto   # where to train: auto, cpu or cuda
gpus=1        # processes to train with, one for each GPU
amp=          # precision of the network: none, bf16 or fp16 [default: what the configuration says]
init=         # model to start from [default: none]
init_skip=    # tensors that are not taken from it, for example 'linear.*' [default: all are]
seed=0        # seed of the training
num_dev=40    # training speakers to hold out; their EER decides which model is best
any_size=false # accept corpora and lists of other sizes than the official ones
features_config= # filter banks and voice activity [default: conf/features.toml of the recipe]
train_config= # training configuration [default: conf/ge2e_lstm.toml of the recipe]
results=      # file that rows of results are added to [default: RESULTS.md of the recipe]
cmd=          # job runner [default: what cmd.sh says]

. "$(dirname "${BASH_SOURCE[0]}")/path.sh"
. "$RECIPE/cmd.sh"
. parse_options.sh
# shellcheck source=../../../utils/stages.sh
. stages.sh
features=${features_config:-$RECIPE/conf/features.toml}
train_config=${train_config:-$RECIPE/conf/ge2e_lstm.toml}
results=${results:-$RECIPE/RESULTS.md}
train_set=train${speeds:+_sp}
on_gpu=()
if [ "$device" = cuda ]; then on_gpu=(--device cuda); fi
name=$(basename "$train_config" .toml)
meta_url=https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta

if should_run 0 "Prepare the data directories"; then
  if [ -z "$vox1" ]; then refuse "--vox1 DIR is needed: VoxCeleb is given out by its makers only, see their page at robots.ox.ac.uk"; fi
  if [ -z "$trials_dir" ]; then
    trials_dir=$data/download/lists
    for list in $lists; do
      job "$exp/log/download_$list.log" fetch_archive --plain "$meta_url/$list.txt" "$trials_dir"
    done
    for number in 1 2; do
      job "$exp/log/download_meta$number.log" fetch_archive --plain "https://www.openslr.org/resources/49/vox${number}_meta.csv" "$trials_dir"
    done
  fi
  "$RECIPE/local/prepare_voxceleb.py" --vox1 "$vox1" ${vox2:+--vox2 "$vox2"} --lists-dir "$trials_dir" --lists "$lists" --train "$train" \
    --num-dev "$num_dev" --any-size "$any_size" "$data"
fi

if should_run 1 "Noise, and copies of the training speakers at other speeds"; then
  need "$data/train/wav.scp" 0
  if [ -n "$speeds" ]; then
    factors=()
    for speed in $speeds; do factors+=(--factor "$speed"); done
    sv-perturb-speed "${factors[@]}" --include-original "$data/train" "$data/train_sp"
  fi
  noise_to "$data/noise"
fi

if should_run 2 "Filter banks"; then
  need "$data/noise/wav.scp" 1
  for part in "$train_set" dev test noise; do
    spread "$exp/log/fbank_$part.log" sv-extract-fbank --config "$features" --resample "$data/$part"
  done
fi

if should_run 3 "Voice activity"; then
  need "$data/test/feats.scp" 2
  for part in "$train_set" dev test; do
    spread "$exp/log/vad_$part.log" sv-compute-vad --config "$features" --resample "$data/$part"
  done
fi

if should_run 4 "Train"; then
  need "$data/test/vad.scp" 3
  trainer=(sv-train)
  if [ "$gpus" -gt 1 ]; then trainer=(torchrun --standalone --nproc-per-node "$gpus" --no-python sv-train); fi
  job "$exp/log/train.log" "${trainer[@]}" --config "$train_config" ${amp:+--set "trainer.amp=$amp"} ${init:+--init "$init"} ${init_skip:+--init-skip "$init_skip"} \
    --valid "$data/dev" --noise "$data/noise" --seed "$seed" --device "$device" --threads "$threads" "$data/$train_set" "$exp"
fi

if should_run 5 "Extract d-vectors, and the untrained control"; then
  need "$exp/model.json" 4
  spread "$exp/log/dvector.log" sv-extract-dvector "${on_gpu[@]}" "$exp" "$data/test" "$exp/test"
  job "$exp/log/control.log" sv-extract-control "$data/test" "$exp/control"
fi

if should_run 6 "Score"; then
  need "$exp/test/dvector.scp" 5
  for list in $lists; do
    sv-score "$data/test/trials_$list" --test "$exp/test/dvector.scp" -o "$exp/test/scores_$list"
    sv-score "$data/test/trials_$list" --test "$exp/control/dvector.scp" -o "$exp/control/scores_$list"
  done
fi

if should_run 7 "Evaluate"; then
  need "$exp/test/scores_${lists%% *}" 6
  by=()
  if [ -e "$data/test/spk2gender" ]; then by=(--by gender); fi
  for list in $lists; do
    trials=$data/test/trials_$list
    evaluate "$list, control: quietest tenth of the frames, untrained" "$trials" "$exp/control/scores_$list"
    evaluate "$list, $name, trained on $train, seed $seed" "$trials" "$exp/test/scores_$list" --cost voxceleb "${by[@]}"
  done
fi
