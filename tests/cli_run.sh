#!/bin/bash
# A whole run in small, on ten pictures, four languages and a random teacher: exact counts, idempotence, the teacher's folder gone, threads.
# covers: command keyof main threads
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache t=$tmp/teacher
small_corpus "$src"
cp -r $teacher "$t"
taps=image.final,text.final,image.block2@2x2,text.block2.mean
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)
brief=(--epochs-image 3 --epochs-text 3 --batch-image 4 --batch-text 8)

pipeline() { # CACHE OUT: all stages into CACHE, OUT/s0, OUT/s1, OUT/r1, OUT/s2
    mkdir -p "$2" &&
    ./clipstill ingest "$1" "$src/m.tsv" --classes "$src/classes.json" &&
    ./clipstill featurize "$1" --teacher "$t" --taps $taps --views 2 --numerics f32 &&
    ./clipstill shrink "$1" --teacher "$t" --out "$2/s0" "${tiny[@]}" &&
    ./clipstill distill "$1" --init "$2/s0" --out "$2/s1" "${brief[@]}" &&
    ./clipstill align "$1" --init "$2/s1" --out "$2/s2" --epochs 2 --batch 8
}

# --- each verb, its answer, and the same again
succeed "ingest" clip ingest "$c" "$src/m.tsv" --classes "$src/classes.json"
stdout_has "ingest counts" ": 40 records read: 10 new images .* 0 known, 40 new captions, 40 new pairs, 4 new class prompts"
succeed "ingest again" clip ingest "$c" "$src/m.tsv" --classes "$src/classes.json"
stdout_has "ingest again finds all known" ": 40 records read: 0 new images .* 10 known, 0 new captions, 0 new pairs \(40 known, 0 changed\)"
feat=(featurize "$c" --teacher "$t" --taps $taps --views 2 --numerics f32)
succeed "featurize --dry-run" clip "${feat[@]}" --dry-run
holds "writes nothing" test ! -e "$c/features"
succeed "featurize" clip "${feat[@]}"
stdout_has "featurize counts pictures" "^image.final +20 vectors computed, 0 hits"
stdout_has "featurize counts texts and prompts" "^text.block2.mean +44 vectors computed, 0 hits"
./clipstill dump "$c" >"$tmp/dump"
succeed "featurize again" clip "${feat[@]}"
stdout_has "featurize again finds all pictures" "^image.block2@2x2 +0 vectors computed, 20 hits"
stdout_has "featurize again finds all texts" "^text.final +0 vectors computed, 44 hits"
./clipstill dump "$c" >"$tmp/dump2"
same "and changes nothing" "$tmp/dump" "$tmp/dump2"
succeed "stat" clip stat "$c"
stdout_has "stat: pairs by language" "^  zh +6 +2 +2$"
expect "stat --json" 0 "" clip stat "$c" --json
stdout_has "stat --json is one object" '^\{.*"schema":"clipstill.stat.1".*\}$'
expect "verify" 0 "" clip verify "$c"
stdout_has "verify: clean" "^$c: clean$"
result "$(grep -c '^image ' "$tmp/dump" | sed 's/^10$/0/')" "dump has ten pictures"
result "$(grep -c '^vector ' "$tmp/dump" | sed 's/^128$/0/')" "dump has all vectors"

# --- export, import, export
for set in image.final text.final; do
    succeed "export $set" clip export "$c" --set $set --npy "$tmp/$set"
    succeed "import $set" clip import "$c" --npy "$tmp/$set.npy" --keys "$tmp/$set.keys.txt" --identity "$tmp/$set.identity.json" --set copy.$set --store f32
    succeed "export what was imported" clip export "$c" --set copy.$set --npy "$tmp/copy.$set"
    same "$set: keys came back" "$tmp/$set.keys.txt" "$tmp/copy.$set.keys.txt"
    rm -r "$c/features/copy.$set"
done

