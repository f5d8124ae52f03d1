#!/usr/bin/env bash
# torchrun over two hosts, which are network namespaces of this machine with a wire between them.
#
#   tests/cluster/run_two_hosts.sh      as root, with iproute2; about two minutes
#
# Two hosts train the model of one process to 1e-5.  Then one of them is lost in the middle, wire and processes; the other
# one says which and stops; when both are back the same command resumes, and ends with the bytes of an undisturbed training.
set -euo pipefail

command -v ip >/dev/null || { echo "SKIP: ip is not installed (Debian: iproute2)"; exit 77; }
if [ "$(id -u)" -ne 0 ]; then echo "SKIP: network namespaces need root"; exit 77; fi

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d /tmp/hosts.XXXXXX)
a=svA$$ b=svB$$
pids=()
stop() {
  for pid in "${pids[@]}"; do kill -9 -- "-$pid" 2>/dev/null || true; done
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { say "FAILED: $*"; tail -n 20 "$work"/*.log || true; exit 1; }

ip netns add "$a" 2>/dev/null || { echo "SKIP: network namespaces are not allowed here"; exit 77; }
ip netns add "$b"
ip link add wire netns "$a" type veth peer name wire netns "$b"
ip -n "$a" address add 10.77.0.1/24 dev wire
ip -n "$b" address add 10.77.0.2/24 dev wire
for host in "$a" "$b"; do
  ip -n "$host" link set lo up
  ip -n "$host" link set wire up
done
say "two hosts, 10.77.0.1 and 10.77.0.2"

. "$clone/path.sh"
export OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=wire TP_SOCKET_IFNAME=wire
python3 - "$work" <<'MAKE'
import sys
from pathlib import Path

import numpy as np

from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

work, rng = Path(sys.argv[1]), np.random.default_rng(0)
(work / "data").mkdir()
ids = [f"s{speaker}-u{utterance}" for speaker in range(8) for utterance in range(6)]
voices = 2 * rng.standard_normal((8, 10))
features = {key: (voices[int(key[1])] + rng.standard_normal((60, 10))).astype(np.float32) for key in ids}
write_ark_scp(work / "data", "feats", features)
write_table(work / "data" / "utt2spk", {key: key[:2] for key in ids})
config = """[network]
name = "lstm"
hidden_size = 16
projection_size = 8
num_layers = 2
embedding_dim = 8
[input]
cmvn = "none"
use_vad = false
[batch]
num_speakers = 4
num_utterances = 3
min_frames = 16
max_frames = 24
[optimizer]
learning_rate = 0.02
[trainer]
log_interval = 10
valid_interval = 20
steps = """
(work / "short.toml").write_text(f"{config}60\n")
(work / "long.toml").write_text(f"{config}300\n")
MAKE

sv_train() { # CONFIG EXP
  printf '%s\n' "$clone/bin/sv-train" "$work/data" "$work/$2" --config "$work/$1.toml" --process-timeout 15 --threads 1 --device cpu
}
on_host() { # NAMESPACE RANK CONFIG EXP: torchrun there, in the background, a process group of its own; its log is EXP.RANK.log
  local command
  mapfile -t command < <(sv_train "$3" "$4")
  setsid ip netns exec "$1" python3 -m torch.distributed.run --nnodes 2 --node-rank "$2" --nproc-per-node 1 \
    --master-addr 10.77.0.1 --master-port 29555 --no-python "${command[@]}" >>"$work/$4.$2.log" 2>&1 &
  pids+=($!)
  last_pid=$!
}
both() { # CONFIG EXP
  local first second
  on_host "$a" 0 "$1" "$2"
  first=$last_pid
  on_host "$b" 1 "$1" "$2"
  second=$last_pid
  wait "$first" && wait "$second"
}
largest_difference() { # EXP EXP
  python3 - "$work/$1/model.safetensors" "$work/$2/model.safetensors" <<'COMPARE'
import sys

from safetensors.numpy import load_file

one, two = (load_file(path) for path in sys.argv[1:])
assert one.keys() == two.keys()
print(f"{max(float(abs(one[name] - two[name]).max() / abs(one[name]).max()) for name in one):.2g}")
COMPARE
}

mapfile -t command < <(sv_train short one)
python3 "${command[@]}" >"$work/one.log" 2>&1 || fail "one process"
both short two || fail "two hosts"
grep -q "2 processes" "$work/two.0.log" || fail "it did not run as two processes"
difference=$(largest_difference one two)
say "one process and two hosts: largest difference of a weight, relative, $difference"
python3 -c "import sys; sys.exit(not float(sys.argv[1]) < 1e-5)" "$difference" || fail "more than 1e-5"

both long whole || fail "undisturbed training on two hosts"
say "undisturbed training of 300 steps: done"
on_host "$a" 0 long lost
first=$last_pid
on_host "$b" 1 long lost
second=$last_pid
deadline=$((SECONDS + 120))
until compgen -G "$work/lost/ckpt-*" >/dev/null; do
  [ "$SECONDS" -lt "$deadline" ] || fail "no checkpoint"
  sleep 0.05
done
ip -n "$b" link set wire down
kill -9 -- "-$second"
if wait "$first"; then fail "the training ended well without its second host"; fi
wait "$second" 2>/dev/null || true
[ -e "$work/lost/train.manifest.json" ] && fail "the training was faster than the loss of the host"
say "the other host: $(grep -o 'process [0-9, ?]*of 2 died.*' "$work/lost.0.log" | head -n 1)"
grep -q "process 1 of 2 died" "$work/lost.0.log" || fail "the lost host is not named"
ip -n "$b" link set wire up
both long lost || fail "the resumed training"
say "back: $(grep -o 'resuming after step.*' "$work/lost.0.log" | head -n 1)"
grep -q "resuming after step" "$work/lost.0.log" || fail "it did not resume"
cmp "$work/lost/model.safetensors" "$work/whole/model.safetensors" || fail "other bytes than the undisturbed training"
say "the model of the undisturbed training, to the byte"
say "OK"
