#!/bin/bash
# The program over every kind of source, its quarantine and what can be changed afterwards: exact counts, exit codes, pipes and patterns.
# covers: statleaks stattext
. "$(dirname "$0")/tap.sh"
golden=tests/golden/preprocess/inputs
p=$tmp/photos
mkdir -p "$p"
i=0
for f in "$golden"/*.jpg; do cp "$f" "$p/p$i.jpg"; i=$((i + 1)); [ $i -lt 6 ] || break; done
tsv=$tmp/m.tsv
{ printf 'image\ttitle\tlang\n'; for k in 0 1 2 3 4 5; do printf 'photos/p%s.jpg\ta picture of number %s &amp; more\ten\n' $k $k; done; } >"$tsv"

counted() { # NAME REGEX: of the last answer
    stdout_has "$1" "$2"
}

# --- one table, in every wrapping
succeed "a mapped table" clip ingest "$tmp/a" "$tsv" --map caption=title
counted "six pairs" ": 6 records read: 6 new images .* 6 new captions, 6 new pairs"
for z in "gzip -c" "zstd -qc" "bzip2 -c"; do
    command -v ${z%% *} >/dev/null || { skip "${z%% *}" "is not installed"; continue; }
    $z "$tsv" >"$tmp/packed"
    succeed "packed by ${z%% *}" clip ingest "$tmp/a" "$tmp/packed" --map caption=title --source m.tsv
    counted "all known by ${z%% *}" "\(6 known, 0 changed\)"
done
succeed "standard input" bash -c "cat '$tsv' | ./clipstill ingest '$tmp/a' - --map caption=title --source m.tsv --images '$tmp'"
counted "all known from a pipe" "\(6 known, 0 changed\)"
expect "a map to no column" 1 "has no column 'caption' \(--map caption=NAME names it\); found: image, title, lang" clip ingest "$tmp/none" "$tsv"
expect "a bad map" 2 "'captoin=x' maps no field" clip ingest "$tmp/none" "$tsv" --map captoin=x
holds "and nothing is made" test ! -e "$tmp/none"

# --- entities, limits, languages
succeed "--html --max-chars" clip ingest "$tmp/h" "$tsv" --map caption=title --html --max-chars 12
counted "captions are cut" "6 captions were cut"
./clipstill dump "$tmp/h" >"$tmp/dump"
holds "cut at twelve characters" grep -q '"text":"a picture of"' "$tmp/dump"
succeed "--html" clip ingest "$tmp/h2" "$tsv" --map caption=title --html
./clipstill dump "$tmp/h2" >"$tmp/dump"
holds "entities are decoded" grep -q '"text":"a picture of number 3 & more"' "$tmp/dump"
expect "--nfkc on a corpus of NFC" 2 "normalised by nfc-space-1, not nfkc-space-1" clip ingest "$tmp/h2" "$tsv" --map caption=title --nfkc
succeed "--nfkc on a new one" clip ingest "$tmp/k" "$tsv" --map caption=title --nfkc
succeed "which then keeps it" clip ingest "$tmp/k" "$tsv" --map caption=title
sed 's/\ten$/\t/' "$tsv" >"$tmp/nolang.tsv"
succeed "--lang auto" clip ingest "$tmp/l" "$tmp/nolang.tsv" --map caption=title --lang auto
succeed "stat" clip stat "$tmp/l" --text
counted "the language was told from the text" "^  en +6 +0 +0$"
counted "scripts" "Latn [0-9]+%"

# --- the same pictures as a folder, COCO, Karpathy, Flickr, Chinese-CLIP, tar
mkdir "$tmp/dir"; cp "$p"/*.jpg "$tmp/dir/"; for k in 0 1 2 3 4 5; do echo "number $k" >"$tmp/dir/p$k.txt"; done
succeed "a folder" clip ingest "$tmp/a" "$tmp/dir"
counted "six known pictures" ": 6 records read: 0 new images .* 6 known, 6 new captions, 6 new pairs"
{ printf '{"info": {}, "annotations": ['; for k in 0 1 2 3 4; do printf '%s{"image_id": %s, "id": %s, "caption": "coco %s"}' "$([ $k = 0 ] || echo ,)" $k $k $k; done
  printf ', {"image_id": 77, "caption": "nobody"}], "images": ['; for k in 0 1 2 3 4 5; do printf '%s{"id": %s, "file_name": "p%s.jpg"}' "$([ $k = 0 ] || echo ,)" $k $k; done; printf ']}'; } >"$tmp/captions.json"
expect "COCO, with an annotation of no image" 3 "" clip ingest "$tmp/a" "$tmp/captions.json" --images "$p" -q
counted "five pairs, one reject, one lonely image" ": 7 records read: 0 new images .* 6 known, 5 new captions, 5 new pairs"
printf '{"dataset": "flickr8k", "images": [{"filename": "p0.jpg", "imgid": 0, "split": "test", "sentences": [{"raw": "one"}, {"raw": "two"}]}, {"filename": "p1.jpg", "imgid": 1, "split": "restval", "sentences": [{"raw": "three"}]}]}' >"$tmp/dataset.json"
succeed "Karpathy's splits" clip ingest "$tmp/a" "$tmp/dataset.json" --images "$p"
counted "three pairs" "3 new captions, 3 new pairs"
printf 'p0.jpg#0\ttoken zero\np0.jpg#1\ttoken one\np1.jpg#zhc#0\t\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8b\x97\n' >"$tmp/results.token"
succeed "Flickr tokens" clip ingest "$tmp/a" "$tmp/results.token" --images "$p" --lang en
counted "three more" "3 new captions, 3 new pairs"
for k in 0 1; do printf '%s\t%s\n' $k "$(base64 -w0 "$p/p$k.jpg")"; done >"$tmp/train_imgs.tsv"
printf '{"text_id": 1, "text": "cn one", "image_ids": [0, 1]}\n{"text_id": 2, "text": "cn two", "image_ids": [1]}\n' >"$tmp/train_texts.jsonl"
succeed "Chinese-CLIP" clip ingest "$tmp/a" "$tmp/train_texts.jsonl" --lang zh
counted "three pairs of two texts" "2 new captions, 3 new pairs"
mkdir "$tmp/wds"; for k in 0 1 2 3 4 5; do cp "$p/p$k.jpg" "$tmp/wds/00$k.jpg"; echo "tar $k" >"$tmp/wds/00$k.txt"; done
(cd "$tmp/wds" && tar cf ../s0.tar 000.jpg 000.txt 001.jpg 001.txt 002.jpg 002.txt && tar cf ../s1.tar 003.txt 004.txt 005.txt 003.jpg 004.jpg 005.jpg && gzip -k ../s1.tar && rm ../s1.tar)
succeed "shards by a pattern" clip ingest "$tmp/w" "$tmp/s*.tar*"
counted "members that lie apart come together" "6 new images .* 6 new captions, 6 new pairs"
succeed "a shard from a pipe" bash -c "cat '$tmp/s0.tar' | ./clipstill ingest '$tmp/w' -"
mkdir "$tmp/alone"; echo "whose picture?" >"$tmp/alone/000.txt"; tar cf "$tmp/alone.tar" -C "$tmp/alone" 000.txt
expect "captions do not go to another shard's picture" 4 "every record was rejected" clip ingest "$tmp/w" "$tmp/alone.tar" -q
counted "but are rejected" "unknown-id +1"
head -c 9000 "$tmp/s0.tar" >"$tmp/cut.tar"
expect "a tar that is cut off" 4 "every record was rejected" clip ingest "$tmp/cut" "$tmp/cut.tar" -q
counted "says so" "broken-source +1"
expect "an empty source" 1 "has a header but no rows" clip ingest "$tmp/e" <(printf 'image\tcaption\n')

# --- quarantine
cp "$tsv" "$tmp/q.tsv"; printf 'photos/late.jpg\tcomes later\ten\n' >>"$tmp/q.tsv"
expect "a missing file" 3 "" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title -q
expect "the same again is nothing new" 0 "" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title -q
expect "over the budget" 4 "1 of 7 records were rejected" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title --max-bad 0 -q
cp "$p/p0.jpg" "$p/late.jpg"
succeed "--retry-failed" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title --retry-failed
counted "reads that record alone" ": 1 records read: .*1 new pairs"
counted "and takes it out of quarantine" "1 earlier rejects"
succeed "stat" clip stat "$tmp/q"
counted "the quarantine is empty" "0 in quarantine"

# --- splits, leaks, retagging
succeed "retag to two splits" clip retag "$tmp/q" --where lang=en --set-split test
succeed "stat --leaks" clip stat "$tmp/q" --leaks
counted "one split, no leak" "several splits: 0 train, 0 val, 0 test"
succeed "another source" clip ingest "$tmp/q" "$tmp/dir" --split train
succeed "stat --leaks" clip stat "$tmp/q" --leaks
counted "the same pictures in both" "several splits: 6 train, 0 val, 6 test"
succeed "retag --assign-splits" clip retag "$tmp/q" --assign-splits 50/0/50
succeed "stat --leaks" clip stat "$tmp/q" --leaks
counted "mends it" "several splits: 0 train, 0 val, 0 test"
succeed "retag to another language and weight" clip retag "$tmp/q" --where source=q.tsv --set-lang de --set-weight 2
sed 's/\ten$/\t/' "$tmp/q.tsv" >"$tmp/q2.tsv"; mv "$tmp/q2.tsv" "$tmp/q.tsv"
./clipstill dump "$tmp/q" >"$tmp/dump.before"
succeed "the source again" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title
counted "changes nothing that it does not say" "0 new pairs \(7 known, 0 changed\)"
./clipstill dump "$tmp/q" >"$tmp/dump.after"
same "and the dump is the same" "$tmp/dump.before" "$tmp/dump.after"
succeed "what it says, it changes" clip ingest "$tmp/q" "$tmp/q.tsv" --map caption=title --split val
counted "the split that was named" "0 new pairs \([0-9]+ known, [1-7] changed\)"
expect "retag without a change" 2 "nothing to change was named" clip retag "$tmp/q"
expect "retag of no language" 1 "lang=xx: the corpus has none; it has: en" clip retag "$tmp/q" --where lang=xx --set-lang de
expect "retag of no cache" 1 "there is no corpus here" clip retag "$tmp/absent" --set-lang de
expect "verify" 0 "" clip verify "$tmp/q"
expect "verify" 0 "" clip verify "$tmp/a"
finish
