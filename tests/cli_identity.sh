#!/bin/bash
# The identity of features, as the program tells it: hit, missing, stale and which component; refused with what can be done; other numerics accepted.
# covers: statfresh verifydrift
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache t=$tmp/teacher
small_corpus "$src"
cp -r $teacher "$t"
feat=(featurize "$c" --teacher "$t" --numerics f32 --taps image.final,text.final)
run ./clipstill ingest "$c" "$src/m.tsv"
succeed "featurize" clip "${feat[@]}"
./clipstill dump "$c" >"$tmp/dump"

# --- hits
succeed "stat" clip stat "$c"
stdout_has "all hits" "^set image.final .*; 10 hits, 0 missing, 0 stale$"
succeed "stat --teacher" clip stat "$c" --teacher "$t"
stdout_has "is fresh" "^  fresh: what $t gives now$"
mv "$t" "$tmp/moved"; mv "$c" "$tmp/cache2"
for j in 1 3; do
    succeed "teacher and cache elsewhere, -j $j, another order of taps" clip featurize "$tmp/cache2" --teacher "$tmp/moved" --numerics f32 --taps text.final,image.final -j $j
    stdout_has "all hits" "^image.final +0 vectors computed, 10 hits"
done
mv "$tmp/moved" "$t"; mv "$tmp/cache2" "$c"
succeed "the same tensors in pytorch_model.bin" clip featurize "$c" --teacher ${teacher}-bin --numerics f32 --taps image.final,text.final
stdout_has "all hits" "^image.final +0 vectors computed, 10 hits"
stdout_has "all hits of texts" "^text.final +0 vectors computed, 40 hits"
mkdir "$src/renamed"; for f in "$src"/*.jpg "$src"/*.webp; do cp "$f" "$src/renamed/x-$(basename "$f")"; done
sed -E 's/^([a-z_0-9]+\.(jpg|webp))/x-\1/' "$src/m.tsv" >"$src/renamed/m.tsv"
succeed "the same pictures under other names" clip ingest "$c" "$src/renamed/m.tsv"
succeed "featurize" clip "${feat[@]}"
stdout_has "all hits" "^image.final +0 vectors computed, 10 hits"
stdout_has "all hits of texts" "^text.final +0 vectors computed, 40 hits"

# --- stale, by component
cp -r "$t" "$tmp/other"
sed -i 's/"resample": 3/"resample": 2/' "$tmp/other/preprocessor_config.json"
sed -i 's/"model_max_length": 64/"model_max_length": 32/' "$tmp/other/tokenizer_config.json"
succeed "stat against another teacher" clip stat "$c" --teacher "$tmp/other"
stdout_has "no hit any more" "^set image.final .*; 0 hits, 0 missing, 10 stale$"
stdout_has "for its resampling" "^  stale against $tmp/other: preprocessing.resample \(expected 2, found 3\)$"
stdout_has "for its texts' length" "^  stale against $tmp/other: max_tokens \(expected 32, found 64\)$"
succeed "stat with the option of featurize" clip stat "$c" --teacher "$tmp/other" --max-tokens 64 --json
stdout_has "is fresh" '"name":"text.final".*"state":"fresh"'
stdout_has "in JSON the components are named" '"differences":\[\{"component":"preprocessing.resample","expected":"2","found":"3"\}\]'
expect "featurize refuses and offers" 5 'image.final is of another origin: preprocessing.resample \(expected 3, found 2\).*--prefix.*delete ' clip featurize "$c" --teacher "$tmp/other" --taps image.final
expect "texts alone" 5 'max_tokens \(expected 64, found 32\).*or give --max-tokens 64' clip featurize "$c" --teacher "$tmp/other" --taps text.final
expect "another storage" 5 'storage \(expected "q1e-4", found "f16"\).*or leave out --store' clip "${feat[@]}" --store f16
./clipstill dump "$c" | grep '^vector' >"$tmp/dump2"; grep '^vector' "$tmp/dump" >"$tmp/dump1"
same "nothing was mixed" "$tmp/dump1" "$tmp/dump2"
succeed "beside it, under a prefix" clip featurize "$c" --teacher "$tmp/other" --taps image.final --prefix two
succeed "stat" clip stat "$c" --teacher "$tmp/other" --prefix two
stdout_has "the prefix is fresh" "^  fresh: what $tmp/other gives now$"
stdout_has "the others are left alone" "^  of another prefix: not compared$"
succeed "stat without a teacher" clip stat "$c"
holds "a second teacher is none that strayed" bash -c "! grep -E 'not of one teacher|stale against' '$tmp/out'"
rm -r "$c/features/two.image.final"
succeed "a strayed set" clip featurize "$c" --teacher "$tmp/other" --taps image.block1@2x2
succeed "stat without a teacher" clip stat "$c"
stdout_has "names it" "^  not of one teacher with image.block1@2x2: preprocessing.resample \(expected 2, found 3\)$"
rm -r "$c/features/image.block1@2x2"

# --- computed again
expect "verify --recompute" 0 "" clip verify "$c" --recompute 50% --teacher "$t"
stdout_has "all of the sample, bit for bit" '^image.final +([0-9]+) recomputed, \1 bit for bit; cosine min 0.9999[0-9]+ \(bound 0.999826754\)'
stdout_has "clean" ": clean$"
cp "$tmp/out" "$tmp/first"
expect "again" 0 "" clip verify "$c" --recompute 50% --teacher "$t" -j 1
same "is the same sample" "$tmp/first" "$tmp/out"
expect "a number of vectors" 0 "" clip verify "$c" --recompute 7 --teacher "$t" --seed 5 --json
stdout_has "of each set" '"name":"text.final","state":"recomputed","n":7,"equal":7,'
expect "a stale set is a finding" 5 "" clip verify "$c" --recompute 7 --teacher "$tmp/other"
stdout_has "by component" "^image.final: stale against $tmp/other: preprocessing.resample"
expect "--recompute alone" 2 "belong together" clip verify "$c" --recompute 7
expect "--teacher alone" 2 "belong together" clip verify "$c" --teacher "$t"
expect "no sample" 2 '"0%" is no sample: a share as 1%, or a number' clip verify "$c" --recompute 0% --teacher "$t"

# --- other numerics
printf 'image\tcaption\nphoto_00.jpg\tone more\n' >"$src/more.tsv"
run ./clipstill ingest "$c" "$src/more.tsv"
bf16=(featurize "$c" --teacher "$t" --numerics bf16 --taps image.final,text.final)
expect "bf16 into f32 is refused, and how it could be" 5 'numerics \(expected "f32", found "bf16\.2"\).*--accept-numerics' clip "${bf16[@]}"
succeed "and accepted" clip "${bf16[@]}" --accept-numerics
stdout_has "only what is new" "^text.final +1 vectors computed, 40 hits"
succeed "stat" clip stat "$c" --teacher "$t"
stdout_has "shows it" '^  accepted: vectors after the first \[40\], by view, are bf16\.2$'
stdout_has "the set is fresh" "^  fresh: what $t gives now$"
expect "without it the next is refused again" 5 '--accept-numerics' clip "${bf16[@]}"
succeed "in its own numerics it goes on" clip "${feat[@]}"
expect "verify" 0 "" clip verify "$c"

# --- and merged
cp -r "$c" "$tmp/f32"; rm -r "$tmp/f32/features"
cp -r "$tmp/f32" "$tmp/bf16"
succeed "a set in bf16" clip featurize "$tmp/bf16" --teacher "$t" --numerics bf16 --taps text.final
run ./clipstill ingest "$tmp/early" "$src/more.tsv"
succeed "and one in f32" clip featurize "$tmp/early" --teacher "$t" --numerics f32 --taps text.final
expect "do not mix" 5 'numerics \(expected "f32", found "bf16\.2"\)' clip merge "$tmp/early" "$tmp/bf16"
expect "but for what both have" 1 "has another vector for record" clip merge "$tmp/early" "$tmp/bf16" --accept-numerics
rm -r "$tmp/early/features"
printf 'image\tcaption\nphoto_01.jpg\ta text that the others lack\n' >"$src/far.tsv"
rm -r "$tmp/early"; run ./clipstill ingest "$tmp/early" "$src/far.tsv"
succeed "another f32" clip featurize "$tmp/early" --teacher "$t" --numerics f32 --taps text.final
succeed "is completed when that is accepted" clip merge "$tmp/early" "$tmp/bf16" --accept-numerics
succeed "stat" clip stat "$tmp/early"
stdout_has "shows it" '^  accepted: vectors after the first \[1\] and up to \[42\], by view, are bf16\.2$'
expect "again" 0 "" clip merge "$tmp/early" "$tmp/bf16" --accept-numerics
succeed "stat" clip stat "$tmp/early" --json
stdout_has "is told once" '"accepted":\[\{"from":\[1\],"numerics":"bf16\.2","to":\[42\]\}\]'
finish
