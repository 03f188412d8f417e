# What is finished is not made again; common.sh reads it.

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
    [[ -e $finished ]] && say "[done before] $1" && skipped "$1"
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
