"""PyTorch's side of tests/bench_tower.c: plain transformers of the same shapes with random weights, one thread. A line asks for a
round, "CASE f32" or "CASE bf16"; the answer is the processor's seconds. Inference in bf16 has bf16 weights; training in bf16 is autocast."""
import sys
import time

try:
    import torch
    from torch import nn
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()

torch.set_num_threads(1)
torch.manual_seed(1)


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


def forward(model, x, kind):
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    key = (id(model), kind)
    if key not in prepared:
        import copy
        prepared[key] = copy.deepcopy(model).to(dtype).eval()
    m, x = prepared[key], x.to(dtype) if x.is_floating_point() else x
    start = time.process_time()
    with torch.inference_mode():
        m(x)
    return time.process_time() - start


def step(model, x, target, kind):
    if id(model) not in prepared:
        prepared[id(model)] = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.98), 1e-6, 0.05)
    optimiser = prepared[id(model)]
    start = time.process_time()
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
        y = model(x)
    loss = (1 - nn.functional.cosine_similarity(y.float(), target)).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return time.process_time() - start


prepared = {}
cases = {
    "gemm": lambda kind, l=nn.Linear(768, 3072), x=torch.randn(788, 768): sum(forward(l, x, kind) for _ in range(8)),
    "vit": lambda kind, m=Vit(224, 16, 768, 4, 12, 3072, 512), x=torch.randn(4, 3, 224, 224): forward(m, x, kind),
    "text": lambda kind, m=Text(1000, 768, 4, 12, 3072, 512), x=torch.randint(5, 1000, (32, 77)): forward(m, x, kind),
    "step": lambda kind, m=Vit(160, 16, 192, 6, 3, 768, 512), x=torch.randn(64, 3, 160, 160), t=torch.randn(64, 512): step(m, x, t, kind),
}


def infonce(n=1024, dim=256):
    a, b = (nn.functional.normalize(torch.randn(n, dim)).requires_grad_() for _ in range(2))
    scale, own = torch.tensor(2.6592, requires_grad=True), torch.arange(n)
    start = time.process_time()
    z = scale.exp() * a @ b.t()
    ((nn.functional.cross_entropy(z, own) + nn.functional.cross_entropy(z.t(), own)) / 2).backward()
    return time.process_time() - start


cases["infonce"] = lambda kind: infonce()

print(f"ready {torch.__version__}", flush=True)
for line in sys.stdin:
    case, kind = line.split()
    print(cases[case](kind), flush=True)
