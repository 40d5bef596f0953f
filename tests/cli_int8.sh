#!/bin/bash
# int8 as the program tells it: calibrated once, frozen, measured, refused; taken to shards, to embed and to another night.
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache cal=$tmp/cal.json
small_corpus "$src"
head -n 25 "$src/m.tsv" >"$src/first.tsv"
feat=(featurize "$c" --teacher $teacher --taps image.final,text.final)
run ./clipstill ingest "$c" "$src/first.tsv"

if ! ./clipstill bench --model $teacher --numerics int8 >/dev/null 2>"$tmp/why"; then
    expect "a CPU without exact 8-bit sums" 2 "int8 needs a CPU.*take bf16 or f32" clip "${feat[@]}" --numerics int8
    skip "everything else" "$(head -c 200 "$tmp/why")"
    finish
fi
expect "a CPU without exact 8-bit sums" 2 "int8 needs a CPU.*take bf16 or f32" env DNNL_MAX_CPU_ISA=AVX2 ./clipstill "${feat[@]}" --numerics int8
expect "embed there" 2 "int8 needs a CPU.*take bf16 or f32" env DNNL_MAX_CPU_ISA=AVX2 ./clipstill bench --model $teacher --numerics int8
holds "nothing is made there" bash -c "[ ! -e '$c/features' ] || [ -z \"\$(ls '$c/features')\" ]"

# --- the gate
expect "worse than asked for" 4 "final: over [0-9]+ (captions|pictures) the least cosine of int8 to f32 is 0\.9[0-9]+ .*below 0\.9999999.*nothing was made" clip "${feat[@]}" --numerics int8 --min-cosine 0.9999999 --calibration "$cal"
holds "nothing is made" bash -c "[ -z \"\$(ls '$c/features')\" ] && [ ! -e '$cal' ]"
succeed "a dry run" clip "${feat[@]}" --numerics int8 --dry-run --calibration "$cal"
stdout_has "measures" "^  int8 against f32 over [0-9]+ .*: cosine 0\.99[0-9]+, least 0\.99[0-9]+$"
holds "and writes nothing" bash -c "[ -z \"\$(ls '$c/features')\" ] && [ ! -e '$cal' ]"

# --- made
cp -r "$c" "$tmp/one"; cp -r "$c" "$tmp/auto"
succeed "featurize --numerics int8" clip "${feat[@]}" --numerics int8 --calibration "$cal" -j 2
stdout_has "says how near it comes" "^  int8 against f32 over 6 when it was made: cosine 0\.99[0-9]+, least 0\.99[0-9]+$"
holds "the calibration is a file" grep -q '"schema": "clipstill.calibration.1"' "$cal"
succeed "one thread, without the file" clip featurize "$tmp/one" --teacher $teacher --numerics int8 -j 1
./clipstill dump "$c" >"$tmp/dump"; ./clipstill dump "$tmp/one" >"$tmp/dump1"
same "gives the same, bit for bit" "$tmp/dump" "$tmp/dump1"
succeed "stat" clip stat "$c" --teacher $teacher
stdout_has "tells the agreement" "^  int8 against f32 over 24 when it was made: cosine 0\.99"
stdout_has "is fresh" "^  fresh: "
succeed "stat --numerics bf16" clip stat "$c" --teacher $teacher --numerics bf16
stdout_has "names numerics" "^  stale against .*: numerics \(expected \"bf16[.0-9]*\", found \"int8:[0-9a-f]{32}\"\)$"
expect "verify --recompute" 0 "" clip verify "$c" --recompute 100% --teacher $teacher
stdout_has "finds the same bits" "^image.final +6 recomputed, 6 bit for bit"

# --- another night: more records, the same calibration; auto keeps to it, and never begins it
run ./clipstill ingest "$c" "$src/m.tsv"
succeed "auto" clip "${feat[@]}"
stdout_has "goes on in int8" "^image.final +4 vectors computed, 6 hits"
expect "verify --recompute" 0 "" clip verify "$c" --recompute 100% --teacher $teacher
succeed "auto for a new set" clip featurize "$tmp/auto" --teacher $teacher --taps image.final --json
stdout_has "is not int8" '"numerics":"(f32|bf16)"'
expect "other numerics" 5 'numerics \(expected "int8:[0-9a-f]+", found "f32"\).*--accept-numerics' clip "${feat[@]}" --numerics f32

