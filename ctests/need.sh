# shellcheck shell=sh
# For the test scripts: what the machine must have.

need() { # need <command> <Debian package>
    command -v "$1" >/dev/null || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
}

need_file() { # need_file <file> <Debian package>
    [ -f "$1" ] || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
}

want() { # want <command> <Debian package>: without it, the test ends as not run; its SKIP_RETURN_CODE is 77
    command -v "$1" >/dev/null || { echo "not run: $1 is missing: apt-get install $2"; exit 77; }
}

want_file() { # want_file <file> <Debian package>
    [ -f "$1" ] || { echo "not run: $1 is missing: apt-get install $2"; exit 77; }
}

need_winpr() { # sets winpr to the directory of WinPR's headers
    for winpr in /usr/include/winpr3 /usr/include/winpr2; do
        [ ! -f "$winpr/winpr/windows.h" ] || return 0
    done
    need_file "$winpr/winpr/windows.h" libwinpr2-dev
}
