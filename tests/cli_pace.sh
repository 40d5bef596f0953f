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
for k in prepare compute; do eval "$k=$(value $k)"; done
inputs=$(value inputs) computed=$(value computed)
result "$(awk -v t="$one" -v p="$prepare" -v c="$compute" 'BEGIN { print !(t > 0 && t >= 0.999 * (p + c)) }')" "all take at least what the first batch took" "$one: $prepare + $compute of $inputs, $computed"

succeed "a run" clip featurize "$c" "${feat[@]}" --views 2 --progress json
holds "it begins with what it is about to do" grep -qE '^\{"plan":\{"pictures":\{"records":216,"missing":216,"inputs":432,"bytes":[1-9][0-9]+(,"forecast_seconds":[0-9.]+)?\},"captions":\{"records":1435,"missing":1435,"inputs":1435,.*\}\}\}$' <(head -n 1 "$tmp/err")
grep -qE '"progress":"featurize images","done":[1-9][0-9]*,.*"per_second":[0-9.]+,"gflops":[0-9.]+\}' "$tmp/err"
result $? "its progress has a rate and GFLOP/s" "$(cat "$tmp/err")"
stdout_has "the end names what limits" '^pictures: [1-9][0-9]* in [0-9.]+ s, [0-9.]+/s, [0-9]+ GFLOP/s in the forward pass; time: reading and decoding [0-9]+%, forward pass [0-9]+%, waiting for writing [0-9]+%; limited by (reading and decoding|forward pass|writing)$'
stdout_has "of captions too" '^captions: [1-9].* limited by '
n=$(sed -nE 's/^pictures: ([0-9]+) in .*/\1/p' "$tmp/out")
result $((n != $(sed -nE 's/^image.final +([0-9]+) vectors.*/\1/p' "$tmp/out"))) "every view counts" "$(cat "$tmp/out")"

stdout_has "the forward pass limits pictures" '^pictures: .* limited by forward pass$'
# a disk that takes a second to answer, and goes on answering while nothing else is left to do
if [[ $(nm -D ./clipstill 2>/dev/null) == *__asan* ]]; then skip "a slow disk" "a sanitizer wants to be loaded first"
else
    ${CC:-gcc} -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC tests/faultio.c -o "$tmp/faultio.so" -ldl
    small_corpus "$tmp/few"
    run ./clipstill ingest "$tmp/slow" "$tmp/few/m.tsv"
    run env FAULT_PATH="$tmp/slow/features" FAULT_CALL=sync FAULT_DELAY=1000 LD_PRELOAD="$tmp/faultio.so" ./clipstill featurize "$tmp/slow" --teacher $teacher --numerics f32 --views 2 --taps image.final
    stdout_has "a slow disk limits them" '^pictures: 20 in .*, waiting for writing ([6-9][0-9]|100)%; limited by writing$'
fi

# in words, with bytes near to what is then written, and a time where the run is long enough to be worth a probe
cp -r "$c/corpus" "$tmp/corpus"; mkdir "$tmp/plan"; mv "$tmp/corpus" "$tmp/plan/"
succeed "another run" clip featurize "$tmp/plan" "${feat[@]}" --views 4
words='^featurize: 216 of 216 pictures in 4 views and 1435 of 1435 captions to compute; about ([0-9.]+) MB( and [0-9.]+ (s|minutes|hours) on [0-9]+ threads?)?$'
result $(($(wc -l <"$tmp/err") != 1)) "says one line" "$(cat "$tmp/err")"
said=$(sed -nE "s/$words/\1/p" "$tmp/err") written=$(awk '/ vectors computed/ { for (i = 2; i < NF; i++) if ($(i + 1) ~ /^MB/) sum += $i } END { print sum }' "$tmp/out")
result "$(awk -v a="${said:-0}" -v b="$written" 'BEGIN { print !(b > 0 && a >= 0.8 * b && a <= 1.5 * b) }')" "its bytes are about those that are written" "$(cat "$tmp/err" "$tmp/out")"
for how in "--quiet" "--progress none"; do
    rm -rf "$tmp/plan/features"
    expect "nothing with $how" 0 "" clip featurize "$tmp/plan" "${feat[@]}" $how
done

expect "nothing to do" 0 "" clip featurize "$c" "${feat[@]}" --views 2
holds "says no pace" bash -c "! grep -E 'limited by' '$tmp/out'"
run ./clipstill featurize "$c" "${feat[@]}" --views 2 --json
stdout_has "nor in JSON" '"limited_by": *"nothing"'
finish
