#!/bin/sh
# Trains samples/teacher, a tiny teacher in AltCLIP's format, on the sample corpus with clipstill's own trainer. Run by `make sample-teacher`:
#     train_tiny_teacher.sh CLIPSTILL TINY_TEACHER [WORK-FOLDER]
# Minutes on two cores; a killed run goes on where it was when WORK-FOLDER is given again. The result does not depend on the number of threads.
set -eu
clipstill=$(realpath "$1") tiny_teacher=$(realpath "$2")
if [ $# -gt 2 ]; then
    work=$(realpath -m "$3")
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
cd "$(dirname "$0")/.."

seed=1
image=vit:width=128,layers=6,heads=4,patch=8,size=64,act=quick_gelu
text=text:width=128,layers=3,heads=4,tokens=62,act=gelu,pooling=cls,embed=0

# 3: done, with rejects (the corpus has broken files on purpose)
"$clipstill" ingest "$work/cache" samples/corpus/public.tsv samples/corpus/field.tsv --classes samples/corpus/classes.json || [ $? -eq 3 ]
[ -d "$work/begun" ] || "$tiny_teacher" begin "$work/cache" "$image" "$text" 128 1600 $seed "$work/begun"
"$clipstill" align "$work/cache" --init "$work/begun" --out "$work/trained" --augment --numerics bf16 --seed $seed \
    --epochs 15 --batch 128 --lr 1e-3 --weight-decay 0.05
rm -rf samples/teacher/*.json samples/teacher/model.safetensors samples/teacher/sentencepiece.bpe.model
"$tiny_teacher" finish "$work/trained" samples/teacher
