#!/bin/bash
# SIGTERM, SIGINT, SIGHUP and SIGUSR1 in the middle of every verb that takes long: it ends with 128 + n and one sentence, the cache is clean, and the
# same command goes on to what a run gives that nobody stopped. The moment is an allocation of the run (tests/faultio.c), so it is
# the same each time. SIGNALS=N: so many moments for each signal (1).
# covers: signals
. "$(dirname "$0")/tap.sh"
# a sanitizer wants to be loaded first, but does as well behind the shim
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
${CC:-gcc} -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC tests/faultio.c -o "$tmp/faultio.so" -ldl
result $? "the shim is built" || finish
taps=(--teacher $teacher --numerics f32 --taps image.final,text.final)
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)

# each works on the folder $1, which begins as a copy of the state named by `state_of`; its result is what `result_of` prints
stage() { # NAME FOLDER
    local c=$2/c
    case $1 in
    ingest) ./clipstill ingest "$c" samples/corpus/field.tsv samples/corpus/public.tsv ;;
    retag) ./clipstill retag "$c" --assign-splits 80/10/10 --set-lang auto ;;
    featurize) ./clipstill featurize "$c" "${taps[@]}" ;;
    recompute) ./clipstill verify "$c" --recompute 50% --teacher $teacher ;;
    verify) ./clipstill verify "$c" ;;
    shrink) ./clipstill shrink "$c" --teacher $teacher --out "$2/s" --image-arch vit:layers=2 ;;
    distill) ./clipstill distill "$c" --out "$2/s" --init random "${tiny[@]}" --epochs-image 2 --epochs-text 1 ;;
    align) ./clipstill align "$c" --init "$tmp/state/s" --out "$2/s" --epochs 1 --max-steps 20 --batch 32 ;;
    eval) ./clipstill eval "$c" --model "$tmp/state/s" --model "$tmp/state/s" ;;
    forget) ./clipstill forget "$c" --where split=train ;;
    gc) ./clipstill gc "$c" ;;
    snapshot) ./clipstill snapshot "$c" "$2/dest" ;;
    merge) ./clipstill merge "$2/m" "$c" ;;
    npy) ./clipstill export "$c" --set text.final --npy "$2/e" ;;
    safetensors) ./clipstill export "$c" --set text.final --safetensors "$2/e.safetensors" ;;
    clip-retrieval) ./clipstill export "$c" --set text.final --clip-retrieval "$2/e" ;;
    webdataset) ./clipstill export "$c" --webdataset "$2/e" --shard-bytes 1000000 ;;
    import) ./clipstill import "$c" --safetensors "$tmp/state/text.safetensors" --set new ;;
    esac
}
result_of() { # NAME FOLDER
    case $1 in
    shrink | distill | align) sha256sum <"$2/s/model.safetensors" ;;
    snapshot) ./clipstill dump "$2/dest/current" ;;
    merge) ./clipstill dump "$2/m" ;;
    npy | safetensors | clip-retrieval | webdataset) (cd "$2" && find . -path './e*' -type f | sort | xargs sha256sum) ;;
    *) ./clipstill dump "$2/c" ;;
    esac
}
fresh() { # NAME FOLDER
    rm -rf "$2"; mkdir "$2"
    case $1 in
    ingest) ;;
    retag | featurize) cp -r "$tmp/state/corpus" "$2/c" ;;
    *) cp -r "$tmp/state/c" "$2/c" ;;
    esac
}

mkdir "$tmp/state"
run ./clipstill ingest "$tmp/state/c" samples/corpus/field.tsv --classes samples/corpus/classes.json
cp -r "$tmp/state/c" "$tmp/state/corpus"
succeed "features" stage featurize "$tmp/state"
succeed "a student" stage distill "$tmp/state"
succeed "an export" ./clipstill export "$tmp/state/c" --set text.final --safetensors "$tmp/state/text.safetensors"

