#!/bin/bash
# package.sh <test> <argument>...: one function below per test. $WORK is the test's own folder, made anew;
# $CMAKE, $CC and $CXX are the tools of the build that the test belongs to; $SONAME is what the shared library has.
set -eu -o pipefail
. "$(dirname "$0")/../need.sh"
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "package: $*" >&2
    exit 1
}

quietly() { # runs a command, whose output is shown only if it fails
    "$@" >"$WORK/log" 2>&1 || {
        cat "$WORK/log" >&2
        fail "failed: $*"
    }
}

library_directory() { # library_directory <prefix>
    dirname "$(find "$1" -name libhostcrst.a)"
}

cxx_of() { # cxx_of <gcc|clang>
    case $1 in
    gcc) echo g++ ;;
    clang) echo clang++ ;;
    esac
}

build_consumer() { # build_consumer <generator> <gcc|clang> <cmake option>...
    [ "$1" != Ninja ] || need ninja ninja-build
    [ "$1" != "Unix Makefiles" ] || need make make
    need "$2" "$2"
    rm -rf "$WORK/build"
    quietly "$CMAKE" -S "$here/consumer" -B "$WORK/build" -G "$1" \
        "-DCMAKE_C_COMPILER=$2" "-DCMAKE_CXX_COMPILER=$(cxx_of "$2")" "${@:3}"
    quietly "$CMAKE" --build "$WORK/build"
}

# Both compilers, and both libraries that hostcrst::hostcrst can be. Make, which differs in neither, has the second only.
all_consumers() { # all_consumers <generator> <cmake option>...
    if [ "$1" = Ninja ]; then
        build_consumer "$1" clang "${@:2}"
        check_consumer shared
    fi
    build_consumer "$1" gcc "${@:2}" -DBUILD_SHARED_LIBS=OFF
    check_consumer static
}

# Runs each program of the consumer; the shared ones need the library by its SONAME, the static ones do not need it.
check_consumer() { # check_consumer <kind that hostcrst::hostcrst is>
    local program needed programs=("$WORK"/build/use_c*)
    "$WORK/build/use_win32" || fail "use_win32 failed"
    # Nine standards for three kinds, two languages for the four others.
    [ ${#programs[@]} -eq 35 ] || fail "not 35 programs: ${programs[*]}"
    for program in "${programs[@]}"; do
        "$program" >/dev/null || fail "$program failed"
        needed=$(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(libhostcrst.*\)\].*/\1/p')
        case ${program/_hostcrst/_$1} in
        *_shared*) [ "$needed" = "$SONAME" ] || fail "$program needs '$needed', not $SONAME" ;;
        *) [ -z "$needed" ] || fail "$program is static and needs $needed" ;;
        esac
    done
    is_static_pie "$WORK/build/use_c11_static_pie"
}

is_static_pie() { # is_static_pie <program>: it asks for no other program to load it, and can be anywhere
    readelf -hW "$1" | grep -q "Type: *DYN" || fail "$1 has a fixed address"
    ! readelf -lW "$1" | grep -q INTERP || fail "$1 is not static"
}

install() { # install <build folder> <prefix> <version>
    rm -rf "$2" "$2-moved"
    quietly "$CMAKE" --install "$1" --prefix "$2"
    local lib file
    lib=$(library_directory "$2")
    for file in libhostcrst.so "$SONAME"; do
        [ "$(readlink "$lib/$file")" = "libhostcrst.so.$3" ] || fail "$file is no link to libhostcrst.so.$3"
    done
    [ -x "$lib/libhostcrst.so.$3" ] || fail "libhostcrst.so.$3 is missing or not executable"
    readelf -d "$lib/libhostcrst.so" | grep -q "SONAME.*\[$SONAME\]" || fail "the SONAME is not $SONAME"
    for file in include/hostcrst.h include/hostcrst.hpp include/hostcrst/win32.h include/hostcrst/tsan_win32.h \
        share/hostcrst/hostcrst.cdef share/hostcrst/hostcrst.supp share/hostcrst/valgrind.c share/hostcrst/report.schema.json \
        share/man/man1/hostcrst-dump.1 share/man/man3/hostcrst.3 share/doc/hostcrst/README.md share/doc/hostcrst/docs/deadlocks.md \
        share/doc/hostcrst/LICENSE-MIT share/doc/hostcrst/LICENSE-APACHE; do
        [ -f "$2/$file" ] || fail "$file is not installed"
    done
    file=$(find "$2/share/doc/hostcrst" -name '*.md' -exec "$here/dead_links.sh" {} +) || fail "links lead nowhere: $file"
    # What uses the library takes it from here. gdb, which goes by the path that a library was installed at, does not.
    cp -a "$2" "$2-moved"
    if grep -rIl --fixed-strings "$2" "$2-moved"; then
        fail "these installed files name the prefix"
    fi
}

