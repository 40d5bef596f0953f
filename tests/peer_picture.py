"""Pillow's side of tests/bench_picture.c: peer_picture.py JPEG...; see tests/bench.h for the talk."""
import hashlib
import io
import sys
import time

try:
    import PIL
    from PIL import Image
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()

SIDE = 224
photos = [open(path, "rb").read() for path in sys.argv[1:]]


def pixels(data):
    im = Image.open(io.BytesIO(data)).convert("RGB")
    w, h = im.size
    size = (SIDE, int(SIDE * h / w)) if w <= h else (int(SIDE * w / h), SIDE)
    im = im.resize(size, Image.BICUBIC)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return im.crop((left, top, left + SIDE, top + SIDE))


def decode(data):
    Image.open(io.BytesIO(data)).load()


def reduce(data, side, draft):
    """Open, decode, resize, save; draft: with Pillow's own shrinking decode, to twice the side."""
    im = Image.open(io.BytesIO(data))
    w, h = im.size
    size = (side, round(h * side / w)) if w >= h else (round(w * side / h), side)
    if draft:
        im.draft("RGB", (2 * size[0], 2 * size[1]))
    out = io.BytesIO()
    im.convert("RGB").resize(size, Image.BICUBIC).save(out, "JPEG", quality=95, subsampling=0)


print(f"ready {PIL.__version__}", flush=True)
for line in sys.stdin:
    ask, *words = line.split()
    if ask == "digest":
        print(hashlib.sha256(b"".join(pixels(d).tobytes() for d in photos)).hexdigest(), flush=True)
        continue
    large = open(words[0], "rb").read() if words else b""
    start = time.process_time()
    if words:
        reduce(large, int(words[1]), ask == "draft")
    for data in [] if words else photos:
        decode(data) if ask == "decode" else pixels(data).load()
    print(time.process_time() - start, flush=True)
