#!/bin/bash
# kill -9 at random moments, ten times a stage (KILLS=200: as many; ROUNDS: which of sample, bulk, tar and clothing), on the sample corpus (and on ../shared/data/clothing where it is): after every kill the cache
# is clean, the same command goes on, and in the end dump and weights are those of a run that nobody killed.
# SEED=N repeats the moments as far as the machine's pace allows.
. "$(dirname "$0")/tap.sh"
RANDOM=${SEED:=$$}
echo "# SEED=$SEED"
kills=${KILLS:-10}
sources=(samples/corpus/public.tsv samples/corpus/field.tsv)
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)
now_ms() { date +%s%3N; }

# each takes a folder: the cache is FOLDER/c, students are FOLDER/s1, FOLDER/s2
stage_ingest() { exec ./clipstill ingest "$1/c" "${sources[@]}" --classes samples/corpus/classes.json; }
stage_featurize() {
    exec ./clipstill featurize "$1/c" --teacher $teacher --numerics f32 --views 2 --taps image.final,text.final,image.block2@2x2,text.block2.mean
}
stage_distill() {
    exec ./clipstill distill "$1/c" --out "$1/s1" --init random "${tiny[@]}" --epochs-image 3 --epochs-text 2 --batch-image 64 \
        --batch-text 64 --checkpoint-every 7
}
stage_align() { exec ./clipstill align "$1/c" --init "$1/s1" --out "$1/s2" --epochs 1 --max-steps 60 --batch 32 --checkpoint-every 3; }
stage_shrink() {
    # a model that was made is not made again
    [ ! -e "$1/s0/config.json" ] || exit 0
    exec ./clipstill shrink "$1/c" --teacher $teacher --out "$1/s0" --image-arch vit:layers=2
}
stage_export() { exec ./clipstill export "$1/c" --set text.final --safetensors "$1/e.safetensors"; }
stage_npy() { exec ./clipstill export "$1/c" --set text.final --npy "$1/e"; }
stage_folder() { exec ./clipstill export "$1/c" --set text.final,image.final --clip-retrieval "$1/e.folder"; }
stage_tar() { exec ./clipstill export "$1/c" --webdataset "$1/e.tars" --shard-bytes 1000000; }
stage_import() { exec ./clipstill import "$1/c" --safetensors "$1/e.safetensors" --set again --store f16; }
stage_retag() { exec ./clipstill retag "$1/c" --assign-splits 80/10/10 --set-lang auto; }
undo_ingest() { rm -rf "$1/c"; }
undo_retag() { ./clipstill retag "$1/c" --set-split train --set-lang de; }
undo_featurize() { rm -rf "$1/c/features"; }
undo_distill() { rm -rf "$1/s1"; }
undo_align() { rm -rf "$1/s2"; }
undo_shrink() { rm -rf "$1/s0"; }
undo_export() { rm -f "$1/e.safetensors"; }
undo_npy() { rm -f "$1"/e.npy "$1"/e.keys.txt "$1"/e.identity.json; }
undo_folder() { rm -rf "$1/e.folder"; }
undo_tar() { rm -rf "$1/e.tars"; }
undo_import() { rm -rf "$1/c/features/again"; }

clean_or_absent() { # CACHE: verify says clean, or there is no corpus yet
    local rc
    run ./clipstill verify "$1"; rc=$?
    [ $rc -eq 0 ] || { [ $rc -eq 1 ] && grep -qE 'no corpus here|cut short' "$tmp/err"; } ||
        { head -n 5 "$tmp/out" "$tmp/err" | sed 's/^/# /'; return 1; }
}

