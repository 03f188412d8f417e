# shellcheck shell=bash
# A Python environment with this checkout in it; source common.sh first.

# find_python: a Python that the tested versions of torch and fairseq exist for.
find_python() {
    local name
    for name in python3.11 python3.12 python3 python; do
        if supported "$name"; then
            printf '%s' "$name"
            return
        fi
    done
    die "Python 3.11 or 3.12 is needed, and neither python3.12, python3.11 nor python3 is one"
}

supported() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' 2>/dev/null; }

# has_modules PYTHON MODULE...: whether all of them can be imported.
has_modules() {
    "$1" -c 'import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))' "${@:2}"
}

# has_plugin PYTHON: whether the plugin installed there is this checkout (and not another one's).
has_plugin() {
    "$1" -c 'import importlib.util, os, sys
sys.path = [p for p in sys.path if p not in ("", os.getcwd())]
spec = importlib.util.find_spec("layerdrop_plugin")
sys.exit(spec is None or not os.path.samefile(os.path.dirname(spec.origin), sys.argv[1]))' "$ROOT/layerdrop_plugin" 2>/dev/null &&
        [[ -x $(dirname -- "$1")/layerdrop ]]
}

# use_environment EXTRAS MODULE...: the active virtual environment, or .venv in the checkout, made if it is not there;
# installs this checkout with its EXTRAS unless the MODULEs that they bring are there already.
use_environment() {
    local extras=$1 python base
    shift
    if [[ -n ${VIRTUAL_ENV:-} || -n ${CONDA_PREFIX:-} ]] ||
        python3 -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; then
        python=$(command -v python || command -v python3)
        say "active environment: $python"
        supported "$python" ||
            die "the active environment has $("$python" -V), and Python 3.11 or 3.12 is needed; deactivate it, or activate another"
    else
        python=$ROOT/.venv/bin/python
        if [[ ! -x $python || ! -x $ROOT/.venv/bin/pip ]]; then
            base=$(find_python)
            run "$base" -m venv "$ROOT/.venv" ||
                die "cannot make $ROOT/.venv: is venv installed for $base (Debian, Ubuntu: apt install python3-venv)?"
        fi
        export PATH=$ROOT/.venv/bin:$PATH VIRTUAL_ENV=$ROOT/.venv
    fi
    if has_plugin "$python" && has_modules "$python" torch fairseq sentencepiece "$@"; then return; fi
    # torch first and by itself: pinned, so that pip does not take the newest build with gigabytes of CUDA packages
    run "$python" -m pip install -c "$ROOT/constraints.txt" "$(grep '^torch==' "$ROOT/constraints.txt")" ||
        die "installing torch failed: is the network there?"
    run "$python" -m pip install -c "$ROOT/constraints.txt" -e "${ROOT}[fairseq,$extras]" ||
        die "installing the plugin failed: is the network there?"
    hash -r
    has_modules "$python" torch fairseq sentencepiece "$@" ||
        die "the installation is not whole; see what this says: $python -c 'import layerdrop_plugin'"
}
