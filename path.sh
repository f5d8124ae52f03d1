# Source this file (`. ./path.sh`) from the top of a clone or from a recipe: puts bin/ and utils/ on PATH,
# makes the clone importable and sorts by bytes, as Kaldi data directories need.
# shellcheck shell=bash
SV_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SV_ROOT
export PATH="$SV_ROOT/bin:$SV_ROOT/utils:$PATH"
export PYTHONPATH="$SV_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export LC_ALL=C
export PYTHONUNBUFFERED=1
export PYTHONUTF8=1
if [ -x "$SV_ROOT/.venv/bin/python3" ]; then
  export PATH="$SV_ROOT/.venv/bin:$PATH" # the environment that `make demo` sets up
  export PATH="$SV_ROOT/bin:$PATH"
fi
