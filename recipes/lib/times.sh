# How long commands take, for the report; common.sh reads it. layerdrop_plugin/reports/times.py says what the file holds.

BEGAN=$EPOCHREALTIME

# keep_times FOLDER: from here on in FOLDER/times.tsv, unless a recipe that runs this one keeps them already.
keep_times() {
    if [[ -n ${LAYERDROP_TIMES:-} ]]; then return; fi
    mkdir -p -- "$1"
    export LAYERDROP_TIMES=$1/times.tsv
    note_time "$BEGAN" '[start]'
    # a run that made nothing leaves nothing
    trap '[[ $(find "${LAYERDROP_TIMES%/*}" -type f | wc -l) -gt 1 ]] || rm -f -- "$LAYERDROP_TIMES"' EXIT
}

# note_time START WHAT: it lasted from START to now.
note_time() { [[ -z ${LAYERDROP_TIMES:-} ]] || printf '%s\t%s\t%s\n' "$1" "$EPOCHREALTIME" "$2" >>"$LAYERDROP_TIMES"; }

# skipped WHAT: it is there already, or a part of it.
skipped() { note_time "$EPOCHREALTIME" "[skipped] $(quoted "$1")"; }

# timed COMMAND...: run it, and note how long it took.
timed() {
    local start=$EPOCHREALTIME status=0
    "$@" || status=$?
    note_time "$start" "$(quoted "$@")"
    return "$status"
}
