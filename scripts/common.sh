# shellcheck shell=bash
# What the commands of ./dev share; sourced by bash with the project's root as the current folder.

say() { # one line on what is being done
    printf '\n== %s\n' "$*"
}

die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

# require <what>=<package>...: makes sure that each <what> is there, a command or the path of a file (with *).
# <package> is Debian's name for what brings it; of names divided by | the first that the system knows is taken.
require() {
    local item missing=()
    for item; do
        is_there "${item%%=*}" || missing+=("${item#*=}")
    done
    [ ${#missing[@]} -ne 0 ] || return 0
    install_packages "${missing[@]}"
    for item; do
        is_there "${item%%=*}" || die "${item%%=*} is still missing after ${item#*=} was installed"
    done
}

# A browser is large, and not to be had everywhere: without one the tests of the page are not run.
ask_for_browser() {
    [ -z "$(find_browser)" ] || return 0
    (require chromium=chromium) || say "There is no Chromium: what needs a browser is not run"
}

# The other languages: all at once, or else each that can be had.
ask_for_languages() {
    local language languages=(python3=python3 luajit=luajit ruby=ruby php=php-cli go=golang-go node=nodejs
        '/usr/include/node*/node_api.h=libnode-dev' tsc=node-typescript javac=default-jdk-headless /usr/share/java/jna.jar=libjna-java)
    (require "${languages[@]}") || for language in "${languages[@]}"; do
        is_there "${language%%=*}" || (require "$language") ||
            say "There is no ${language%%=*}: what needs it of bindings/ is not run"
    done
    scripts/java-runtime build/cache >/dev/null || say "There is no Java 22: its virtual threads and foreign functions are not tried"
}

find_browser() { # the path of a browser, or nothing
    command -v chromium chromium-headless-shell chromium-browser google-chrome | head -n 1
}

is_there() {
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

install_packages() { # install_packages <package>...
    local as_root=() by_hand="these packages are missing, under their Debian names: $*"
    command -v apt-get >/dev/null || die "$by_hand"
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || die "please run, as root: apt-get install $(known_packages "$@" | paste -sd' ')"
        as_root=(sudo -n)
    fi
    mkdir -p build
    say "Installing with apt-get (log: build/apt.log): $*"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update >build/apt.log 2>&1 || say "apt-get update failed; going on with the package lists that are here"
    # shellcheck disable=SC2046 # package names, to be split
    "${apt[@]}" install --no-install-recommends $(known_packages "$@") >>build/apt.log 2>&1 || {
        tail -n 20 build/apt.log >&2
        die "apt-get could not install $*; please install these yourself"
    }
}

known_packages() { # of each a|b, the first that apt knows; a if it knows none
    local alternatives package
    for alternatives; do
        for package in ${alternatives//|/ } ${alternatives%%|*}; do
            ! apt-cache show "$package" >/dev/null 2>&1 || break
        done
        echo "$package"
    done
}

require_rust() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain (https://rustup.rs)"
}

require_component() { # require_component <rustfmt|clippy>
    local program=cargo-${1/rustfmt/fmt}
    command -v "$program" >/dev/null || rustup component add "$1" ||
        die "$program is missing: rustup component add $1"
}

require_rust_target() { # require_rust_target <triple>: Rust's standard library for it
    has_rust_target "$1" || add_rust_target "$1" ||
        die "${RUSTC:-rustc} has no standard library for $1: rustup target add $1, or set RUSTC to a rustc that has it"
}

has_rust_target() {
    [ -d "$("${RUSTC:-rustc}" --print target-libdir --target "$1")" ]
}

add_rust_target() { # not to a compiler that RUSTC names, which need not be rustup's
    [ -z "${RUSTC:-}" ] && command -v rustup >/dev/null && rustup target add "$1" && has_rust_target "$1"
}

# expect_all_programs <stem>...: ends unless every C program of ctests/CMakeLists.txt is among them, and each is one. A
# script that has a list of those it runs and one of those it leaves out gives both.
expect_all_programs() {
    local stem there=()
    for stem in $(sed -n 's/^ *hostcrst_stem(\([a-z0-9_]*\)[ )].*/\1/p' ctests/CMakeLists.txt) unload; do
        [ ! -f "ctests/$stem.c" ] || there+=("$stem")
    done
    for stem in "${there[@]}"; do
        case " $* " in
        *" $stem "*) ;;
        *) die "ctests/$stem.c stands in none of the lists of $0" ;;
        esac
    done
    for stem; do
        case " ${there[*]} " in
        *" $stem "*) ;;
        *) die "$0 names ctests/$stem.c, which is no test" ;;
        esac
    done
}