# --- students
succeed "shrink" clip shrink "$c" --teacher "$t" --out "$tmp/a/s0" "${tiny[@]}"
succeed "distill" clip distill "$c" --init "$tmp/a/s0" --out "$tmp/a/s1" "${brief[@]}"
stdout_has "distill saw both views" "views: 2"
succeed "distill again" clip distill "$c" --init "$tmp/a/s0" --out "$tmp/a/s1" "${brief[@]}"
stdout_has "is finished already" "finished already"
succeed "align" clip align "$c" --init "$tmp/a/s1" --out "$tmp/a/s2" --epochs 2 --batch 8
succeed "align again" clip align "$c" --init "$tmp/a/s1" --out "$tmp/a/s2" --epochs 2 --batch 8
stdout_has "is finished already" "finished already"
succeed "a MobileViT from random weights" clip distill "$c" --image-arch mobilevit-xxs:size=64 --no-text --out "$tmp/m" --epochs-image 1 --batch-image 4
evaluate=(eval "$c" --model "$tmp/a/s1" --model "$tmp/a/s2" --knn 1 --json)
expect "eval --json" 0 "" clip "${evaluate[@]}"
stdout_has "eval has teacher and students" '"schema":"clipstill.eval.1"'
stdout_has "eval has retrieval with n" '"metric":"t2i R@1",.*"n":2'
stdout_has "eval has zero-shot" '"task":"zero-shot"'
cp "$tmp/out" "$tmp/eval1"
expect "eval in words" 0 "" clip eval "$c" --model "$tmp/a/s2" --by lang,label
stdout_has "eval crosses student and teacher" "s2 > teacher"
expect "embed" 0 "" clip embed --model "$tmp/a/s2" --image "$src/photo_00.jpg" --text "a dog" --text "a, b"
result $(($(wc -l <"$tmp/out") != 3)) "embed prints a row a record"
result "$(awk '{ s = 0; for (i = 1; i <= NF; i++) s += $i * $i; if (NF != 40 || s < 0.9999 || s > 1.0001) bad = 1 } END { print bad + 0 }' "$tmp/out")" "of unit length"
expect "embed by the teacher" 0 "" clip embed --model "$t" --image "$src/photo_00.jpg"
succeed "bench" clip bench --model "$t" --model "$tmp/a/s2" --runs 20
result $(($(ls "$c/runs" | wc -l) < 12)) "a manifest a run"

# --- without the teacher: equal bits
mv "$t" "$tmp/gone"
succeed "distill without the teacher's folder" clip distill "$c" --init "$tmp/a/s0" --out "$tmp/b/s1" "${brief[@]}"
same "is the same student" "$tmp/a/s1/model.safetensors" "$tmp/b/s1/model.safetensors"
succeed "align without it" clip align "$c" --init "$tmp/b/s1" --out "$tmp/b/s2" --epochs 2 --batch 8
same "is the same student" "$tmp/a/s2/model.safetensors" "$tmp/b/s2/model.safetensors"
expect "eval without it" 0 "" clip "${evaluate[@]}"
same "is the same table" "$tmp/eval1" "$tmp/out"
mv "$tmp/gone" "$t"

# --- any number of threads: equal bits
for n in 1 3; do
    export OMP_NUM_THREADS=$n
    succeed "the whole with $n threads" pipeline "$tmp/cache$n" "$tmp/t$n"
    ./clipstill dump "$tmp/cache$n" >"$tmp/dump$n"
    same "$n threads: the same dump" "$tmp/dump" "$tmp/dump$n"
    for s in s0 s1 s2; do same "$n threads: the same $s" "$tmp/a/$s/model.safetensors" "$tmp/t$n/$s/model.safetensors"; done
done
export OMP_NUM_THREADS=2

# --- what is new, and nothing else
cp tests/golden/preprocess/inputs/jpeg_420_odd.jpg "$src/"
printf 'image\tcaption\tlang\njpeg_420_odd.jpg\ta new one\ten\nphoto_00.jpg\tun chien\tfr\n' >"$src/new.tsv"
succeed "ingest more" clip ingest "$c" "$src/new.tsv"
stdout_has "only what is new" "2 records read: 1 new images .* 1 known, 2 new captions, 2 new pairs"
succeed "featurize more" clip "${feat[@]}"
stdout_has "only the new picture" "^image.final +2 vectors computed, 20 hits"
stdout_has "only the new texts" "^text.final +2 vectors computed, 44 hits"
succeed "more views" clip featurize "$c" --teacher "$t" --taps $taps --views 3 --numerics f32
stdout_has "only the new view" "^image.final +11 vectors computed, 22 hits"
expect "verify" 0 "" clip verify "$c"
# --- pictures that are trained on and judged
cp -r "$c" "$tmp/leaky"
run ./clipstill eval "$tmp/leaky" --no-zero-shot
holds "no leak, no warning" bash -c "! grep -q near-duplicate '$tmp/err'"
succeed "captions of train pictures go to test" clip retag "$tmp/leaky" --where split=train --where lang=en --set-split test
run ./clipstill eval "$tmp/leaky" --no-zero-shot
holds "eval warns of them" grep -qE "^clipstill: 6 of [0-9]+ pictures of this split have a near-duplicate in train" "$tmp/err"
expect "and --json counts them" 0 "near-duplicate in train" clip eval "$tmp/leaky" --no-zero-shot --json
stdout_has "in n_leaking" '"n_leaking":6'
finish
