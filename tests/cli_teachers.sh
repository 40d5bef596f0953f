#!/bin/bash
# Several teachers over one corpus: captions routed by language, every teacher judged before anything is distilled, a student of all of them.
# covers: route judge
. "$(dirname "$0")/tap.sh"
lacks() { ! grep -qF -- "$1" "$tmp/out"; } # about the last command
src=$tmp/src c=$tmp/cache second=samples/teacher
mkdir -p "$src/images"
head -n 1 samples/corpus/public.tsv >"$src/m.tsv"
# forty pictures in English and Chinese: half to train on, half to judge
awk -F'\t' 'NR > 1 && ($2 == "en" || $2 == "zh") { n += !seen[$1]++; if (n > 40) exit; $5 = n > 20 ? "test" : "train"; print }' OFS='\t' samples/corpus/public.tsv >>"$src/m.tsv"
cut -f 1 "$src/m.tsv" | sed 1d | sort -u | while read -r f; do cp "samples/corpus/$f" "$src/$f"; done
run ./clipstill ingest "$c" "$src/m.tsv" --classes samples/corpus/classes.json
succeed "English to the first teacher" clip featurize "$c" --teacher $teacher --lang en
succeed "Chinese to the second" clip featurize "$c" --teacher $second --prefix zh --lang zh
expect "a language that the corpus lacks" 2 "--lang tlh: no caption of the corpus" clip featurize "$c" --teacher $teacher --lang tlh
succeed "given again" clip featurize "$c" --teacher $teacher --lang en
stdout_has "finds its work done" "^text.final +0 vectors computed"

succeed "eval before anything is distilled" clip eval "$c" --json
stdout_has "judges the first teacher in English" '"system":"teacher","task":"retrieval","by":"lang","group":"en"'
holds "but not in Chinese" lacks '"system":"teacher","task":"retrieval","by":"lang","group":"zh"\'
stdout_has "the second in Chinese" '"system":"teacher zh","task":"retrieval","by":"lang","group":"zh"'
holds "but not in English" lacks '"system":"teacher zh","task":"retrieval","by":"lang","group":"en"\'
stdout_has "its classes too" '"system":"teacher zh","task":"zero-shot","by":"lang","group":"zh"'

arch=(--image-arch vit:width=24,layers=2,heads=2,mlp=48,patch=16,size=32 --text-arch text:width=24,layers=2,heads=2,mlp=48,embed=12,tokens=24)
succeed "a student of both" clip distill "$c" --out "$tmp/s1" "${arch[@]}" --epochs-image 1 --epochs-text 2 --batch-text 16
n=$(awk -F'\t' '$5 == "train" { print $3 }' "$src/m.tsv" | sort -u | wc -l)
holds "learns from the captions of both" grep -q "\"train_captions\": $n," "$tmp/s1/run.json"
succeed "aligned" clip align "$c" --init "$tmp/s1" --out "$tmp/s2" --max-steps 2 --batch 8
succeed "and judged beside its teachers" clip eval "$c" --model "$tmp/s2"
stdout_has "in a table" "teacher zh"
finish