find_package() { # find_package <generator> <prefix>
    all_consumers "$1" "-DCMAKE_PREFIX_PATH=$2"
    grep -q "hostcrst_DIR:PATH=$2" "$WORK/build/CMakeCache.txt" || fail "the consumer found another hostcrst"
}

# What was built with BUILD_SHARED_LIBS=OFF is static for who finds it and does not say what to link.
static_by_default() { # static_by_default <source tree> <cargo's folder>
    quietly "$CMAKE" -S "$1" -B "$WORK/library" "-DCMAKE_C_COMPILER=$CC" "-DHOSTCRST_CARGO_TARGET_DIR=$2" \
        -DHOSTCRST_OFFLINE=ON -DBUILD_SHARED_LIBS=OFF
    quietly "$CMAKE" --build "$WORK/library"
    quietly "$CMAKE" --install "$WORK/library" --prefix "$WORK/prefix"
    links "" && links "$SONAME" -DBUILD_SHARED_LIBS=ON && links "" -DBUILD_SHARED_LIBS=OFF
}

links() { # links <library that a program needs> <cmake option>...
    local needed
    rm -rf "$WORK/build"
    quietly "$CMAKE" -S "$here/../../packaging/conan/test_package" -B "$WORK/build" "-DCMAKE_C_COMPILER=$CC" \
        "-DCMAKE_PREFIX_PATH=$WORK/prefix" "${@:2}"
    quietly "$CMAKE" --build "$WORK/build"
    "$WORK/build/use" >/dev/null || fail "the program failed"
    needed=$(readelf -d "$WORK/build/use" | sed -n 's/.*(NEEDED).*\[\(libhostcrst.*\)\].*/\1/p')
    [ "$needed" = "$1" ] || fail "with ${*:2} it needs '$needed', not '$1'"
}

moved() { # moved <prefix>
    local moved="$WORK/moved prefix"
    cp -a "$1" "$moved"
    build_consumer Ninja gcc "-DCMAKE_PREFIX_PATH=$moved"
    check_consumer shared
}

subdirectory() { # subdirectory <generator> <source tree> <cargo's folder>
    all_consumers "$1" "-DHOSTCRST_SOURCE=$2" "-DHOSTCRST_CARGO_TARGET_DIR=$3" -DHOSTCRST_OFFLINE=ON
    quietly "$CMAKE" --install "$WORK/build" --prefix "$WORK/prefix"
    [ "$(ls "$WORK/prefix")" = bin ] || fail "the consumer's install also installs hostcrst"
    [ ! -e "$WORK/build/hostcrst/ctests" ] || fail "the consumer also builds the tests of hostcrst"
}

# Installed with the library beside it, and told where that is, as README.md says.
fetch_content() { # fetch_content <generator> <source tree> <cargo's folder>
    all_consumers "$1" "-DHOSTCRST_SOURCE=$2" "-DHOSTCRST_CARGO_TARGET_DIR=$3" -DHOSTCRST_OFFLINE=ON -DHOSTCRST_FETCH=ON \
        -DHOSTCRST_INSTALL=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN/../lib" -DCMAKE_INSTALL_LIBDIR=lib
    quietly "$CMAKE" --install "$WORK/build" --prefix "$WORK/prefix"
    mv "$WORK/prefix" "$WORK/elsewhere"
    rm -rf "$WORK/build"
    "$WORK/elsewhere/bin/use_win32" || fail "the installed program failed"
}

