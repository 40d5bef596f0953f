"""What tests/bench_ingest.c is compared with: the same ingest in Python, with Pillow and py-lmdb.

peer_ingest.py FOLDER; then a line a round: "ingest MANIFEST", "reduce MANIFEST SIDE", "draft MANIFEST SIDE",
or "make PHOTOS-MANIFEST FOLDER N", which makes N pictures of 12 megapixels out of photos and their manifest.

Per row: the file is read and hashed, decoded whole (turned by EXIF, as RGB), the caption checked, normalised
to NFC with white space collapsed and hashed; picture, keys, caption and pair go into LMDB, synced every 64 MB.
"draft" lets libjpeg decode at a lower resolution, as Pillow's users do who know of it."""
import csv
import hashlib
import io
import os
import shutil
import sys
import time
import unicodedata

try:
    import lmdb
    import PIL
    from PIL import Image, ImageOps
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()

folder = sys.argv[1]
BATCH = 64 << 20


def reduced(image, side):
    w, h = image.size
    if max(w, h) <= side:
        return None
    scale = side / max(w, h)
    small = image.resize((max(1, round(w * scale)), max(1, round(h * scale))), Image.BICUBIC)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def ingest(manifest, side=0, draft=False):
    path = os.path.join(folder, "peer")
    shutil.rmtree(path, ignore_errors=True)
    env = lmdb.open(path, map_size=64 << 30, max_dbs=6)
    images, keys, captions, pairs = (env.open_db(n) for n in (b"images", b"keys", b"captions", b"pairs"))
    start = time.monotonic()
    root = os.path.dirname(manifest)
    n = held = 0
    txn = env.begin(write=True)
    with open(manifest, encoding="utf-8", newline="") as f:
        for row in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE):
            with open(os.path.join(root, row["image"]), "rb") as g:
                data = g.read()
            key = hashlib.sha256(data).digest()
            if not txn.get(key, db=keys):
                image = Image.open(io.BytesIO(data))
                if draft:
                    image.draft("RGB", (2 * side, 2 * side))
                image = ImageOps.exif_transpose(image).convert("RGB")
                data = (side and reduced(image, side)) or data
                number = n.to_bytes(4, "big")
                txn.put(number, data, db=images, append=True)
                txn.put(key, number, db=keys)
                n += 1
                held += len(data)
            text = " ".join(unicodedata.normalize("NFC", row["caption"]).split()).encode()
            caption = hashlib.sha256(text).digest()
            txn.put(caption, text, db=captions)
            txn.put(key + caption, b"", db=pairs)
            if held >= BATCH:
                txn.commit()
                txn = env.begin(write=True)
                held = 0
    txn.commit()
    env.close()
    return time.monotonic() - start


def make(photos, out, count):
    os.makedirs(out, exist_ok=True)
    root = os.path.dirname(photos)
    with open(photos, encoding="utf-8", newline="") as f:
        names = list(dict.fromkeys(r["image"] for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)))
    with open(os.path.join(out, "pairs.tsv"), "w", encoding="utf-8") as m:
        m.write("image\tcaption\n")
        for i in range(count):
            sheet = Image.new("RGB", (4000, 3000))
            for k in range(12):
                part = Image.open(os.path.join(root, names[(12 * i + k) % len(names)])).convert("RGB")
                sheet.paste(part.resize((1000, 1000), Image.BICUBIC), (k % 4 * 1000, k // 4 * 1000))
            sheet.save(os.path.join(out, f"{i}.jpg"), quality=90)
            m.write(f"{i}.jpg\tsheet {i}\n")
    return 0


print(f"ready {PIL.__version__} + py-lmdb {lmdb.__version__}", flush=True)
for line in sys.stdin:
    word, *args = line.rstrip("\n").split("\t")
    if word == "make":
        print(make(args[0], args[1], int(args[2])), flush=True)
    else:
        print(ingest(args[0], int(args[1]) if len(args) > 1 else 0, word == "draft"), flush=True)
