#!/bin/bash
# What leaves the cache comes back: the corpus as WebDataset tars, feature sets in other programs' formats.
# covers: corpustar
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache
small_corpus "$src"
cp tests/golden/preprocess/inputs/palette16.png "$src/alone.png"
printf 'image\tcaption\tlang\tlabel\tweight\tsplit\nphoto_00.jpg\t  odd   spaces \ten\tdog\t0.1\ttest\nphoto_00.jpg\ttwo "quotes" \\ and a /\tpt-BR\t\t3\ttrain\nphoto_00.jpg\ta dog and apple 2\ten\tcat\t1\ttrain\nalone.png\t\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8b\x97\tund\t7\t1\tval\n' >"$src/second.tsv"
succeed "ingest" clip ingest "$c" "$src/m.tsv" --classes "$src/classes.json"
succeed "ingest a second source" clip ingest "$c" "$src/second.tsv"
mkdir "$tmp/lone"; cp "$src/photo_02.jpg" "$tmp/lone/x.jpg"; printf '\0' >>"$tmp/lone/x.jpg"

# content DUMP: what tars can carry: no foreign ids
content() { ./clipstill dump --no-features "$1" | grep -v '^id ' >"$2"; }

# --- corpus -> tars -> corpus, a source at a time
for s in m.tsv second.tsv; do
    succeed "export --webdataset of $s" clip export "$c" --webdataset "$tmp/wds/$s" --where source=$s --shard-bytes 100000
    succeed "ingest of it" clip ingest "$tmp/back" "$tmp/wds/$s/*.tar" --source $s --classes "$tmp/wds/$s/classes.json"