# What was installed is removed, with the folders that only hostcrst has; what else is there stays, whatever the prefix is called.
uninstall() { # uninstall <build folder>
    local manifest=$WORK/install_manifest.txt prefix="$WORK/hostcrst/prefix [1]" folder
    quietly "$CMAKE" --install "$1" --prefix "$prefix"
    cp "$1/install_manifest.txt" "$manifest"
    [ "$(wc -l <"$manifest")" -gt 15 ] || fail "the manifest is short"
    touch "$prefix/share/doc/hostcrst/a-note" "$prefix/include/other.h"
    quietly "$CMAKE" --build "$1" --target uninstall
    [ "$(cd "$prefix" && find . -type f -o -type l | sort | xargs)" = "./include/other.h ./share/doc/hostcrst/a-note" ] ||
        fail "this is left: $(find "$prefix" -type f -o -type l)"
    folder=$(cd "$prefix" && find . -name '*hostcrst*' -o -name 'auto-load' -o -path '*/doc/hostcrst/*' | sort | xargs)
    [ "$folder" = "./share/doc/hostcrst ./share/doc/hostcrst/a-note" ] || fail "this is left: $folder"
    for folder in bin lib/pkgconfig lib/cmake share/man; do
        [ -n "$(cd "$prefix" && find . -path "./${folder/lib/lib*}" -type d)" ] || fail "$folder, which others may use, is gone"
    done
    ! "$CMAKE" --build "$1" --target uninstall >"$WORK/log" 2>&1 || fail "it uninstalls twice"
    tr -s ' \n' ' ' <"$WORK/log" | grep -q "nothing was installed" || fail "this does not say so: $(cat "$WORK/log")"
}

# A prefix that cannot be written is refused before anything is copied.
not_writable() { # not_writable <build folder> <source tree>
    touch "$WORK/file"
    ! "$CMAKE" --install "$1" --prefix "$WORK/file/prefix" >"$WORK/log" 2>&1 || fail "it installs below a file"
    tr -s ' \n' ' ' <"$WORK/log" | grep -q "nothing was installed" || fail "this does not say so: $(cat "$WORK/log")"
    ! grep -q "Installing" "$WORK/log" || fail "something was copied before: $(cat "$WORK/log")"
    mkdir "$WORK/closed"
    chmod 555 "$WORK/closed"
    local as=()
    [ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=65534 --clear-groups)
    local script
    script=$(mktemp --suffix=.cmake)
    cp "$2/cmake/writable.cmake" "$script"
    chmod 644 "$script"
    local closed
    closed=$(mktemp -d)
    chmod 555 "$closed"
    ! "${as[@]}" "$CMAKE" "-DCMAKE_INSTALL_PREFIX=$closed/prefix" -P "$script" >"$WORK/log" 2>&1 ||
        fail "a folder of another user is taken"
    tr -s ' \n' ' ' <"$WORK/log" | grep -q "nothing was installed" || fail "this does not say so: $(cat "$WORK/log")"
    rm -rf "$closed" "$script"
}

# The lines of README.md from a clone to a program that runs, in a fresh folder; how long they take is printed.
first_program() { # first_program <source tree>
    sed -n '/^## Installing$/,/^```$/p' "$1/README.md" | sed -n '/^```sh$/,/^```$/p' | sed '1d;$d' >"$WORK/lines"
    [ "$(wc -l <"$WORK/lines")" -eq 5 ] || fail "README.md does not have five lines: $(cat "$WORK/lines")"
    sed -i "s|https://[^ ]*|\"$1\"|" "$WORK/lines"
    export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup} CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} HOME=$WORK/home
    local began=$EPOCHREALTIME
    (cd "$WORK" && quietly bash -eu -o pipefail "$WORK/lines")
    echo "From a clone to the first program: $(echo "$EPOCHREALTIME $began" | awk '{ printf "%.0f", $1 - $2 }') seconds"
    grep -q "^restock: " "$WORK/log" || fail "the program did not run: $(cat "$WORK/log")"
}

