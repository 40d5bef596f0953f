# Sourced by the command line tests: TAP lines, a scratch folder, a small corpus.
#
#     . tests/tap.sh
#     expect "unknown option" 2 "did you mean '--split'" clip ingest "$tmp/c" m.tsv --splt train
#     same "two dumps" a.txt b.txt
#     finish
#
# `clip` is the program under test. `expect NAME CODE REGEX COMMAND...` demands the exit code and, on stderr, exactly one line that begins with
# "clipstill: " and matches the regex; with an empty regex, no line at all. stdout of the last command stays in $tmp/out, stderr in $tmp/err.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export LC_ALL=C OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
teacher=tests/golden/altclip-tiny/model
tmp=$(mktemp -d "${TMPDIR:-/tmp}/clipstill-cli-XXXXXX")
n_tests=0 n_failed=0 mounted=

clean_up() {
    [ -z "$mounted" ] || umount "$mounted"
    chmod -R u+w "$tmp" 2>/dev/null
    rm -rf "$tmp"
}
trap clean_up EXIT

clip() { ./clipstill "$@"; }

result() { # 0|1 NAME [WHY]
    n_tests=$((n_tests + 1))
    if [ "$1" = 0 ]; then echo "ok $n_tests - $2"; return 0; fi
    n_failed=$((n_failed + 1))
    echo "not ok $n_tests - $2"
    [ -z "${3:-}" ] || sed 's/^/# /' <<<"$3"
    return 1
}

skip() { # NAME WHY
    n_tests=$((n_tests + 1))
    echo "ok $n_tests - $1 # SKIP $2"
}

run() { "$@" >"$tmp/out" 2>"$tmp/err" </dev/null; }

expect() {
    local name=$1 code=$2 regex=$3 rc why=
    shift 3
    run "$@"; rc=$?
    [ $rc -eq "$code" ] || why="exit code $rc, expected $code"$'\n'
    if [ -z "$regex" ]; then
        [ ! -s "$tmp/err" ] || why+="stderr is not empty"$'\n'
    else
        [ "$(wc -l <"$tmp/err")" -eq 1 ] || why+="stderr has $(wc -l <"$tmp/err") lines, expected one"$'\n'
        grep -qE "^clipstill: .*($regex)" "$tmp/err" || why+="stderr does not match '$regex'"$'\n'
    fi
    [ -z "$why" ] && { result 0 "$name"; return; }
    result 1 "$name" "$why$*"$'\n'"stderr: $(head -c 600 "$tmp/err")"
}

succeed() { # NAME COMMAND...: exit 0; what it says on stderr is its own affair
    local name=$1 rc
    shift
    run "$@"; rc=$?
    [ $rc -eq 0 ] && { result 0 "$name"; return; }
    result 1 "$name" "exit code $rc: $*"$'\n'"stderr: $(head -c 600 "$tmp/err")"
}

same() { # NAME FILE FILE
    if cmp -s "$2" "$3"; then result 0 "$1"; else result 1 "$1" "$(cmp "$2" "$3" 2>&1)
$(diff -a "$2" "$3" | head -n 10 | cut -c1-300)"; fi
}

holds() { # NAME COMMAND...: a condition; quiet
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then result 0 "$name"; else result 1 "$name" "does not hold: $*"; fi
}

stdout_has() { # NAME REGEX, about the last command
    if grep -qE -- "$2" "$tmp/out"; then result 0 "$1"; else result 1 "$1" "stdout lacks '$2': $(head -c 600 "$tmp/out")"; fi
}

# small_corpus DIR: ten pictures with captions in four languages and three splits, and a class list
small_corpus() {
    local i=0 f split label
    mkdir -p "$1"
    cp tests/golden/preprocess/inputs/photo_0[0-7].jpg tests/golden/preprocess/inputs/{webp_lossy.webp,exif_6.jpg} "$1"
    printf 'image\tcaption\tlang\tsplit\tlabel\n' >"$1/m.tsv"
    for f in "$1"/*.jpg "$1"/*.webp; do
        i=$((i + 1)); f=$(basename "$f"); split=train; label=dog
        [ $((i % 4)) -ne 0 ] || split=val
        [ $((i % 5)) -ne 0 ] || split=test
        [ $((i % 2)) -ne 0 ] || label=cat
        printf '%s\ta dog and apple %d\ten\t%s\t%s\n%s\tein Hund mit Apfel %d\tde\t%s\t%s\n' "$f" $i $split $label "$f" $i $split $label
        printf '%s\t狗和苹果 %d\tzh\t%s\t%s\n%s\tكلب وتفاحة %d\tar\t%s\t%s\n' "$f" $i $split $label "$f" $i $split $label
    done >>"$1/m.tsv"
    cat >"$1/classes.json" <<'J'
{"templates": {"en": ["a photo of a {}"], "de": ["ein Foto: {}"]},
 "classes": {"dog": {"en": "dog", "de": "Hund"}, "cat": {"en": "cat", "de": "Katze"}}}
J
}

finish() {
    echo "1..$n_tests"
    [ "$n_failed" -eq 0 ]
    exit
}
