# shellcheck shell=bash
# What every recipe shares; `source` it first. Nothing here trains or prunes by itself.
set -euo pipefail

RECIPES=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(dirname -- "$RECIPES")
ME=$(basename -- "$0")
# The recipes' own numbers read and print the same everywhere, and text is UTF-8 whatever the terminal says.
export LC_NUMERIC=C PYTHONUTF8=1

# ---------------------------------------------------------------- talking

say() { printf '%s\n' "$*"; }

# die MESSAGE [STATUS]: one line on stderr, and out.
die() {
    printf '%s: error: %s\n' "$ME" "$1" >&2
    exit "${2:-1}"
}

# usage: the comment at the top of the recipe is its --help.
usage() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
}

# quoted WORD...: the words as they can be pasted into a shell.
# A folder that is still being built is called by the name that it will have.
quoted() {
    local word line=
    for word in "$@"; do
        [[ -z ${PARTIAL:-} ]] || word=${word//"$PARTIAL"/"$TARGET"}
        [[ $word =~ ^[A-Za-z0-9_./=:,+@%-]+$ ]] || word=${word@Q}
        line+=" $word"
    done
    printf '%s\n' "${line# }"
}

# run COMMAND...: print it, then run it.
run() {
    say "+ $(quoted "$@")"
    "$@"
}

# run_logged LOG COMMAND...: the same with the output in LOG; if it fails, its last line is the error.
run_logged() {
    local log=$1
    shift
    say "+ $(quoted "$@")"
    "$@" >>"$log" 2>&1 || die "$1 failed: $(last_line "$log")"
}

last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1; }

# ---------------------------------------------------------------- arguments

# value OPTION "$@": the value that must follow an option.
value() {
    [[ $# -ge 3 ]] || die "$1 needs a value (see --help)" 2
    printf '%s' "$3"
}

# need NAME VALUE: a required option.
need() { [[ -n $2 ]] || die "$1 is required (see --help)" 2; }

need_file() { [[ -f $1 ]] || die "$1: no such file"; }

need_dir() { [[ -d $1 ]] || die "$1: no such folder"; }

# absolute PATH: works for paths that do not exist yet.
absolute() {
    case $1 in
        /*) printf '%s' "${1%/}" ;;
        *) printf '%s/%s' "$PWD" "${1%/}" ;;
    esac
}

# preset NAME: read recipes/presets/NAME.sh; a variable that the environment already sets wins.
preset() {
    [[ $1 =~ ^[a-z]+$ && -f $RECIPES/presets/$1.sh ]] ||
        die "--preset $1: choose tiny, base or large (translation: tiny, base, iwslt or wmt)" 2
    # shellcheck source=/dev/null
    source "$RECIPES/presets/$1.sh"
}

# ---------------------------------------------------------------- software

# need_software: fairseq and this plugin, from the active environment or from the .venv that quickstart.sh made.
need_software() {
    if ! command -v fairseq-train >/dev/null || ! command -v layerdrop >/dev/null; then
        [[ -x $ROOT/.venv/bin/layerdrop ]] && PATH=$ROOT/.venv/bin:$PATH
    fi
    command -v fairseq-train >/dev/null ||
        die "fairseq-train not found: activate your virtual environment, or pip install '${ROOT}[fairseq]'"
    command -v layerdrop >/dev/null ||
        die "layerdrop not found: activate your virtual environment, or pip install '${ROOT}[fairseq]'"
    PYTHON=$(dirname -- "$(command -v layerdrop)")/python
    [[ -x $PYTHON ]] || PYTHON=python3
}

# user_dir: sets LAYERDROP_USER_DIR, the folder for --user-dir; recipes started from a recipe need not ask again.
user_dir() {
    [[ -n ${LAYERDROP_USER_DIR:-} ]] || LAYERDROP_USER_DIR=$(layerdrop path) || die "layerdrop path failed"
    export LAYERDROP_USER_DIR
}

# gpus: how many this run may use. Importing torch takes seconds, so machines without a driver skip the question.
gpus() {
    if [[ -z ${GPUS:-} ]]; then
        GPUS=0
        if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
            GPUS=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
        fi
    fi
}

# ---------------------------------------------------------------- finishing once

# already DIR SETTINGS: true when DIR was finished with these SETTINGS; stops when it was made with other ones.
already() {
    local dir=$1 settings=$2
    [[ -e $dir/settings.txt ]] || return 1
    if [[ $(<"$dir/settings.txt") != "$settings" ]]; then
        [[ -e $dir/done ]] || compgen -G "$dir/checkpoint*.pt" >/dev/null || return 1
        die "$dir was made with other settings; choose another --out or delete it ($(changes "$dir/settings.txt" "$settings"))" 2
    fi
    [[ -e $dir/done ]] && say "[done before] $dir"
}

# changes FILE TEXT: what differs between two settings, on one line.
changes() {
    diff <(cat "$1") <(printf '%s\n' "$2") | sed -n 's/^< /was: /p;s/^> /now: /p' | paste -sd ';' | sed 's/;/; /g' | cut -c -300
}

# settings WORD...: one option with its value a line, to be compared by `already`.
settings() {
    local word line=${1:-}
    for word in "${@:2}"; do
        if [[ $word == --* ]]; then
            printf '%s\n' "$line"
            line=$word
        else
            line+=" $word"
        fi
    done
    printf '%s\n' "$line"
}

sha256() { sha256sum -- "$1" | cut -d ' ' -f 1; }

# build_in DIR: a folder beside DIR to work in; `finished` gives it its name, any other way out removes it.
build_in() {
    TARGET=$1
    rmdir -- "$TARGET" 2>/dev/null || true # an empty folder is as good as none
    [[ ! -e $TARGET ]] || die "$TARGET exists and is not a finished result of $ME; choose another --out or delete it" 2
    mkdir -p -- "$(dirname -- "$TARGET")"
    PARTIAL=$(dirname -- "$TARGET")/.$(basename -- "$TARGET").partial
    rm -rf -- "$PARTIAL"
    trap 'rm -rf -- "$PARTIAL"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -- "$PARTIAL"
}

# finished SETTINGS: the folder is whole; give it its name.
finished() {
    printf '%s\n' "$1" >"$PARTIAL/settings.txt"
    touch "$PARTIAL/done"
    sync -f "$PARTIAL"
    mv -T -- "$PARTIAL" "$TARGET"
}