# libhostcrst.so and libhostcrst.a in build/c-library, where CMake's build also puts them.
build_c_library() {
    CARGO_TARGET_DIR=build/cargo scripts/c-library build/c-library --quiet
}

# The same for musl, in a folder; where that cannot be, it says why not, in $missing, and fails.
build_musl_library() { # build_musl_library <folder>
    local target=x86_64-unknown-linux-musl
    missing=
    command -v musl-gcc >/dev/null || missing="musl-gcc is missing: apt-get install musl-tools"
    [ -n "$missing" ] || has_rust_target $target || add_rust_target $target ||
        missing="Rust has no standard library for musl: rustup target add $target"
    [ -z "$missing" ] || return 1
    CARGO_TARGET_DIR=build/cargo CC=musl-gcc scripts/c-library "$1" --quiet --target $target ||
        die "the library for musl cannot be built"
}

# build_example_libraries <folder> <library>: the C libraries that examples/dotnet call.
build_example_libraries() {
    rm -rf "$1"
    mkdir -p "$1"
    # DllImport looks for these beside the program.
    cp "$2" "$1/libhostcrst.so"
    ln -s libhostcrst.so "$1/libhostcrst.so.0"
    local library
    for library in demo ledger; do
        "${CC:-cc}" -std=c99 -O2 -g -fPIC -shared -Wall -Wextra -Iinclude -o "$1/lib$library.so" examples/dotnet/$library.c \
            -L"$1" -l:libhostcrst.so -lpthread -Wl,-rpath,'$ORIGIN'
    done
}

# build_examples <folder> <library> <mcs>: the .NET programs of examples/dotnet, with the C libraries they call.
build_examples() {
    build_example_libraries "$1" "$2"
    local program
    for program in Demo Deadlock Ledger; do
        "$3" -out:"$1/$program.dll" "examples/dotnet/$program.cs"
        cp examples/dotnet/Demo.runtimeconfig.json "$1/$program.runtimeconfig.json"
    done
}

# host_with <library>: makes "${hosted[@]}" run what follows, a .NET program, with the library as its profiler.
host_with() {
    # shellcheck disable=SC2034 # for who calls
    hosted=(env CORECLR_ENABLE_PROFILING=1 CORECLR_PROFILER='{0ddba11c-0de5-4c5a-9d3f-6c7273740001}'
        CORECLR_PROFILER_PATH="$1" DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1)
}

# await_deadlock <hostcrst-dump> <pid> <file>: waits until hostcrst-dump finds a deadlock, by its exit code; its output
# is in the file then. Fails if that takes more than a minute.
await_deadlock() {
    local seen=0 deadline=$((SECONDS + 60))
    while [ $SECONDS -lt $deadline ]; do
        seen=0
        "$1" "$2" >"$3" 2>"$3.err" || seen=$?
        [ $seen -ne 2 ] || return 0
        sleep 0.1
    done
    cat "$3" "$3.err" >&2
    die "hostcrst-dump $2 found no deadlock (exit code $seen)"
}

# Of one program of ctests, the arguments that leave out tests, which left_out has as PROGRAM.TEST.
arguments_of() {
    local entry
    for entry in "${left_out[@]}"; do
        [ "${entry%%.*}" != "$1" ] || echo "-${entry#*.}"
    done
}
