#!/bin/sh
# ends_with.sh <code> <program>: the program ends with that exit code.
set -u
"$2"
ended=$?
[ "$ended" -eq "$1" ] || { echo "$2 ended with $ended, not with $1" >&2; exit 1; }
