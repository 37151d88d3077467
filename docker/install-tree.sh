#!/bin/sh
# Install the tree from where it lies, and take the installers away: install-tree.sh VENV TREE. Run by the images.
set -eu
venv=$1
tree=$2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation \
    --editable "$tree"
"$venv/bin/python" -m pip uninstall --quiet --yes editables hatchling pathspec pluggy trove-classifiers pip
