#!/usr/bin/env python3
"""Reads a clipstill feature set with python-lmdb, zstandard and numpy alone, by store/FORMAT.md.
    keys, unit, norms = read_features("CACHE", "image.final", view=0)   # (n, 32) uint8, (n, dim) float32, (n,) float32
read_features.py CACHE SET [VIEW [FILE.npz]] prints the keys and the first values, and saves all three arrays.
Debian: python3-lmdb python3-zstandard python3-numpy."""
import hashlib, json, struct, sys
import lmdb, numpy as np, zstandard

HEAD = struct.Struct("<4sHHIIIIHHHHII")
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()[:8]
xxh = lambda x: zstandard.ZstdCompressor(level=-100, write_checksum=True).compress(x)[-4:]  # the low half of XXH64, with which a frame ends
unzigzag = lambda z: ((z >> 1) ^ (0 - (z & 1).astype("<u2"))).astype("<i2")

def read_block(record, view, block, dim):
    """(slots, first 8 bytes of the keys, unit vectors, norms) of one record."""
    is_whole = sha(record[:-8]) == record[-8:] if record[4:6] == b"\1\0" else xxh(record[:-8]) == record[-8:-4]
    assert is_whole, "block fails its checksum"
    magic, version, storage, v, b, d, period, n_slots, n, n_raw, n_zero, n_plain, n_packed = HEAD.unpack_from(record)
    assert (magic, v, b, d) == (b"CSFB", view, block, dim) and version in (1, 2) and storage < 4, "not a block that this program reads"
    p = (n_slots + 7) // 8
    bits = [np.unpackbits(np.frombuffer(record, "u1", p, 40 + k * p), bitorder="little") for k in (0, 1)]
    slots, at = bits[0].nonzero()[0], 40 + 2 * p
    checks = np.frombuffer(record, "u1", 8 * n, at).reshape(n, 8)
    norms = np.frombuffer(record, "<f4", n, at + 8 * n)
    plain = zstandard.ZstdDecompressor().decompress(record[at + 12 * n:-8], n_plain) if n_plain else b""
    assert len(plain) == n_plain and len(record) == at + 12 * n + n_packed + 8
    def planes(dtype, count, width, start):  # byte k of every number stands in plane k, value-major
        bytes_ = np.frombuffer(plain, "u1", dtype.itemsize * count * width, start).reshape(dtype.itemsize, width, count)
        return np.ascontiguousarray(bytes_.transpose(2, 1, 0)).view(dtype)[..., 0]
    u2, f4, m = np.dtype("<u2"), np.dtype("<f4"), n - n_raw - n_zero
    code = planes((f4, np.dtype("<f2"), u2, u2)[storage], m, dim, 0)
    if storage == 3: code = (code.astype("<u4") << 16).view("<f4")  # bf16: the upper half of f32
    if storage == 2 and m:
        means = unzigzag(planes(u2, 1, period, 2 * m * dim)[0])
        code = (unzigzag(code) + np.tile(means, dim // period)).astype("<i2")
    if storage: code = code.astype("f8") * (1 / np.sqrt((code.astype("f8") ** 2).sum(1, keepdims=True)))
    raw, unit = bits[1][slots] == 1, np.zeros((n, dim), "<f4")
    unit[~raw & (norms > 0)] = code
    unit[raw] = planes(f4, n_raw, dim, n_plain - 4 * n_raw * dim)
    return block * n_slots + slots, checks, unit, norms

def read_features(cache, name, view=0):
    with lmdb.open(f"{cache}/features/{name}", readonly=True, max_dbs=16) as env, env.begin() as txn, \
         lmdb.open(f"{cache}/corpus", readonly=True, max_dbs=16) as corpus, corpus.begin() as records:
        spec, counts = (txn.get(k, db=env.open_db(b"meta", txn, create=False)) for k in (b"spec", b"counts"))
        spec, n = json.loads(spec[:-8]), struct.unpack(f"<{len(counts) // 8}Q", counts)[2:-1]  # vectors of each view
        table, tag = (b"images", b"\1") if spec["tower"] == "image" else (b"captions", b"\4")
        table, keys, units, norms = corpus.open_db(table, records, create=False), [], [], []
        cursor = txn.cursor(env.open_db(b"blocks", txn, create=False))
        cursor.set_range(struct.pack(">I", view))
        for key, record in cursor.iternext():
            at_view, block = struct.unpack(">II", key)
            if at_view != view: break
            numbers, checks, unit, norm = read_block(record, view, block, spec["dim"])
            for number, check in zip(numbers, checks):
                k = struct.pack(">I", number)
                value = records.get(k, db=table)
                assert value[:8] == check.tobytes() and sha(tag, k, value[:-8]) == value[-8:], f"record {number} is another's"
                keys.append(np.frombuffer(value, "u1", 32))
            units.append(unit), norms.append(norm)
        assert view < len(n) and len(keys) == n[view] > 0, f"view {view} has {len(keys)} vectors, not what meta says: {n}"
    return np.array(keys), np.concatenate(units), np.concatenate(norms)

if __name__ == "__main__":
    keys, unit, norms = read_features(sys.argv[1], sys.argv[2], int((sys.argv[3:4] or "0")[0]))
    if sys.argv[4:]: np.savez(sys.argv[4], keys=keys, unit=unit, norms=norms)
    for key, u, norm in zip(keys, unit, norms): print(key.tobytes().hex(), f"{norm:.6g}", *(f"{x:.6f}" for x in u[:4]))
