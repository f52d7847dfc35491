#!/bin/sh
# trace.sh <program>: what trace.c prints here is what it printed under Wine, but for LockCount, which Wine
# counts as Windows XP did; and LockCount is what Windows documents since Server 2003 SP1. ./dev check
# win32-oracle asks Wine anew.
set -eu
recorded=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" >"$work/here"
grep -v '^LockCount' "$work/here" >"$work/results"
grep -v '^LockCount' "$recorded/trace.wine" >"$work/expected"
diff -u "$work/expected" "$work/results"
diff -u "$recorded/trace.linux" "$work/here"
echo "$(wc -l <"$work/results") results are the same as under Wine; LockCount, here and there:"
grep -h '^LockCount' "$work/here" | paste -sd' ' | sed 's/LockCount //g'
grep -h '^LockCount' "$recorded/trace.wine" | paste -sd' ' | sed 's/LockCount //g'
