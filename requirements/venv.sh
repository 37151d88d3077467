#!/bin/sh
# Make a virtual environment with the newest Python that TensorFlow has wheels for.
set -eu
venv=$1
for python in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        echo "Making $venv with $("$python" --version)." >&2
        rm -rf "$venv"
        "$python" -m venv "$venv" && exit 0
        echo "$python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
done
echo "fitq needs Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for others). Set PYTHON to one." >&2
exit 1
