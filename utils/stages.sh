# Source this file after parse_options.sh.  A recipe is a list of
#
#   if should_run 2 "Filter banks"; then
#     need data/train/wav.scp 0
#     job exp/log/fbank.log sv-extract-fbank data/train
#   fi
#
# and --stage, --stop-stage and --skip-stages "3 5" say which of them run.  `need FILE N` ends the recipe with one
# sentence where the file that stage N makes is missing, `refuse MESSAGE` where an option is; `job LOG COMMAND` runs a
# command by way of --cmd, `spread LOG COMMAND` one over utterances as $nj jobs, `noise_to DIR` gets recordings to train with in noise, `evaluate NAME TRIALS SCORES` prints a
# result and adds it to $results.  Titles and times go to stderr; the times also to $exp/stage_times, whose sum
# `wall_time` prints.
# shellcheck shell=bash disable=SC2154

_stages_script=${BASH_SOURCE[1]:-$0}
_stages_known=$(sed -n 's/^ *if should_run \([0-9][0-9]*\) .*/\1/p' "$_stages_script")
_stages_last=$(printf '%s\n' "$_stages_known" | sort -n | tail -n 1)
_stage_running=

_stages_error() {
  printf '%s: error: %s\n' "${_stages_script##*/}" "$2" >&2
  exit "$1"
}

_stage_check() { # OPTION VALUE
  local known
  for known in $_stages_known; do
    if [ "$2" = "$known" ]; then return; fi
  done
  _stages_error 2 "$1 needs a stage from 0 to $_stages_last, got '$2'"
}

_stage_end() { # how it ended
  if [ -n "$_stage_running" ]; then
    local seconds=$((SECONDS - _stage_started))
    printf '== stage %s %s after %s s\n' "$_stage_running" "$1" "$seconds" >&2
    if [ "$1" = "done" ] && [ -n "${exp-}" ]; then
      mkdir -p "$exp"
      printf '%s %s\n' "$_stage_running" "$seconds" >>"$exp/stage_times"
    fi
  fi
  _stage_running=
}

_recipe_end() {
  local status=$?
  if [ "$status" -eq 0 ]; then
    _stage_end "done"
  else
    local folders="--data and --exp"
    if [ -z "${data-}" ]; then folders=--exp; fi
    if [ -n "$_stage_running" ]; then
      printf '%s: where a command asks for --overwrite: remove what it names, or give other folders with %s\n' "${_stages_script##*/}" "$folders" >&2
    fi
    _stage_end "failed (exit $status)"
  fi
}

# should_run N TITLE: true if stage N is asked for; then also closes the stage before it and prints the title.
should_run() {
  local skipped
  _stage_end "done"
  if [ "$1" -lt "$stage" ] || [ "$1" -gt "$stop_stage" ]; then return 1; fi
  for skipped in ${skip_stages-}; do
    if [ "$skipped" = "$1" ]; then return 1; fi
  done
  _stage_running=$1
  _stage_started=$SECONDS
  printf '== stage %s: %s\n' "$1" "$2" >&2
}

# need FILE STAGE: ends the recipe where FILE, which STAGE makes, is missing.
need() {
  if [ ! -e "$1" ]; then _stages_error 1 "$1 is missing: stage $2 makes it (--stage $2)"; fi
}

# refuse MESSAGE: ends the recipe before any work: the command line is wrong.
refuse() {
  _stages_error 2 "$1"
}

# wall_time: seconds that the stages behind $exp took, each counted as it ran last.
wall_time() {
  {
    if [ -f "$exp/stage_times" ]; then cat "$exp/stage_times"; fi
    if [ -n "$_stage_running" ]; then printf '%s %s\n' "$_stage_running" "$((SECONDS - _stage_started))"; fi
  } | awk '{ last[$1] = $2 } END { for (stage in last) sum += last[stage]; print sum + 0 }'
}

# recipe_command: how the recipe was called, for RESULTS.md.
recipe_command() {
  local path
  path=$(cd "$(dirname "$_stages_script")" && pwd)/${_stages_script##*/}
  printf '%s' "${path#"${SV_ROOT:-.}"/}"
  if [ ${#_options_given[@]} -gt 0 ]; then printf ' %q' "${_options_given[@]}"; fi
  printf '\n'
}

# job LOG COMMAND...: runs COMMAND by way of --cmd, which may hold options of the job runner.
job() {
  local runner
  read -ra runner <<<"$cmd"
  "${runner[@]}" "$@"
}

# spread LOG.log COMMAND...: runs a command that works over utterances on $nj processors.  Plain run_job runs it as one job of
# $nj processes.  Any other --cmd, such as "slurm.pl --mem 4G", "slurm_job" or "run_job --max-jobs-run 4", gets an array of
# $nj jobs, one part each, and then the job that joins them.  The bytes are the same.  Where parts fail, the recipe ends;
# the same stage again makes what is missing.
spread() {
  local log=${1%.log}
  shift
  if [ "$cmd" = run_job ]; then
    job "$log.log" "$1" --nj "$nj" "${@:2}"
    return
  fi
  if [ "$1" = sv-train-ivector ]; then job "$log.background.log" "$@" --nj "$nj" --only-background; fi
  job JOB=1:"$nj" "$log.JOB.log" "$@" --nj 1 --part "JOB/$nj"
  job "$log.log" "$@" --join "$nj"
}

# noise_to DIR [OPTION...]: DIR becomes a data directory of the recordings in $noise, by prepare_noise and its options,
# or of noise that is made up where no folder is given.
noise_to() {
  if [ -n "${noise-}" ]; then prepare_noise "${@:2}" "$noise" "$1"; else make_noise "$1"; fi
}

# evaluate NAME TRIALS SCORES [OPTION...]: prints what sv-eval finds under NAME, and adds its row to $results.
evaluate() {
  printf '%s:\n' "$1"
  sv-eval "${@:4}" --results-row "$1" --append-to "$results" --wall-time "$(wall_time)" --command "$(recipe_command)" "$2" "$3"
}

if [ $# -gt 0 ]; then _stages_error 2 "takes options only, got '$1'; --help shows them"; fi
_stage_check --stage "$stage"
_stage_check --stop-stage "$stop_stage"
for _stage_number in ${skip_stages-}; do _stage_check --skip-stages "$_stage_number"; done
if [ "$stage" -gt "$stop_stage" ]; then _stages_error 2 "--stage $stage lies behind --stop-stage $stop_stage: nothing to run"; fi
trap _recipe_end EXIT
