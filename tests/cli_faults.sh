#!/bin/bash
# The machine fails under the program: each Nth write, sync and allocation of ingest, retag and featurize, a network file system,
# signals. An error is said in one sentence, the cache verifies clean and is that of
# before or after, and the same command goes on. FAULTS=all: each N; by default at most twelve a kind.
. "$(dirname "$0")/tap.sh"
# a sanitizer wants to be loaded first, but does as well behind the shim
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0:exitcode=99
${CC:-gcc} -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC tests/faultio.c -o "$tmp/faultio.so" -ldl
result $? "the shim is built" || finish
src=$tmp/src
small_corpus "$src"
stage() { # NAME CACHE
    case $1 in
    ingest) ./clipstill ingest "$2" "$src/m.tsv" --classes "$src/classes.json" ;;
    retag) ./clipstill retag "$2" --set-lang fr --where lang=de ;;
    featurize) ./clipstill featurize "$2" --teacher $teacher --numerics f32 --taps image.final,text.final ;;
    esac
}
faulty() { # CALL N CACHE STAGE: with the Nth call below CACHE failing; the number of calls stays in $tmp/n
    FAULT_PATH=$3 FAULT_CALL=$1 FAULT_AT=$2 FAULT_COUNT=$tmp/n LD_PRELOAD=$tmp/faultio.so stage "$4" "$3" >"$tmp/out" 2>"$tmp/err"
}
dump_of() { ./clipstill dump "$1" 2>/dev/null; true; }

mkdir "$tmp/empty"
before=$tmp/empty
for s in ingest retag featurize; do
    rm -rf "$tmp/after"; cp -r "$before" "$tmp/after"
    stage $s "$tmp/after" >/dev/null 2>&1
    dump_of "$before" >"$tmp/dump.before"; dump_of "$tmp/after" >"$tmp/dump.after"
    for call in write sync alloc; do
        rm -rf "$tmp/d"; cp -r "$before" "$tmp/d"
        faulty $call 0 "$tmp/d" $s; n=$(cat "$tmp/n")
        step=$(((n + 11) / 12)); [ "${FAULTS:-}" != all ] || step=1
        bad= turns=0 failed=0
        for ((at = 1; at <= n; at += step > 1 ? step + at % 2 : 1)); do
            rm -rf "$tmp/d"; cp -r "$before" "$tmp/d"
            faulty $call $at "$tmp/d" $s; rc=$?
            turns=$((turns + 1))
            case $rc in
            0 | 3) ;; # a file that is not needed: the run's manifest, a lock's process id
            1 | 7) failed=$((failed + 1)); [ "$(grep -c '^clipstill: ' "$tmp/err")" -eq 1 ] || bad+="$call $at: $(head -n 3 "$tmp/err")"$'\n' ;;
            *) bad+="$call $at: exit code $rc: $(head -c 300 "$tmp/err")"$'\n' ;;
            esac
            run ./clipstill verify "$tmp/d" || grep -qE 'no corpus here|cut short' "$tmp/err" || bad+="$call $at: not clean: $(head -n 2 "$tmp/out" "$tmp/err")"$'\n'
            dump_of "$tmp/d" >"$tmp/dump.d"
            # a featurize commits sets one after the other, and makes them first
            [ $s = featurize ] || cmp -s "$tmp/dump.d" "$tmp/dump.before" || cmp -s "$tmp/dump.d" "$tmp/dump.after" || bad+="$call $at: neither before nor after"$'\n'
            stage $s "$tmp/d" >/dev/null 2>&1; rc=$?
            [ $rc -eq 0 ] || [ $rc -eq 3 ] || bad+="$call $at: does not go on: $rc"$'\n'
            dump_of "$tmp/d" >"$tmp/dump.d"
            cmp -s "$tmp/dump.d" "$tmp/dump.after" || bad+="$call $at: gone on, it is another"$'\n'
        done
        result ${#bad} "$s: $turns of $n times a failed $call" "$bad"
        result $((failed == 0)) "$s: a failed $call is an error"
    done
    before=$tmp/before.$s; cp -r "$tmp/after" "$before"
done
c=$tmp/after

# --- a network file system
network() { FAULT_PATH=$c FAULT_STATFS=$1 LD_PRELOAD=$tmp/faultio.so ./clipstill "${@:2}"; }
expect "NFS is named" 2 "network file system \(NFS\).*--force" network 6969 ingest "$c" "$src/m.tsv"
expect "CIFS is named" 2 "\(CIFS\)" network ff534d42 stat "$c"
succeed "NFS with --force" network 6969 ingest "$c" "$src/m.tsv" --force
expect "and clean" 0 "" ./clipstill verify "$c"

# --- signals end a long featurize with 128 + n after a commit, and it goes on
cp -r "$before" "$tmp/long"; rm -rf "$tmp/long/features"
signals=(TERM:143 USR1:138 INT:130)
[[ $(trap -p HUP) == *"''"* ]] || signals+=(HUP:129) # under nohup it is none
for sig in "${signals[@]}"; do
    ./clipstill featurize "$tmp/long" --teacher $teacher --numerics f32 --taps image.final,image.block2@2x2 --views 60 >"$tmp/out" 2>"$tmp/err" & pid=$!
    at=$(stat -c %s "$tmp/long/features/image.final/data.mdb" 2>/dev/null || echo 0)
    for _ in $(seq 400); do
        [ "$(stat -c %s "$tmp/long/features/image.final/data.mdb" 2>/dev/null || echo 0)" -eq "$at" ] || break
        sleep 0.01
    done
    kill -s "${sig%:*}" $pid 2>/dev/null; wait $pid; rc=$?
    result $((rc != ${sig#*:})) "SIG${sig%:*} ends featurize with ${sig#*:}" "exit code $rc: $(cat "$tmp/err")"
    expect "SIG${sig%:*}: clean" 0 "" ./clipstill verify "$tmp/long"
done
finish
