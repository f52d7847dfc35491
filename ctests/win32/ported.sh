#!/bin/bash
# ported.sh <include folder> <libhostcrst.so> <libhostcrst_win32.so> <folder for downloads>: fetches the source of Wine,
# winpthreads and tinycthread as Debian 12 has them, and runs, on the library,
#   Wine's own checks of critical sections, condition variables, SRW locks, INIT_ONCE and waits on addresses;
#   those of winpthreads' tests that use critical sections, with the threads of glibc;
#   tinycthread as it is for Windows, with the threads and events of WinPR.
# Says "not run" and ends with 77 if one of them cannot be fetched.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../need.sh"
include=$(realpath "$1")
library=$(realpath "$2")
windows_names=$(realpath "$3")
kept=$4
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg

not_run() {
    echo "not run: $*" >&2
    exit 77
}

fetch() { # fetch <package>=<version> <archive> <its sha256>: the archive is in $kept then
    if [ ! -f "$kept/$2" ]; then
        prepare_apt
        (cd "$kept" && apt-get source -qq --download-only --tar-only "$1" >"$kept/apt.log" 2>&1) ||
            not_run "apt-get could not fetch the source of $1: $(tail -n 1 "$kept/apt.log")"
    fi
    echo "$3  $kept/$2" | sha256sum --check --quiet || { rm "$kept/$2"; exit 1; }
}

# With a list of its own: the machine's need not name sources.
prepare_apt() {
    [ -z "${APT_CONFIG:-}" ] || return 0
    want apt-get apt
    want_file $keys debian-archive-keyring
    mkdir -p "$kept/apt/lists/partial" "$kept/apt/cache/archives/partial"
    echo "deb-src [signed-by=$keys] $mirror bookworm main" >"$kept/apt/sources.list"
    cat >"$kept/apt/apt.conf" <<CONFIG
Dir::Etc::SourceList "$kept/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$kept/apt/lists";
Dir::Cache "$kept/apt/cache";
APT::Sandbox::User "root";
CONFIG
    export APT_CONFIG=$kept/apt/apt.conf
    apt-get update -qq >"$kept/apt.log" 2>&1 || not_run "apt-get finds no sources: $(tail -n 1 "$kept/apt.log")"
}

mkdir -p "$kept"
kept=$(realpath "$kept")
need_winpr
want pkg-config pkg-config
fetch wine=8.0~repack-4 wine_8.0~repack.orig.tar.xz 537c6889647a528ee9092b109e65b0fde288ba55d535044907cf168ca6f6e745
fetch mingw-w64=10.0.0-3 mingw-w64_10.0.0.orig.tar.bz2 ba6b430aed72c63a3768531f6a3ffc2b0fde2c57a3b251450dcf489a894f0894
fetch r-cran-later=1.3.0+dfsg-1 r-cran-later_1.3.0+dfsg.orig.tar.xz 3de741f37369df6bf584763150a7f96fcbd2f643f1adbaae5c0e9b09d9277403

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=winpthreads/tests_pthread
tar -xf "$kept/wine_8.0~repack.orig.tar.xz" -C "$work" --strip-components=1 --wildcards '*/dlls/kernel32/tests/sync.c' \
    '*/dlls/ntdll/tests/sync.c' '*/dlls/ntdll/tests/rtl.c'
tar -xf "$kept/mingw-w64_10.0.0.orig.tar.bz2" -C "$work" --strip-components=2 --wildcards "*/$tests/try*.c" "*/$tests/once?.c"
tar -xf "$kept/r-cran-later_1.3.0+dfsg.orig.tar.xz" -C "$work" --strip-components=2 --wildcards '*/src/tinycthread.?' \
    '*/src/badthreads.h'
# What these include, and what we have no need of.
mkdir "$work/include"
echo '#pragma pack(push, 1)' >"$work/include/pshpack1.h"
echo '#pragma pack(pop)' >"$work/include/poppack.h"
printf '%s\n' '#include <assert.h>' '#include <windows.h>' >"$work/$tests/test.h"
touch "$work/include/process.h"

build() { # build <program> <option or source>...: the code of others is not ours to warn of
    cc -w -O1 -g -D_GNU_SOURCE "-I$include" "-I$work/include" "${@:2}" "$library" "-Wl,-rpath,${library%/*}" -lpthread \
        -o "$work/$1.program"
}

run() { # run <program>
    local ended=0
    timeout 120 "$work/$1.program" 2>"$work/log" || ended=$?
    [ "$ended" -eq 0 ] || { echo "$1 ended with $ended:" >&2; cat "$work/log" >&2; exit 1; }
}

# In Wine's a function is called by way of a pointer that was looked up. Its first steps with an SRW lock are left out: there
# one thread releases what another owns, which Windows' documents forbid and the library refuses.
function_in() { # function_in <file> <name>
    sed -n "/^static .* $2(/,/^}/p" "$work/dlls/$1"
}
{
    sed -n '/^static BOOL g_initcallback_ret/,/^static DWORD WINAPI alertable_wait_thread/p' "$work/dlls/kernel32/tests/sync.c" |
        sed '$d'
    function_in kernel32/tests/sync.c test_crit_section
    function_in ntdll/tests/sync.c test_wait_on_address
    function_in ntdll/tests/rtl.c test_RtlInitializeCriticalSectionEx
    function_in ntdll/tests/rtl.c test_RtlLeaveCriticalSection
} | sed -e 's/\<p\(InitOnce\|Sleep\|Wake\|Initialize\|Acquire\|Release\|TryAcquire\|Rtl\|Nt\)/\1/g' \
    -e '/srwlock_base_thread1(/,/^}/{/seq 2 /,/seq 6 /{/seq 6 /!d}}' \
    -e '/srwlock_base_thread2(/,/^}/{/seq 1 /,/seq 5 /{/seq 5 /!d}}' \
    -e 's|^    /\* seq 5 .*|    while (srwlock_seq < 5) Sleep(1);|' \
    -e 's|srwlock_seq = 1; /. go|srwlock_seq = 5; /* go|' >"$work/wine.inc"
build wine "-I$here/ported" "-I$work" "$here/ported/wine.c"
run wine

for name in tryentercs tryentercs2 once2 once3; do
    build "$name" "-I$here/ported" "-I$work/$tests" "$work/$tests/$name.c"
    LD_PRELOAD=$windows_names run "$name" >"$work/said"
    [[ $name == once* ]] || grep -q 'This system SUPPORTS TryEnterCriticalSection' "$work/said" ||
        { echo "$name does not find TryEnterCriticalSection by its name:" >&2; cat "$work/said" >&2; exit 1; }
    echo "winpthreads: $name"
done

# shellcheck disable=SC2046 # the options are several words
build tinycthread -D_TTHREAD_PLATFORM_DEFINED_ -D_TTHREAD_WIN32_ "-I$here/ported/winpr" "-I$work" "$here/ported/tinycthread.c" \
    "$work/tinycthread.c" $(pkg-config --cflags --libs "${winpr##*/}")
run tinycthread
