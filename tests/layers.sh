#!/bin/bash
# The house rules that a machine can hold: includes point left along store < ingest < featurize < train < cli, a third-party library is
# included by one file, stems are unique, every stem of a room has its test. `layers.sh [ROOT]`; prints one line a violation, exits 1 if any.
# A stem is tested by tests/test_STEM.c, or by another test that says so in its opening comment (`covers: STEM STEM`); a verb, cli/cmd_VERB.c,
# and what cli/ shares by the tests that run the program.
# `layers.sh --self-test` plants one violation of each kind in a copy and demands that it is found.
set -u
export LC_ALL=C

# the two rules about #include, over all files of the rooms at once
includes() {
    awk '
        BEGIN { split("store ingest featurize train cli", rooms, " "); for (i in rooms) rank[rooms[i]] = i }
        /^#include "[^\/]*"/ { print "layers: " FILENAME ": include from the root, not " FNR ":" $0 }
        /^#include "(store|ingest|featurize|train|cli)\// {
            split($0, word, "[\"/]"); from = FILENAME; sub("/.*", "", from)
            if (rank[word[2]] > rank[from]) print "layers: " FILENAME " includes rightwards, from " from " to " word[2]
        }' "$@"
}

check() {
    cd "$1" || exit 2
    local bad=0 f
    includes $(ls {store,ingest,featurize,train,cli}/*.[ch] {store,ingest,featurize,train,cli}/*.cc 2>/dev/null) | grep . && bad=1
    # third-party headers: one .c each (LMDB: the files of kv, by their kv_inside.h; oneDNN: the private onednn.h; ICU: captions, the two kinds of Han characters, words of tokenizers)
    local spec
    for spec in lmdb.h:1 zstd.h:1 jpeglib.h:1 webp/decode.h:1 zlib.h:1 archive.h:1 jansson.h:1 libxml/:1 cld2/:1 openssl/:1 sentencepiece_processor:1 sentencepiece_trainer:1 unicode/:3 dnnl.h:1 mpi.h:1; do
        local n; n=$(grep -lE "^#include <${spec%:*}" store/* ingest/* featurize/* train/* cli/* 2>/dev/null | wc -l)
        [ "$n" -le "${spec#*:}" ] || { echo "layers: <${spec%:*}> is included by $n files, at most ${spec#*:} may"; bad=1; }
    done
    f=$(grep -l '^#include "store/kv_inside.h"' {store,ingest,featurize,train,cli}/* 2>/dev/null | grep -v '^store/kv\(_[a-z]*\)\?\.c$')
    [ -z "$f" ] || { echo "layers: store/kv_inside.h, and with it LMDB, is included by" $f; bad=1; }
    local twice; twice=$(ls {store,ingest,featurize,train,cli}/*.c 2>/dev/null | xargs -n1 basename | sort | uniq -d)
    [ -z "$twice" ] || { echo "layers: stems that stand twice:" $twice; bad=1; }
    local covered stem
    covered=" $(sed -snE '1,20s/^( \*|#) covers: (.*)/\2/p' tests/test_*.c tests/cli_*.sh | tr '\n' ' ')"
    for f in {store,ingest,featurize,train,cli}/*.c {store,ingest,featurize,train,cli}/*.cc; do
        [ -e "$f" ] || continue
        stem=${f##*/}; stem=${stem%.*}
        [ -e "tests/test_$stem.c" ] && continue
        [[ $covered == *" $stem "* ]] && continue
        [[ $stem == cmd_* ]] && grep -qw -- "${stem#cmd_}" tests/cli_*.sh && continue
        echo "layers: $f has no test: neither tests/test_$stem.c nor a test that says \"covers: $stem\""; bad=1
    done
    local stems; stems=" $(ls {store,ingest,featurize,train,cli}/*.c {store,ingest,featurize,train,cli}/*.cc 2>/dev/null | sed -E 's|.*/||; s|\..*||' | tr '\n' ' ')"
    for stem in $covered; do
        [[ $stems == *" $stem "* ]] || { echo "layers: a test covers $stem, which is no file of any room"; bad=1; }
        [ ! -e "tests/test_$stem.c" ] || { echo "layers: a test covers $stem, which has its own tests/test_$stem.c"; bad=1; }
    done
    local stray; stray=$(ls | grep -vxE 'Makefile|README.md|LICENSE|ingest|featurize|store|train|cli|tests|samples|build|clipstill|demo')
    [ -z "$stray" ] || { echo "layers: at the top level stands what does not belong there:" $stray; bad=1; }
    grep -lE 'printf\(|exit\(' store/*.c ingest/*.c featurize/*.c train/*.c 2>/dev/null |
        xargs -r grep -nE '(^|[^a-z_])(v?printf|exit|perror|puts)\(' | sed 's|^|layers: only cli/ prints or exits: |' | grep . && bad=1
    return $bad
}

self_test() {
    local missed=0
    tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
    plant() { # NAME FILE TEXT [SECOND-FILE]
        rm -rf "$tmp/t"; mkdir "$tmp/t"; cp -r store ingest featurize train cli Makefile README.md LICENSE "$tmp/t/"
        mkdir "$tmp/t/tests"; cp tests/*.[ch] tests/*.sh "$tmp/t/tests/"
        printf '%s\n' "$3" >>"$tmp/t/$2"
        [ $# -lt 4 ] || printf '%s\n' "$3" >>"$tmp/t/$4"
        if (check "$tmp/t" >/dev/null); then echo "not ok - layers: a planted violation is not seen: $1"; missed=1
        else echo "ok - layers: sees $1"; fi
    }
    plant "an include to the right" store/error.c '#include "train/loss.h"'
    plant "an include without its room" store/error.c '#include "error.h"'
    plant "a library in a second file" store/error.c '#include <lmdb.h>' store/memory.c
    plant "LMDB behind another's back" store/corpus.c '#include "store/kv_inside.h"'
    plant "a stem that stands twice" train/error.c '/* twice */'
    plant "a stage that prints" store/error.c 'void f(void) { printf("x"); }'
    plant "a stem without a test" store/orphan.c '/* nobody looks */'
    plant "a test of what is not there" tests/test_phantom.c '/* covers nothing.
 * covers: phantom_stem */'
    plant "a stray file at the top" notes.txt 'x'
    return $missed
}

if [ "${1:-}" = --self-test ]; then
    if check . ; then echo "ok - layers: the tree keeps the rules"; rc=0; else echo "not ok - layers: the tree breaks a rule"; rc=1; fi
    self_test || rc=1
    exit $rc
fi
check "${1:-.}"
