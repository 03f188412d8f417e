# shellcheck shell=bash
# What every recipe shares; `source` it first. Nothing here trains or prunes by itself.
set -euo pipefail

RECIPES=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(dirname -- "$RECIPES")
ME=$(basename -- "$0")
# The recipes' own numbers read and print the same everywhere, and text is UTF-8 whatever the terminal says.
export LC_NUMERIC=C PYTHONUTF8=1
PYTHON=python3 # until need_software finds fairseq's

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

# run_logged LOG COMMAND...: the same with the output in LOG, once it succeeds; if it fails, its last line is the error.
run_logged() {
    local log=$1 why
    shift
    say "+ $(quoted "$@")"
    if ! "$@" >"$log.partial" 2>&1; then
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

# ---------------------------------------------------------------- options

# The comment at the top of a recipe is its --help and declares its options, each once:
#   --data DIR      what it is (required)
#   --out PATH      where the checkpoints go [default: pretrained]
#   --src-lang, --tgt-lang LANG   what is said holds for both
#   --lowercase     takes no value
#   --*             other options are taken too; or FILE..., other words; without such a line they are refused
# Two blanks end what is declared. The value is N (a number from 1), SEED (from 0), F (a fraction), LANG, a FILE, CKPT or
# DIR that exists, a PATH that need not, or another word in capitals, which is not checked. [env: NAME] before a default
# names a variable that replaces it. Defaults told in other words are the recipe's own.
declare -A KIND=() # of each option: what its value is; empty for one without
OTHERS=()          # what --* or FILE... stands for

# options "$@": a variable for each option (SRC_LANG; `yes` for one without a value; empty if not given), and OTHERS.
# Of an option given twice the last counts; what follows -- is not looked at.
options() {
    local name others='' required=()
    local -A default=()
    declare_options
    for name in "${!KIND[@]}"; do variable_of "$name" && printf -v "$REPLY" ''; done
    while [[ $# -gt 0 ]]; do
        name=${1%%=*}
        if [[ $1 == -h || $1 == --help ]]; then
            usage
        elif [[ $1 == -- && -n $others ]]; then
            OTHERS+=("${@:2}")
            break
        elif [[ $name != --?* || -z ${KIND[$name]+known} ]]; then
            [[ $others == any || $others == words && $1 != -* ]] || die "unknown argument $1 (see --help)" 2
            OTHERS+=("$1")
        elif [[ -z ${KIND[$name]} ]]; then
            [[ $1 == "$name" ]] || die "$name takes no value (see --help)" 2
            set_option "$name" yes
        elif [[ $1 == *=?* ]]; then
            set_option "$name" "${1#*=}"
        else
            [[ $1 == "$name" && -n ${2:-} && $2 != --* ]] || die "$name needs a value (see --help)" 2
            set_option "$name" "$2"
            shift
        fi
        shift
    done
    for name in "${!default[@]}"; do has "$name" || set_option "$name" "${default[$name]}"; done
    for name in "${required[@]}"; do has "$name" || die "$name is required (see --help)" 2; done
}

# declare_options: for `options`, whose locals it fills: what the recipe's comment declares.
declare_options() {
    local line names=() declaration='^#   (--[a-z-]+(, --[a-z-]+)*)( ([A-Z][A-Z:]*))?(  .*)?$'
    while IFS= read -r line && [[ $line == '#'* ]]; do
        if [[ $line =~ $declaration ]]; then
            read -ra names <<<"${BASH_REMATCH[1]//,/}"
            for name in "${names[@]}"; do KIND[$name]=${BASH_REMATCH[4]}; done
        elif [[ $line =~ ^'#   '(--\*|'FILE...')'  ' ]]; then
            names=()
            if [[ ${BASH_REMATCH[1]} == FILE* ]]; then others=words; else others=any; fi
        elif [[ $line == '#   -'* ]]; then
            die "this line declares no option: $line"
        elif [[ $line == '#' ]]; then
            names=()
        fi
        for name in "${names[@]}"; do
            if [[ $line == *'(required)'* ]]; then required+=("$name"); fi
            if [[ $line =~ '[default: '([^]]+)']' ]]; then default[$name]=${BASH_REMATCH[1]}; fi
            if [[ $line =~ '[env: '([A-Z_]+)']' && -n ${!BASH_REMATCH[1]:-} ]]; then default[$name]=${!BASH_REMATCH[1]}; fi
        done
    done <"$0"
}

# set_option OPTION VALUE: stop unless the value is of the option's kind.
set_option() {
    local value=$2
    case ${KIND[$1]} in
        N) [[ $2 =~ ^[1-9][0-9]*$ ]] || die "$1 $2: want a number from 1" 2 ;;
        SEED) [[ $2 =~ ^(0|[1-9][0-9]*)$ ]] || die "$1 $2: want a whole number" 2 ;;
        F) [[ $2 =~ ^(0|0?\.[0-9]+)$ ]] || die "$1 $2: want a fraction like 0.02" 2 ;;
        LANG) [[ $2 =~ ^[A-Za-z0-9_]+$ ]] || die "$1 $2: only letters, digits and _ will do" 2 ;;
        FILE | CKPT | DIR | PATH) value=$(absolute "$2") ;;&
        FILE | CKPT) need_file "$value" ;;
        DIR) need_dir "$value" ;;
    esac
    variable_of "$1" && printf -v "$REPLY" '%s' "$value"
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

