#!/bin/bash
# kill -9 at random moments in forget, gc and snapshot, KILLS times each (200), and a disk that fills up under gc and snapshot: after every
# kill the cache is clean, DEST/current leads to a whole snapshot, the same command goes on, and in the end every dump is that of a run
# that nobody killed. SEED=N repeats the moments as far as the machine's pace allows.
. "$(dirname "$0")/tap.sh"
RANDOM=${SEED:=$$}
echo "# SEED=$SEED"
kills=${KILLS:-200}
now_ms() { date +%s%3N; }

# a cache of the sample corpus with features, and a bulk source of pictures that are larger than a transaction of the copy
mkdir "$tmp/bulk"
for i in $(seq 900); do
    { cat tests/golden/preprocess/inputs/photo_00.jpg; head -c 60000 /dev/urandom; } >"$tmp/bulk/$i.jpg"
    printf '%d.jpg\tpicture %d\n' "$i" "$i"
done >"$tmp/m.rows"
{ printf 'image\tcaption\n'; cat "$tmp/m.rows"; } >"$tmp/bulk/m.tsv"
feat=(--teacher $teacher --taps image.final,text.final,image.block2@2x2,text.block2.mean --views 2 --numerics f32)
./clipstill ingest "$tmp/base" samples/corpus/public.tsv samples/corpus/field.tsv --classes samples/corpus/classes.json >/dev/null 2>"$tmp/err"
./clipstill featurize "$tmp/base" "${feat[@]}" >/dev/null 2>>"$tmp/err"
cp -r "$tmp/base" "$tmp/never"
./clipstill forget "$tmp/never" --where source=field.tsv >/dev/null
./clipstill ingest "$tmp/base" "$tmp/bulk/m.tsv" >/dev/null 2>>"$tmp/err"
rm -r "$tmp/bulk" "$tmp/base/runs"
./clipstill dump "$tmp/base" >"$tmp/dump.base"
holds "the base cache is whole" test "$(grep -c '^image ' "$tmp/dump.base")" -gt 900
fresh() { rm -rf "$tmp/c"; cp -r "$tmp/base" "$tmp/c"; }

stage_forget() { exec ./clipstill forget "$tmp/c" --where 'source=field.tsv|m.tsv'; }
stage_gc() { exec ./clipstill gc "$tmp/c"; }
stage_snapshot() { exec ./clipstill snapshot "$tmp/c" "$tmp/dest" --keep 2; }

sound() { # after a kill of the stage
    local where=$tmp/c
    [ "$1" != snapshot ] || where=$tmp/dest/current
    run ./clipstill verify "$where" || { head -n 3 "$tmp/out" "$tmp/err" | sed 's/^/# /'; return 1; }
    [ "$1" = forget ] || { ./clipstill dump "$where" | cmp -s - "$tmp/dump.want"; }
}

torture() { # STAGE
    local stage=$1 span start landed=0 bad=0 turns=0 pid rc
    start=$(now_ms); (stage_"$stage") >/dev/null 2>"$tmp/err.$stage"; rc=$?; span=$(($(now_ms) - start))
    result $rc "$stage: undisturbed, in $span ms" "$(cat "$tmp/err.$stage")"
    ./clipstill dump "$tmp/c" >"$tmp/dump.want"
    [ "$stage" != forget ] || fresh
    while [ $landed -lt "$kills" ] && [ $turns -lt $((kills * 10)) ]; do
        turns=$((turns + 1))
        (stage_"$stage") >/dev/null 2>"$tmp/err.$stage" & pid=$!
        sleep "$(printf '0.%03d' $((RANDOM % (span < 999 ? span + 1 : 999))))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null; rc=$?
        case $rc in
        137) landed=$((landed + 1)) ;;
        0) [ "$stage" != forget ] || fresh ;; # it was faster: once more from the start
        *) result 1 "$stage goes on after kill $landed" "exit code $rc: $(cat "$tmp/err.$stage")"; return ;;
        esac
        [ $((turns % 5)) -ne 0 ] || sound "$stage" || bad=$((bad + 1)) # each fifth: verify takes longer than the stage
    done
    result $((landed != kills)) "$stage: killed $kills times"
    result $bad "$stage: sound after kills"
    (stage_"$stage") >"$tmp/out" 2>"$tmp/err"; rc=$?
    result $rc "$stage goes on to its end" "$(cat "$tmp/err")"
    ./clipstill dump "$tmp/c" >"$tmp/dump.now"
    same "$stage: the dump is that of a run that nobody killed" "$tmp/dump.want" "$tmp/dump.now"
    expect "$stage: verify" 0 "" ./clipstill verify "$tmp/c"
    holds "$stage: nothing half is left" bash -c "! find '$tmp/c' '$tmp/dest' -name '.gc-*' -o -name '.new-*' 2>/dev/null | grep ."
}

fresh
torture gc
torture snapshot
holds "two snapshots are left" test "$(find "$tmp/dest" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 2
torture forget
./clipstill dump "$tmp/never" >"$tmp/dump.never"
same "forget: the cache is one that never had the sources" "$tmp/dump.never" "$tmp/dump.now"
succeed "gc after forget" ./clipstill gc "$tmp/c"
holds "the bytes are gone" test "$(stat -c %s "$tmp/c/corpus/data.mdb")" -lt 60000000

# a disk that fills up: exit 7, one sentence, and all as before; then with more space the same command ends well
mkdir "$tmp/disk"
if mount -t tmpfs -o size=400m none "$tmp/disk" 2>/dev/null; then
    mounted=$tmp/disk
    cp -r "$tmp/base" "$tmp/disk/c"
    for verb in gc snapshot; do
        words=(gc "$tmp/disk/c"); [ $verb = gc ] || words=(snapshot "$tmp/disk/c" "$tmp/disk/dest")
        left=0 full=0 bad=
        while :; do
            rm -f "$tmp/disk/fill"
            free=$(df --output=avail -k "$tmp/disk" | tail -n 1)
            [ "$free" -le $left ] || dd if=/dev/zero of="$tmp/disk/fill" bs=1k count=$((free - left)) status=none 2>/dev/null
            run ./clipstill "${words[@]}" --quiet; rc=$?
            [ $rc -eq 7 ] && [ $full -lt 60 ] || break
            full=$((full + 1))
            [ "$(grep -c '^clipstill: ' "$tmp/err")" -eq 1 ] || bad+="not one sentence: $(cat "$tmp/err")"$'\n'
            ./clipstill dump "$tmp/disk/c" | cmp -s - "$tmp/dump.base" || bad+="the dump changed with $left KiB"$'\n'
            left=$((left * 3 / 2 + 500))
        done
        rm -f "$tmp/disk/fill"
        result $((rc != 0)) "$verb ends well once there is space" "exit code $rc: $(cat "$tmp/err")"
        result $((full < 3)) "$verb: the disk was full $full times"
        result $((${#bad} > 0)) "$verb: one sentence and an unchanged cache each time" "$bad"
        holds "$verb: nothing half is left" bash -c "! find '$tmp/disk' -name '.gc-*' -o -name '.new-*' | grep ."
    done
    ./clipstill dump "$tmp/disk/dest/current" >"$tmp/dump.now"
    same "the snapshot is the cache" "$tmp/dump.base" "$tmp/dump.now"
    expect "verify" 0 "" ./clipstill verify "$tmp/disk/c"
else
    skip "a disk that fills up" "a tmpfs can be mounted by root only"
fi
finish
