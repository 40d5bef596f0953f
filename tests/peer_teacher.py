"""PyTorch's side of tests/bench_teacher.c: ViT-L/14 or XLM-R large, `pictures` or `texts` as the argument says. A line asks for a round,
"CASE f32|bf16 THREADS"; the answer is seconds: the processor's with one thread, the clock's with more or for one input alone."""
import copy
import sys
import time

from peer_network import Text, Vit, torch, version

torch.manual_seed(1)
lengths = sorted(8 + i * 11 % 23 for i in range(16))
if sys.argv[1] == "pictures":
    models = {"f32": Vit(224, 14, 1024, 24, 16, 4096, 768).eval()}
    batches = {"pictures": [torch.randn(4, 3, 224, 224)], "picture": [torch.randn(1, 3, 224, 224)]}
else:
    models = {"f32": Text(1000, 1024, 24, 16, 4096, 768).eval()}
    batches = {"padded": [torch.randint(5, 1000, (16, 77))], "text": [torch.randint(5, 1000, (1, 8))],
               "bucketed": [torch.randint(5, 1000, (8, lengths[i + 7])) for i in range(0, 16, 8)]}

print(f"ready {version()}", flush=True)
for line in sys.stdin:
    case, kind, threads = line.split()
    if kind not in models:
        models[kind] = copy.deepcopy(models["f32"]).to(torch.bfloat16)
    torch.set_num_threads(int(threads))
    clock = time.process_time if case in ("pictures", "padded", "bucketed") else time.perf_counter
    inputs = [x.to(torch.bfloat16) if kind == "bf16" and x.is_floating_point() else x for x in batches[case]]
    start = clock()
    with torch.inference_mode():
        for x in inputs:
            models[kind](x)
    print(clock() - start, flush=True)
