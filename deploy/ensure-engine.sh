#!/usr/bin/env bash
# Sees to it that a Docker engine answers: asks the socket, else starts the engine and waits for it.
# Usage: deploy/ensure-engine.sh [--probe]      --probe only asks; exit status 0 means that an engine answers
#   SKYLARK_DOCKERD_OPTIONS  options for dockerd when this script starts it (none by default)
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

socket=/var/run/docker.sock
log_folder=${SKYLARK_HOME:-/var/log}
log="$log_folder/dockerd.log"
wait_seconds=60

say() { echo "skylark: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# One `GET /_ping` over the socket. Needs nothing but Python, which Skylark needs anyway.
answers() {
    "$python" - "$socket" <<'END' 2>/dev/null
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(5)
    s.connect(sys.argv[1])
    s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := s.recv(4096):
        answer += chunk
sys.exit(0 if b" 200 " in answer.split(b"\r\n")[0] else 1)
END
}

start() {
    if [ -d /run/systemd/system ] && systemctl start docker >/dev/null 2>&1; then
        return
    fi
    command -v dockerd >/dev/null || fail "no engine answers on $socket and dockerd is not installed"
    mkdir -p "$log_folder"
    # A session of its own: Ctrl-C and the end of this terminal must not reach the users' containers.
    # shellcheck disable=SC2086  # the options are words
    setsid dockerd ${SKYLARK_DOCKERD_OPTIONS:-} >>"$log" 2>&1 </dev/null &
    dockerd_pid=$!
}

python=$("$(dirname "$0")/find-python.sh" 2>/dev/null) || python=$(command -v python3) || {
    [ "${1:-}" = --probe ] && exit 1
    fail "python3 is needed to ask the engine"
}

if answers; then
    exit 0
fi
if [ "${1:-}" = --probe ]; then
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    [ -S "$socket" ] && fail "the engine's socket $socket does not answer $(id -un): is this user in the group docker?"
    fail "no Docker engine answers on $socket, and only root can start one: sudo $0"
fi

say "no Docker engine answers on $socket: starting one"
dockerd_pid=
start
for ((waited = 0; waited < wait_seconds * 4; waited++)); do
    if answers; then
        say "the engine answers"
        exit 0
    fi
    # Stop waiting when it ended by itself, unless another one took the place meanwhile.
    if [ -n "$dockerd_pid" ] && ! kill -0 "$dockerd_pid" 2>/dev/null; then
        break
    fi
    sleep 0.25
done
answers && exit 0
say "the engine did not come up; the end of its log:"
if [ -e "$log" ]; then tail -n 15 "$log" >&2; else journalctl -u docker -n 15 --no-pager >&2 || true; fi
fail "no engine: see $log, and start it as your system does (options go into SKYLARK_DOCKERD_OPTIONS)"
