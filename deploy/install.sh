#!/usr/bin/env bash
# Installs what is missing on a Debian machine, by apt alone.
# Usage: deploy/install.sh python|engine|tests|bench ...
#   python  a Python of at least 3.11 that can make virtual environments
#   engine  the Docker engine (unless one is there or already answers), and HAProxy for the traffic
#   tests   engine and HAProxy again, and what the test-suite starts of its own: registry, PostgreSQL, ext4 tools, debootstrap, ab, ssh;
#           Prometheus is only unpacked (build/bench), not installed
#   bench   what is measured beside it: docker-compose, wrk; nginx and Caddy are only unpacked (build/bench), not installed
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
export PATH="$PATH:/usr/sbin:/sbin" # a plain user's PATH may lack the administrator's tools

say() { echo "skylark: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Each package list is installed in one call; the lists are fetched when there are none, or when they are too old to work.
install() {
    (($#)) || return 0
    command -v apt-get >/dev/null || fail "these are missing, and there is no apt-get here to install them: $*"
    [ "$(id -u)" = 0 ] || fail "these are missing and only root can install them: $*
skylark: run once:  sudo apt-get install --no-install-recommends $*"
    say "installing $*"
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt-get update -qq
    local log
    log=$(mktemp)
    if ! { apt_install "$@" || { apt-get update -qq && apt_install "$@"; }; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm "$log"
        fail "apt-get could not install: $*"
    fi
    rm "$log"
}

apt_install() {
    apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
}

has() { command -v "$1" >/dev/null; }

python() {
    ./find-python.sh >/dev/null 2>&1 && return
    install python3 python3-venv
    ./find-python.sh >/dev/null || fail "Python 3.11 or newer is needed; the packages of this release are older"
}

engine() {
    local missing=()
    if ! ./ensure-engine.sh --probe; then
        has dockerd || missing+=(docker.io)
        has iptables || missing+=(iptables)
    fi
    has haproxy || missing+=(haproxy)
    has ip || missing+=(iproute2)
    install "${missing[@]}"
}

tests() {
    local missing=()
    has dockerd || missing+=(docker.io) # for an engine of a test's own
    has ip || missing+=(iproute2)
    has pgrep || missing+=(procps)
    has haproxy || missing+=(haproxy)
    has docker-registry || missing+=(docker-registry)
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || has postgres || missing+=(postgresql)
    has mkfs.ext4 || missing+=(e2fsprogs)
    has losetup || missing+=(mount)
    has debootstrap || missing+=(debootstrap)
    has ab || missing+=(apache2-utils)
    has curl || missing+=(curl)
    has ssh || missing+=(openssh-client)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    install "${missing[@]}"
    unpack prometheus
}

bench() {
    local missing=()
    has docker-compose || missing+=(docker-compose)
    has wrk || missing+=(wrk)
    install "${missing[@]}"
    unpack nginx
    unpack caddy
}

# Installed, these would take port 80 and start at boot.
unpack() {
    local folder=../build/bench package
    has "$1" || [ -x "$folder/usr/sbin/$1" ] || [ -x "$folder/usr/bin/$1" ] || {
        say "unpacking $1 into build/bench"
        package=$(mktemp -d)
        (cd "$package" && apt-get download -qq "$1" >/dev/null 2>&1) || fail "apt-get could not download: $1"
        mkdir -p "$folder"
        dpkg -x "$package"/*.deb "$folder"
        rm -r "$package"
    }
}

(($#)) || fail "say what to install: python engine tests bench"
for part in "$@"; do
    case "$part" in
        python | engine | tests | bench) "$part" ;;
        *) fail "unknown part: $part (one of python engine tests bench)" ;;
    esac
done