# The manual pages are well-formed, and name every function, every option and every exit code.
manual() { # manual <source tree> <hostcrst-dump>
    need groff groff
    local page word
    for page in "$1"/docs/man/*; do
        [ -z "$(groff -man -ww -z -Tutf8 "$page" 2>&1)" ] || fail "groff complains of $page"
    done
    while read -r word; do
        grep -qF " $word" "$1/docs/man/hostcrst.3" || fail "hostcrst(3) does not have: $word"
    done < <(grep -E '^(int32_t|const char)' "$1/share/hostcrst/hostcrst.cdef")
    while read -r word; do
        grep -qx -e ".B $word" "$1/docs/man/hostcrst.3" || fail "hostcrst(3) does not have the variable $word"
    done < <(sed -n 's/^| `\(HOSTCRST_[A-Z_]*\)` .*/\1/p' "$1/docs/environment.md")
    "$2" --help >"$WORK/help"
    sed 's/\\-/-/g' "$1/docs/man/hostcrst-dump.1" >"$WORK/page"
    while read -r word; do
        grep -qF -e "$word" "$WORK/page" || fail "hostcrst-dump(1) does not have $word"
    done < <(grep -oE -e '--[a-z]+' "$WORK/help" | sort -u)
    while read -r word; do
        grep -qx -e ".B $word" "$WORK/page" || fail "hostcrst-dump(1) does not have the exit code $word"
    done < <(sed -n 's/^  \([0-9]\)  .*/\1/p' "$WORK/help")
}

