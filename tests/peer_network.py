"""Plain PyTorch transformers of the towers' shapes, random weights: what the peers of bench_tower.c and bench_teacher.c run. Without PyTorch
the import says so in the words a benchmark expects, and ends the process."""
import os
import sys

# malloc that gives large blocks back to the system costs PyTorch a fifth of its speed: it is told to keep them
if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
    os.environ.update(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="68719476736", MALLOC_TOP_PAD_="268435456")
    # Debian's OpenBLAS 0.3.21 takes a newer Intel core whose AMX is hidden for a Prescott, and multiplies at a quarter of its speed
    with open("/proc/cpuinfo") as cpu:
        text = cpu.read()
    if "GenuineIntel" in text and "avx512bw" in text:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    os.execv(sys.executable, [sys.executable, *sys.argv])

try:
    import torch
    from torch import nn
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()


def version():
    """What a benchmark shows. Debian's PyTorch multiplies f32 with the system's BLAS, and the reference one, which stands where libopenblas0 is
    not installed, is a hundred times slower than any other: no peer."""
    with open("/proc/self/maps") as maps:
        reference = any("/libblas.so.3" in line and "openblas" not in line and "blis" not in line and "atlas" not in line for line in maps)
    return torch.__version__ + (" (reference BLAS)" if reference else "")


class Block(nn.Module):
    def __init__(self, width, heads, mlp, pre):
        super().__init__()
        self.heads, self.pre = heads, pre
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, mlp), nn.Linear(mlp, width)

    def attend(self, x):
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        p = torch.softmax(q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5, -1)
        return self.o((p @ v).transpose(1, 2).reshape(b, t, d))

    def feed(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))

    def forward(self, x):
        if self.pre:
            x = x + self.attend(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.feed(x))


class Vit(nn.Module):
    def __init__(self, side, patch, width, layers, heads, mlp, out):
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.02)
        self.pre, self.post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, mlp, True) for _ in range(layers)))
        self.out = nn.Linear(width, out, bias=False)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.out(self.post(self.blocks(self.pre(x))[:, 0]))


class Text(nn.Module):
    def __init__(self, vocab, width, layers, heads, mlp, out):
        super().__init__()
        self.word, self.pos = nn.Embedding(vocab, width), nn.Embedding(79, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, mlp, False) for _ in range(layers)))
        self.pool, self.out = nn.Linear(width, out), nn.Linear(out, out)

    def forward(self, ids):
        x = self.norm(self.word(ids) + self.pos(torch.arange(2, 2 + ids.shape[1])))
        return self.out(self.pool(self.blocks(x)[:, 0]))