torture() { # NAME
    local name=$1 rc n at k bad='' n_stopped=0 turns=0
    fresh "$name" "$tmp/a"
    FAULT_CALL=alloc FAULT_COUNT=$tmp/n LD_PRELOAD=$tmp/faultio.so stage "$name" "$tmp/a" >"$tmp/out" 2>"$tmp/err"; rc=$?
    [ $rc -eq 0 ] || [ $rc -eq 3 ] || { result 1 "$name: undisturbed" "$rc: $(cat "$tmp/err")"; return; }
    result_of "$name" "$tmp/a" >"$tmp/want"
    n=$(cat "$tmp/n")
    local signals=(15 2 1 10) per=${SIGNALS:-1}
    for ((k = 1; k <= 4 * per; k++)); do
        at=$((n * k / (4 * per + 1) + 1)) sig=${signals[k % 4]}
        turns=$((turns + 1))
        fresh "$name" "$tmp/b"
        FAULT_CALL=alloc FAULT_AT=$at FAULT_SIGNAL=$sig LD_PRELOAD=$tmp/faultio.so stage "$name" "$tmp/b" >"$tmp/out" 2>"$tmp/err"; rc=$?
        case $rc in
        $((128 + sig)))
            n_stopped=$((n_stopped + 1))
            # without a sentence where it had begun nothing yet
            [ "$(grep -cE '^clipstill: .*stopped' "$tmp/err")" -eq "$(grep -c '^clipstill: ' "$tmp/err")" ] || bad+="signal $sig at $at of $n: it says: $(cat "$tmp/err")"$'\n' ;;
        0 | 3) ;;
        *) bad+="signal $sig at $at of $n: exit code $rc: $(cat "$tmp/err")"$'\n' ;;
        esac
        [ "${SIGNALS_TELL:-}" = "" ] || echo "# $name signal $sig at $at of $n: $rc $(tail -n 1 "$tmp/err")"
        [ ! -e "$tmp/b/c" ] || run ./clipstill verify "$tmp/b/c" || grep -qE 'no corpus here|cut short' "$tmp/err" ||
            bad+="signal $sig at $at of $n: not clean: $(head -n 3 "$tmp/out" "$tmp/err")"$'\n'
        # a model that is made is not made again
        { [ $rc -eq 0 ] && [ "$name" = shrink ]; } || run stage "$name" "$tmp/b"; rc=$?
        [ $rc -eq 0 ] || [ $rc -eq 3 ] || bad+="signal $sig at $at of $n: does not go on: $rc: $(cat "$tmp/err")"$'\n'
        result_of "$name" "$tmp/b" >"$tmp/got"
        cmp -s "$tmp/want" "$tmp/got" || bad+="signal $sig at $at of $n: another end"$'\n'
    done
    result ${#bad} "$name: stopped by signals at $turns of $n moments" "$bad"
    # of retag all pairs here are one batch
    [ "$name" = retag ] || result $((n_stopped == 0)) "$name: the stop is one" "each run was over before it looked"
}

for name in ${*:-ingest retag featurize recompute verify shrink distill align eval forget gc snapshot merge npy safetensors clip-retrieval webdataset import}; do
    torture "$name"
done

# oneDNN lets the stack pointer point into the heap while it makes a kernel: no handler may run, all four are blocked (cli/signals.h)
./clipstill distill "$tmp/state/c" --out "$tmp/long" --init random "${tiny[@]}" --epochs-image 1000000 >/dev/null 2>&1 & pid=$!
for _ in $(seq 600); do [ ! -s "$tmp/long/curve.jsonl" ] || break; sleep 0.05; done
mask() { printf '%d' "0x$(sed -n "s/^$1:\t0*\([0-9a-f]\)/\1/p" "/proc/$pid/status")"; }
four=$((1 << 0 | 1 << 1 | 1 << 9 | 1 << 14))
result $((($(mask SigCgt) & four) != 0)) "a signal to stop has no handler" "$(grep Sig "/proc/$pid/status")"
result $((($(mask SigBlk) & four) != four)) "and interrupts nothing" "$(grep Sig "/proc/$pid/status")"
kill -INT $pid; wait $pid
result $(($? != 130)) "SIGINT ends it all the same"
# nohup: a signal that the caller ignores is none
(trap '' HUP; exec ./clipstill distill "$tmp/state/c" --out "$tmp/long" --init random "${tiny[@]}" --epochs-image 1000000 >/dev/null 2>&1) & pid=$!
at=$(stat -c %s "$tmp/long/curve.jsonl")
for _ in $(seq 600); do [ "$(stat -c %s "$tmp/long/curve.jsonl")" -eq "$at" ] || break; sleep 0.05; done
kill -HUP $pid
at=$(stat -c %s "$tmp/long/curve.jsonl")
for _ in $(seq 600); do [ "$(stat -c %s "$tmp/long/curve.jsonl")" -eq "$at" ] || break; sleep 0.05; done
result $(($(stat -c %s "$tmp/long/curve.jsonl") == at)) "SIGHUP under nohup does not end it"
kill -TERM $pid; wait $pid
result $(($? != 143)) "but SIGTERM does"
finish
