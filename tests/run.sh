#!/usr/bin/env bash
# Set up what the tests need and run them all: ruff, shellcheck, pytest (unit tests, then the recipes end to end).
#
#   bash tests/run.sh [PYTEST OPTIONS]
#
# Uses the active virtual environment, or makes .venv in the checkout. With PYTEST OPTIONS only pytest is run, with
# those options: bash tests/run.sh tests/pruning -k plan

source "$(dirname -- "${BASH_SOURCE[0]}")/../recipes/lib/common.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; fi

cd -- "$ROOT" || exit
use_environment report,test matplotlib scipy pytest xdist hypothesis ruff tokenizers onnx onnxruntime ctranslate2

if [[ $# -gt 0 ]]; then
    exec python -m pytest "$@"
fi

ruff check .
ruff format --check .
find recipes tests .ci -type f \( -name '*.sh' -o -path .ci/run \) -print0 | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR
# Two processes, each computing with one thread: the commands under test start processes of their own.
OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup --durations 10 tests
