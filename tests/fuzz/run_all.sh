#!/usr/bin/env bash
# Fuzz the named readers (or all) one after the other: run_all.sh FOLDER SECONDS_EACH [TARGET...]; needs atheris on PYTHONPATH.
# Ends with one line a reader: inputs tried, inputs kept, inputs that broke it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1 seconds=$2
shift 2
(($#)) || mapfile -t all < <(python3 -c "import sys; sys.path[:0] = ['$here', '$here/../..']; from fuzz_targets import TARGETS; print(*TARGETS, sep='\n')")
mkdir -p "$folder"
for target in "$@" "${all[@]:-}"; do
  [[ $target ]] || continue
  status=0
  OMP_NUM_THREADS=1 python3 "$here/fuzz.py" "$target" "$seconds" "$folder" >"$folder/$target.log" 2>&1 || status=$?
  tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log")
  echo "$target: ${tried:-?} inputs tried, $(find "$folder/$target" -type f | wc -l) kept, status $status, $(find "$folder" -maxdepth 1 -name "$target-*" | wc -l) broke it"
done
