#!/bin/bash
# forget, gc and snapshot: what is forgotten is gone for every reader and, after gc, in every byte; the cache is then one that never had it.
# covers: witness
. "$(dirname "$0")/tap.sh"
src=$tmp/src field=$tmp/field c=$tmp/cache
small_corpus "$src"
feat=(--teacher $teacher --taps image.final,text.final,image.block2@2x2,text.block2.mean --views 2 --numerics f32)
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)

# a field source: three pictures of its own, one that the public source has as well, a caption in common, one broken picture
mkdir "$field"
for i in 1 2 3; do { cat tests/golden/preprocess/inputs/photo_0$((i + 6)).jpg; echo "zq-picture-mark-$i"; } >"$field/f$i.jpg"; done
head -c 900 "$field/f1.jpg" >"$field/broken.jpg"
cp "$src/photo_00.jpg" "$field/shared.jpg"
{
    printf 'image\tcaption\tlang\n'
    printf 'f1.jpg\tzqsecret wedding of Anna K\ten\nf1.jpg\tZqOriginal \xef\xbd\x83aption  here\ten\nf2.jpg\tzqsecond picture\tde\nf3.jpg\tzqthird picture\tde\n'
    printf 'f3.jpg\ta dog and apple 1\ten\nshared.jpg\tzqonly the field calls it so\ten\nbroken.jpg\tzqbroken picture text\ten\n'
} >"$field/field.tsv"

make_cache() { # CACHE SOURCE...
    local to=$1; shift
    ./clipstill ingest "$to" "$@" --classes "$src/classes.json" --max-bad 50% >/dev/null 2>&1
    [[ $? == [03] ]] || echo "# ingest failed"
    ./clipstill featurize "$to" "${feat[@]}" >/dev/null 2>&1 || echo "# featurize failed"
}
dump() { ./clipstill dump "$1" >"$2"; }
holds_bytes() { grep -rqaF -- "$2" "$1"; }                                     # FOLDER TEXT
holds_key() { grep -rqUaP -- "$(sed -E 's/^(.{16}).*/\1/; s/../\\x&/g' <<<"$2")" "$1"; } # FOLDER HEX: its first 8 bytes
key_of() { sha256sum "$1" | cut -d' ' -f1; }
caption_key() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

make_cache "$tmp/never" "$src/m.tsv"
dump "$tmp/never" "$tmp/never.txt"
make_cache "$c" "$src/m.tsv"
sleep 1.1 # manifests tell the second
make_cache "$c" "$field/field.tsv"
dump "$c" "$tmp/both.txt"
holds "the field pictures are there at first" grep -q "$(key_of "$field/f1.jpg")" "$tmp/both.txt"
holds "and a quarantined record" grep -q '^reject ' "$tmp/both.txt"

# --- what is refused
expect "forget nothing" 2 "nothing to forget was named" clip forget "$c"
expect "forget in no cache" 1 "there is no corpus here" clip forget "$tmp/absent" --image x
holds "and makes none" test ! -e "$tmp/absent"
expect "forget an unknown picture" 1 'no image has the id "nobody.jpg"' clip forget "$c" --image nobody.jpg
expect "forget an unknown caption" 1 'no caption "nothing said so" is in the corpus' clip forget "$c" --caption "nothing  said so"
expect "forget an unknown source" 1 "source=x.tsv: the corpus has none; it has: m.tsv, field.tsv" clip forget "$c" --where source=x.tsv
expect "forget a class prompt" 2 "is a prompt of the class list" clip forget "$c" --caption "a photo of a dog"
expect "forget with a bad condition" 2 "is no condition" clip forget "$c" --where source
expect "forget a list that is not there" 1 "list.txt" clip forget "$c" --list "$tmp/list.txt"
expect "gc of no cache" 1 "there is no corpus here" clip gc "$tmp/absent"
expect "snapshot of no cache" 1 "there is no corpus here" clip snapshot "$tmp/absent" "$tmp/snap"
dump "$c" "$tmp/now.txt"
same "a refusal changes nothing" "$tmp/both.txt" "$tmp/now.txt"
expect "forget --dry-run" 0 "" clip forget "$c" --where source=field.tsv --dry-run
stdout_has "counts what would go" "would forget 3 images \([0-9]+ bytes\), 5 captions, 6 pairs, 4 ids, 1 quarantined records, 22 vectors of 4 sets"
dump "$c" "$tmp/now.txt"
same "and changes nothing" "$tmp/both.txt" "$tmp/now.txt"
exec 9>>"$c/features/text.final/writer.lock"; flock -n 9
expect "forget while somebody featurizes" 6 "text.final: another run" clip forget "$c" --where source=field.tsv
dump "$c" "$tmp/now.txt"
same "changes nothing" "$tmp/both.txt" "$tmp/now.txt"
expect "gc while somebody featurizes" 6 "1 of 5 stores are being written to" clip gc "$c" --quiet
exec 9>&-

