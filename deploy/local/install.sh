#!/bin/sh
# Create .venv from uv.lock. Arguments are passed to `uv sync`. Needs Python 3.11 or later; downloads uv if missing.
set -eu
cd "$(dirname "$0")/../.."
tools=.local/tools

find_uv() {
    if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
        UV=uv
    elif [ -x "$tools/bin/uv" ]; then
        UV=$tools/bin/uv
    else
        return 1
    fi
}

fail() {
    echo "$*" >&2
    exit 1
}

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or later is needed: install it (Debian: apt-get install python3), or name it with PYTHON=/path/to/python3."

# Use the machine's list of certificate authorities if there is one: it also contains a company proxy's authority.
authorities=/etc/ssl/certs/ca-certificates.crt
if [ -z "${SSL_CERT_FILE:-}" ] && [ -s "$authorities" ]; then
    export SSL_CERT_FILE="$authorities"
fi

if ! find_uv; then
    echo "fetching uv into $tools"
    mkdir -p .local
    if "$python" -m venv --clear "$tools" >/dev/null 2>&1 && "$tools/bin/python" -m pip install --quiet uv; then
        :
    else
        # Debian's Python without python3-venv: pip is enough
        rm -rf "$tools"
        "$python" -m pip install --quiet --target "$tools" uv 2>/dev/null ||
            fail "uv could not be fetched: install one of uv, python3-venv and python3-pip (Debian: apt-get install python3-venv), or check the network, and try again."
    fi
    find_uv || fail "uv was fetched into $tools and does not run on this machine: install uv yourself, and try again."
fi

# --inexact: keep the packages that other make targets installed.
# Bytecode is made here, once: every process starts in about half the time, also where none may be written at its start.
export UV_COMPILE_BYTECODE=1
if [ -x .venv/bin/python ]; then
    "$UV" sync --locked --inexact "$@"
else
    "$UV" sync --locked --inexact --python "$python" "$@"
fi
if [ -x .venv/bin/python ]; then
    .venv/bin/python -m compileall -q services
fi
