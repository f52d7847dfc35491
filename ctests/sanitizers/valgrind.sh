#!/bin/sh
# valgrind.sh <helgrind|drd> <source directory> <libhostcrst.so> <libhostcrst.a>: with what is shipped for it the tool says
# nothing of a program that uses the locks rightly, with either library, and finds each race of locks.c.
set -eu
. "$(dirname "$0")/../need.sh"
tool=$1 source=$2 shared=$3 static=$4
here=$(cd "$(dirname "$0")" && pwd)

need gcc gcc
need valgrind valgrind
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "valgrind.sh $tool: $*" >&2
    exit 1
}

[ -f /usr/include/valgrind/helgrind.h ] || {
    echo "not run: no headers of Valgrind: apt-get install valgrind"
    exit 77
}
gcc -O2 -shared -fPIC -Wall -Wextra -Werror "$source/share/hostcrst/valgrind.c" -o "$work/hostcrst-valgrind.so"

build() { # build <library>
    gcc -std=c99 -O1 -g "-I$source/include" "$here/locks.c" -o "$work/locks" "$1" "-Wl,-rpath,${1%/*}" -pthread
}

run() { # run <mistake or no-atomics>
    LD_PRELOAD="$work/hostcrst-valgrind.so" valgrind --quiet --error-exitcode=99 "--tool=$tool" \
        "--suppressions=$source/share/hostcrst/hostcrst.supp" "$work/locks" "$1" 2 >"$work/said" 2>&1
}

for library in "$shared" "$static"; do
    build "$library"
    run no-atomics || fail "$library: $(cat "$work/said")"
    [ ! -s "$work/said" ] || fail "$library: $(cat "$work/said")"
done
build "$shared"
for mistake in no-section own-section shared; do
    ended=0
    run $mistake || ended=$?
    [ $ended -eq 99 ] || fail "$mistake: not found: $(cat "$work/said")"
    grep -q 'Possible data race\|Conflicting \(load\|store\)' "$work/said" || fail "$mistake: $(cat "$work/said")"
done