# What a packager does: the release archive, built without network from exactly the crates that its lock file names, with
# compiler flags of their own.
archive() { # archive <source tree> <the exported names>
    quietly "$1/scripts/release-archive" "$WORK/one"
    quietly "$1/scripts/release-archive" "$WORK/two"
    cmp "$WORK"/one/*.tar.gz "$WORK"/two/*.tar.gz || fail "two archives of one tree differ"
    mkdir "$WORK/source" "$WORK/cargo"
    tar -xzf "$WORK"/one/*.tar.gz -C "$WORK/source" --strip-components=1
    local source=$WORK/source crate
    quietly cargo vendor --locked --offline --manifest-path "$source/Cargo.toml" "$WORK/vendor"
    for crate in cbindgen clap gimli loom proptest shuttle; do
        [ ! -e "$WORK/vendor/$crate" ] || fail "the library asks for $crate"
    done
    # With network: nothing else here has a need of the crates that the tool would have on Windows.
    quietly cargo vendor --locked --manifest-path "$source/Cargo.toml" \
        --sync "$source/tools/hostcrst-dump/Cargo.toml" "$WORK/vendor"
    # Nor does it compile cbindgen where development goes on: it is asked for without the features that are on there.
    CARGO=echo "$1/scripts/c-library" "$WORK/c" >"$WORK/log" 2>&1 || true # nothing is there to be linked
    grep -q -e " --no-default-features --features capi " "$WORK/log" || fail "c-library: other features: $(cat "$WORK/log")"
    quietly cargo tree --locked --offline --manifest-path "$1/Cargo.toml" --edges normal,build \
        --no-default-features --features capi
    grep -q "crossbeam-utils" "$WORK/log" || fail "these are not the library's crates: $(cat "$WORK/log")"
    ! grep cbindgen "$WORK/log" || fail "the feature capi brings cbindgen"
    printf '[source.crates-io]\nreplace-with = "vendor"\n[source.vendor]\ndirectory = "%s"\n' "$WORK/vendor" \
        >"$WORK/cargo/config.toml"
    export CARGO_HOME=$WORK/cargo RUSTFLAGS="-C debuginfo=1"
    quietly "$CMAKE" -S "$source" -B "$WORK/build" "-DCMAKE_C_COMPILER=$CC" -DHOSTCRST_OFFLINE=ON \
        -DHOSTCRST_BUILD_DUMP=OFF
    quietly "$CMAKE" --build "$WORK/build"
    quietly "$CMAKE" --install "$WORK/build" --prefix "$WORK/prefix"
    functions_begin_cache_lines "$WORK/prefix" "$2"
    # The tool without optimisation, which takes most of the time of its release build, and with nothing for a debugger.
    RUSTFLAGS="-C debuginfo=0 -C opt-level=0" CARGO_TARGET_DIR=$WORK/tool quietly cargo build --locked --offline --manifest-path "$source/tools/hostcrst-dump/Cargo.toml"
    "$WORK/tool/debug/hostcrst-dump" --version >/dev/null || fail "hostcrst-dump does not run"
    [ ! -e "$WORK/build/ctests" ] || fail "the tests are built unasked"

    rm "$source/include/hostcrst.h"
    ! "$CMAKE" --build "$WORK/build" >"$WORK/log" 2>&1 || fail "the library is built without its header"
    grep -q "^ *hostcrst: include/hostcrst.h cannot be read" "$WORK/log" || fail "this does not say so: $(cat "$WORK/log")"
}

functions_begin_cache_lines() { # functions_begin_cache_lines <prefix> <the exported names>
    local found=0 value name
    while read -r value name; do
        grep -qx "$name" "$2" || continue
        found=$((found + 1))
        [ $((0x$value % 64)) -eq 0 ] || fail "$name begins at 0x$value, within a cache line"
    done < <(readelf --dyn-syms --wide "$(library_directory "$1")/libhostcrst.so" |
        awk '$4 == "FUNC" { sub("@.*", "", $8); print $2, $8 }')
    [ "$found" -ge 40 ] || fail "only $found functions are exported"
}

pkg_config() { # pkg_config <prefix>
    need pkg-config pkg-config
    local lib
    lib=$(library_directory "$1")
    export PKG_CONFIG_PATH=$lib/pkgconfig
    # shellcheck disable=SC2046 # options, to be split
    quietly "$CC" "$here/consumer/use.c" -o "$WORK/shared" $(pkg-config --cflags --libs hostcrst)
    LD_LIBRARY_PATH=$lib "$WORK/shared" >/dev/null || fail "the shared program failed"
    # shellcheck disable=SC2046
    quietly "$CC" -static "$here/consumer/use.c" -o "$WORK/static" $(pkg-config --cflags --static --libs hostcrst)
    "$WORK/static" >/dev/null || fail "the static program failed"
    [ "$(pkg-config --modversion hostcrst)" = "$("$WORK/static")" ] || fail "hostcrst.pc has another version"
    # All that a program linked with the archive needs is in Libs.private.
    local libraries
    libraries=$(pkg-config --static --libs-only-l hostcrst)
    # shellcheck disable=SC2086
    quietly "$CC" -nodefaultlibs "$here/consumer/use.c" -o "$WORK/nothing_else" \
        "-I$1/include" "$lib/libhostcrst.a" ${libraries/-lhostcrst/} -lgcc
}

# What `cargo cinstall` of cargo-c installs, where that is there; and that programs are built and run with it.
# The recipe for Conan: it builds, packages, and runs a program that finds the package.
conan_recipe() { # conan_recipe <source tree> <cargo's folder> <version> <folder of conan, if ./dev test has fetched it>
    [ ! -d "$4" ] || export PATH=$4/bin:$PATH PYTHONPATH=$4
    want conan "pipx, then: pipx install conan"
    export CONAN_HOME=$WORK/home
    quietly conan profile detect
    quietly conan create "$1/packaging/conan" \
        -c "tools.cmake.cmaketoolchain:extra_variables={'HOSTCRST_CARGO_TARGET_DIR': '$2'}"
    grep -qx "$3" "$WORK/log" || fail "the program did not run: $(cat "$WORK/log")"
}

cargo_c() { # cargo_c <source tree> <cargo's folder> <the exported names> <version>
    want cargo-cinstall "build-essential libssl-dev, then: cargo install --locked cargo-c"
    need pkg-config pkg-config
    local lib=$WORK/prefix/lib file library
    (cd "$1" && CARGO_TARGET_DIR=$2 quietly cargo cinstall --locked --offline --release --no-default-features \
        --prefix "$WORK/prefix" --libdir "$lib")
    for file in "$1"/include/*.h* "$1"/include/hostcrst/*; do
        cmp "$file" "$WORK/prefix/${file#"$1"/}" || fail "$file is not installed"
    done
    library=$lib/libhostcrst.so.$4
    for file in libhostcrst.so "$SONAME"; do
        [ "$(readlink "$lib/$file")" = "libhostcrst.so.$4" ] || fail "$file is no link to libhostcrst.so.$4"
    done
    readelf -dW "$library" >"$WORK/dynamic"
    for file in "SONAME.*\[$SONAME\]" NODELETE BIND_NOW; do
        grep -q "$file" "$WORK/dynamic" || fail "no $file: $(cat "$WORK/dynamic")"
    done
    readelf --dyn-syms --wide "$library" | awk '$5 == "GLOBAL" && $7 != "UND" { print $8 }' | LC_ALL=C sort |
        diff - "$3" || fail "it exports (<) something else than is listed"
    export PKG_CONFIG_PATH=$lib/pkgconfig
    # shellcheck disable=SC2046 # options, to be split
    quietly "$CC" "$here/consumer/use.c" -o "$WORK/shared" $(pkg-config --cflags --libs hostcrst)
    # shellcheck disable=SC2046
    quietly "$CXX" -static "$here/consumer/use.cpp" -o "$WORK/static" $(pkg-config --static --cflags --libs hostcrst)
    [ "$(LD_LIBRARY_PATH=$lib "$WORK/shared")" = "$4" ] || fail "the shared program failed"
    [ "$("$WORK/static")" = "$(pkg-config --modversion hostcrst)" ] || fail "the static program failed"
}

# As vcpkg, auditwheel and Nix change a library that was linked: its notes and names are somewhere else then.
patched() { # patched <prefix> <the program of copies.c>
    need patchelf patchelf
    local lib
    lib=$(library_directory "$1")
    mkdir "$WORK/lib"
    cp "$lib/$SONAME" "$WORK/lib"
    quietly patchelf --set-rpath "\$ORIGIN" "$WORK/lib/$SONAME"
    [ "$(note_address "$lib/$SONAME")" != "$(note_address "$WORK/lib/$SONAME")" ] || fail "patchelf has left the note in its place"
    quietly "$CC" "-I$1/include" "$here/consumer/use.c" -o "$WORK/use" "$WORK/lib/$SONAME"
    export LD_LIBRARY_PATH=$WORK/lib
    quietly "$WORK/use"
    quietly "$2"
}

note_address() { # note_address <library>
    readelf -SW "$1" | sed -n 's/.* .note.hostcrst *NOTE *\([0-9a-f]*\) .*/\1/p'
}

