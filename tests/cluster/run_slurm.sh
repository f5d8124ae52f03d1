#!/usr/bin/env bash
# Stages over utterances under a real Slurm: a cluster of one node, with its own munge, in a temporary folder.
#
#   tests/cluster/run_slurm.sh      as root, with Debian's slurm-wlm and munge; about two minutes
#
# An array of four jobs, one of them killed and requeued while it works, then the join: the bytes of the undivided run.
# Then the same from another folder with `sbatch --export=PATH`, the clone not installed.
set -euo pipefail

for program in slurmctld slurmd munged sbatch; do
  command -v "$program" >/dev/null || { echo "SKIP: $program is not installed (Debian: slurm-wlm munge)"; exit 77; }
done
if [ "$(id -u)" -ne 0 ]; then echo "SKIP: a private Slurm needs root"; exit 77; fi

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d /tmp/slurm.XXXXXX)
chmod 755 "$work"
mkdir -m 755 "$work/munge" "$work/state" "$work/spool" "$work/elsewhere"
export SLURM_CONF=$work/slurm.conf
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
}
trap stop EXIT
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { say "FAILED: $*"; tail -n 5 "$work"/*.log || true; exit 1; }
until_true() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  until "${@:2}"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not within $1 s: ${*:2}"
    sleep 0.05
  done
}

dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 400 "$work/munge/key"
munged --foreground --force --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
  --log-file "$work/munged.log" --seed-file "$work/munge/seed" 2>>"$work/daemons.err" &
pids+=($!)
cat >"$SLURM_CONF" <<CONF
ClusterName=sv
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ReturnToService=2
JobRequeue=1
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
until_true 10 test -S "$work/munge/socket"
slurmctld -D -c 2>>"$work/daemons.err" &
pids+=($!)
slurmd -D -c -N "$(hostname -s)" 2>>"$work/daemons.err" &
pids+=($!)
is_idle() { sinfo --noheader --format=%t 2>/dev/null | grep -q '^idle'; }
until_true 30 is_idle
say "$(sinfo --version): one node, 4 CPUs, idle"

. "$clone/path.sh"
export OMP_NUM_THREADS=1
data=$work/data
python3 - "$data" <<'MAKE'
import sys
from pathlib import Path

import numpy as np
import soundfile

data = Path(sys.argv[1])
data.mkdir()
rng = np.random.default_rng(0)
tables = {"wav.scp": [], "segments": [], "utt2spk": []}
for s in range(8):
    audio = data / f"s{s}.flac"
    soundfile.write(audio, 0.1 * rng.standard_normal(16000 * 400), 16000, subtype="PCM_16")
    tables["wav.scp"].append(f"s{s} {audio}\n")
    for u in range(80):
        tables["segments"].append(f"s{s}-u{u:02d} s{s} {5 * u} {5 * u + 5}\n")
        tables["utt2spk"].append(f"s{s}-u{u:02d} s{s}\n")
for name, lines in tables.items():
    (data / name).write_text("".join(lines))
MAKE
say "data: $(wc -l <"$data/utt2spk") utterances of 5 s"
sv-extract-fbank --nj 2 "$data" "$work/whole" 2>&1 | tail -n 1
digests() { (cd "$1" && find . -type f ! -name '*.log' -print0 | sort -z | xargs -0 sed "s#$1#@#g" | sha256sum); }

say "array of 4 by slurm_job; job 2 is requeued in the middle of its part"
slurm_job --mem 100M JOB=1:4 "$work/log/fbank.JOB.log" sv-extract-fbank "$data" "$work/array" --nj 1 --part JOB/4 &
runner=$!
until_true 60 test -e "$work/array/.feats.partial/0001.json" # the first of the four shards of part 2
array=$(squeue --noheader --array --format=%F | head -n 1)
scontrol requeue "${array}_2" || fail "job 2 had ended before it could be requeued"
shards=$(find "$work/array/.feats.partial" -name '0001.json' -o -name '0005.json' -o -name '0009.json' -o -name '0013.json' | wc -l)
say "requeued ${array}_2 with $shards of its 4 shards done"
[ "$shards" -lt 4 ] || fail "part 2 was faster than the requeue"
until_true 20 sh -c "scontrol show job ${array}_2 | grep -q 'Restarts=1'"
say "$(scontrol show job "${array}_2" | grep -o 'JobState=[A-Z]*\|Reason=[A-Za-z]*\|Restarts=[0-9]*' | tr '\n' ' ')"
if sv-extract-fbank "$data" "$work/array" --join 4 2>"$work/join.err"; then fail "the join did not miss part 2"; fi
say "join too early: $(cat "$work/join.err")"
scontrol update JobId="${array}_2" StartTime=now 2>/dev/null || true # a requeued job waits two minutes otherwise
wait "$runner" || fail "the array failed"
[ "$(grep -c '^# Started' "$work/log/fbank.2.log")" -eq 2 ] || fail "job 2 did not start twice"
say "log of job 2: $(grep -c '^# Started' "$work/log/fbank.2.log") starts, $(tail -n 1 "$work/log/fbank.2.log")"
slurm_job "$work/log/join.log" sv-extract-fbank "$data" "$work/array" --join 4
[ "$(digests "$work/whole")" = "$(digests "$work/array")" ] || fail "other bytes than the undivided run"
say "joined: the bytes of the undivided run, $(wc -l <"$work/array/feats.scp") utterances"

say "from another folder, with --export=PATH alone, the clone not installed"
cd "$work/elsewhere"
export -n PYTHONPATH LC_ALL PYTHONUTF8 PYTHONUNBUFFERED
sbatch --quiet --wait --export=PATH --array=1-4 --output=fbank.%a.log \
  --wrap="sv-extract-fbank $data $work/clone --nj 1 --part \$SLURM_ARRAY_TASK_ID/4" || fail "$(cat fbank.*.log)"
sbatch --quiet --wait --export=PATH --output=join.log --wrap="sv-extract-fbank $data $work/clone --join 4" || fail "$(cat join.log)"
[ "$(digests "$work/whole")" = "$(digests "$work/clone")" ] || fail "other bytes than the undivided run"
say "joined: the bytes of the undivided run"

say "a job that fails is named by slurm_job"
if slurm_job JOB=1:2 "$work/log/bad.JOB.log" sh -c 'echo reason JOB; test JOB = 1' 2>"$work/bad.err"; then fail "its failure was lost"; fi
grep -q "1 of 2 jobs failed; log: $work/log/bad.2.log" "$work/bad.err" || fail "$(cat "$work/bad.err")"
grep -q "reason 2" "$work/bad.err" || fail "$(cat "$work/bad.err")"
say "OK"
