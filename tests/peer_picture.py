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


print(f"ready {PIL.__version__}", flush=True)
for line in sys.stdin:
    if line.strip() == "digest":
        print(hashlib.sha256(b"".join(pixels(d).tobytes() for d in photos)).hexdigest(), flush=True)
        continue
    start = time.process_time()
    for data in photos:
        pixels(data).load()
    print(time.process_time() - start, flush=True)
