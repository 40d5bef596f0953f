#!/bin/bash
# What leaves the cache comes back: the corpus as WebDataset tars, feature sets in other programs' formats.
# covers: corpustar
. "$(dirname "$0")/tap.sh"
src=$tmp/src c=$tmp/cache
small_corpus "$src"
cp tests/golden/preprocess/inputs/palette16.png "$src/alone.png"
printf 'image\tcaption\tlang\tlabel\tweight\tsplit\nphoto_00.jpg\t  odd   spaces \ten\tdog\t0.1\ttest\nphoto_00.jpg\ttwo "quotes" \\ and a /\tpt-BR\t\t3\ttrain\nphoto_01.jpg\ta dog and apple 2\ten\tcat\t1\ttrain\nalone.png\t\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8b\x97\tund\t7\t1\tval\n' >"$src/second.tsv"
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

# --- refusals
expect "shards of another export" 1 "000001.tar is of another export" clip export "$c" --webdataset "$tmp/wds2/m.tsv"
expect "no such language" 1 "lang=xx" clip export "$c" --webdataset "$tmp/x" --where lang=xx
expect "both kinds" 2 "one at a time" clip export "$c" --webdataset "$tmp/x" --set image.final
expect "neither kind" 2 "export needs --set NAME" clip export "$c"
printf 'id\tcaption\na\tone\n' >"$tmp/ids.tsv"
succeed "pictures without bytes" clip ingest "$tmp/ids" "$tmp/ids.tsv" --no-images
expect "cannot be exported" 1 "no picture to export: 1 pictures" clip export "$tmp/ids" --webdataset "$tmp/x"

# --- a reader that knows store/FORMAT.md alone, against export
f=$tmp/features
succeed "featurize" clip featurize "$c" --teacher $teacher --taps image.final,text.final,image.block2@2x2 --views 2 --numerics f32
python=
for p in python3 /usr/bin/python3; do [ -n "$python" ] || ! $p -c 'import lmdb, zstandard, numpy' 2>/dev/null || python=$p; done
if [ -z "$python" ]; then
    skip "samples/read_features.py" "python3 with lmdb, zstandard and numpy is not installed"
else
    mkdir "$f"
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
    for dim in 24 4096; do for how in f32 f16 q1e-4 q1e-7; do
        succeed "import $dim values as $how" clip import "$c" --npy "$f/x$dim.npy" --keys "$f/keys" --identity "$f/x$dim.json" --set x$dim.$how --store $how
        sets+=("x$dim.$how 0")
    done; done
    holds "one of them has a raw vector" bash -c "./clipstill dump '$c' | grep -q '^vector x4096.q1e-7 .* raw'"
    for pair in "${sets[@]}"; do
        read -r set view <<<"$pair"
        succeed "export $set, view $view" clip export "$c" --set "$set" --view $view --npy "$f/out"
        succeed "read_features.py $set $view" $python samples/read_features.py "$c" "$set" $view "$f/read.npz"
        # the length of f16 codes is summed in another order: one rounding of f32 may differ
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
    expect_python() { run $python samples/read_features.py "$@"; [ $? -ne 0 ] && grep -q "$why" "$tmp/err"; }
    why="view 7 has 0 vectors"; holds "a view that is not there" expect_python "$c" image.final 7
    cp -r "$c" "$tmp/damaged"
    at=$(LC_ALL=C grep -abo CSFB "$tmp/damaged/features/text.final/data.mdb" | head -n 1 | cut -d: -f1)
    printf '\1' | dd of="$tmp/damaged/features/text.final/data.mdb" bs=1 seek=$((at + 60)) conv=notrunc status=none
    why="block fails its checksum"; holds "a damaged block is refused" expect_python "$tmp/damaged" text.final
fi
finish
