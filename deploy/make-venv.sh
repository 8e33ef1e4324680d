#!/bin/sh
# Makes the virtual environment named by $1 with Python 3.11 or newer, and says what to do where it cannot.
set -eu
venv=$1
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null 2>&1; then
    echo "crosscredit needs Python 3.11 or newer, and '$python' was not found. Install it, or name one: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "crosscredit needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1). Name a newer one: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi
# Debian ships Python without ensurepip; its python3-venv package has it.
if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "Python lacks its venv module: installing python3-venv ..."
        { apt-get update -qq && apt-get install -y -qq python3-venv; } >/dev/null
    else
        echo "Python lacks its venv module. Install it (on Debian or Ubuntu: apt-get install python3-venv) and run make again." >&2
        exit 1
    fi
fi
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$(dirname "$0")/build-requirements.lock"
