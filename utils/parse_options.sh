# Source this file after the options of a script are set, one per line, each with its default and what it is:
#
#   nj=4 # parallel jobs
#   . parse_options.sh
#
# Then `--nj 8` and `--nj=8` set nj, `--foo-bar x` sets foo_bar, `--config FILE` reads `foo_bar=x` lines (they are
# read, not run; the command line wins), and `--help` prints the comment at the head of the script and its options.
# An option that is true or false takes nothing else, one whose default is a whole number takes only such.
# What follows the options stays in "$@".  An error is one sentence on stderr and exit status 2.
# shellcheck shell=bash

_options_script=${BASH_SOURCE[1]:-$0}
_options_given=("$@") # for the record: stages.sh shows it
# name=default lines in front of the line that sources this file
_options_head=$(sed -n '/parse_options\.sh/q; /^[a-z][a-z0-9_]*=/p' "$_options_script")
declare -A _options_default=()
while IFS='=' read -r _name _; do
  if [ -n "$_name" ]; then _options_default[$_name]=${!_name-}; fi
done <<<"$_options_head"

_options_error() {
  printf '%s: error: %s; --help shows all options\n' "${_options_script##*/}" "$1" >&2
  exit 2
}

_options_help() {
  awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$_options_script"
  printf '\nOptions, with their defaults:\n'
  local name value comment line
  while IFS= read -r line; do
    name=${line%%=*}
    value=${_options_default[$name]}
    comment=''
    case $line in *' # '*) comment=${line#* # } ;; esac
    printf '  --%-24s %s\n' "${name//_/-} ${value:-''}" "$comment"
  done <<<"$_options_head"
  printf '  --%-24s %s\n' "config FILE" "read options from FILE, one name=value a line"
}

_options_set() { # NAME as typed, VALUE
  local option=$1 value=$2 name=${1//-/_}
  if [ -z "${_options_default[$name]+known}" ]; then
    local known
    known=$(printf '%s\n' "${!_options_default[@]}" | sort | sed 's/^/--/; s/_/-/g' | paste -sd ' ')
    _options_error "unknown option --$option; known: $known"
  fi
  case ${_options_default[$name]} in
    true | false)
      case $value in
        true | false) ;;
        *) _options_error "--$option needs true or false, got '$value'" ;;
      esac
      ;;
    *[!0-9]*) ;;
    ?*)
      case $name:$value in
        stage:* | stop_stage:*) ;; # stages.sh knows which stages there are
        *: | *:*[!0-9]*) _options_error "--$option needs a whole number, got '$value'" ;;
      esac
      ;;
  esac
  if [ "$name" = cmd ] && [ -z "$value" ]; then _options_error "--cmd needs a job runner, such as run_job"; fi
  printf -v "$name" '%s' "$value"
}

_options_config() { # FILE
  local line number=0
  if [ ! -f "$1" ]; then _options_error "--config: no such file: '$1'"; fi
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    case $line in
      '' | '#'*) ;;
      [a-z]*=*) _options_set "${line%%=*}" "${line#*=}" ;;
      *) _options_error "$1:$number: a name=value line is needed, got '$line'" ;;
    esac
  done <"$1"
}

# The configuration file goes first, wherever it stands, so that the command line wins over it.
_previous=
for _argument in "$@"; do
  if [ "$_previous" = --config ]; then _options_config "$_argument"; fi
  case $_argument in --config=*) _options_config "${_argument#*=}" ;; esac
  _previous=$_argument
done

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      _options_help
      exit 0
      ;;
    --config=*) shift ;;
    --?*=*)
      _argument=${1#--}
      _options_set "${_argument%%=*}" "${_argument#*=}"
      shift
      ;;
    --?*)
      if [ $# -lt 2 ]; then _options_error "$1 needs a value"; fi
      case $2 in --?*) _options_error "$1 needs a value, but the option $2 follows; write $1=$2 if that is the value" ;; esac
      if [ "$1" != --config ]; then _options_set "${1#--}" "$2"; fi
      shift 2
      ;;
    -?*) _options_error "options start with two dashes, got '$1'" ;;
    *) break ;;
  esac
done
