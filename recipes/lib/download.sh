# shellcheck shell=bash
# Files of package indexes, whole or not at all, without installing anything; common.sh reads it.

# fetch DIR NAME ELSE COMMAND...: sets FETCHED to the file in DIR with this NAME (a pattern). If there is none, COMMAND makes
# it in the folder where it runs. ELSE says in an error what can be done without it.
fetch() {
    local partial=$1/.partial-${2//\*/} log why
    FETCHED=$(find "$1" -maxdepth 1 -name "$2" 2>/dev/null | sort -V | tail -n 1 || true)
    if [[ -n $FETCHED ]]; then
        say "[have] $FETCHED" && skipped "$FETCHED"
        return
    fi
    command -v "$4" >/dev/null || die "$4 not found, which fetches ${2%%_\**}; $3"
    rm -rf -- "$partial"
    mkdir -p -- "$partial"
    log=$(mktemp)
    say "+ (cd $(quoted "$1") && $(quoted "${@:4}"))"
    # all that apt-get says goes to the log, such as its warning that root downloads as root
    if (cd -- "$partial" && LC_ALL=C timed "${@:4}") >"$log" 2>&1; then FETCHED=$(find "$partial" -name "$2"); fi
    if [[ -z $FETCHED ]]; then
        why=$(sed -nE 's/^(ERROR|E): //p' "$log" | head -n 1)
        rm -rf -- "$partial" "$log"
        die "could not download ${2%%_\**} (${why:-no such file came}); is the network there, and the package index? $3"
    fi
    mv -- "$FETCHED" "$1"
    rm -rf -- "$partial" "$log"
    FETCHED=$1/${FETCHED##*/}
}

# fetch_from_pypi DIR FILE SHA256 PIP-ARGUMENT...: sets FETCHED, which has that checksum or is not kept.
fetch_from_pypi() {
    [[ ! -f $1/$2 || $(sha256 "$1/$2") == "$3" ]] || rm -- "$1/$2"
    fetch "$1" "$2" '' "$PYTHON" -m pip --disable-pip-version-check download --no-deps "${@:4}"
    if [[ $(sha256 "$FETCHED") != "$3" ]]; then
        rm -- "$FETCHED"
        die "$FETCHED: the checksum of the download is not $3; it was not kept"
    fi
}

# unpack_package DIR NAME FOLDER ELSE: the files of Debian's and Ubuntu's package NAME into FOLDER; it is kept in DIR.
unpack_package() {
    command -v dpkg-deb >/dev/null || die "dpkg-deb not found, which unpacks the package $2 of Debian and Ubuntu; $4"
    fetch "$1" "$2_*.deb" "Was apt-get update run? If not, $4" apt-get download "$2"
    run dpkg-deb -x "$FETCHED" "$3" 2>/dev/null || die "$FETCHED is not a whole package; delete it and run this again"
}
