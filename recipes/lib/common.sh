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
    [[ $1 =~ ^[a-z]+$ && -f $RECIPES/presets/$1.sh ]] || die "--preset $1: choose tiny, base or large" 2
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

# ---------------------------------------------------------------- downloads

# fetch DIR FILE SHA256 PIP-ARGUMENT...: FILE in DIR, from the package index, with that checksum or not at all.
fetch() {
    local dir=$1 file=$2 sum=$3 partial=$1/.partial-$2 log
    shift 3
    if [[ -f $dir/$file ]] && [[ $(sha256 "$dir/$file") == "$sum" ]]; then
        say "[have] $dir/$file"
        return
    fi
    rm -rf -- "$partial"
    mkdir -p -- "$partial"
    log=$(mktemp)
    say "+ $(quoted "$PYTHON" -m pip download --no-deps --dest "$dir" "$@")"
    if ! "$PYTHON" -m pip --disable-pip-version-check download --quiet --no-deps --dest "$partial" "$@" >"$log" 2>&1; then
        local why
        why=$(grep '^ERROR' "$log" | tail -n 1 || true)
        rm -rf -- "$partial" "$log"
        die "could not download $file; is the network (or the package index) there? ${why#ERROR: }"
    fi
    rm -f -- "$log"
    if [[ ! -f $partial/$file ]] || [[ $(sha256 "$partial/$file") != "$sum" ]]; then
        rm -rf -- "$partial"
        die "$file: the checksum of the download is not $sum; nothing was kept"
    fi
    mv -- "$partial/$file" "$dir/$file"
    rm -rf -- "$partial"
}

# ---------------------------------------------------------------- training

# shape_options CHECKPOINT: what makes fairseq-train build a model of the same shape, one word a line.
shape_options() {
    local described
    described=$(layerdrop inspect "$1" --json) || return
    "$PYTHON" "$RECIPES/lib/shape_options.py" <<<"$described"
}

# examples DATA SPLIT: how many a binarized split holds (read from the header of its index).
examples() {
    [[ -f $1/input0/$2.idx ]] || die "$1/input0/$2.idx: no such file (prepare it with recipes/data/prepare_nlu.sh)"
    od -An -t u8 -j 18 -N 8 -- "$1/input0/$2.idx" | tr -d ' '
}

# keep_beside DATA DIR: the tokenizer and dictionaries that RobertaModel.from_pretrained(DIR) looks for.
keep_beside() {
    local file
    for file in dict.txt sentencepiece.bpe.model input0/dict.txt label/dict.txt; do
        [[ -f $1/$file ]] || continue
        mkdir -p -- "$(dirname -- "$2/$file")"
        cp -- "$1/$file" "$2/$file.partial"
        mv -- "$2/$file.partial" "$2/$file"
    done
}

# same_dictionary CHECKPOINT DATA-DICT: stop when the checkpoint is known to use another dictionary.
same_dictionary() {
    local beside
    beside=$(dirname -- "$1")/dict.txt
    [[ -f $beside && -f $2 ]] || return 0
    cmp -s -- "$beside" "$2" ||
        die "$2 is not the dictionary of $1 ($beside): prepare the data with the tokenizer of its pre-training"
}

# repair DIR: a kill in the middle of fairseq's copy leaves checkpoint_best or _last cut short. The newest file is what
# it was copied from, and whole.
repair() {
    local dir=$1 file files newest missing=()
    rm -f -- "$dir"/*.pt.tmp "$dir"/*.pt.partial
    mapfile -t files < <(find "$dir" -maxdepth 1 -name 'checkpoint*.pt' -type f)
    if [[ ${#files[@]} -eq 0 ]]; then return; fi
    if ! layerdrop check "${files[@]}" >/dev/null 2>&1; then
        for file in "${files[@]}"; do
            layerdrop check "$file" >/dev/null 2>&1 && continue
            say "[repair] $file was cut short by a kill"
            rm -f -- "$file"
            [[ $file != */checkpoint_best.pt ]] || missing+=("$file")
        done
    fi
    [[ -e $dir/checkpoint_last.pt ]] || missing+=("$dir/checkpoint_last.pt")
    newest=$(find "$dir" -maxdepth 1 -name 'checkpoint*.pt' -type f -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d ' ' -f 2-)
    if [[ -z $newest ]]; then return; fi
    for file in "${missing[@]}"; do
        say "[repair] $file taken from $newest"
        cp -- "$newest" "$file.partial"
        mv -- "$file.partial" "$file"
    done
}

# progress: the lines of fairseq's log that a person wants to watch.
progress() {
    sed -u -n -E \
        -e 's/, (ppl|wpb|bsz|gnorm|clip|loss_scale|train_wall|gb_free|nll_loss|ups)=[^,]*//g' \
        -e 's/ *\| (nll_loss|ppl|wpb|bsz|wps|train_wall|gb_free|wall) [^|]*//g' \
        -e 's/^.* \| INFO \| (train_inner|valid) \| /    /p' \
        -e 's/^.* \| WARNING \| layerdrop_plugin\S* \| /    /p'
}

# train DATA SAVE-DIR OPTION...: fairseq-train into SAVE-DIR on every GPU there is (or the CPU).
# Finished before with the same options: skipped. Killed before: resumed. Other options: refused.
train() {
    local data=$1 dir=$2 fresh='' status=0 log=$2/train.log
    shift 2
    local options=("$data" "$@" --save-dir "$dir")
    local words
    words=$(settings "${options[@]}")
    if already "$dir" "$words"; then return; fi

    gpus
    user_dir
    local launch=(fairseq-train) device=()
    case $GPUS in
        0) device=(--cpu) ;;
        1) ;;
        *)
            # fairseq sends the checkpoint's configuration to the other ranks in a form that torch >= 2.6 refuses;
            # so each rank reads the file itself.
            launch=(torchrun --standalone --nproc_per_node "$GPUS" -m fairseq_cli.train)
            device=(--load-checkpoint-on-all-dp-ranks)
            ;;
    esac

    [[ -d $dir ]] || fresh=yes
    mkdir -p -- "$dir"
    exec 9>"$dir/.lock"
    flock -n 9 || die "another run is still training into $dir" 2
    repair "$dir"
    printf '%s\n' "$words" >"$dir/settings.txt"
    # Killed between fairseq's last word and our mark: a second start would train one update too many.
    if [[ -f $dir/checkpoint_last.pt ]] && tail -n 5 -- "$log" 2>/dev/null | grep -q 'done training in'; then
        touch "$dir/done"
        exec 9>&-
        return
    fi

    say "+ $(quoted "${launch[@]}" "$data" --user-dir "$LAYERDROP_USER_DIR" "${device[@]}" "${options[@]:1}")"
    "${launch[@]}" "$data" --user-dir "$LAYERDROP_USER_DIR" "${device[@]}" "${options[@]:1}" 2>&1 | tee -a -- "$log" | progress || status=$?
    if [[ $status -ne 0 ]]; then
        local why
        why=$(last_line "$log")
        if grep -q '^Traceback' "$log"; then
            awk '/^Traceback/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$log" >&2
        fi
        if ! compgen -G "$dir/checkpoint*.pt" >/dev/null; then
            rm -f -- "$dir/settings.txt" "$log" "$dir/.lock"
            [[ -z $fresh ]] || rm -rf -- "$dir"
        fi
        die "fairseq-train failed: $why"
    fi
    touch "$dir/done"
    exec 9>&-
}
