#!/bin/sh
# The main job on the sample corpus, from files to tables: what `make demo` runs, with the program as $1.
# Works in demo/ (or $2), where the results of an earlier run go first. Two to three minutes on two cores. Every command below can be given by hand, interrupted, and given again.
set -eu
clipstill=$(realpath "$1")
work=${2:-}
[ -z "$work" ] || work=$(realpath -m "$work")
cd "$(dirname "$0")/.."
work=${work:-demo}
cache=$work/cache corpus=samples/corpus teacher=samples/teacher
rm -rf "$cache" "$work/shrunk" "$work/distilled" "$work/student" "$work/finetuned" "$work/scratch"
mkdir -p "$work"
began=$(date +%s)

heading() {
    printf '\n== %s  [%d s]\n' "$*" $(($(date +%s) - began))
}
# Shows a command, runs it; exit 3 (done, with rejects) is no failure: the corpus has broken files on purpose.
run() {
    echo "\$ clipstill $*"
    "$clipstill" "$@" || [ $? -eq 3 ]
}
# The same for training, whose long summary stays in a file.
train() {
    echo "\$ clipstill $*"
    "$clipstill" "$@" >"$work/summary"
    sed -n 1p "$work/summary"
}

heading "The corpus: pictures, captions in ten languages, broken files on purpose"
run ingest "$cache" $corpus/public.tsv --source public --classes $corpus/classes.json
run ingest "$cache" $corpus/field.tsv --source field

heading "The teacher's features, computed once: final embeddings and two intermediate taps, four views a picture"
taps=image.final,image.block3@4x4,text.final,text.block2.mean
run featurize "$cache" --teacher $teacher --taps $taps --views 4
echo "again, as a nightly job would: nothing is computed twice"
run featurize "$cache" --teacher $teacher --taps $taps --views 4

heading "An initial student out of the teacher's own weights: half the layers, three quarters of the width, a pruned vocabulary"
run shrink "$cache" --teacher $teacher --out "$work/shrunk" --image-arch vit:layers=3,width=96,heads=3 \
    --text-arch text:layers=2,width=96,heads=3

heading "Stage 1: each tower learns the cached features of the teacher's, all languages mixed"
train distill "$cache" --init "$work/shrunk" --out "$work/distilled" --epochs-image 12 --epochs-text 6 --numerics auto

heading "Stage 2: the two towers meet again; public and field pictures mixed by weight"
train align "$cache" --init "$work/distilled" --out "$work/student" --epochs 2 --numerics auto --source-weight public=1,field=1

heading "Baseline: fine-tuning only, from the shrunk teacher without distillation; about as much computing"
train align "$cache" --init "$work/shrunk" --out "$work/finetuned" --epochs 4 --weight-keep 0 --numerics auto

heading "Baseline: the same network from random weights, without the teacher; about as much computing"
train align "$cache" --init random --out "$work/scratch" --epochs 4 --lr 1e-3 --weight-keep 0 --numerics auto \
    --image-arch vit:width=96,layers=3,heads=3,patch=8,size=64,act=quick_gelu \
    --text-arch text:width=96,layers=2,heads=3,tokens=62,embed=0,pooling=cls

heading "Judged on the test split, whose combinations of objects no training picture has; 'A > B': pictures by A, texts by B"
run eval "$cache" --model "$work/student" --model "$work/distilled" --model "$work/finetuned" --model "$work/scratch" \
    --by lang,source --metric MR,top-1

heading "Speed, memory and size"
run bench --model $teacher --model "$work/student"

heading "What the cache holds"
run verify "$cache"
run stat "$cache"

heading "Done"
echo "the student lies in $work/student, its learning curve in $work/student/curve.jsonl; try"
echo "  $clipstill embed --model $work/student --text 'a picture of fox' --image $corpus/images/p0000.jpg"
