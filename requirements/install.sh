#!/bin/sh
# Install one lock file, and fitq itself from its tree, into a virtual environment.
set -eu
cd "$(dirname "$0")/.."
venv=$1
lock=requirements/$2.txt
echo "Installing $lock into $venv (TensorFlow is 274 MB; a minute or so)." >&2
# A lock file holds everything: nothing is left to resolve.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e client