done
result $(($(ls "$tmp/wds/m.tsv"/*.tar | wc -l) < 3)) "there are several shards"
holds "none is larger than was asked, but for single samples" bash -c "for t in '$tmp'/wds/m.tsv/*.tar; do [ \$(stat -c %s \$t) -le 100000 ] || [ \$(tar tf \$t | wc -l) -le 2 ] || exit 1; done"
content "$c" "$tmp/d1"; content "$tmp/back" "$tmp/d2"
same "the corpus came back whole" "$tmp/d1" "$tmp/d2"
holds "the dump has originals, labels and weights to compare" bash -c "grep -q '\"original\":\"  odd   spaces ' '$tmp/d1' && grep -q '\"weight\":0.1000' '$tmp/d1' && grep -q '\"label\":\"7\"' '$tmp/d1'"

# --- determinism: content alone decides
for s in m.tsv second.tsv; do clip export "$tmp/back" --webdataset "$tmp/wds2/$s" --where source=$s --shard-bytes 100000 >/dev/null; done
holds "the corpus that came back gives equal tars" diff -r "$tmp/wds" "$tmp/wds2"
holds "GNU tar lists sorted members of time 0" bash -c "TZ=UTC tar tvf '$tmp/wds/second.tsv/000000.tar' | grep -q '1970-01-01 00:00' && tar tf '$tmp/wds/second.tsv/000000.tar' | cut -c1-64 | sort -c"
succeed "the same command again" clip export "$c" --webdataset "$tmp/wds/m.tsv" --where source=m.tsv --shard-bytes 100000
holds "changes nothing" diff -r "$tmp/wds" "$tmp/wds2"

# --- everything in one file, with pictures whose pairs differ in several samples
succeed "ingest a picture without captions" clip ingest "$c" "$tmp/lone"
succeed "export to one file" clip export "$c" --webdataset "$tmp/all.tar"
stdout_has "says how much" "12 pictures and 44 pairs in [0-9]+ samples, 1 tars"
holds "the picture without a caption is there alone" test "$(tar tf "$tmp/all.tar" | grep -c "$(sha256sum <"$tmp/lone/x.jpg" | cut -c1-64)")" = 1
holds "bytes are the file's" bash -c "tar xOf '$tmp/all.tar' \$(sha256sum <'$src/alone.png' | cut -c1-64).png | cmp - '$src/alone.png'"
holds "classes beside it" test -s "$tmp/all.tar.classes.json"
succeed "ingest of the file" clip ingest "$tmp/all" "$tmp/all.tar" --source m.tsv --classes "$tmp/all.tar.classes.json"
content "$c" "$tmp/d1"; content "$tmp/all" "$tmp/d2"
sed -i '/^pair /s/"source":"[^"]*"/"source":"m.tsv"/' "$tmp/d1"
same "all but the sources came back" <(sort -u "$tmp/d1") <(sort -u "$tmp/d2")
succeed "one language" clip export "$c" --webdataset "$tmp/de.tar" --where lang=de --json
stdout_has "is counted" '"pairs":10,"reduced":0,.*"schema":"clipstill.export.1"|"schema":"clipstill.export.1".*"pairs":10|"pairs":10.*"schema":"clipstill.export.1"'

# --- more captions than ingest reads in one .json
mkdir "$tmp/long"; cp "$src/photo_03.jpg" "$tmp/long/"
awk 'BEGIN {print "image\tcaption\tlang"; for (i = 0; i < 80; i++) {t = i; while (length(t) < 60000) t = t " word" i t; print "photo_03.jpg\t" substr(t, 1, 60000) "x\t" (i % 2 ? "en" : "de")}}' >"$tmp/long/long.tsv"
succeed "ingest 80 captions of 60 kB" clip ingest "$tmp/l1" "$tmp/long/long.tsv"
succeed "export" clip export "$tmp/l1" --webdataset "$tmp/long.tar"
stdout_has "in two samples" "1 pictures and 80 pairs in 2 samples"
succeed "ingest of them" clip ingest "$tmp/l2" "$tmp/long.tar" --source long.tsv
content "$tmp/l1" "$tmp/d1"; content "$tmp/l2" "$tmp/d2"
same "came back whole" "$tmp/d1" "$tmp/d2"

# --- refusals
expect "shards of another export" 1 "000001.tar is of another export" clip export "$c" --webdataset "$tmp/wds2/m.tsv"
expect "no such language" 1 "lang=xx" clip export "$c" --webdataset "$tmp/x" --where lang=xx
expect "both kinds" 2 "one at a time" clip export "$c" --webdataset "$tmp/x" --set image.final
expect "neither kind" 2 "export needs --set NAME" clip export "$c"
printf 'id\tcaption\na\tone\n' >"$tmp/ids.tsv"
succeed "pictures without bytes" clip ingest "$tmp/ids" "$tmp/ids.tsv" --no-images
expect "cannot be exported" 1 "no picture to export: 1 pictures" clip export "$tmp/ids" --webdataset "$tmp/x"

# --- safetensors, both ways; clip-retrieval's folders, both ways
f=$tmp/features
succeed "featurize" clip featurize "$c" --teacher $teacher --taps image.final,text.final,image.block2@2x2 --views 2 --numerics f32
mkdir "$f"
for set in image.final text.final; do
    succeed "export --safetensors of $set" clip export "$c" --set $set --safetensors "$f/$set.st"
    stdout_has "counts" "^$f/$set.st: [0-9]+ vectors written"
    cp "$f/$set.st" "$f/first"; clip export "$c" --set $set --safetensors "$f/$set.st" >/dev/null
    same "the same again is the same file" "$f/first" "$f/$set.st"
    succeed "import --safetensors of $set" clip import "$c" --safetensors "$f/$set.st" --set st.$set --store f32
    succeed "import again" clip import "$c" --safetensors "$f/$set.st" --set st.$set --store f32 --json
    stdout_has "finds all there" '"new":0'
    clip export "$c" --set $set --npy "$f/a" >/dev/null; clip export "$c" --set st.$set --npy "$f/b" >/dev/null
    same "$set: keys came back" "$f/a.keys.txt" "$f/b.keys.txt"
    # unit vector and norm, multiplied, taken apart, multiplied: three roundings of f32
    od -An -v -w4 -tf4 -j128 "$f/a.npy" >"$f/a.txt"; od -An -v -w4 -tf4 -j128 "$f/b.npy" >"$f/b.txt"
    result $(paste "$f/a.txt" "$f/b.txt" | awk '{d = $1 - $2; if (d < 0) d = -d; m = $1 < 0 ? -$1 : $1; if (d > 4e-7 * m + 1e-30) bad++} END {print (NR < 100) + bad}') "$set: values came back within 4e-7"
    # halves of a q1e-4 set lie well within its bound, so that its codes are found again or not far away
    succeed "export of halves" clip export "$c" --set $set --safetensors "$f/half.st" --dtype f16
    holds "is about half as large" test $(($(stat -c %s "$f/half.st") * 100)) -lt $(($(stat -c %s "$f/$set.st") * 85))
    succeed "import of halves" clip import "$c" --safetensors "$f/half.st" --set half.$set --store f16
    succeed "export of what was imported" clip export "$c" --set half.$set --safetensors "$f/half2.st" --dtype f16
    holds "has as many bytes of vectors" test "$(tail -c 1000 "$f/half.st" | sha256sum)" = "$(tail -c 1000 "$f/half2.st" | sha256sum)"
    rm -r "$c/features/half.$set" "$c/features/st.$set"
done
succeed "view 1" clip export "$c" --set image.final --view 1 --safetensors "$f/v1.st"
holds "is another" bash -c "! cmp -s '$f/v1.st' '$f/image.final.st'"

succeed "export --clip-retrieval" clip export "$c" --set image.final,text.final --clip-retrieval "$f/clip"
stdout_has "a row a pair, once though two sources have it" "^$f/clip: 43 pairs written$"
result $(($(wc -l <"$f/clip/metadata/metadata_0.csv") != 44)) "the metadata has a line a pair, and a header"
holds "vectors are f16, unless f32 is asked for" bash -c "head -c 120 '$f/clip/img_emb/img_emb_0.npy' | grep -aq \"'descr': '<f2'.*(43, 40)\""
holds "captions with quotes are quoted" grep -qF '"two ""quotes"" \ and a /"' "$f/clip/metadata/metadata_0.csv"
holds "image_path is the name in the tar" bash -c "tar tf '$tmp/all.tar' | grep -qx \"\$(sed -n 2p '$f/clip/metadata/metadata_0.csv' | cut -d, -f1)\""
succeed "import --clip-retrieval" clip import "$tmp/all" --clip-retrieval "$f/clip" --store f16
stdout_has "both sets" "^image.final: 11 vectors imported, 0 were there already, 32 repeated rows$"
stdout_has "both sets" "^text.final: 43 vectors imported, 0 were there already$"
succeed "import again" clip import "$tmp/all" --clip-retrieval "$f/clip" --store f16
stdout_has "finds all there" "^text.final: 0 vectors imported, 43 were there already"
succeed "export of what was imported" clip export "$tmp/all" --set text.final --set image.final --clip-retrieval "$f/clip2"
for part in img_emb/img_emb_0.npy text_emb/text_emb_0.npy metadata/metadata_0.csv; do same "$part came back" "$f/clip/$part" "$f/clip2/$part"; done
succeed "one tower" clip export "$c" --set image.final --clip-retrieval "$f/clip1" --dtype f32
stdout_has "a row a picture" "^$f/clip1: 12 vectors written$"
holds "without the other's columns" grep -qx "image_path,image_key" "$f/clip1/metadata/metadata_0.csv"
# as clip-retrieval writes it: no keys, no identity of ours; more than one partition is tested by tests/test_clipfolder.c
mkdir -p "$f/foreign/metadata"; cp -r "$f/clip/img_emb" "$f/foreign/"
cut -d, -f1 "$f/clip/metadata/metadata_0.csv" | sed 's/\.[a-z]*$//' >"$f/foreign/metadata/metadata_0.csv"
sed 's/"fingerprint"/"was"/' "$f/clip/image.identity.json" >"$f/foreign.json"
succeed "a foreign folder, by its image_path" clip import "$tmp/all" --clip-retrieval "$f/foreign" --identity "$f/foreign.json" --set foreign
stdout_has "finds the pictures by the keys that tars gave them" "^foreign: 11 vectors imported"

expect "into another export" 1 "text_emb_0.npy is of another export" clip export "$c" --set image.final --clip-retrieval "$f/clip"
expect "two sets of one tower" 2 "both sets of pictures" clip export "$c" --set image.final,image.block2@2x2 --clip-retrieval "$f/x"
expect "two sets for one file" 2 "several sets go with --clip-retrieval" clip export "$c" --set image.final,text.final --npy "$f/x"
expect "two formats" 2 "one of --npy" clip export "$c" --set image.final --npy "$f/x" --safetensors "$f/y"
expect "two sources" 2 "import needs --npy FILE with" clip import "$c" --safetensors "$f/v1.st" --clip-retrieval "$f/clip"
expect "no identity" 1 "neither image.identity.json nor" clip import "$c" --clip-retrieval "$f/foreign"
expect "no such folder" 1 "nowhere" clip import "$c" --clip-retrieval "$f/nowhere"
expect "a name for two sets" 2 "say which with --identity" clip import "$c" --clip-retrieval "$f/clip" --set x
head -c 3000 "$f/v1.st" >"$f/cut.st"
expect "a file that is cut off" 1 "cut.st" clip import "$c" --safetensors "$f/cut.st"
expect "weights for features" 1 'model.safetensors has no tensor "features"' clip import "$c" --safetensors $teacher/model.safetensors
holds "nothing was made of them" bash -c "! ls '$c/features' | grep -vx -e image.final -e text.final -e image.block2@2x2"

# --- a reader that knows store/FORMAT.md alone, against export
python=
for p in python3 /usr/bin/python3; do [ -n "$python" ] || ! $p -c 'import lmdb, zstandard, numpy' 2>/dev/null || python=$p; done
if [ -z "$python" ]; then
    skip "samples/read_features.py" "python3 with lmdb, zstandard and numpy is not installed"
else
    # features with zeros, vectors that only raw f32 holds (dim 4096, bound 1e-7), exact zeros and huge norms; a grid of 4 x 4 cells
    $python - "$c" "$f" <<'P'
import json, subprocess, sys
import numpy as np
cache, out = sys.argv[1:]
dump = subprocess.run(["./clipstill", "dump", "--no-features", cache], capture_output=True, text=True, check=True).stdout
keys = [json.loads(l[8:])["key"] for l in dump.splitlines() if l.startswith("caption ")]
r = np.random.default_rng(1)
for dim in (24, 4096):
    x = r.normal(size=(len(keys), dim)).astype("f4") * np.exp(r.normal(size=(len(keys), 1)) * 9).astype("f4")
    x[3] = 0; x[5, 1:] = 0
    x[7] = r.choice([-1.5e-5, 1.5e-5], dim); x[7, 9] = 1
    x[8] = np.where(r.random(dim) < 0.7, 0, x[8]); x[9] = 1e30 * x[9] / np.abs(x[9]).max()
    np.save(f"{out}/x{dim}.npy", x)
    json.dump({"model": "m", "tower": "text", "dimension": dim, "tap": "text.x@4x4" if dim == 4096 else "text.x"}, open(f"{out}/x{dim}.json", "w"))
open(f"{out}/keys", "w").write("".join(k + "\n" for k in keys))
P
    sets=("image.final 0" "image.final 1" "text.final 0" "image.block2@2x2 1")
    for dim in 24 4096; do for how in f32 f16 bf16 q1e-4 q1e-7; do
        succeed "import $dim values as $how" clip import "$c" --npy "$f/x$dim.npy" --keys "$f/keys" --identity "$f/x$dim.json" --set x$dim.$how --store $how
        sets+=("x$dim.$how 0")
    done; done
    holds "one of them has a raw vector" bash -c "./clipstill dump '$c' | grep -q '^vector x4096.q1e-7 .* raw'"
    for pair in "${sets[@]}"; do
        read -r set view <<<"$pair"
        succeed "export $set, view $view" clip export "$c" --set "$set" --view $view --npy "$f/out"
        succeed "read_features.py $set $view" $python samples/read_features.py "$c" "$set" $view "$f/read.npz"
        # the length of f16 and bf16 codes is summed in another order: one rounding of f32 may differ
        why=$($python - "$f" "$set" 2>&1 <<'P'
import sys
import numpy as np
f, r = sys.argv[1], np.load(sys.argv[1] + "/read.npz")
x, keys = np.load(f + "/out.npy"), open(f + "/out.keys.txt").read().split()
order = np.lexsort(r["keys"].T[::-1])
assert [bytes(k).hex() for k in r["keys"][order]] == keys, "keys differ"
got = (r["unit"] * r["norms"][:, None])[order]
assert got.dtype == x.dtype == np.float32 and got.shape == x.shape, (got.shape, x.shape)
if sys.argv[2].endswith("f16"): assert np.allclose(got, x, rtol=2.5e-7, atol=0), np.abs(got - x).max()
else: assert (got.view("u4") & 0x7fffffff == x.view("u4") & 0x7fffffff).all() and (got == x).all(), np.abs(got - x).max()
P
        )
        result $? "$set $view: keys and vectors as export has them, to the bit" "$why"
    done
    # version 1 of the blocks differs in its checksum alone: made here as an old cache has them
    cp -r "$c" "$tmp/old"
    why=$($python - "$tmp/old/features/image.final" 2>&1 <<'P'
import hashlib, lmdb, struct, sys
short = lambda x: hashlib.sha256(x).digest()[:8]
u64 = lambda x: struct.unpack("<Q", x)[0]
with lmdb.open(sys.argv[1], max_dbs=16) as env, env.begin(write=True) as txn:
    blocks, meta = (env.open_db(n, txn, create=False) for n in (b"blocks", b"meta"))
    digest, records = 0, [(bytes(k), bytes(v)) for k, v in txn.cursor(blocks)]
    for k, v in records:
        assert v[4:6] == b"\2\0", v[4:6]
        v = v[:4] + b"\1\0" + v[6:-8]
        txn.put(k, v + short(v), db=blocks)
        digest += u64(short(v))
    counts = txn.get(b"counts", db=meta)[:-8]
    counts = counts[:8] + struct.pack("<Q", digest % 2**64) + counts[16:]
    txn.put(b"counts", counts + bytes(a ^ b for a, b in zip(short(b"counts"), short(counts))), db=meta)
P
    )
    result $? "blocks made those of version 1" "$why"
    succeed "verify reads version 1" clip verify "$tmp/old"
    succeed "the sample reads version 2" $python samples/read_features.py "$c" image.final
    cp "$tmp/out" "$tmp/version2"
    succeed "the sample reads version 1" $python samples/read_features.py "$tmp/old" image.final
    holds "and prints the same" cmp -s "$tmp/out" "$tmp/version2"
    expect_python() { run $python samples/read_features.py "$@"; [ $? -ne 0 ] && grep -q "$why" "$tmp/err"; }
    why="view 7 has 0 vectors"; holds "a view that is not there" expect_python "$c" image.final 7
    cp -r "$c" "$tmp/damaged"
    at=$(LC_ALL=C grep -abo CSFB "$tmp/damaged/features/text.final/data.mdb" | head -n 1 | cut -d: -f1)
    printf '\1' | dd of="$tmp/damaged/features/text.final/data.mdb" bs=1 seek=$((at + 60)) conv=notrunc status=none
    why="block fails its checksum"; holds "a damaged block is refused" expect_python "$tmp/damaged" text.final
fi

# --- records that were forgotten are in nothing that leaves
gone=$(sha256sum <"$src/photo_03.jpg" | cut -c1-64)
succeed "forget a picture" clip forget "$c" --image "$gone"
succeed "forget a caption" clip forget "$c" --caption "一只狗"
succeed "export of the corpus" clip export "$c" --webdataset "$tmp/less.tar"
stdout_has "without them" "11 pictures and 39 pairs in"
holds "not in the tar" bash -c "! tar tf '$tmp/less.tar' | grep -q '^$gone'"
succeed "export of sets" clip export "$c" --set image.final,text.final --clip-retrieval "$f/less"
stdout_has "a row a pair that is left" ": 38 pairs written"
holds "not in the metadata" bash -c "! grep -q -e '$gone' -e 一只狗 '$f/less/metadata/metadata_0.csv'"
succeed "safetensors" clip export "$c" --set image.final --safetensors "$f/less.st"
stdout_has "without its vector" ": 11 vectors written"
if [ -n "$python" ]; then
    succeed "read_features.py" $python samples/read_features.py "$c" image.final
    result $(($(wc -l <"$tmp/out") != 11)) "reads what is left"
fi
finish
