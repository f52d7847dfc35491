#!/bin/sh
# build.sh [OUTPUT]: compiles hostcrst.node with the headers that node has, and hostcrst's by pkg-config.
set -eu
cd "$(dirname "$0")"
headers=$(node -p "require('path').resolve(process.execPath, '../../include/node')")
# shellcheck disable=SC2046 # options, to be split
${CC:-cc} -std=c99 -O2 -Wall -Wextra -shared -fPIC -I"$headers" -o "${1:-hostcrst.node}" hostcrst.c \
    $(pkg-config --cflags --libs hostcrst)
