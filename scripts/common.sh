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

# libhostcrst.so and libhostcrst.a in build/cargo/release, where CMake's build also puts them.
build_c_library() {
    CARGO_TARGET_DIR=build/cargo cargo rustc --quiet --locked --release --lib --features capi \
        --crate-type cdylib,staticlib
}