# --- a whole source
cp -r "$c" "$tmp/copy"
expect "forget --where source" 0 "" clip forget "$c" --where source=field.tsv
stdout_has "says what went" "forgot 3 images .* 22 vectors of 4 sets"
stdout_has "names the runs that saw it" "^  runs/.*-featurize.*\.json$"
stdout_has "and those that ended before" "-featurize.json \(ended before the first recorded ingest of them\)"
stdout_has "warns of ingesting again" "Ingesting a source that still holds them brings them back"
dump "$c" "$tmp/now.txt"
same "the dump is that of a cache that never had it" "$tmp/never.txt" "$tmp/now.txt"
expect "verify after forget" 0 "" clip verify "$c"
succeed "stat --json after forget" clip stat "$c" --json
stdout_has "counts what is there, and tombstones" '"images":10,.*"forgotten":8'
stdout_has "nothing is missing in any set" '"missing":0'
for mark in zq-picture-mark-1 zqsecret; do holds "before gc: $mark lies in free pages" holds_bytes "$c" $mark; done
expect "gc" 0 "" clip gc "$c"
stdout_has "gc says what stays" "5 stores made anew, [0-9]+ bytes of [0-9]+ stay"
for mark in zq-picture-mark-1 zq-picture-mark-2 zq-picture-mark-3 zqsecret ZqOriginal zqsecond zqthird zqonly zqbroken; do
    holds "after gc: no byte of $mark" bash -c "! grep -rqaF $mark '$c'"
done
for key in $(for i in 1 2 3; do key_of "$field/f$i.jpg"; done) $(caption_key "zqsecret wedding of Anna K"); do
    holds "the copy has the key $key in corpus and sets" holds_key "$tmp/copy/features" $key
    holds "after gc: it is nowhere" bash -c "! grep -rqUaP '$(sed -E 's/^(.{16}).*/\1/; s/../\\x&/g' <<<"$key")' '$c'"
done
dump "$c" "$tmp/now.txt"
same "gc changes no dump" "$tmp/never.txt" "$tmp/now.txt"
expect "verify after gc" 0 "" clip verify "$c"
holds "gc leaves nothing behind" bash -c "! find '$c' -name '.gc-*' | grep ."
expect "forget the same again" 0 "" clip forget "$c" --where source=field.tsv
stdout_has "finds nothing" "forgot 0 images"
succeed "featurize after gc" clip featurize "$c" "${feat[@]}"
stdout_has "computes nothing" "^image.final +0 vectors computed, 20 hits"
make_cache "$c" "$field/field.tsv"
dump "$c" "$tmp/now.txt"
same "ingested again, all is there again, under new numbers" "$tmp/both.txt" "$tmp/now.txt"
expect "verify then" 0 "" clip verify "$c"

# --- one picture, one caption, a list
expect "forget --image" 0 "" clip forget "$c" --image f1.jpg
stdout_has "with captions that only it had" "forgot 1 images .* 2 captions, 2 pairs, 1 ids"
expect "forget it again" 1 'no image has the id "f1.jpg"' clip forget "$c" --image f1.jpg
expect "forget --caption" 0 "" clip forget "$c" --caption " zqsecond   picture"
stdout_has "and its picture stays" "forgot 0 images \(0 bytes\), 1 captions, 1 pairs, 0 ids"
printf '%s\n%s\r\nnobody\n\n%s\n' "$(key_of "$field/f2.jpg")" f3.jpg "$(caption_key "zqonly the field calls it so")" >"$tmp/list.txt"
expect "forget --list" 3 'list.txt, line 3: "nobody" names nothing' clip forget "$c" --list "$tmp/list.txt"
stdout_has "takes pictures and captions" "forgot 2 images .* 2 captions, 3 pairs, 2 ids"
expect "forget --list again" 3 "" clip forget "$c" --list "$tmp/list.txt" --quiet
stdout_has "finds nothing of it" "forgot 0 images"
expect "verify" 0 "" clip verify "$c"
./clipstill gc "$c" >/dev/null 2>&1
for mark in zq-picture-mark zqsecret ZqOriginal zqsecond zqthird zqonly; do
    holds "after gc: no byte of $mark, in no manifest either" bash -c "! grep -rqaF $mark '$c'"
