#!/bin/bash
# Power loss: every write, cut and sync of two ingests, a retag and a featurize is logged, and for each moment (every POWER_STEP-th operation,
# 1 by default) the disk is made as it may be then: all that was written, and POWER_SUBSETS random subsets of what was not yet synced. Every
# such cache opens, verifies clean, and is that of the last commit or the one in flight: at most one batch is lost.
. "$(dirname "$0")/tap.sh"
step=${POWER_STEP:-1} subsets=${POWER_SUBSETS:-3} seed=${SEED:-1}
if [[ $(nm -D ./clipstill 2>/dev/null) == *__asan* ]]; then skip "power loss" "a sanitizer wants to be loaded first"; finish; fi
cc=${CC:-gcc}
$cc -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC tests/faultio.c -o "$tmp/faultio.so" -ldl && $cc -std=c11 -D_GNU_SOURCE -O1 tests/powerloss.c -o "$tmp/powerloss"
result $? "the shim and the replay are built" || finish
src=$tmp/src c=$tmp/c log=$tmp/log
small_corpus "$src"
head -n 21 "$src/m.tsv" >"$src/first.tsv"
logged() { FAULT_PATH=$c FAULT_LOG=$log LD_PRELOAD=$tmp/faultio.so ./clipstill "$@" >/dev/null 2>"$tmp/err"; }
logged ingest "$c" "$src/first.tsv" --source m; result $? "ingest"
logged ingest "$c" "$src/m.tsv" --source m --classes "$src/classes.json"; result $? "a second ingest"
logged retag "$c" --where lang=de --set-lang fr; result $? "retag"
logged featurize "$c" --teacher $teacher --numerics f32 --taps image.final,text.final --views 2; result $? "featurize"
n=$("$tmp/powerloss" "$log" "$c" x ops)

# state N SEED: the cache in $tmp/p; its dump's digest, or "none" before the corpus is made
state() {
    local rc
    rm -rf "$tmp/p"; mkdir "$tmp/p"
    "$tmp/powerloss" "$log" "$c" "$tmp/p" "$1" "$2" || { echo broken; return; }
    ./clipstill verify "$tmp/p" >"$tmp/out" 2>"$tmp/err"; rc=$?
    if [ $rc -ne 0 ]; then
        if [ $rc -eq 1 ] && grep -qE 'no corpus here|cut short' "$tmp/err"; then echo none; else echo "unclean: $(head -n 1 "$tmp/out") $(head -n 1 "$tmp/err")"; fi
        return
    fi
    ./clipstill dump "$tmp/p" 2>"$tmp/err" | sha256sum
}
# what the dump is once so many heads are written and names changed
declare -A after
heads=-1
for ((i = 0; i <= n; i++)); do
    h=$("$tmp/powerloss" "$log" "$c" x heads $i)
    [ "$h" -ne $heads ] || continue
    heads=$h; after[$h]=$(state $i 0)
done
after[$((heads + 1))]=${after[$heads]}
printf '# %d operations, %d commits and renames\n' "$n" "$heads"
bad= turns=0
for ((i = 0; i <= n; i += step)); do
    h=$("$tmp/powerloss" "$log" "$c" x heads $i)
    for ((k = 0; k <= subsets; k++)); do
        found=$(state $i $((k ? seed * 1000 + k : 0))); turns=$((turns + 1))
        [ "$found" = "${after[$h]}" ] || [ "$found" = "${after[$((h + 1))]}" ] || bad+="operation $i, subset $k: $found"$'\n'
    done
done
result ${#bad} "$turns moments: clean, and at most the batch in flight is lost" "$(head -n 20 <<<"$bad")"
result $((heads < 6)) "there were $heads commits and renames"
result $(($(printf '%s\n' "${after[@]}" | sort -u | wc -l) < 5)) "with different dumps"
finish
