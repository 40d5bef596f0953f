"""PyTorch's side of tests/bench_tower.c: plain transformers of the same shapes with random weights, one thread. A line asks for a
round, "CASE f32" or "CASE bf16"; the answer is the processor's seconds. Inference in bf16 has bf16 weights; training in bf16 is autocast."""
import sys
import time

from peer_network import Text, Vit, nn, torch

torch.set_num_threads(1)
torch.manual_seed(1)


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
