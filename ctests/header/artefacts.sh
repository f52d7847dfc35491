#!/bin/sh
# artefacts.sh <libhostcrst.so> <libhostcrst_win32.so>...: how the shared libraries are linked: bound at load and read-only
# from then on, nothing to relocate in code, no executable stack, nothing needed but the C library. Prints the size that
# each has when it is stripped, with what it is made of; one that has grown beyond all reason fails.
set -eu
. "$(dirname "$0")/../need.sh"
need readelf binutils
need strip binutils
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "artefacts.sh: $*" >&2
    exit 1
}

# What libhostcrst.so has today; docs/release.md says what it consists of.
most_kib=412

for library; do
    name=$(basename "$library")
    readelf -dW "$library" >"$work/dynamic"
    readelf -lW "$library" >"$work/segments"
    grep -q GNU_RELRO "$work/segments" || fail "$name has no RELRO"
    grep -qE 'BIND_NOW|FLAGS_1.*NOW' "$work/dynamic" || fail "$name is bound lazily: its RELRO is partial"
    ! grep -q TEXTREL "$work/dynamic" || fail "$name relocates code"
    grep -q 'GNU_STACK.* RW ' "$work/segments" || fail "$name asks for an executable stack"
    needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | grep -vE '^(libc\.so|ld-linux|libhostcrst\.so)' || true)
    [ -z "$needed" ] || fail "$name needs $needed"
    strip -o "$work/stripped" "$library"
    kib=$(($(stat -c %s "$work/stripped") / 1024))
    echo "$name, stripped: $kib KiB"
    readelf -SW "$work/stripped" | sed 's/^ *\[ *[0-9]*\]//' | while read -r section type _ _ size _; do
        [ "$type" != NOBITS ] && [ $((0x0${size%%[!0-9a-f]*})) -ge 2048 ] || continue
        echo "    $((0x$size / 1024)) KiB $section"
    done
    [ "$kib" -le "$most_kib" ] || fail "$name has more than $most_kib KiB: what has become so large?"
done
