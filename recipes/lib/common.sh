# What every recipe shares; `source` it first. Nothing here trains or prunes by itself.
set -euo pipefail

RECIPES=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # the files below use it
ROOT=$(dirname -- "$RECIPES")
ME=$(basename -- "$0")
# The recipes' own numbers read and print the same everywhere, and text is UTF-8 whatever the terminal says.
export LC_NUMERIC=C PYTHONUTF8=1
export LAYERDROP_RECIPE=${LAYERDROP_RECIPE:-$$} # the process whose end ends the trainings: see lib/children.py
PYTHON=python3 # until need_software finds fairseq's

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
    timed "$@"
}

# run_logged LOG COMMAND...: the same with the output in LOG, once it succeeds; if it fails, its last line is the error.
run_logged() {
    local log=$1 why
    shift
    say "+ $(quoted "$@")"
    if ! timed "$@" >"$log.partial" 2>&1; then
        why=$(last_line "$log.partial")
        rm -f -- "$log.partial"
        die "$1 failed: $why"
    fi
    mv -- "$log.partial" "$log"
}

# prefixes FOLDER SUFFIX [CUT]: sets PREFIXES to what fairseq-preprocess is told of the splits in FOLDER.
prefixes() {
    local part
    PREFIXES=()
    for part in train valid test; do
        if [[ -f $1/$part$2 ]]; then PREFIXES+=("--${part}pref" "$1/$part${3-$2}"); fi
    done
}

# words NAME SCRIPT ARGUMENT...: sets the array NAME to the lines that a Python script of recipes/ prints.
words() {
    local output
    output=$("$PYTHON" "$RECIPES/$2" "${@:3}") || exit
    mapfile -t "$1" <<<"$output"
}

last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 || true; }

need_file() { [[ -f $1 ]] || die "$1: no such file"; }

# preset NAME: read recipes/presets/NAME.sh; a variable that the environment already sets wins.
preset() {
    [[ $1 =~ ^[a-z]+$ && -f $RECIPES/presets/$1.sh ]] ||
        die "--preset $1: choose tiny, base or large (translation: tiny, long, base, iwslt or wmt)" 2
    # shellcheck source=/dev/null
    source "$RECIPES/presets/$1.sh"
}

for PART in times options software done_before environment steps training translation; do
    # shellcheck source=/dev/null
    source "$RECIPES/lib/$PART.sh"
done
