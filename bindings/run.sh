#!/bin/sh
# run.sh NAME LIBRARY WORK: the test of a language, bindings/NAME/test.sh, which runs in that folder and has
#   $library   the path of libhostcrst.so
#   $include   the folder of hostcrst.h
#   $cdef      the path of hostcrst.cdef
#   $work      an empty folder of its own; nothing is written beside the source
#   $source    the root of the source tree
#   want, want_file   as in ctests/need.sh: without that tool the test ends as not run
#   passes, prints, for_pkg_config   see below
# run.sh --not-run: the test of `want`.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/ctests/need.sh"

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

passes() { # passes <command>...: it ends with 0; what it writes is in $work/out
    "$@" >"$work/out" 2>&1 || fail "$* ended with $?: $(cat "$work/out")"
}

prints() { # prints <line> <command>...: the command ends with 0, and writes that line
    line=$1
    shift
    passes "$@"
    grep -qxF -e "$line" "$work/out" || fail "$* did not print '$line': $(cat "$work/out")"
}

for_pkg_config() { # makes pkg-config find the library where it was built, and programs at run time
    folder=$(dirname "$library")
    printf '%s\n' "Name: hostcrst" "Description: as built" "Version: 0" "Cflags: -I$include" "Libs: -L$folder -lhostcrst" \
        >"$work/hostcrst.pc"
    export PKG_CONFIG_PATH="$work" LD_LIBRARY_PATH="$folder"
}

if [ "$1" = --not-run ]; then
    ended=0
    said=$(want no-such-tool no-such-package) || ended=$?
    [ $ended -eq 77 ] || fail "ended with $ended"
    [ "$said" = "not run: no-such-tool is missing: apt-get install no-such-package" ] || fail "said: $said"
    want sh dash
    exit 0
fi

library=$2 work=$3
include=$source/include
# shellcheck disable=SC2034 # for the tests
cdef=$source/share/hostcrst/hostcrst.cdef
rm -rf "$work"
mkdir -p "$work"
# The tests count on the defaults.
unset HOSTCRST_ON_DEADLOCK HOSTCRST_HOLDS HOSTCRST_ORDER HOSTCRST_REPORT
cd "$source/bindings/$1"
. ./test.sh
