"""py-lmdb's side of tests/bench_store.c: peer_store.py FOLDER RECORD-BYTES RECORDS-A-COMMIT COMMITS."""
import sys
import time

try:
    import lmdb
except ImportError as e:
    print(f"absent: {e}", flush=True)
    sys.exit()

folder, size, batch, commits = sys.argv[1], *map(int, sys.argv[2:5])
record = bytearray((i * 40503 >> 7) & 255 for i in range(size))
made = 0
number = 0
env = lmdb.open(folder, map_size=64 << 30)
print(f"ready {lmdb.__version__}", flush=True)
for line in sys.stdin:
    start = time.monotonic()
    for _ in range(commits):
        with env.begin(write=True) as txn:
            for _ in range(batch):
                made += 1
                record[100:108] = made.to_bytes(8, "little")
                txn.put(number.to_bytes(4, "big"), bytes(record), append=True)
                number += 1
    print(time.monotonic() - start, flush=True)
env.close()
