"""Pillow's side of tests/bench_picture.c: peer_picture.py JPEG...; see tests/bench.h for the talk."""
import hashlib
import io
import sys
import time

try:
    import PIL
    from PIL import Image, ImageEnhance
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


def view(im):
    """What bench_views does: the middle, and torchvision's ColorJitter with fixed factors."""
    w, h = im.size
    im = im.resize((SIDE, SIDE), Image.BICUBIC, box=(w // 8, h // 8, w // 8 + w // 4 * 3, h // 8 + h // 4 * 3))
    for enhance, factor in (ImageEnhance.Brightness, 1.25), (ImageEnhance.Contrast, 0.75), (ImageEnhance.Color, 1.125):
        im = enhance(im).enhance(factor)
    h, s, v = im.convert("HSV").split()
    return Image.merge("HSV", (h.point([(x + 20) % 256 for x in range(256)]), s, v)).convert("RGB")


def reduce(data, side, draft):
    """Open, decode, resize, save; draft: with Pillow's own shrinking decode, to twice the side."""
    im = Image.open(io.BytesIO(data))
    w, h = im.size
    size = (side, round(h * side / w)) if w >= h else (round(w * side / h), side)
    if draft:
        im.draft("RGB", (2 * size[0], 2 * size[1]))
    out = io.BytesIO()
    im.convert("RGB").resize(size, Image.BICUBIC).save(out, "JPEG", quality=95, subsampling=0)


decoded = [Image.open(io.BytesIO(data)).convert("RGB") for data in photos]
print(f"ready {PIL.__version__}", flush=True)
for line in sys.stdin:
    ask, *words = line.split()
    if ask == "digest":
        print(hashlib.sha256(b"".join(pixels(d).tobytes() for d in photos)).hexdigest(), flush=True)
        continue
    if ask == "digest_views":
        print(hashlib.sha256(b"".join(view(im).tobytes() for im in decoded)).hexdigest(), flush=True)
        continue
    large = open(words[0], "rb").read() if words else b""
    start = time.process_time()
    if words:
        reduce(large, int(words[1]), ask == "draft")
    for im in decoded if ask == "views" else []:
        view(im)
    for data in photos if ask in ("decode", "run") else []:
        decode(data) if ask == "decode" else pixels(data).load()
    print(time.process_time() - start, flush=True)
