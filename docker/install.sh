#!/bin/sh
# Make a virtual environment that holds one lock file: install.sh VENV LOCK. Run by the images.
set -eu
venv=$1
lock=$2
"${PYTHON:-python3}" -m venv "$venv"
# Wheels only: what needs a compiler is not installed, so none is there to be removed.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
    --require-hashes -r "$lock"
