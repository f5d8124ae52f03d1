# Source this file (`. ./path.sh`) at the top of a clone, or by way of a recipe's own path.sh: puts bin/ and utils/ on
# PATH, makes the clone importable, and sorts by bytes, as Kaldi data directories need.
# shellcheck shell=bash
SV_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SV_ROOT
if [ -x "$SV_ROOT/.venv/bin/python3" ]; then
  export PATH="$SV_ROOT/.venv/bin:$PATH" # the environment that `make` sets up
fi
export PATH="$SV_ROOT/bin:$SV_ROOT/utils:$PATH"
export PYTHONPATH="$SV_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export LC_ALL=C
export PYTHONUTF8=1 # LC_ALL=C would make Python read and write ASCII
export PYTHONUNBUFFERED=1
