# A Python environment with this checkout in it; common.sh reads it.

supported() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' 2>/dev/null; }

# has_plugin PYTHON MODULE...: whether the plugin installed there is this checkout (and not another one's), and what it needs.
has_plugin() { "$1" "$RECIPES/lib/installed.py" "$ROOT/layerdrop_plugin" torch fairseq sentencepiece "${@:2}" 2>/dev/null; }

# use_environment EXTRAS MODULE...: the active virtual environment, or .venv in the checkout, made if it is not there;
# installs this checkout with its EXTRAS unless the MODULEs that they bring are there already.
use_environment() {
    local python=$ROOT/.venv/bin/python base
    if [[ -n ${VIRTUAL_ENV:-} || -n ${CONDA_PREFIX:-} ]] ||
        python3 -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; then
        python=$(command -v python || command -v python3)
        say "active environment: $python"
        supported "$python" ||
            die "the active environment has $("$python" -V), and Python 3.11 or 3.12 is needed; deactivate it, or activate another"
    else
        if [[ ! -x $python || ! -x $ROOT/.venv/bin/pip ]]; then
            for base in python3.11 python3.12 python3 python ''; do
                if [[ -z $base ]]; then die "Python 3.11 or 3.12 is needed, and none of the names python3.11 to python is one"; fi
                if supported "$base"; then break; fi
            done
            run "$base" -m venv "$ROOT/.venv" ||
                die "cannot make $ROOT/.venv: is venv installed for $base (Debian, Ubuntu: apt install python3-venv)?"
        fi
        export PATH=$ROOT/.venv/bin:$PATH VIRTUAL_ENV=$ROOT/.venv
    fi
    if has_plugin "$python" "${@:2}"; then return; fi
    # torch first and by itself: pinned, so that pip does not take the newest build with gigabytes of CUDA packages
    run "$python" -m pip install -c "$ROOT/constraints.txt" "$(grep '^torch==' "$ROOT/constraints.txt")" ||
        die "installing torch failed: is the network there?"
    run "$python" -m pip install -c "$ROOT/constraints.txt" -e "${ROOT}[fairseq,$1]" ||
        die "installing the plugin failed: is the network there?"
    hash -r
    has_plugin "$python" "${@:2}" ||
        die "the installation is not whole; see what this says: $python -c 'import layerdrop_plugin'"
}
