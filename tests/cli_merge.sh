#!/bin/bash
# merge: what two sources gave in two caches is what both give in one; shards of features come together; kill -9 at any moment.
. "$(dirname "$0")/tap.sh"
src=$tmp/src
small_corpus "$src"
# two sources that share pictures and captions, each with rejects and ids of its own
{ head -n 1 "$src/m.tsv"; sed -n '2,25p' "$src/m.tsv"; printf 'gone.jpg\tno such picture\ten\ttrain\tdog\n'; } >"$src/one.tsv"
{ head -n 1 "$src/m.tsv"; sed -n '18,41p' "$src/m.tsv"; printf 'lost.jpg\tnor this one\tde\tval\tcat\n'; } >"$src/two.tsv"
feat=(--teacher $teacher --numerics f32 --views 2 --taps image.final,text.final,image.block2@2x2)
ingest() { # CACHE SOURCE...: rejects are no failure
    ./clipstill ingest "$@" --max-bad 50% >/dev/null 2>"$tmp/err"
    [ $? -eq 3 ] || { cat "$tmp/err"; return 1; }
}
holds "ingest both ways" eval 'ingest "$tmp/both" "$src/one.tsv" "$src/two.tsv" --classes "$src/classes.json" && ingest "$tmp/bothr" "$src/two.tsv" "$src/one.tsv" --classes "$src/classes.json"'
holds "ingest each" eval 'ingest "$tmp/a" "$src/one.tsv" --classes "$src/classes.json" && ingest "$tmp/b" "$src/two.tsv"'
for c in both bothr a b; do run ./clipstill featurize "$tmp/$c" "${feat[@]}" || result 1 "featurize $c" "$(cat "$tmp/err")"; done
./clipstill dump "$tmp/both" >"$tmp/dump"
./clipstill dump "$tmp/bothr" >"$tmp/dumpr"
same "the order of sources does not matter" "$tmp/dump" "$tmp/dumpr"
cp -r "$tmp/a" "$tmp/ab"; cp -r "$tmp/b" "$tmp/ba"
succeed "merge" clip merge "$tmp/ab" "$tmp/b"
stdout_has "counts what is new" ": [1-9][0-9]* new images, [1-9][0-9]* new captions, [1-9][0-9]* new pairs \(0 changed\), [1-9][0-9]* new ids, 1 more in quarantine$"
stdout_has "and vectors, new and equal" "^image.final +[1-9][0-9]* new vectors, [1-9][0-9]* equal; complete$"
succeed "merge the other way" clip merge "$tmp/ba" "$tmp/a"
stdout_has "the class list comes along" "and the class list$"
succeed "merge into a new cache" clip merge "$tmp/new" "$tmp/b" "$tmp/a"
for c in ab ba new; do
    ./clipstill dump "$tmp/$c" >"$tmp/dump.$c"
    same "$c holds what one cache of both sources holds" "$tmp/dump" "$tmp/dump.$c"
    expect "$c is clean" 0 "" clip verify "$tmp/$c"
done
succeed "the same again" clip merge "$tmp/ab" "$tmp/b"
stdout_has "finds nothing new" ": 0 new images, 0 new captions, 0 new pairs \(0 changed\), 0 new ids, 0 more in quarantine$"
./clipstill dump "$tmp/ab" >"$tmp/dump.ab"
same "and changes nothing" "$tmp/dump" "$tmp/dump.ab"
succeed "featurize finds all of it" clip featurize "$tmp/ba" "${feat[@]}"
stdout_has "0 computed" "^text.final +0 vectors computed"
succeed "merge --json" clip merge "$tmp/ab" "$tmp/b" --json
stdout_has "is one object" '^\{.*"schema":"clipstill.merge.1".*\}$'

