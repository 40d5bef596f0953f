#!/bin/bash
# One cache featurised by many machines: shards written elsewhere and merged give what one machine gives; a Slurm array; a window of time.
. "$(dirname "$0")/tap.sh"
c=$tmp/cache
feat=(--teacher $teacher --numerics f32 --taps image.final,text.final,image.block2@2x2 --views 2)
# as much of the sample corpus as gives each of three shards a block of pictures and one of captions
mkdir "$tmp/src"
ln -s "$PWD/samples/corpus/images" "$tmp/src/images"
part_of() { awk -F'\t' -v pictures="$2" '$1 != last { last = $1; n++; k = 0 } ++k <= 2 && n <= pictures + 1' "samples/corpus/$1.tsv" >"$tmp/src/$1.tsv"; }
part_of public 600
part_of field 100
ingest() { run ./clipstill ingest "$1" "$tmp/src/public.tsv" --classes samples/corpus/classes.json; }
ingest "$c"
cp -r "$c" "$tmp/one"
succeed "one machine" clip featurize "$tmp/one" "${feat[@]}"
./clipstill dump "$tmp/one" >"$tmp/want"
features() { find "$c/features" -type f -exec sha256sum {} + 2>/dev/null; find "$c/corpus" -name data.mdb -exec sha256sum {} +; }

features >"$tmp/before"
for i in 1 2 3; do succeed "shard $i of 3" clip featurize "$c" "${feat[@]}" --shard $i/3 --out "$tmp/part$i" -j $((i % 2 + 1)); done
features >"$tmp/after"
same "the cache itself is not written to" "$tmp/before" "$tmp/after"
succeed "a shard given again" clip featurize "$c" "${feat[@]}" --shard 2/3 --out "$tmp/part2"
stdout_has "finds its work done" "^text.final +0 vectors computed, [1-9]"
expect "a part that is missing" 4 "" clip merge "$c" "$tmp/part1" "$tmp/part3" --complete
stdout_has "is named" "lacks records 256 to 511"
expect "comes in later, beside one that was merged" 0 "" clip merge "$c" "$tmp/part2" "$tmp/part1" --complete
./clipstill dump "$c" >"$tmp/got"
same "three shards give what one machine gives" "$tmp/want" "$tmp/got"
expect "clean" 0 "" clip verify "$c"

# the corpus grows: no record changes its shard, and what the cache has is not computed again
succeed "more pictures" clip ingest "$c" "$tmp/src/field.tsv"
for i in 1 2 3; do
    succeed "shard $i of what is new" clip featurize "$c" "${feat[@]}" --shard $i/3 --out "$tmp/more$i"
    stdout_has "hits are the cache's" "^text.final +[0-9]+ vectors computed, [1-9][0-9]+ hits"
done
expect "unite" 0 "" clip merge "$c" "$tmp"/more? --complete
succeed "nothing is left to do" clip featurize "$c" "${feat[@]}"
stdout_has "nothing" "^image.final +0 vectors computed"

# a Slurm array of tasks 5, 7, 9
ingest "$tmp/s"
for id in 5 7 9; do
    succeed "array task $id" env CLIPSTILL=./clipstill TMPDIR="$tmp" SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=3 \
        samples/featurize.slurm "$tmp/s" $teacher "$tmp/parts" "${feat[@]:2}"
done
expect "merge" 0 "" clip merge "$tmp/s" "$tmp"/parts/part? --complete
./clipstill dump "$tmp/s" >"$tmp/got"
same "the array gives what one machine gives" "$tmp/want" "$tmp/got"

# a window of time, a longer one each night: ends cleanly, tells what it did, goes on
finals=(--teacher $teacher --numerics f32 --views 6)
for d in w v; do ingest "$tmp/$d"; done
run ./clipstill featurize "$tmp/v" "${finals[@]}"
n_nights=0
while [ $n_nights -lt 100 ]; do
    n_nights=$((n_nights + 1))
    run ./clipstill featurize "$tmp/w" "${finals[@]}" -j 1 --time-limit $((n_nights / 5)).$((n_nights % 5 * 2))s --json || { result 1 "a night" "exit code $?: $(cat "$tmp/err")"; break; }
    grep -q '"complete":true' "$tmp/out" && break
    grep -q 'the same command goes on' "$tmp/err" || { result 1 "a night says what is left" "$(cat "$tmp/err")"; break; }
done
holds "more than one night was needed" [ $n_nights -gt 1 ]
./clipstill dump "$tmp/v" >"$tmp/want"
./clipstill dump "$tmp/w" >"$tmp/got"
same "the nights give what one run gives" "$tmp/want" "$tmp/got"
expect "no time" 2 "time limit \"soon\": expected" clip stat "$tmp/w" --time-limit soon
expect "a task beyond the array" 2 "SLURM_ARRAY_TASK_ID and _COUNT: shard \"7/3\"" env SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=3 ./clipstill featurize "$c" "${feat[@]}" --out "$tmp/x"
expect "a shard of the cache itself" 2 "needs --out DIR" clip featurize "$c" "${feat[@]}" --shard 1/3
expect "no shard" 2 "expected i/n" clip featurize "$c" "${feat[@]}" --shard 4/3 --out "$tmp/x"
expect "another storage than the cache's" 5 "storage" clip featurize "$c" "${feat[@]}" --store f16 --shard 1/3 --out "$tmp/x"
finish
