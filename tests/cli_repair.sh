#!/bin/bash
# verify --repair of a real cache: what is lost is said, the damaged file is kept, and the same ingest and featurize bring back the dump of
# the sound cache, computing no more than what was lost.
# covers: repair
. "$(dirname "$0")/tap.sh"
c=$tmp/c src=$tmp/src
small_corpus "$src"
fill() { # CACHE
    ./clipstill ingest "$1" "$src/m.tsv" --classes "$src/classes.json" --json >"$tmp/ingested" 2>/dev/null &&
        ./clipstill featurize "$1" --teacher $teacher --numerics f32 --views 2 --taps image.final,text.final --json >"$tmp/featurized" 2>/dev/null
}
fill "$c"; result $? "the sound cache"
./clipstill dump "$c" >"$tmp/dump.sound"

# damage NAME FILE PAGE BYTES: so many bytes from the page on become zero
damage() {
    rm -rf "$tmp/d"; cp -r "$c" "$tmp/d"
    dd if=/dev/zero of="$tmp/d/$2/data.mdb" bs=1 seek=$(($3 * 4096 + 100)) count="$4" conv=notrunc status=none
}
mend() { # NAME WHERE: repair, look, add again, compare
    run ./clipstill verify "$tmp/d"; result $(($? != 5)) "$1: verify finds it, exit 5"
    expect "$1: repair" 0 "" ./clipstill verify "$tmp/d" --repair
    stdout_has "$1: what was kept and lost is said" "^$2: (repaired: kept [0-9]+ .*(lost|nothing is lost)|nothing could be kept)"
    holds "$1: the damaged one is kept" compgen -G "$tmp/d/$2.damaged-*/data.mdb"
    expect "$1: clean" 0 "" ./clipstill verify "$tmp/d"
    fill "$tmp/d"; result $? "$1: the same commands again"
    ./clipstill dump "$tmp/d" >"$tmp/dump.mended"
    same "$1: the dump of the sound cache" "$tmp/dump.sound" "$tmp/dump.mended"
}
page_of() { # FILE TEXT: the page in which the last one stands
    echo $(($(grep -obUaP "$2" "$c/$1/data.mdb" | tail -n 1 | cut -d: -f1) / 4096))
}
damage head corpus 1 60; mend "a head of the corpus" corpus
damage picture corpus "$(page_of corpus JFIF)" 300; mend "a picture" corpus
damage caption corpus "$(page_of corpus 'ein Hund')" 3000; mend "a leaf of captions" corpus
for at in $(grep -obUaP CSFB "$c/features/text.final/data.mdb" | cut -d: -f1); do # one that is not free
    damage block features/text.final 0 0
    dd if=/dev/zero of="$tmp/d/features/text.final/data.mdb" bs=1 seek=$((at + 60)) count=50 conv=notrunc status=none
    ./clipstill verify "$tmp/d" >/dev/null 2>&1 || break
done
mend "a feature block" text.final
damage meta features/image.final "$(page_of features/image.final fingerprint)" 3900; mend "meta of a set" image.final
rm -rf "$tmp/d"; cp -r "$c" "$tmp/d"; truncate -s -50000 "$tmp/d/corpus/data.mdb"; mend "a cut corpus" corpus
# the newer head says that it is older than the other: every verb refuses, and the repair finds the last commit
rm -rf "$tmp/d"; cp -r "$c" "$tmp/d"; run ./clipstill retag "$tmp/d" --set-split val; ./clipstill dump "$tmp/d" >"$tmp/dump.last"
number_of() { od -An -tu1 -j $(($1 * 4096 + 144)) -N 1 "$tmp/d/corpus/data.mdb"; }
newer=$(($(number_of 1) > $(number_of 0)))
printf "\\x$(printf %02x $(($(number_of $newer) - 2)))" | dd of="$tmp/d/corpus/data.mdb" bs=1 seek=$((newer * 4096 + 144)) conv=notrunc status=none
for verb in stat gc "retag --set-split train"; do expect "heads that contradict each other: $verb" 5 "two heads contradict each other" clip ${verb%% *} "$tmp/d" ${verb#"${verb%% *}"}; done
succeed "are repaired" clip verify "$tmp/d" --repair --discard
./clipstill dump "$tmp/d" >"$tmp/dump.d"
same "to the last commit" "$tmp/dump.last" "$tmp/dump.d"
damage head corpus 0 60; run ./clipstill verify "$tmp/d" --repair --discard
holds "--discard keeps no damaged one" bash -c "! compgen -G '$tmp/d/*.d*'"
expect "--discard alone" 2 "goes with --repair" clip verify "$c" --discard

# --json, --subset
damage picture corpus "$(page_of corpus JFIF)" 300; run ./clipstill verify "$tmp/d" --json
stdout_has "--json says which records" '"touches":"table images, record [0-9]+, key [0-9a-f]{64}"'
n=0
for part in 1 2 3; do run ./clipstill verify "$tmp/d" --subset $part/3 || n=$((n + 1)); done
holds "of three parts one finds it" test $n = 1
for bad in 0/3 4/3 x 1/0; do expect "--subset $bad" 2 "is no part" clip verify "$c" --subset $bad; done
expect "a sound cache has nothing to repair" 0 "" ./clipstill verify "$c" --repair
stdout_has "and says so" "^$c: clean$"
expect "a writer is at work" 6 "another run" flock "$tmp/d/corpus/writer.lock" ./clipstill verify "$tmp/d" --repair
finish
