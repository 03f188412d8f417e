# shellcheck shell=bash
# For recipes that run other recipes in a row; common.sh reads it.

STEP=0 STEPS=0

# software STEPS EXTRAS MODULE...: the first of the STEPS that there will be: what `use_environment` installs, and where it is.
software() {
    STEPS=$1
    step "software"
    use_environment "${@:2}"
    need_software
    user_dir
}

# step TITLE: the headline of the next step, with the time since the start.
step() {
    STEP=$((STEP + 1))
    printf '\n[%d/%d] %s   (%s)\n' "$STEP" "$STEPS" "$1" "$(elapsed)"
}

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# recipe SCRIPT ARGUMENT...: another recipe, with the same preset.
recipe() { bash "$RECIPES/$1" "${@:2}" --preset "$PRESET"; }

# slice: toy models for the recipes that are run, whatever the preset says.
slice() {
    set -a
    # shellcheck source=/dev/null
    source "$RECIPES/lib/slice.sh"
    set +a
}

# time_models FILE DATA NAME=CHECKPOINT... [-- OPTION...]: layerdrop latency on the test split, unless FILE is of these models.
time_models() {
    local file=$1 folder=$2 models=()
    shift 2
    while [[ $# -gt 0 && $1 != -- ]]; do
        models+=("$1")
        shift
    done
    once "$file" "${models[@]#*=}" -- \
        run layerdrop latency "${models[@]/#/--model=}" --data "$folder" --split test --out "$file" "${@:2}"
}
