#!/bin/sh
# exports.sh <nm> <library> <list>: the library gives exactly the listed names to those who link it, a shared one each with
# the version of the interface.
set -eu
nm=$1
library=$2
list=$3
case $library in
*.a) symbols="$nm --extern-only --defined-only" version= ;;
*) symbols="$nm --dynamic --defined-only --with-symbol-versions" version=@@HOSTCRST_1.0 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$symbols "$library" | awk 'NF == 3 && $2 != "A" { print $3 }' | LC_ALL=C sort >"$work/exported"
sed "s/\$/$version/" "$list" | LC_ALL=C sort >"$work/listed"
if ! diff -u "$work/listed" "$work/exported"; then
    echo "$library exports (+) something else than ctests/exports.txt lists (-)." >&2
    echo "If the change is meant, write the list anew: ./dev header" >&2
    exit 1
fi
