#!/bin/sh
# doxygen.sh <source directory>: Doxygen has no complaint about the headers. Writes <source directory>/build/doxygen/html.
set -eu
command -v doxygen >/dev/null || {
    echo "not run: doxygen is missing: apt-get install doxygen"
    exit 77
}
cd "$1"
mkdir -p build/doxygen
doxygen docs/Doxyfile