two_rust_archives() { # two_rust_archives <prefix>
    local lib
    lib=$(library_directory "$1")
    quietly rustc --edition 2024 --crate-type staticlib -C panic=abort -o "$WORK/libother.a" "$here/other.rs"
    quietly "$CC" "-I$1/include" "$here/two.c" -o "$WORK/two" \
        -Wl,--whole-archive "$lib/libhostcrst.a" "$WORK/libother.a" -Wl,--no-whole-archive -lpthread -ldl -lm -lgcc_s
    "$WORK/two" || fail "the program with two Rust libraries failed"
}

# The first C example of the README compiles without a warning and runs to a successful end.
readme() { # readme <README.md> <prefix>
    local lib
    lib=$(library_directory "$2")
    [ -f "$1" ] || fail "there is no $1"
    awk '/^```c$/ { inside = 1; next } /^```/ && inside { exit } inside' "$1" >"$WORK/example.c"
    [ -s "$WORK/example.c" ] || fail "README.md has no C example (a block that begins with \`\`\`c)"
    quietly "$CC" -std=c99 -Wall -Wextra -Wpedantic -Werror -pthread \
        "$WORK/example.c" -o "$WORK/example" "-I$2/include" "-L$lib" -lhostcrst
    LD_LIBRARY_PATH=$lib "$WORK/example" >"$WORK/output" || {
        cat "$WORK/output" >&2
        fail "the example ended with $?"
    }
}

# What README.md shows of a deadlock is what hostcrst-dump says of examples/deadlock.c, but for numbers and the order of
# lines, which differ from run to run. Without a policy the example ends well.
readme_deadlock() { # readme_deadlock <source tree> <prefix> <hostcrst-dump>
    hang "$@"
    "$WORK/deadlock" >"$WORK/refused" || fail "the example ended with $?"
    [ "$(grep -c ": success$" "$WORK/refused")" -eq 1 ] || fail "not one wait is refused: $(cat "$WORK/refused")"
    what_a_deadlock_is_told_as "$1/README.md" >"$WORK/shown"
    what_a_deadlock_is_told_as "$WORK/report" >"$WORK/said"
    [ -s "$WORK/shown" ] || fail "README.md shows no deadlock"
    diff -u "$WORK/shown" "$WORK/said" || fail "README.md shows something else than the tool says"
}