# --- a set of other numerics, completed
run ./clipstill ingest "$tmp/auto" "$src/m.tsv"
other=(featurize "$tmp/auto" --teacher $teacher --taps image.final --numerics int8)
expect "bf16 or f32 is not mixed with int8" 5 'numerics .*found "int8"\).*--accept-numerics' clip "${other[@]}"
expect "without a calibration" 2 "int8 needs a calibration: give --calibration FILE" clip "${other[@]}" --accept-numerics
succeed "accepted" clip "${other[@]}" --accept-numerics --calibration "$tmp/new.json"
stdout_has "goes on" "^image.final +4 vectors computed, 6 hits"
succeed "stat" clip stat "$tmp/auto"
stdout_has "tells from where" "^  accepted: vectors after the first \[6\], by view, are int8:[0-9a-f]{32}$"
expect "verify --recompute" 0 "" clip verify "$tmp/auto" --recompute 100% --teacher $teacher
rm -r "$tmp/auto/features"

# --- elsewhere, with the file
mkdir "$tmp/shard"; cp -r "$c/corpus" "$tmp/shard/corpus"
succeed "another machine" clip featurize "$tmp/shard" --teacher $teacher --numerics int8 --calibration "$cal"
succeed "its features" clip merge "$c" "$tmp/shard"
stdout_has "are the same" "^image.final +0 new vectors, 10 equal; complete$"
mkdir "$tmp/anew"; cp -r "$c/corpus" "$tmp/anew/corpus"
succeed "without the file, from a larger corpus" clip featurize "$tmp/anew" --teacher $teacher --numerics int8
expect "they do not mix" 5 'numerics \(expected "int8:[0-9a-f]+", found "int8:[0-9a-f]+"\)' clip merge "$c" "$tmp/anew"

# --- shards of one corpus agree without the file, too
mkdir "$tmp/whole"; cp -r "$c/corpus" "$tmp/whole/corpus"
for i in 1 2; do succeed "shard $i" clip featurize "$tmp/whole" --teacher $teacher --numerics int8 --shard $i/2 --out "$tmp/out$i"; done
succeed "merge" clip merge "$tmp/whole" "$tmp/out1" "$tmp/out2"
./clipstill dump "$tmp/whole" >"$tmp/dump"; ./clipstill dump "$tmp/anew" >"$tmp/dump1"
same "as in one" "$tmp/dump" "$tmp/dump1"
run ./clipstill ingest "$tmp/one" "$src/m.tsv"
succeed "a shard beside sets that are there" clip featurize "$tmp/one" --teacher $teacher --shard 1/1 --out "$tmp/part"
stdout_has "in their numerics" "^image.final +4 vectors computed"
succeed "merge" clip merge "$tmp/one" "$tmp/part"
stdout_has "fits" "^image.final +4 new vectors, .*complete$"

# --- embed
text="a dog and apple 1"
succeed "embed" clip embed --model $teacher --numerics int8 --calibration "$cal" --text "$text" --image "$src/photo_00.jpg" --npy "$tmp/e.npy"
succeed "f32" clip embed --model $teacher --text "$text" --image "$src/photo_00.jpg" --npy "$tmp/f.npy"
holds "differs a little" bash -c "! cmp -s '$tmp/e.npy' '$tmp/f.npy'"
succeed "alone" clip embed --model $teacher --numerics int8 --calibration "$cal" --text "$text"
cp "$tmp/out" "$tmp/alone"
succeed "among others" clip embed --model $teacher --numerics int8 --calibration "$cal" --text x --text "$text" --text "a much longer text about nothing" -j 3
sed -n 2p "$tmp/out" >"$tmp/among"
same "a text has the same bits" "$tmp/alone" "$tmp/among"
expect "without a calibration" 2 "int8 needs a calibration: give --calibration FILE" clip embed --model $teacher --numerics int8 --text x
expect "a file that is not there" 1 "none.json is not there, or has no calibration of this tower" clip embed --model $teacher --numerics int8 --calibration "$tmp/none.json" --text x

# --- files that do not fit
echo '{"schema": "other"}' >"$tmp/other.json"
expect "no calibration" 1 'other.json is no calibration: expected "schema": "clipstill.calibration.1"' clip featurize "$tmp/auto" --teacher $teacher --prefix x --numerics int8 --calibration "$tmp/other.json"
sed -E '0,/"weights": "./s//"weights": "z/' "$cal" >"$tmp/stranger.json"
expect "other weights" 5 "stranger.json was calibrated for the weights z.*the teacher's are" clip featurize "$tmp/auto" --teacher $teacher --prefix x --numerics int8 --calibration "$tmp/stranger.json"
sed -E '0,/(q_proj.weight": ")./s//\1/' "$cal" >"$tmp/short.json"
expect "a column too few" 1 "short.json: calibrated for another tower: .*q_proj.weight has [0-9]+ columns, expected" clip featurize "$tmp/auto" --teacher $teacher --prefix x --numerics int8 --calibration "$tmp/short.json"
finish
