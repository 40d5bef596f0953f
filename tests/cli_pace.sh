#!/bin/bash
# What featurize says of its pace: while it runs, at its end, and before it begins.
# covers: pace
. "$(dirname "$0")/tap.sh"
c=$tmp/cache
feat=(--teacher samples/teacher --numerics f32 --taps image.final,text.final)
value() { grep -oE "\"$1\": *[0-9.e+-]+" "$tmp/out" | sed -n "${2:-1}p" | grep -oE '[0-9.e+-]+$'; }
run ./clipstill ingest "$c" samples/corpus/field.tsv

expect "a dry run" 0 "" clip featurize "$c" "${feat[@]}" --views 3 --dry-run
stdout_has "foresees the time of pictures" '^pictures: about [0-9.]+ (s|minutes|hours) on this machine, after the first [1-9]'
stdout_has "and of captions" '^captions: about [0-9.]+ (s|minutes|hours) on this machine, after the first [1-9]'
run ./clipstill featurize "$c" "${feat[@]}" --dry-run --json
one=$(value forecast_seconds)
# three passes a picture, which is decoded once: a prepared share stays, the others are threefold
for k in prepare compute store; do eval "$k=$(value $k)"; done
inputs=$(value inputs) computed=$(value computed)
result "$(awk -v t="$one" -v p="$prepare" -v c="$compute" -v s="$store" 'BEGIN { print !(t > 0 && t >= 0.999 * (p + c + s)) }')" "all take at least what the first batch took" "$one: $prepare + $compute + $store of $inputs, $computed"

succeed "a run" clip featurize "$c" "${feat[@]}" --views 2 --progress json
grep -qE '"progress":"featurize images","done":[1-9][0-9]*,.*"per_second":[0-9.]+,"gflops":[0-9.]+\}' "$tmp/err"
result $? "its progress has a rate and GFLOP/s" "$(cat "$tmp/err")"
stdout_has "the end names what limits" '^pictures: [1-9][0-9]* in [0-9.]+ s, [0-9.]+/s, [0-9]+ GFLOP/s in the forward pass; time: reading and decoding [0-9]+%, forward pass [0-9]+%, writing [0-9]+%; limited by (reading and decoding|forward pass|writing)$'
stdout_has "of captions too" '^captions: [1-9].* limited by '
n=$(sed -nE 's/^pictures: ([0-9]+) in .*/\1/p' "$tmp/out")
result $((n != $(sed -nE 's/^image.final +([0-9]+) vectors.*/\1/p' "$tmp/out"))) "every view counts" "$(cat "$tmp/out")"

expect "nothing to do" 0 "" clip featurize "$c" "${feat[@]}" --views 2
holds "says no pace" bash -c "! grep -E 'limited by' '$tmp/out'"
run ./clipstill featurize "$c" "${feat[@]}" --views 2 --json
stdout_has "nor in JSON" '"limited_by": *"nothing"'
finish