torture() { # STAGE MS: an uninterrupted run takes MS
    local stage=$1 span=$2 landed=0 unclean=0 rc=0 pid turns=0 largest
    # moments lie between 0 and a third of the whole, so that a run is killed several times before it ends
    largest=$((span / 3 > 60 ? span / 3 : 60))
    [ "$stage" != ingest ] || largest=$span
    while [ $landed -lt $kills ] && [ $turns -lt $((40 * kills)) ]; do
        turns=$((turns + 1))
        (stage_"$stage" "$tmp/b") >/dev/null 2>"$tmp/err.$stage" & pid=$!
        sleep "$(printf '%d.%03d' $((RANDOM % largest / 1000)) $((RANDOM % (largest < 1000 ? largest : 1000))))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null; rc=$?
        if [ $rc -eq 137 ]; then
            landed=$((landed + 1))
        elif [ $rc -eq 0 ] || [ $rc -eq 3 ]; then
            undo_"$stage" "$tmp/b" # it was faster: once more from the start
        else
            result 1 "$stage goes on after kill $landed" "exit code $rc: $(cat "$tmp/err.$stage")"
            return
        fi
        clean_or_absent "$tmp/b/c" || unclean=$((unclean + 1))
    done
    result $((landed != kills)) "$stage: killed $kills times"
    result $unclean "$stage: the cache is clean after every kill"
    (stage_"$stage" "$tmp/b") >"$tmp/out" 2>"$tmp/err"; rc=$?
    result $((rc != 0 && rc != 3)) "$stage goes on to its end" "exit code $rc: $(cat "$tmp/err")"
}

round() { # NAME STAGE...
    local name=$1 stage start rc
    shift
    [[ " ${ROUNDS:-sample bulk tar clothing} " == *" $name "* ]] || return
    rm -rf "$tmp/a" "$tmp/b"; mkdir "$tmp/a" "$tmp/b"
    for stage in "$@"; do
        start=$(now_ms)
        (stage_"$stage" "$tmp/a") >/dev/null 2>"$tmp/err"; rc=$?
        [ $rc -eq 0 ] || [ $rc -eq 3 ] || { result 1 "$name: $stage" "$(cat "$tmp/err")"; return; }
        torture "$stage" $(($(now_ms) - start))
    done
    ./clipstill dump "$tmp/a/c" >"$tmp/dump.a"
    ./clipstill dump "$tmp/b/c" >"$tmp/dump.b"
    same "$name: the dump is that of a run that nobody killed" "$tmp/dump.a" "$tmp/dump.b"
    expect "$name: verify" 0 "" ./clipstill verify "$tmp/b/c"
    [ ! -e "$tmp/a/e.tars" ] || {
        (cd "$tmp/a" && find e* s0 -type f | sort | xargs sha256sum) >"$tmp/sums"
        holds "$name: the same exports" bash -c "cd '$tmp/b' && sha256sum --check --strict '$tmp/sums'"
    }
    [ ! -e "$tmp/a/s1" ] || same "$name: the same distilled student" "$tmp/a/s1/model.safetensors" "$tmp/b/s1/model.safetensors"
    [ ! -e "$tmp/a/s1" ] || same "$name: the same learning curve" "$tmp/a/s1/curve.jsonl" "$tmp/b/s1/curve.jsonl"
    [ ! -e "$tmp/a/s2" ] || same "$name: the same aligned student" "$tmp/a/s2/model.safetensors" "$tmp/b/s2/model.safetensors"
    holds "$name: nothing half written is left" bash -c "! find '$tmp/b' -name '*.tmp-*' -o -name '.new-*' | grep ."
}

round sample ingest featurize shrink export npy folder tar import distill align

# more than two transactions of pictures: the same photo with other bytes behind its end
mkdir "$tmp/bulk"
printf 'image\tcaption\n' >"$tmp/bulk/m.tsv"
for i in $(seq 2600); do
    { cat tests/golden/preprocess/inputs/photo_00.jpg; echo "$i"; } >"$tmp/bulk/$i.jpg"
    echo "picture $i" >"$tmp/bulk/$i.txt"
    printf '%d.jpg\tpicture %d\n' "$i" "$i"
done >>"$tmp/bulk/m.tsv"
sources=("$tmp/bulk/m.tsv")
round bulk ingest retag
# the same as a tar, pictures first and their captions behind all of them, and a member that is cut off
(cd "$tmp/bulk" && rm m.tsv && find . -name '*.jpg' | sort >../names && find . -name '*.txt' | sort >>../names && tar cf ../bulk.tar -T ../names)
head -c -6000 "$tmp/bulk.tar" >"$tmp/cut.tar"
rm -rf "$tmp/bulk" "$tmp/bulk.tar"
sources=("$tmp/cut.tar")
round tar ingest
rm "$tmp/cut.tar"
if [ -e ../shared/data/clothing/pairs.tsv ]; then
    sources=(../shared/data/clothing/pairs.tsv)
    round clothing ingest featurize
else
    skip "clothing: ingest and featurize" "../shared/data/clothing is not here"
fi
finish
