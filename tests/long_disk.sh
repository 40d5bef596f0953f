#!/bin/bash
# A disk of 30 MB that fills up in the middle of every stage, again and again: exit 7, a clean cache, and the same command goes on with a
# little more space, to the result of a disk that never was full. Needs root (tmpfs).
. "$(dirname "$0")/tap.sh"
disk=$tmp/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=30m none "$disk" 2>/dev/null; then
    skip "a disk that fills up" "a tmpfs can be mounted by root only"
    finish
fi
mounted=$disk
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)
sources=(samples/corpus/public.tsv samples/corpus/field.tsv --classes samples/corpus/classes.json)

stage() { # NAME FOLDER
    case $1 in
    ingest) ./clipstill ingest "$2/c" "${sources[@]}" ;;
    featurize) ./clipstill featurize "$2/c" --teacher $teacher --numerics f32 --views 2 --taps image.final,text.final,image.block2@2x2,text.block2.mean ;;
    distill)
        ./clipstill distill "$2/c" --out "$2/s1" --init random "${tiny[@]}" --epochs-image 2 --epochs-text 1 --batch-image 64 \
            --batch-text 64 --checkpoint-every 7
        ;;
    align) ./clipstill align "$2/c" --init "$2/s1" --out "$2/s2" --epochs 1 --max-steps 30 --batch 32 --checkpoint-every 3 ;;
    esac
}

leave() { # KIB: so much is free
    rm -f "$disk/fill"
    local free; free=$(df --output=avail -k "$disk" | tail -n 1)
    [ "$free" -le "$1" ] || dd if=/dev/zero of="$disk/fill" bs=1k count=$((free - $1)) status=none 2>/dev/null
}

mkdir "$tmp/a"
for s in ingest featurize distill align; do
    run stage $s "$tmp/a"; rc=$?
    [ $rc -eq 0 ] || [ $rc -eq 3 ] || result 1 "$s with space" "$(cat "$tmp/err")"
    left=0 turns=0 full=0 bad=
    while :; do
        leave $left
        run stage $s "$disk"; rc=$?
        [ $rc -ne 7 ] && break
        full=$((full + 1)) turns=$((turns + 1))
        [ "$(grep -vc "^featurize: .* to compute;" "$tmp/err")" -eq 1 ] || bad+="not one sentence: $(cat "$tmp/err")"$'\n'
        rm -f "$disk/fill" # verify forks, and wants nothing from the disk, but stdout lies elsewhere anyway
        if [ -e "$disk/c/corpus" ]; then
            ./clipstill verify "$disk/c" >"$tmp/out" 2>&1 || grep -qE 'no corpus here|cut short' "$tmp/out" || bad+="$(tail -n 3 "$tmp/out")"$'\n'
        fi
        left=$((left * 5 / 4 + 30))
        [ $turns -lt 80 ] || break
    done
    rm -f "$disk/fill"
    result $((rc != 0 && rc != 3)) "$s ends well once there is space" "exit code $rc: $(cat "$tmp/err")"
    result $((full < 3)) "$s: the disk was full $full times"
    result $((${#bad} > 0)) "$s: one sentence and a clean cache each time" "$bad"
done
run stage ingest "$disk"; result $? "the stores can be written afterwards"
./clipstill dump "$tmp/a/c" >"$tmp/dump.a"
./clipstill dump "$disk/c" >"$tmp/dump.b"
same "the dump is that of a disk with space" "$tmp/dump.a" "$tmp/dump.b"
same "the same distilled student" "$tmp/a/s1/model.safetensors" "$disk/s1/model.safetensors"
same "the same aligned student" "$tmp/a/s2/model.safetensors" "$disk/s2/model.safetensors"
same "the same learning curve" "$tmp/a/s2/curve.jsonl" "$disk/s2/curve.jsonl"
finish