# --- shards: a snapshot of the corpus, featurised elsewhere, of which only features/ comes back
mkdir "$tmp/early" "$tmp/late"
cp -r "$tmp/a/features" "$tmp/early/" # the corpus as it was before the second source
cp -r "$tmp/both/features" "$tmp/late/"
cp -r "$tmp/both" "$tmp/c"; rm -r "$tmp/c/features"
expect "a gap is a failed gate under --complete" 4 "" clip merge "$tmp/c" "$tmp/early" --complete
stdout_has "how much is missing" "^image.final +[0-9]+ new vectors, 0 equal; [1-9][0-9]* still missing$"
stdout_has "and what" "^  view 1 lacks records [0-9]+ to 9$"
expect "the rest comes in" 0 "" clip merge "$tmp/c" "$tmp/early" "$tmp/late" --complete
stdout_has "and all is there" "^text.final +[1-9][0-9]* new vectors, [1-9][0-9]* equal; complete$"
./clipstill dump "$tmp/c" >"$tmp/dump.c"
same "as computed in one place" "$tmp/dump" "$tmp/dump.c"

# --- what is refused, by name, with nothing written
cp -r "$tmp/both" "$tmp/q"; rm -r "$tmp/q/features"
succeed "features in another storage" clip featurize "$tmp/q" --teacher $teacher --numerics f32 --taps text.final --store f16
expect "are refused by component" 5 'q: feature set text.final is of another origin: storage \(' clip merge "$tmp/c" "$tmp/q"
expect "a folder with nothing" 1 "holds neither a corpus nor features" clip merge "$tmp/c" "$src"
expect "the cache itself" 2 "is the cache itself" clip merge "$tmp/c" "$tmp/./c"
expect "a DIR is needed" 2 "DIR" clip merge "$tmp/c"
printf '{"classes": {"dog": {"en": "hound"}, "cat": {"en": "cat"}}}' >"$src/other.json"
holds "another class list" eval 'ingest "$tmp/k" "$src/one.tsv" --classes "$src/other.json"'
expect "is refused by class" 1 'class lists of .* differ, first in "dog"' clip merge "$tmp/c" "$tmp/k"
./clipstill dump "$tmp/c" >"$tmp/dump.c"
same "nothing of it was written" "$tmp/dump" "$tmp/dump.c"

# --- kill -9 at random moments: the same command goes on, to the same end
RANDOM=${SEED:=4}
echo "# SEED=$SEED"
for i in $(seq 400); do printf '%d.jpg\tpicture %d\n' "$i" "$i"; done >"$tmp/rows"
mkdir "$tmp/bulk"
for i in $(seq 400); do { cat "$src/photo_00.jpg"; echo "$i"; } >"$tmp/bulk/$i.jpg"; done
{ printf 'image\tcaption\n'; cat "$tmp/rows"; } >"$tmp/bulk/m.tsv"
succeed "a larger cache" clip ingest "$tmp/big" "$tmp/bulk/m.tsv"
succeed "with features" clip featurize "$tmp/big" --teacher $teacher --numerics f32 --taps text.final,text.block1.mean
cp -r "$tmp/a" "$tmp/whole"
start=$(date +%s%3N)
succeed "merge without a kill" clip merge "$tmp/whole" "$tmp/big"
span=$(($(date +%s%3N) - start))
landed=0 unclean=0 kills=${KILLS:-12}
cp -r "$tmp/a" "$tmp/killed"
for turn in $(seq $((kills * 5))); do
    [ $landed -lt $kills ] || break
    ./clipstill merge "$tmp/killed" "$tmp/big" >/dev/null 2>&1 & pid=$!
    sleep "$(printf '%d.%03d' $((RANDOM % (span + 1) / 1000)) $((RANDOM % (span < 1000 ? span + 1 : 1000))))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ $? -eq 137 ]; then landed=$((landed + 1)); else rm -rf "$tmp/killed"; cp -r "$tmp/a" "$tmp/killed"; fi
    run ./clipstill verify "$tmp/killed" || unclean=$((unclean + 1))
done
result $((landed < kills)) "killed $landed times"
result $unclean "clean after every kill"
succeed "the same command goes on" clip merge "$tmp/killed" "$tmp/big"
./clipstill dump "$tmp/whole" >"$tmp/dump.whole"
./clipstill dump "$tmp/killed" >"$tmp/dump.killed"
same "to the same end" "$tmp/dump.whole" "$tmp/dump.killed"
finish
