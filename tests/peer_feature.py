"""Readers of features as Python has them, for tests/bench_epoch.c: peer_feature.py npy|lmdb FOLDER VECTORS DIM. npy: one .npy of f32, mapped; lmdb:
py-lmdb, one f32 vector a record. Each line asks for a round, "shuffle" or "order": every vector once, in batches of 4,096 as a training loop
would have them; the answer is the processor's seconds."""
import sys
import time

try:
    import numpy as np
    if sys.argv[1] == "lmdb":
        import lmdb
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()

kind, folder, n, dim = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(1)
batch = 4096
if kind == "npy":
    np.save(f"{folder}/peer.npy", rng.standard_normal((n, dim), dtype=np.float32))
    rows = np.load(f"{folder}/peer.npy", mmap_mode="r")
    version = np.__version__
else:
    env = lmdb.open(f"{folder}/peer.lmdb", map_size=64 << 30, sync=False)
    for begin in range(0, n, batch):
        with env.begin(write=True) as txn:
            for i in range(begin, min(begin + batch, n)):
                txn.put(i.to_bytes(4, "big"), rng.standard_normal(dim, dtype=np.float32).tobytes(), append=True)
    version = lmdb.__version__
print(f"ready {version}", flush=True)


def read(order):
    out = np.empty((batch, dim), np.float32)
    for begin in range(0, n, batch):
        part = order[begin:begin + batch]
        if kind == "npy":
            np.take(rows, part, axis=0, out=out[:len(part)], mode="clip")
        else:
            with env.begin(buffers=True) as txn:
                for k, i in enumerate(part.tolist()):
                    out[k] = np.frombuffer(txn.get(i.to_bytes(4, "big")), np.float32)


for line in sys.stdin:
    start = time.process_time()
    read(rng.permutation(n) if line.strip() == "shuffle" else np.arange(n))
    print(time.process_time() - start, flush=True)