# Every standard of the two languages with both compilers; and each of those with the shared library and the static one, all
# static, at any address, and with link-time optimisation.
languages() { # languages <prefix>
    need pkg-config pkg-config
    local compiler standard lib
    lib=$(library_directory "$1")
    export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
    for compiler in gcc clang; do
        need $compiler $compiler
        for standard in c99 c11 c17 c2x c++11 c++14 c++17 c++20 c++2b; do
            program_runs shared
            program_runs archive
            program_runs static -static
            program_runs static -static-pie -fPIE
            is_static_pie "$WORK/program"
            program_runs shared -O2 -flto
            program_runs static -O2 -flto -static
        done
    done
    echo "$programs programs ran"
}

programs=0
program_runs() { # program_runs <shared|archive|static> <option>...: of $compiler, as $standard
    local how=$1 with=$compiler file=use.c libraries=() flags
    case $standard in
    c++*) with=$(cxx_of "$compiler") file=use.cpp ;;
    esac
    case $how in
    shared) read -ra libraries < <(pkg-config --libs hostcrst) ;;
    static) read -ra libraries < <(pkg-config --static --libs hostcrst) ;;
    # The one of the two libraries that -lhostcrst would not take.
    archive) libraries=("$lib/libhostcrst.a") ;;
    esac
    read -ra flags < <(pkg-config --cflags hostcrst)
    quietly "$with" "-std=$standard" -Wall -Wextra -Wpedantic -Werror "${@:2}" "${flags[@]}" "$here/consumer/$file" \
        -o "$WORK/program" "${libraries[@]}"
    "$WORK/program" >/dev/null || fail "the program of $with -std=$standard $* does not run"
    programs=$((programs + 1))
}

meson_project() { # meson_project <prefix>
    need meson meson
    need ninja ninja-build
    local compiler lib
    lib=$(library_directory "$1")
    export LD_LIBRARY_PATH=$lib
    for compiler in gcc clang; do
        need $compiler $compiler
        CC=$compiler CXX=$(cxx_of $compiler) quietly meson setup --pkg-config-path "$lib/pkgconfig" "$WORK/$compiler" "$here/consumer"
        quietly meson test -C "$WORK/$compiler"
        is_static_pie "$WORK/$compiler/use_static_pie_c11"
    done
    # With link-time optimisation.
    quietly meson configure -Db_lto=true "$WORK/gcc"
    quietly meson test -C "$WORK/gcc"
}

# examples/deadlock.c hangs, as process $hung; what hostcrst-dump says of it is in a file.
hang() { # hang <source tree> <prefix> <hostcrst-dump>
    local lib seen=0 deadline=$((SECONDS + 60))
    lib=$(library_directory "$2")
    quietly "$CC" -g -std=c99 -Wall -Wextra -Wpedantic -Werror -pthread "$1/examples/deadlock.c" -o "$WORK/deadlock" \
        "-I$2/include" "-L$lib" -lhostcrst
    export LD_LIBRARY_PATH=$lib
    HOSTCRST_HOLDS=1 HOSTCRST_ON_DEADLOCK=report "$WORK/deadlock" 2>/dev/null &
    hung=$!
    trap 'kill -9 $hung' EXIT
    while [ $seen -ne 2 ] && [ $SECONDS -lt $deadline ]; do
        seen=0
        "$3" $hung >"$WORK/report" 2>"$WORK/log" || seen=$?
    done
    [ $seen -eq 2 ] || fail "hostcrst-dump found no deadlock: $(cat "$WORK/log")"
}

# The commands that CONTRIBUTING.md gives gdb: the owner's id that they read from a lock word is that of the task that they
# name beside it.
contributing_gdb() { # contributing_gdb <source tree> <prefix> <hostcrst-dump>
    need gdb gdb
    hang "$@"
    sed -n '/^```gdb$/,/^```$/p' "$1/CONTRIBUTING.md" | sed '1d;$d' >"$WORK/commands"
    [ -s "$WORK/commands" ] || fail "CONTRIBUTING.md has no commands for gdb"
    (cd "$1" && gdb --quiet --nx --batch --pid $hung -x "$WORK/commands") >"$WORK/said" 2>"$WORK/log" ||
        fail "gdb ended with $?: $(cat "$WORK/log")"
    local owner
    owner=$(grep -x "0x[0-9a-f]*" "$WORK/said") || fail "gdb shows no owner: $(cat "$WORK/said" "$WORK/log")"
    grep -q "'$owner': '\"restock\"" "$WORK/said" || fail "the owner is $owner: $(cat "$WORK/said")"
}

