#!/bin/bash
# Chinese-CLIP and CLIP teachers through the whole job, from the golden sets where they are: features, a student out of the teacher's weights
# and one of its own, trained with the teacher out of reach, judged, asked; a weight file with a tensor too many.
. "$(dirname "$0")/tap.sh"

whole_job() { # FAMILY TEXT-ARCH
    local set=../shared/golden/$1-tiny d=$tmp/$1
    mkdir "$d" && cp -r "$set/model" "$d/teacher" && cp "$set"/inputs/*.jpg "$d/"
    printf 'image\tcaption\tlang\tsplit\n' >"$d/m.tsv"
    sed -nE 's/^ *"text": "(.*)",?$/\1/p' "$set/tokens.json" | grep -v '\\' |
        awk '{ split("train train val test", s, " "); print (NR % 5) ".jpg\t" $0 "\ten\t" s[NR % 4 + 1] }' >>"$d/m.tsv"
    run ./clipstill ingest "$d/c" "$d/m.tsv"
    succeed "$1: features" clip featurize "$d/c" --teacher "$d/teacher" --numerics f32
    succeed "$1: given again" clip featurize "$d/c" --teacher "$d/teacher" --numerics f32
    stdout_has "$1: finds its work done" "^text.final +0 vectors computed"
    succeed "$1: a student out of the teacher" clip shrink "$d/c" --teacher "$d/teacher" --out "$d/s0" --text-arch "$2"
    holds "$1: keeps the whole vocabulary and says so" grep -q "kept whole" "$tmp/err"
    mv "$d/teacher" "$d/away"
    succeed "$1: distilled without the teacher" clip distill "$d/c" --init "$d/s0" --out "$d/s1" --max-steps 2
    succeed "$1: a student of its own shape" clip distill "$d/c" --out "$d/own" --max-steps 2 \
        --image-arch vit:width=24,layers=1,heads=2,mlp=48,patch=16,size=32 --text-arch text:width=24,layers=1,heads=2,mlp=48,embed=0,tokens=24
    succeed "$1: aligned" clip align "$d/c" --init "$d/s1" --out "$d/s2" --max-steps 2
    succeed "$1: judged" clip eval "$d/c" --model "$d/s2" --model "$d/own"
    succeed "$1: asked" clip embed --model "$d/s2" --text "a red dress" --image "$d/0.jpg"
    succeed "$1: asked with an empty text" clip embed --model "$d/s2" --text ""
    succeed "$1: its captions are counted" clip stat "$d/c" --text
}

for family in clip cnclip; do
    if [ -d "../shared/golden/$family-tiny" ]; then
        whole_job $family text:layers=2,embed=16
    else
        skip "$family" "no ../shared/golden/$family-tiny"
    fi
done
finish
