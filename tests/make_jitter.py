"""What Pillow makes of jittered colours: prints the table of tests/test_jitter.c.

    /usr/bin/python3 tests/make_jitter.py         # python3-pil, python3-numpy; Pillow 9.4.0 made what stands there

The operations are torchvision's for Pillow images (transforms/_functional_pil.py: adjust_brightness, adjust_contrast,
adjust_saturation, adjust_hue); factors are in 16384ths, hue in 255ths of a turn. A picture is n colours, the i-th 0xRRGGBB = i * step.
"""
import hashlib

import numpy as np
from PIL import Image, ImageEnhance

ENHANCE = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
HUE = 3
ALL, SOME = (1, 1 << 24), (97, 100000)
CASES = ([(SOME, [(kind, k)]) for kind in range(HUE) for k in (0, 9830, 16383, 16384, 22938, 32768)]
         + [(SOME, [(HUE, shift)]) for shift in (-127, -25, 0, 25, 127)]
         + [(SOME, [(0, 20000), (1, 12000), (2, 18000), (HUE, 13)]), (SOME, [(HUE, -7), (2, 30000), (1, 25000), (0, 14000)])]
         + [(ALL, [(HUE, 0)]), (ALL, [(HUE, -25)])])


def picture(step, n):
    c = np.arange(n, dtype=np.uint32) * step
    return Image.fromarray(np.stack([c >> 16, c >> 8 & 255, c & 255], -1).astype(np.uint8).reshape(-1, 100 if n % 100 == 0 else 4096, 3))


def adjust(im, kind, amount):
    if kind != HUE:
        return ENHANCE[kind](im).enhance(amount / 16384)
    h, s, v = im.convert("HSV").split()
    h = Image.fromarray(np.array(h, dtype=np.uint8) + np.int32(amount).astype(np.uint8), "L")
    return Image.merge("HSV", (h, s, v)).convert("RGB")


for (step, n), steps in CASES:
    im = picture(step, n)
    for kind, amount in steps:
        im = adjust(im, kind, amount)
    jitter = f"{{{len(steps)}, {{{', '.join(str(k) for k, _ in steps)}}}, {{{', '.join(str(a) for _, a in steps)}}}}}"
    print(f'    {{{step}, {n}, {jitter}, "{hashlib.sha256(im.tobytes()).hexdigest()[:32]}"}},')
