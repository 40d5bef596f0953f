#!/bin/bash
# Repair at length: kill -9 at random moments of verify --repair on the sample corpus (KILLS times, 10 by default), and a cache of a million
# records (RECORDS) with a page lost: it is verified, in parts and whole, repaired, and made whole again. SEED=N repeats the moments.
. "$(dirname "$0")/tap.sh"
RANDOM=${SEED:=$$}
echo "# SEED=$SEED"
kills=${KILLS:-10} records=${RECORDS:-1000000}
now_ms() { date +%s%3N; }
fill() {
    ./clipstill ingest "$1" samples/corpus/public.tsv samples/corpus/field.tsv --classes samples/corpus/classes.json >/dev/null 2>&1
    ./clipstill featurize "$1" --teacher $teacher --numerics f32 --taps image.final,text.final >/dev/null 2>&1
}
lose_page() { # FILE SHARE: the page that lies at so many percent
    dd if=/dev/zero of="$1" bs=4096 seek=$(($(stat -c %s "$1") / 4096 * $2 / 100)) count=1 conv=notrunc status=none
}

fill "$tmp/a"
./clipstill dump "$tmp/a" >"$tmp/dump.a"
break_it() {
    rm -rf "$tmp/b"; cp -r "$tmp/a" "$tmp/b"
    lose_page "$tmp/b/corpus/data.mdb" $((RANDOM % 100))
    lose_page "$tmp/b/features/text.final/data.mdb" $((RANDOM % 100))
}
break_it
start=$(now_ms); ./clipstill verify "$tmp/b" --repair >/dev/null; span=$(($(now_ms) - start))
landed=0 bad= turns=0
while [ $landed -lt "$kills" ] && [ $turns -lt $((20 * kills)) ]; do
    turns=$((turns + 1))
    break_it
    ./clipstill verify "$tmp/b" --repair >/dev/null 2>&1 & pid=$!
    sleep "$(printf '%d.%03d' $((RANDOM % span / 1000)) $((RANDOM % (span < 1000 ? span : 1000))))"
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    [ $? -eq 137 ] || continue
    landed=$((landed + 1))
    sleep 0.2 # the reading child ends with its pipe
    ./clipstill verify "$tmp/b" --repair >"$tmp/out" 2>"$tmp/err" || bad+="kill $landed: $(tail -n 2 "$tmp/out" "$tmp/err")"$'\n'
    ./clipstill verify "$tmp/b" >"$tmp/out" 2>&1 || bad+="kill $landed: not clean"$'\n'
    fill "$tmp/b"
    ./clipstill dump "$tmp/b" >"$tmp/dump.b"
    cmp -s "$tmp/dump.a" "$tmp/dump.b" || bad+="kill $landed: another dump"$'\n'
done
result $((landed < kills)) "repair: killed $landed times"
result ${#bad} "after each kill the repair goes on, and nothing is lost that the same commands do not bring back" "$bad"
rm -rf "$tmp/a" "$tmp/b" "$tmp"/dump.*

# a million images by id, each with a caption
awk -v n="$records" 'BEGIN { print "id\timage\tcaption"; for (i = 0; i < n; i++) printf "id-%d\t%d.jpg\tpicture number %d of very many\n", i, i, i }' >"$tmp/m.tsv"
c=$tmp/c
timed() { # NAME COMMAND...
    local name=$1 start; shift; start=$(now_ms)
    "$@" >"$tmp/out" 2>"$tmp/err"; local rc=$?
    echo "# $name: $(($(now_ms) - start)) ms"
    return $rc
}
timed "ingest of $records records" ./clipstill ingest "$c" "$tmp/m.tsv" --no-images; result $? "ingest of $records records" "$(cat "$tmp/err")"
echo "# $(stat -c %s "$c/corpus/data.mdb") bytes"
timed "verify" ./clipstill verify "$c"; result $? "verify" "$(head -n 3 "$tmp/out" "$tmp/err")"
timed "verify of a seventh" ./clipstill verify "$c" --subset 3/7; result $? "verify of a seventh" "$(head -n 3 "$tmp/out" "$tmp/err")"
./clipstill dump "$c" | sha256sum >"$tmp/sum.a"
lose_page "$c/corpus/data.mdb" 50
lose_page "$c/corpus/data.mdb" 80
timed "repair" ./clipstill verify "$c" --repair --discard; result $? "repair" "$(tail -n 3 "$tmp/out" "$tmp/err")"
grep -E 'repaired' "$tmp/out" | sed 's/^/# /'
timed "the same ingest" ./clipstill ingest "$c" "$tmp/m.tsv" --no-images; result $? "the same ingest" "$(cat "$tmp/err")"
./clipstill dump "$c" | sha256sum >"$tmp/sum.b"
same "the same dump" "$tmp/sum.a" "$tmp/sum.b"
finish