# The Debian packages: what is in each, that they install and are removed, and that a program is built and runs with them.
debian() { # debian <source tree> <cargo's folder> <version>
    need dpkg-deb dpkg
    need cpack cmake
    quietly "$CMAKE" -S "$1" -B "$WORK/build" "-DCMAKE_C_COMPILER=$CC" "-DHOSTCRST_CARGO_TARGET_DIR=$2" \
        -DHOSTCRST_OFFLINE=ON -DHOSTCRST_BUILD_DUMP=ON -DCMAKE_INSTALL_PREFIX=/usr
    quietly "$CMAKE" --build "$WORK/build"
    (cd "$WORK" && quietly cpack --config "$WORK/build/CPackConfig.cmake" -B "$WORK/packages")
    local packages=("$WORK"/packages/*.deb) package root=$WORK/root lib
    [ ${#packages[@]} -eq 3 ] || fail "not three packages: ${packages[*]}"
    for package in libhostcrst0 libhostcrst-dev hostcrst-tools; do
        [ "$(dpkg-deb --field "$WORK/packages/${package}_$3"_*.deb Version)" = "$3" ] || fail "$package has another version"
    done
    dpkg-deb --ctrl-tarfile "$WORK/packages/libhostcrst0"_*.deb | tar -xO ./symbols >"$WORK/symbols"
    grep -qx ' hostcrst_enter@HOSTCRST_1.0 0.1.0' "$WORK/symbols" || fail "no version of hostcrst_enter: $(cat "$WORK/symbols")"
    into_root
    lib=$(library_directory "$root/usr")
    [ -f "$root/usr/share/gdb/auto-load${lib#"$root"}/libhostcrst.so.$3-gdb.py" ] || fail "gdb would not find its script"
    [ -f "$root/usr/share/doc/libhostcrst0/copyright" ] || fail "there is no copyright file"
    "$root/usr/bin/hostcrst-dump" --version >/dev/null || fail "hostcrst-dump does not run"
    quietly "$CC" "$here/consumer/use.c" -o "$WORK/use" "-I$root/usr/include" "-L$lib" -lhostcrst
    LD_LIBRARY_PATH=$lib "$WORK/use" >/dev/null || fail "a program does not run with the installed package"
    readelf --version-info "$WORK/use" | grep -q "Name: HOSTCRST_1.0" || fail "the program asks for no version"
    out_of_root
}

# As root dpkg itself installs them, into a folder of its own, where nothing else is that they depend on or run; as another
# user they are unpacked.
into_root() {
    mkdir -p "$root/var/lib/dpkg" "$WORK/bin"
    touch "$root/var/lib/dpkg/status"
    printf '#!/bin/sh\ntouch "%s/ldconfig-ran"\n' "$WORK" >"$WORK/bin/ldconfig"
    chmod +x "$WORK/bin/ldconfig"
    if [ "$(id -u)" -eq 0 ]; then
        quietly in_root --force-depends --install "${packages[@]}"
        [ -e "$WORK/ldconfig-ran" ] || fail "ldconfig does not run when the library is installed"
    else
        for package in "${packages[@]}"; do dpkg-deb --extract "$package" "$root"; done
    fi
}

in_root() { # in_root <option of dpkg>...
    PATH=$WORK/bin:$PATH dpkg --root="$root" --log=/dev/null --force-script-chrootless "$@"
}

out_of_root() {
    [ "$(id -u)" -eq 0 ] || return 0
    quietly in_root --purge libhostcrst0 libhostcrst-dev hostcrst-tools
    [ -z "$(find "$root/usr" ! -type d 2>/dev/null)" ] || fail "this is left: $(find "$root/usr" ! -type d)"
}

what_a_deadlock_is_told_as() { # what_a_deadlock_is_told_as <file>
    sed -n '/^Found a deadlock:$/,/DEADLOCK \*\*\*$/p' "$1" |
        sed -E 's/^ +//; /^(sell|restock) tid=/d; s/tid=[0-9]+/tid=N/; s/\+0x[0-9a-f]+/+0xN/; s/for [0-9.]+s/for Ns/' | sort
}

need readelf binutils
rm -rf "$WORK"
mkdir -p "$WORK"
"$@"
