#!/usr/bin/env bash
# Prints the first Python of at least 3.11 that can make virtual environments; fails when there is none.
set -euo pipefail

for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$candidate" -c 'import sys; print(sys.executable)'
    fi
done
echo "skylark: no Python of at least 3.11 with venv (Debian: apt-get install python3 python3-venv)" >&2
exit 1
