#!/bin/sh
# What each stage is worth, on the sample corpus: one table a metric, a row a way of making the same small student.
#     ablation.sh CLIPSTILL [WORK-FOLDER]
# The baselines without teacher features get as many steps in contrastive learning as the two stages have together, the same data, batch and
# learning rate. About ten minutes on two cores; a killed run goes on when WORK-FOLDER is given again.
set -eu
clipstill=$(realpath "$1")
samples=$(dirname "$(realpath "$0")")
if [ $# -gt 1 ]; then
    work=$2
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
cd "$work"
image=vit:width=64,layers=3,heads=2 text=text:width=64,layers=2,heads=2

"$clipstill" ingest cache "$samples/corpus/public.tsv" "$samples/corpus/field.tsv" --classes "$samples/corpus/classes.json" >ingest.txt || [ $? -eq 3 ]
"$clipstill" featurize cache --teacher "$samples/teacher" --views 4 \
    --taps image.final,text.final,image.block3@4x4,image.block6@4x4,text.block1.mean,text.block3.mean >featurize.txt
"$clipstill" shrink cache --teacher "$samples/teacher" --image-arch $image --text-arch $text --out shrunk >shrink.txt

distill() { "$clipstill" distill cache --init shrunk --epochs-image 10 --epochs-text 5 --seed 1 "$@" >>train.txt; }
align() { "$clipstill" align cache --seed 1 "$@" >>train.txt; }
distill --out distill-final-only --no-intermediate
distill --out distill
align --init distill --out distill+align --epochs 6
align --init shrunk --out fine-tune-only --epochs 14 --weight-keep 0
# random weights of the same shape
align --init random --image-arch "$image,mlp=256,patch=8,size=64,act=quick_gelu" --text-arch "$text,mlp=256,embed=0,tokens=62,pooling=cls" \
    --out random-contrast --epochs 14 --weight-keep 0

"$clipstill" eval cache --split test --model random-contrast --model fine-tune-only --model distill-final-only --model distill --model distill+align \
    --metric MR,'t2i R@1','i2t R@1',top-1