need_file() { [[ -f $1 ]] || die "$1: no such file"; }

need_dir() { [[ -d $1 ]] || die "$1: no such folder"; }

# absolute PATH: works for paths that do not exist yet.
absolute() {
    local path=$1
    [[ $path == /* ]] || path=$PWD/$path
    path=${path%/}
    printf '%s' "${path:-/}"
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
    local program
    for program in fairseq-train layerdrop; do
        command -v "$program" >/dev/null || PATH=$ROOT/.venv/bin:$PATH
        command -v "$program" >/dev/null ||
            die "$program not found: activate your virtual environment, or pip install '${ROOT}[fairseq]'"
    done
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

# device: sets DEVICE to what fairseq's commands that evaluate need on this machine.
device() {
    user_dir
    gpus
    DEVICE=(--user-dir "$LAYERDROP_USER_DIR")
    if [[ $GPUS -eq 0 ]]; then DEVICE+=(--cpu); fi
}

# ---------------------------------------------------------------- done before

# What a result was made with lies beside it: of a folder in its settings.txt, until its `done` says that it is finished;
# of a FILE in FILE.made.

# already OUT SETTINGS: true when OUT was finished with these SETTINGS. A folder that other ones have filled is refused.
already() {
    local made=$1.made finished=$1
    if [[ -d $1 ]]; then made=$1/settings.txt finished=$1/done; fi
    [[ -e $made ]] || return 1
    if [[ $(<"$made") != "$2" ]]; then
        [[ -d $1 ]] && { [[ -e $finished ]] || compgen -G "$1/checkpoint*.pt" >/dev/null; } || return 1
        die "$1 was made with other settings; choose another --out or delete it ($(changes "$made" "$2"))" 2
    fi
    [[ -e $finished ]] && say "[done before] $1"
}

# once FILE INPUT... -- COMMAND...: COMMAND, which writes FILE, unless the same one did so before from the same INPUT files.
once() {
    local file=$1 inputs=() made
    shift
    while [[ $1 != -- ]]; do
        inputs+=("$1")
        shift
    done
    shift
    made=$(quoted "$@" && sha256 "${inputs[@]}")
    if already "$file" "$made"; then return; fi
    mkdir -p -- "$(dirname -- "$file")"
    rm -f -- "$file" "$file.made"
    "$@"
    printf '%s\n' "$made" >"$file.made"
}

# changes FILE TEXT: what differs between two settings, on one line.
changes() {
    diff <(cat "$1") <(printf '%s\n' "$2") | sed -n 's/^< /was: /p;s/^> /now: /p' | paste -sd ';' | sed 's/;/; /g' | cut -c -300
}

# settings WORD...: one option with its value a line, to be compared by `already`.
settings() {
    local words="$*"
    printf '%s\n' "${words// --/$'\n'--}"
}

# sha256 FILE...: their checksums, one a line.
sha256() { sha256sum -- "$@" | cut -d ' ' -f 1; }

# checksums OPTION FILE...: the option and the checksum of its file, a pair a line.
checksums() {
    while [[ $# -gt 0 ]]; do
        printf '%s %s\n' "$1" "$(sha256 "$2")"
        shift 2
    done
}

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

for PART in environment steps training translation download; do
    # shellcheck source=/dev/null
    source "$RECIPES/lib/$PART.sh"
done
