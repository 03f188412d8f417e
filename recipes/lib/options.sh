# A recipe's options; common.sh reads it. How a recipe declares them says options.py.

declare -A KIND=() # of each option: what its value is; empty for one without
# shellcheck disable=SC2034
OTHERS=() # what --* or FILE... stands for

# options "$@": sets a variable for each option (SRC_LANG; `yes` for one without a value; empty if not given), and OTHERS.
options() {
    local assignments
    assignments=$("$PYTHON" -S "$RECIPES/lib/options.py" "$0" "$PWD" "$@") || exit
    eval "$assignments"
}

# variable_of OPTION: sets REPLY to its name, SRC_LANG for --src-lang.
variable_of() {
    REPLY=${1#--}
    REPLY=${REPLY//-/_}
    REPLY=${REPLY^^}
    [[ $REPLY != GROUPS ]] || REPLY+=_ # that name is bash's
}

# has OPTION: whether it was given, or has a default.
has() { variable_of "$1" && [[ -n ${!REPLY} ]]; }

# given OPTION...: sets GIVEN to those that have a value, with it, as they can be passed on.
given() {
    local name
    GIVEN=()
    for name in "$@"; do
        if has "$name"; then GIVEN+=("$name" ${KIND[$name]:+"${!REPLY}"}); fi
    done
}

# together OPTION OPTION: stop if only one of them was given.
together() {
    given "$1" "$2"
    [[ ${#GIVEN[@]} -ne 2 ]] || die "$1 and $2 go together" 2
}

# excludes OPTION OPTION...: stop if the first was given with any of the others.
excludes() {
    local name
    if ! has "$1"; then return; fi
    for name in "${@:2}"; do
        if has "$name"; then die "$1 excludes $name" 2; fi
    done
}