done
grep -v '^reject' "$tmp/never.txt" >"$tmp/a.txt"
./clipstill dump "$c" | grep -vE '^reject|"shared.jpg"' >"$tmp/b.txt"
same "but for the reject and an id that nobody named, it is the cache that never had them" "$tmp/a.txt" "$tmp/b.txt"

# --- with tombstones, everything goes on
succeed "export" clip export "$c" --set image.final --npy "$tmp/x"
holds "exports ten keys" test "$(wc -l <"$tmp/x.keys.txt")" = 10
succeed "import" clip import "$c" --npy "$tmp/x.npy" --keys "$tmp/x.keys.txt" --identity "$tmp/x.identity.json" --set copy --store f32
succeed "stat --leaks" clip stat "$c" --leaks
succeed "stat --text" clip stat "$c" --text
succeed "retag" clip retag "$c" --assign-splits 60/20/20
succeed "distill" clip distill "$c" --out "$tmp/s1" --init random "${tiny[@]}" --epochs-image 1 --epochs-text 1 --batch-image 4 --batch-text 8
succeed "eval" clip eval "$c" --model "$tmp/s1" --split train

# --- snapshots
dump "$c" "$tmp/s1.txt"
expect "snapshot" 0 "" clip snapshot "$c" "$tmp/snap"
first=$(readlink "$tmp/snap/current")
stdout_has "names its folder" "/$first: the corpus and 5 sets"
dump "$tmp/snap/current" "$tmp/now.txt"
same "it is the cache" "$tmp/s1.txt" "$tmp/now.txt"
expect "verify the snapshot" 0 "" clip verify "$tmp/snap/current"
holds "its data are read-only" test "$(stat -c %a "$tmp/snap/current/corpus/data.mdb")" = 444
exec 9>>"$c/corpus/writer.lock"; flock -n 9
expect "snapshot while somebody ingests" 0 "" clip snapshot "$c" "$tmp/snap"
exec 9>&-
mkdir "$tmp/snap/.new-20200101T000000Z"; ln -s nowhere "$tmp/snap/.new-current"
./clipstill forget "$c" --image photo_01.jpg >/dev/null
expect "snapshot --keep 2" 0 "" clip snapshot "$c" "$tmp/snap" --keep 2
stdout_has "removes an older one" "1 older ones removed"
holds "two are left, and nothing half" test "$(ls -A "$tmp/snap" | grep -vxE 'current|writer.lock' | wc -l)" = 2
holds "the first is gone" test ! -e "$tmp/snap/$first"
dump "$c" "$tmp/a.txt"; dump "$tmp/snap/current" "$tmp/b.txt"
same "current leads to the newest" "$tmp/a.txt" "$tmp/b.txt"
holds "a snapshot holds no forgotten byte, without gc" bash -c "! grep -rqaF photo_01.jpg '$tmp/snap/current/'"
exec 9>>"$tmp/snap/writer.lock"; flock -n 9
bad=0
for k in 1 2 3 4 5 6 7 8; do
    ./clipstill snapshot "$c" "$tmp/fast" --keep $((k % 2 + 1)) -q >/dev/null 2>&1 || bad=1
    [ -e "$tmp/fast/current/corpus/data.mdb" ] || bad=1
done
result $bad "many snapshots in one second, names given up and given again: the link leads to the last"
cp -r "$tmp/fast/current/" "$tmp/fast/99991231T000000Z"
./clipstill snapshot "$c" "$tmp/fast" --keep 1 -q >/dev/null 2>&1
holds "nor does a clock that went back take it away" test -e "$tmp/fast/current/corpus/data.mdb" -a ! -e "$tmp/fast/99991231T000000Z"
expect "two snapshots at once" 6 "another run" clip snapshot "$c" "$tmp/snap"
exec 9>&-
mkdir -p "$tmp/other/current"
expect "a DEST whose current is a folder" 2 "is no link" clip snapshot "$c" "$tmp/other"
finish
