#!/bin/bash
# What leaves the cache comes back: the corpus as WebDataset tars, feature sets in other programs' formats.
# covers: corpustar
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache
small_corpus "$src"
cp tests/golden/preprocess/inputs/palette16.png "$src/alone.png"
printf 'image\tcaption\tlang\tlabel\tweight\tsplit\nphoto_00.jpg\t  odd   spaces \ten\tdog\t0.1\ttest\nphoto_00.jpg\ttwo "quotes" \\ and a /\tpt-BR\t\t3\ttrain\nphoto_01.jpg\ta dog and apple 2\ten\tcat\t1\ttrain\nalone.png\t\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8b\x97\tund\t7\t1\tval\n' >"$src/second.tsv"
succeed "ingest" clip ingest "$c" "$src/m.tsv" --classes "$src/classes.json"
succeed "ingest a second source" clip ingest "$c" "$src/second.tsv"
mkdir "$tmp/lone"; cp "$src/photo_02.jpg" "$tmp/lone/x.jpg"; printf '\0' >>"$tmp/lone/x.jpg"

# content DUMP: what tars can carry: no foreign ids
content() { ./clipstill dump --no-features "$1" | grep -v '^id ' >"$2"; }

# --- corpus -> tars -> corpus, a source at a time
for s in m.tsv second.tsv; do
    succeed "export --webdataset of $s" clip export "$c" --webdataset "$tmp/wds/$s" --where source=$s --shard-bytes 100000
    succeed "ingest of it" clip ingest "$tmp/back" "$tmp/wds/$s/*.tar" --source $s --classes "$tmp/wds/$s/classes.json"
done
result $(($(ls "$tmp/wds/m.tsv"/*.tar | wc -l) < 3)) "there are several shards"
holds "none is larger than was asked, but for single samples" bash -c "for t in '$tmp'/wds/m.tsv/*.tar; do [ \$(stat -c %s \$t) -le 100000 ] || [ \$(tar tf \$t | wc -l) -le 2 ] || exit 1; done"
content "$c" "$tmp/d1"; content "$tmp/back" "$tmp/d2"
same "the corpus came back whole" "$tmp/d1" "$tmp/d2"
holds "the dump has originals, labels and weights to compare" bash -c "grep -q '\"original\":\"  odd   spaces ' '$tmp/d1' && grep -q '\"weight\":0.1000' '$tmp/d1' && grep -q '\"label\":\"7\"' '$tmp/d1'"

# --- determinism: content alone decides
for s in m.tsv second.tsv; do clip export "$tmp/back" --webdataset "$tmp/wds2/$s" --where source=$s --shard-bytes 100000 >/dev/null; done
holds "the corpus that came back gives equal tars" diff -r "$tmp/wds" "$tmp/wds2"
holds "GNU tar lists sorted members of time 0" bash -c "TZ=UTC tar tvf '$tmp/wds/second.tsv/000000.tar' | grep -q '1970-01-01 00:00' && tar tf '$tmp/wds/second.tsv/000000.tar' | cut -c1-64 | sort -c"
succeed "the same command again" clip export "$c" --webdataset "$tmp/wds/m.tsv" --where source=m.tsv --shard-bytes 100000
holds "changes nothing" diff -r "$tmp/wds" "$tmp/wds2"

# --- everything in one file, with pictures whose pairs differ in several samples
succeed "ingest a picture without captions" clip ingest "$c" "$tmp/lone"
succeed "export to one file" clip export "$c" --webdataset "$tmp/all.tar"
stdout_has "says how much" "12 pictures and 44 pairs in [0-9]+ samples, 1 tars"
holds "the picture without a caption is there alone" test "$(tar tf "$tmp/all.tar" | grep -c "$(sha256sum <"$tmp/lone/x.jpg" | cut -c1-64)")" = 1
holds "bytes are the file's" bash -c "tar xOf '$tmp/all.tar' \$(sha256sum <'$src/alone.png' | cut -c1-64).png | cmp - '$src/alone.png'"
holds "classes beside it" test -s "$tmp/all.tar.classes.json"
succeed "ingest of the file" clip ingest "$tmp/all" "$tmp/all.tar" --source m.tsv --classes "$tmp/all.tar.classes.json"
content "$c" "$tmp/d1"; content "$tmp/all" "$tmp/d2"
sed -i '/^pair /s/"source":"[^"]*"/"source":"m.tsv"/' "$tmp/d1"
same "all but the sources came back" <(sort -u "$tmp/d1") <(sort -u "$tmp/d2")
succeed "one language" clip export "$c" --webdataset "$tmp/de.tar" --where lang=de --json
stdout_has "is counted" '"pairs":10,"reduced":0,.*"schema":"clipstill.export.1"|"schema":"clipstill.export.1".*"pairs":10|"pairs":10.*"schema":"clipstill.export.1"'

# --- refusals
expect "shards of another export" 1 "000001.tar is of another export" clip export "$c" --webdataset "$tmp/wds2/m.tsv"
expect "no such language" 1 "lang=xx" clip export "$c" --webdataset "$tmp/x" --where lang=xx
expect "both kinds" 2 "one at a time" clip export "$c" --webdataset "$tmp/x" --set image.final
expect "neither kind" 2 "export needs --set NAME" clip export "$c"
printf 'id\tcaption\na\tone\n' >"$tmp/ids.tsv"
succeed "pictures without bytes" clip ingest "$tmp/ids" "$tmp/ids.tsv" --no-images
expect "cannot be exported" 1 "no picture to export: 1 pictures" clip export "$tmp/ids" --webdataset "$tmp/x"
finish
