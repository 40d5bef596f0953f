#!/bin/bash
# Random views with colour jitter, by the program: another set, the same bytes for any number of threads and in steps, replayed by verify and by
# distill, refused by name where another jitter made the set, and bad values told in one sentence.
. "$(dirname "$0")/tap.sh"
src=$tmp/src plain=$tmp/plain c=$tmp/cache
small_corpus "$src"
usual=0.4,0.4,0.2,0.1
feat() { clip featurize "$1" --teacher $teacher --numerics f32 --taps image.final,text.final "${@:2}"; }
vectors() { ./clipstill dump "$1" | grep '^vector image' >"$2"; }
run ./clipstill ingest "$plain" "$src/m.tsv"
cp -r "$plain" "$c"; cp -r "$plain" "$tmp/steps"; cp -r "$plain" "$tmp/none"

# --- another set, view 0 apart
succeed "without jitter" feat "$plain" --views 4
succeed "with it" feat "$c" --views 4 --jitter $usual
stdout_has "all views computed" "^image.final +40 vectors computed, 0 hits"
succeed "again, spelled in full" feat "$c" --views 4 --jitter 0.40,0.4,.2,0.1,0.8
stdout_has "finds all" "^image.final +0 vectors computed, 40 hits"
for v in 0 1 2 3; do for s in plain cache; do run ./clipstill export "$tmp/$s" --set image.final --view $v --npy "$tmp/$s$v"; done; done
same "view 0 is the same" "$tmp/plain0.npy" "$tmp/cache0.npy"
for v in 1 2 3; do holds "view $v is not" bash -c "! cmp -s $tmp/plain$v.npy $tmp/cache$v.npy"; done
vectors "$plain" "$tmp/plain.vectors"; vectors "$c" "$tmp/vectors"
succeed "no strength" feat "$tmp/none" --views 4 --jitter 0,0,0,0
vectors "$tmp/none" "$tmp/none.vectors"
same "is no jitter" "$tmp/plain.vectors" "$tmp/none.vectors"
succeed "and the same set" feat "$tmp/none" --views 4
stdout_has "finds all" "^image.final +0 vectors computed, 40 hits"

# --- views are added, with any number of threads
succeed "two views on one thread" feat "$tmp/steps" --views 2 --jitter $usual -j 1
succeed "four on three" feat "$tmp/steps" --views 4 --jitter $usual -j 3
stdout_has "only what is new" "^image.final +20 vectors computed, 20 hits"
vectors "$tmp/steps" "$tmp/steps.vectors"
same "the same bytes as at once" "$tmp/vectors" "$tmp/steps.vectors"

# --- who compares, who replays
expect "verify computes them again" 0 "" clip verify "$c" --recompute 100% --teacher $teacher
stdout_has "bit for bit" "^image.final +40 recomputed, 40 bit for bit"
expect "featurize without it is refused" 5 'image.final is of another origin: view_plan.jitter \(expected "0.4,0.4,0.2,0.1,0.8", found absent\).*or give --jitter 0.4,0.4,0.2,0.1,0.8 as it was made with$' feat "$c" --views 4
expect "with another" 5 'view_plan.jitter \(expected "0.4,0.4,0.2,0.1,0.8", found "0.4,0.4,0.2,0.1,1"\)' feat "$c" --views 4 --jitter $usual,1
expect "and with one where there was none" 5 'view_plan.jitter \(expected absent, found "0.4,0.4,0.2,0.1,0.8"\).*or leave out --jitter: it was made without$' feat "$plain" --views 4 --jitter $usual
vectors "$c" "$tmp/after.vectors"
same "nothing was mixed" "$tmp/vectors" "$tmp/after.vectors"
succeed "stat --teacher --jitter" clip stat "$c" --teacher $teacher --jitter $usual
holds "is fresh" bash -c "! grep stale.against '$tmp/out'"
succeed "stat --teacher" clip stat "$c" --teacher $teacher
stdout_has "names it" '^  stale against .*: view_plan.jitter \(expected absent, found "0.4,0.4,0.2,0.1,0.8"\)$'

# --- students
tiny=(--image-arch vit:width=16,layers=2,heads=2 --no-text --epochs-image 4 --batch-image 4)
succeed "distill from jittered views" clip distill "$c" "${tiny[@]}" --out "$tmp/s1"
stdout_has "sees all" "views: 4"
succeed "on three threads" clip distill "$c" "${tiny[@]}" --out "$tmp/s2" -j 3
same "the same student" "$tmp/s1/model.safetensors" "$tmp/s2/model.safetensors"

succeed "a second teacher's set, without jitter" feat "$c" --views 4 --prefix two
expect "its views are not the first one's" 5 'sets image.final and two.image.final hold other views .*: jitter \(expected "0.4,0.4,0.2,0.1,0.8", found absent\); give --views 1,' clip distill "$c" "${tiny[@]}" --out "$tmp/s3"
succeed "but for view 0" clip distill "$c" "${tiny[@]}" --views 1 --out "$tmp/s3"

# --- bad values: one sentence
bad() { expect "$1" 2 "jitter \"$1\": $2" feat "$c" --views 4 --jitter "$1"; }
bad strong "expected brightness,contrast,saturation,hue"
bad 0.4 "expected brightness,contrast,saturation,hue"
bad 1.5,0,0,0 "brightness 1.5 is not within 0 to 1$"
bad 0.4,0.4,0.2,0.6 "hue 0.6 is not within 0 to 0.5$"
bad 0.4,0.4,0.2,0.1,2 "probability 2 is not within 0 to 1$"
bad 0.4,0.4,0.1234,0.1 "saturation 0.1234 has more than three decimals$"
expect "stat says the same" 2 'jitter "0.4": expected' clip stat "$c" --teacher $teacher --jitter 0.4
finish
