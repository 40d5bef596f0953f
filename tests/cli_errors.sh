#!/bin/bash
# Bad input and bad luck: one clear sentence each, the documented exit code, nothing lost. See tests/tap.sh for `expect`.
# covers: progress
. "$(dirname "$0")/tap.sh"
export OMP_NUM_THREADS=2
src=$tmp/src c=$tmp/cache
small_corpus "$src"
tiny=(--image-arch vit:width=16,layers=2,heads=2 --text-arch text:width=24,layers=2,heads=2)

# --- the command line
expect "no command prints the overview, exit 2" 2 "" bash -c './clipstill 2>/dev/null'
expect "an unknown command" 2 "'ingst' is no command: did you mean 'ingest'" clip ingst
expect "an unknown option" 2 "'--splt'.*did you mean '--split'" clip ingest "$c" "$src/m.tsv" --splt train
expect "an option without its value" 2 "--split" clip ingest "$c" "$src/m.tsv" --split
expect "a split that is none" 2 "train.*val.*test.*'foo'|'foo'.*train" clip ingest "$c" "$src/m.tsv" --split foo
expect "a number that is none" 2 "'many'" clip distill "$c" --out "$tmp/x" --epochs-image many
expect "a number out of range" 2 "batch-image" clip distill "$c" --out "$tmp/x" --batch-image 0
expect "too few arguments" 2 "SOURCE" clip ingest "$c"
expect "too many arguments" 2 "." clip stat "$c" "$c"
expect "no --teacher" 2 "--teacher" clip featurize "$c"
expect "no --out" 2 "--out" clip distill "$c"
for verb in $(./clipstill --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
    expect "$verb --help" 0 "" clip "$verb" --help
    stdout_has "$verb --help says how it is used" "^usage: clipstill $verb"
done

# --- sources
: >"$src/empty.tsv"
printf 'image\tcaption\n' >"$src/header.tsv"
printf 'image\ttitle\nx\ty\n' >"$src/nocolumn.tsv"
printf 'image\tcaption\nphoto_00.jpg\t\n' >"$src/allbad.tsv"
expect "no such file" 1 "nosuch.tsv: there is no such file" clip ingest "$c" "$src/nosuch.tsv"
expect "an empty manifest" 1 "empty.tsv: is empty" clip ingest "$c" "$src/empty.tsv"
expect "a manifest without rows" 1 "header.tsv: has a header but no rows" clip ingest "$c" "$src/header.tsv"
expect "a missing column" 1 "nocolumn.tsv.*no column 'caption'.*image, title" clip ingest "$c" "$src/nocolumn.tsv"
expect "a picture for a manifest" 1 "photo_00.jpg: is a JPEG" clip ingest "$c" "$src/photo_00.jpg"
expect "a folder for a table" 2 "is a folder" clip ingest "$c" "$src" --format tsv
expect "a class list that is none" 1 "m.tsv" clip ingest "$c" "$src/m.tsv" --classes "$src/m.tsv"
expect "a manifest of which every record is bad" 4 "." clip ingest "$c" "$src/allbad.tsv"
for verb in stat verify dump eval; do expect "$verb of no cache" 1 "$tmp/none" clip $verb "$tmp/none"; done
expect "featurize of no cache" 1 "$tmp/none" clip featurize "$tmp/none" --teacher $teacher
expect "distill of no cache" 1 "$tmp/none" clip distill "$tmp/none" --out "$tmp/x"
holds "and a mistyped cache is not made" test ! -e "$tmp/none"
expect "a file for a cache" 1 "m.tsv" clip ingest "$src/m.tsv" "$src/m.tsv"
rm -rf "$c"
succeed "ingest" clip ingest "$c" "$src/m.tsv" --classes "$src/classes.json"
printf 'image\tcaption\nphoto_00.jpg\tgood\nnone.jpg\tbad\n' >"$src/half.tsv"
cp -r "$c" "$tmp/half"
expect "rejects within the budget" 3 "" clip ingest "$tmp/half" "$src/half.tsv"
expect "the same again: nothing newly rejected" 0 "" clip ingest "$tmp/half" "$src/half.tsv"
expect "rejects above the budget" 4 "max-bad|budget|reject" clip ingest "$tmp/half" "$src/half.tsv" --source again --max-bad 0

# --- teachers
bad=$tmp/teacher
fresh_teacher() { rm -rf "$bad"; cp -r $teacher "$bad"; }
fresh_teacher; rm "$bad/model.safetensors"
expect "a teacher without weights" 1 "model.safetensors" clip featurize "$c" --teacher "$bad"
fresh_teacher; rm "$bad/config.json"
expect "a teacher without config" 1 "config.json" clip featurize "$c" --teacher "$bad"
fresh_teacher; rm "$bad/sentencepiece.bpe.model"
expect "a teacher without tokenizer" 1 "sentencepiece.bpe.model" clip featurize "$c" --teacher "$bad"
fresh_teacher; rm "$bad/model.safetensors"; cp tests/seeds/pickle/evil.pkl "$bad/pytorch_model.bin"
expect "a bare pickle" 1 "pytorch_model.bin: no PyTorch file" clip featurize "$c" --teacher "$bad"
cp tests/golden/altclip-tiny/model-bin/pytorch_model.bin "$bad"
LC_ALL=C sed -i 's/FloatStorage/ForkStorages/' "$bad/pytorch_model.bin"
expect "a pickle that names another global" 1 "names torch.ForkStorages, which is no part of plain weights" clip featurize "$c" --teacher "$bad"
truncate -s 900000 "$bad/pytorch_model.bin"
expect "pytorch_model.bin cut off" 1 "pytorch_model.bin: no end record" clip featurize "$c" --teacher "$bad"
expect "no such teacher" 1 "$tmp/nobody" clip featurize "$c" --teacher "$tmp/nobody"
for cut in 0 4 100 5000 900000; do
    fresh_teacher; truncate -s $cut "$bad/model.safetensors"
    expect "safetensors cut to $cut bytes" 1 "model.safetensors" clip featurize "$c" --teacher "$bad"
done
fresh_teacher; printf '\377\377\377\377\377\377\377\377' | dd of="$bad/model.safetensors" conv=notrunc status=none
expect "safetensors with a hostile header" 1 "model.safetensors" clip featurize "$c" --teacher "$bad"
fresh_teacher; sed -i 's/"hidden_size": 64/"hidden_size": 65/' "$bad/config.json"
expect "a config that does not fit its weights" 1 "." clip featurize "$c" --teacher "$bad"
expect "a tap that is none" 2 "image.block99" clip featurize "$c" --teacher $teacher --taps image.block99@2x2
holds "no refused command left a feature set" bash -c "! ls '$c/features' 2>/dev/null | grep ."

# --- stores
succeed "featurize" clip featurize "$c" --teacher $teacher --numerics f32
succeed "distill" clip distill "$c" --init random "${tiny[@]}" --out "$tmp/s1" --epochs-image 2 --epochs-text 2
fresh_teacher # another teacher of the same shape: one weight differs in each tower's last bytes
size=$(stat -c %s "$bad/model.safetensors")
for back in 4 30001 60001 90001 120001 200001 400001 600001; do
    printf '\100' | dd of="$bad/model.safetensors" bs=1 seek=$((size - back)) conv=notrunc status=none
done
expect "another teacher's features are not mixed in" 5 "weights" clip featurize "$c" --teacher "$bad" --numerics f32
cp -r "$c" "$tmp/other"; rm -r "$tmp/other/features"
succeed "the other teacher in a cache of its own" clip featurize "$tmp/other" --teacher "$bad" --numerics f32
expect "a student of another teacher: align" 5 "teacher|space" clip align "$tmp/other" --init "$tmp/s1" --out "$tmp/s2" --epochs 1
expect "a student of another teacher: distill" 5 "teacher|space" clip distill "$tmp/other" --init "$tmp/s1" --out "$tmp/s2" --epochs-text 1
expect "no such split in the corpus" 1 "split" bash -c "./clipstill ingest '$tmp/notest' '$src/half.tsv' 2>/dev/null; ./clipstill eval '$tmp/notest' --split val"
expect "an architecture that is none" 2 "vit" clip distill "$c" --out "$tmp/x" --image-arch resnet50
expect "a run with other settings" 1 "epochs" clip distill "$c" --init random "${tiny[@]}" --out "$tmp/s1" --epochs-image 3 --epochs-text 2
expect "eval of a folder that is no model" 1 "$src" clip eval "$c" --model "$src"
expect "no such set" 1 "nope.*image.final" clip export "$c" --set nope --npy "$tmp/e"

other_version() { # DIR: the version in the corpus's format record becomes 9
    local at
    rm -rf "$1"; cp -r "$c" "$1"
    for at in $(grep -obUaP 'clipstill corpus' "$1/corpus/data.mdb" | cut -d: -f1); do
        printf '\011' | dd of="$1/corpus/data.mdb" bs=1 seek=$((at + 16)) conv=notrunc status=none
    done
}
other_version "$tmp/v2"
for verb in stat dump; do expect "a store of another version: $verb" 5 "v2/corpus" clip $verb "$tmp/v2"; done
expect "a store of another version: ingest" 5 "v2/corpus" clip ingest "$tmp/v2" "$src/m.tsv"
rm -rf "$tmp/v2"; cp -r "$c" "$tmp/v2"; truncate -s 20000 "$tmp/v2/corpus/data.mdb"
expect "a store that was cut" 5 "cut off" clip stat "$tmp/v2"
rm -rf "$tmp/v2"; cp -r "$c" "$tmp/v2"
at=$(grep -obUaP 'JFIF' "$tmp/v2/corpus/data.mdb" | head -n 1 | cut -d: -f1)
printf '\252' | dd of="$tmp/v2/corpus/data.mdb" bs=1 seek=$((at + 3000)) conv=notrunc status=none
run clip verify "$tmp/v2"; result $(($? != 5)) "verify finds a damaged picture, exit 5"
stdout_has "and says which" "image .*corpus|corpus: .*image"
# a flipped bit anywhere: verify finds it, or the dump is the same (a free page); every ending is a documented one
./clipstill dump "$c" >"$tmp/d1"
rm -rf "$tmp/v2"; cp -r "$c" "$tmp/v2"
undocumented='' unseen='' n_found=0
for file in corpus features/text.final; do
    file=$tmp/v2/$file/data.mdb
    size=$(stat -c %s "$file")
    for ((at = 11; at < size; at += size / 40)); do
        old=$(dd if="$file" bs=1 skip=$at count=1 status=none | od -An -tu1)
        flip() { printf "\\x$(printf %02x "$1")" | dd of="$file" bs=1 seek=$at conv=notrunc status=none; }
        flip $((old ^ (1 << at % 8)))
        run clip verify "$tmp/v2"; rc=$?
        run clip dump "$tmp/v2"; rc_dump=$?
        [ $rc -eq 5 ] && n_found=$((n_found + 1))
        [ $rc -eq 5 ] || [ $rc -eq 0 ] || undocumented+="verify: $rc at $at of $file"$'\n'
        [ $rc_dump -eq 5 ] || [ $rc_dump -le 1 ] || undocumented+="dump: $rc_dump at $at of $file"$'\n'
        [ $rc -ne 0 ] || cmp -s "$tmp/out" "$tmp/d1" || unseen+="$at of $file"$'\n'
        flip $((old))
    done
done
result ${#undocumented} "flipped bits end every command with a documented code" "$undocumented"
result ${#unseen} "no flipped bit changes a dump unseen" "$unseen"
result $((n_found < 10)) "flipped bits are found"

# --- two at once, signals, standard output
expect "a second writer" 6 "another run" flock "$c/corpus/writer.lock" ./clipstill ingest "$c" "$src/m.tsv"
expect "a second featurize" 6 "another run" flock "$c/features/text.final/writer.lock" ./clipstill featurize "$c" --teacher $teacher --numerics f32 --max-tokens 0
succeed "readers do not wait" flock "$c/corpus/writer.lock" ./clipstill stat "$c"
long=(distill "$c" --init random "${tiny[@]}" --out "$tmp/long" --epochs-image 1000000 --epochs-text 1)
stop_with() { # SIGNAL: starts the long run, sends the signal once it trains
    local n=${#} pid before
    before=$(stat -c %s "$tmp/long/curve.jsonl" 2>/dev/null || echo 0)
    ./clipstill "${long[@]}" >"$tmp/out" 2>"$tmp/err" & pid=$!
    for _ in $(seq 600); do
        [ "$(stat -c %s "$tmp/long/curve.jsonl" 2>/dev/null || echo 0)" -le "$before" ] || break
        sleep 0.05
    done
    [ "$1" != BUSY ] || { expect "a second run into the same folder" 6 "another run" clip "${long[@]}"; set -- TERM; }
    kill -s "$1" $pid; wait $pid
}
stop_with BUSY; result $(($? != 143)) "SIGTERM ends a long run with 128 + 15"
holds "and says where" grep -qE "^clipstill: stopped at step [0-9]+ .*goes on" "$tmp/err"
holds "after a checkpoint" test -s "$tmp/long/checkpoint/state"
stop_with INT; result $(($? != 130)) "and it goes on, until SIGINT ends it with 128 + 2"
for words in "stat $c" "dump $c" "verify $c" "--help" "--version" "help --markdown" "stat --help"; do
    # shellcheck disable=SC2086
    bash -c "./clipstill $words >/dev/full 2>'$tmp/err'"; result $(($? != 1)) "${words%% /*} into a full device fails"
    bash -c "./clipstill $words >&- 2>'$tmp/err'"; result $(($? != 1)) "${words%% /*} into a closed stdout fails"
done
bash -c "./clipstill ingest '$c' '$src/half.tsv' >&- 2>&- <&-"
succeed "closed standard streams do not get into a store" clip verify "$c"

# --- a full disk
disk=$tmp/disk
mkdir "$disk"
if mount -t tmpfs -o size=6m none "$disk" 2>/dev/null; then
    mounted=$disk
    fill() { # leaves about $1 KiB
        rm -f "$disk/fill"
        local free; free=$(df --output=avail -k "$disk" | tail -n 1)
        [ "$free" -le "$1" ] || dd if=/dev/zero of="$disk/fill" bs=1k count=$((free - $1)) status=none 2>/dev/null
    }
    for left in 0 12 40 300 1200; do
        rm -rf "$disk/c"; fill $left
        expect "ingest with $left KiB left" 7 "." clip ingest "$disk/c" "$src/m.tsv" --classes "$src/classes.json"
        rm "$disk/fill"
        expect "and goes on with space" 0 "" clip ingest "$disk/c" "$src/m.tsv" --classes "$src/classes.json"
    done
    for left in 0 40 900; do
        rm -rf "$disk/c/features"; fill $left
        expect "featurize with $left KiB left" 7 "." clip featurize "$disk/c" --teacher $teacher --numerics f32
        rm "$disk/fill"
        succeed "and goes on with space" clip featurize "$disk/c" --teacher $teacher --numerics f32
    done
    fill 0
    expect "what is there can be read on a full disk" 0 "" clip stat "$disk/c"
    for left in 0 20 150; do
        rm -rf "$disk/s"; fill $left
        expect "distill with $left KiB left" 7 "." clip distill "$disk/c" --init random "${tiny[@]}" --out "$disk/s" --epochs-image 2 --epochs-text 2
        rm "$disk/fill"
        expect "and goes on with space" 0 "" clip distill "$disk/c" --init random "${tiny[@]}" --out "$disk/s" --epochs-image 2 --epochs-text 2
    done
    same "to the same bits" "$disk/s/model.safetensors" "$tmp/s1/model.safetensors"
    ./clipstill dump "$disk/c" >"$tmp/d1"; rm -rf "$tmp/half"
    ./clipstill ingest "$tmp/half" "$src/m.tsv" --classes "$src/classes.json" >/dev/null
    ./clipstill featurize "$tmp/half" --teacher $teacher --numerics f32 >/dev/null
    ./clipstill dump "$tmp/half" >"$tmp/d2"
    same "and to the same dump" "$tmp/d1" "$tmp/d2"
else
    skip "a full disk" "a tmpfs can be mounted by root only"
fi
finish
