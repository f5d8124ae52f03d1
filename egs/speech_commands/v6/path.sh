# Sourced by run.sh: the toolkit on PATH (see path.sh at the top), and where this recipe's own files are.
# shellcheck shell=bash
RECIPE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export RECIPE
# shellcheck source=../../../path.sh
. "$RECIPE/../../../path.sh"
