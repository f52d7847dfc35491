#!/bin/bash
# freerdp.sh <count_enters.so> <libhostcrst_win32.so> [desktop]: Debian's FreeRDP, server and client, both linked to
# WinPR, with our library preloaded: the client connects, negotiates and authenticates as it does without.
# Says how many of their enters reached us. With "desktop" (./dev check desktop) also whole sessions, of the client with
# freerdp-shadow-cli and with weston's RDP backend.
set -eu -o pipefail
. "$(dirname "$0")/../need.sh"
preload=$1:$2

fail() {
    echo "freerdp: $*" >&2
    for file in "$work"/*.log; do
        echo "--- ${file##*/}" >&2
        tail -n 30 "$file" >&2
    done
    exit 1
}

soon() { # soon <what> <command>...: waits until the command succeeds
    local what=$1
    shift
    for _ in $(seq 1200); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.05
    done
    fail "$what did not happen"
}

need Xvfb xvfb
need xfreerdp freerdp2-x11
need freerdp-shadow-cli freerdp2-shadow-x11
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || :; wait; rm -rf "$work"' EXIT
export HOME=$work XDG_CONFIG_HOME=$work LC_ALL=C

Xvfb -displayfd 3 -screen 0 320x240x24 -nolisten tcp 3>"$work/display" >"$work/Xvfb.log" 2>&1 &
pids+=($!)
soon "the start of Xvfb" test -s "$work/display"
DISPLAY=:$(cat "$work/display")
export DISPLAY

is_listening() {
    (: <>"/dev/tcp/127.0.0.1/$1")
}

start_server() { # start_server <name> <preload> <port>
    LD_PRELOAD=$2 COUNT_ENTERS=$work/$1.server.enters freerdp-shadow-cli \
        "/port:$3" /bind-address:127.0.0.1 -auth >"$work/$1.server.log" 2>&1 &
    pids+=($!)
    while kill -0 "${pids[-1]}"; do
        ! is_listening "$3" || return 0
        sleep 0.05
    done
    return 1
}

# session <name> <preload>: one server, one client that logs in; the result is in <name>.server.log,
# <name>.client.log
session() {
    local port=$((20000 + ($$ + ${#pids[@]} * 7919) % 20000)) ended=0 side
    for side in client server; do
        head -c 8 /dev/zero >"$work/$1.$side.enters"
    done
    # An X server may say its display before it answers there.
    soon "the start of the $1 server" start_server "$@" "$port"
    local server=${pids[-1]}
    LD_PRELOAD=$2 COUNT_ENTERS=$work/$1.client.enters HOSTCRST_REPORT=$work/$1.report timeout 60 \
        xfreerdp "/v:127.0.0.1:$port" /u:user /p:secret /cert:ignore +auth-only \
        >"$work/$1.client.log" 2>&1 || ended=$?
    grep -o 'Authentication only, exit status [0-9]*' "$work/$1.client.log" | sort -u >"$work/$1.result" ||
        fail "the $1 client did not log in (it ended with $ended)"
    echo "ended with $ended" >>"$work/$1.result"
    kill "$server"
    wait "$server" || :
}

enters() { # enters <name>.<side>: how many reached us
    od -An -t u8 "$work/$1.enters" | tr -d ' '
}

has_entered() { # has_entered <name>.<side> <times>
    [ "$(enters "$1")" -ge "$2" ]
}

require_no_misuse() { # require_no_misuse <name>.<side>: its report has sections and no misuse
    grep -q ', [1-9][0-9]* section' "$work/$1.report" || fail "the report of $1 shows no section"
    if grep -q 'Misuse of critical sections' "$work/$1.report"; then
        sed -n '/^Misuse/,/^$/p' "$work/$1.report" >&2
        fail "the report of $1 shows misuse"
    fi
}

# desktop <name> <port> <server>...: the client shows the server's screen until both have entered often; then the server
# ends, and so the session.
desktop() {
    local name=$1 port=$2 side
    for side in client server; do
        head -c 8 /dev/zero >"$work/$name.$side.enters"
    done
    LD_PRELOAD=$preload COUNT_ENTERS=$work/$name.server.enters HOSTCRST_REPORT=$work/$name.server.report \
        "${@:3}" >"$work/$name.server.log" 2>&1 &
    local server=$!
    pids+=("$server")
    soon "the start of $name" is_listening "$port"
    LD_PRELOAD=$preload COUNT_ENTERS=$work/$name.client.enters HOSTCRST_REPORT=$work/$name.client.report \
        xfreerdp "/v:127.0.0.1:$port" /u:user /p:secret /cert:ignore >"$work/$name.client.log" 2>&1 &
    local client=$!
    pids+=("$client")
    for side in client server; do
        soon "a session with $name" has_entered "$name.$side" 1000
    done
    kill "$server"
    wait "$server" || :
    wait "$client" || :
    for side in client server; do
        require_no_misuse "$name.$side"
        echo "$name, $side: $(enters "$name.$side") enters, misuse 0," \
            "$(grep -o '[0-9]* sections\?' "$work/$name.$side.report" | head -n 1) in its last report"
    done
}

desktops() {
    need weston weston
    need openssl openssl
    local port=$((40000 + $$ % 10000))
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key" -out "$work/certificate" -days 2 -subj /CN=localhost \
        2>/dev/null
    desktop shadow "$port" freerdp-shadow-cli "/port:$port" /bind-address:127.0.0.1 -auth
    port=$((port + 1))
    XDG_RUNTIME_DIR=$work desktop weston "$port" weston --backend=rdp-backend.so --no-config --address=127.0.0.1 \
        "--port=$port" "--rdp-tls-cert=$work/certificate" "--rdp-tls-key=$work/key"
    dpkg-query -W -f '${Package} ${Version}\n' freerdp2-x11 weston libwinpr2-2 2>/dev/null || :
}

session plain ""
session preloaded "$preload"
grep -q 'exit status 0' "$work/plain.result" || fail "the client does not log in even without us"
diff "$work/plain.result" "$work/preloaded.result" || fail "preloaded, the client ended differently"
client=$(enters preloaded.client)
server=$(enters preloaded.server)
{ [ "$client" -gt 100 ] && [ "$server" -gt 100 ]; } || fail "only $client and $server enters reached us"
require_no_misuse preloaded
echo "xfreerdp logged in to freerdp-shadow-cli; of their enters reached us:" \
    "$client of the client, $server of the server"
[ "${3-}" != desktop ] || desktops
