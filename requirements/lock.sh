#!/bin/sh
# Write the lock files anew. Run by `make lock`; needs `uv` on the PATH.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet "$@"
}
everything="--extra api --extra worker --extra postgres --extra embedded"
# shellcheck disable=SC2086  # the extras are words on purpose
compile pyproject.toml client/pyproject.toml $everything --extra onnx --group dev --override requirements/overrides.txt \
    -o requirements/dev.txt
# The other files hold the same versions as dev.txt: what was tested is what is installed.
compile pyproject.toml client/pyproject.toml $everything --group build -c requirements/dev.txt -o requirements/demo.txt
compile pyproject.toml --extra api --extra postgres --group build -c requirements/dev.txt -o requirements/api.txt
compile pyproject.toml --extra worker --extra postgres --group build -c requirements/dev.txt -o requirements/worker.txt
# Linux only: NVIDIA's libraries have no wheels elsewhere.
compile pyproject.toml --extra gpu --extra postgres --group build -c requirements/dev.txt -o requirements/worker-gpu.txt
