# shellcheck shell=bash
# The steps of a recipe that runs other recipes in a row; source common.sh first.

STEP=0 STEPS=1

# step TITLE: the headline of the next step, of STEPS that there will be, with the time since the start.
step() {
    STEP=$((STEP + 1))
    printf '\n[%d/%d] %s   (%s)\n' "$STEP" "$STEPS" "$1" "$(elapsed)"
}

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# recipe SCRIPT ARGUMENT...: another recipe, with the same preset.
recipe() { bash "$RECIPES/$1" "${@:2}" --preset "$PRESET"; }

# time_models FILE DATA NAME=CHECKPOINT... [-- OPTION...]: layerdrop latency on the test split, unless FILE is of these models.
time_models() {
    local file=$1 data=$2 models=() timed
    shift 2
    while [[ $# -gt 0 && $1 != -- ]]; do
        models+=("$1")
        shift
    done
    timed=$(sha256sum -- "${models[@]#*=}")
    if [[ -f $file && -f ${file%.json}.txt && $(<"${file%.json}.txt") == "$timed" ]]; then
        say "[done before] $file"
        return
    fi
    run layerdrop latency "${models[@]/#/--model=}" --data "$data" --split test --out "$file" "${@:2}"
    printf '%s\n' "$timed" >"${file%.json}.txt"
}
