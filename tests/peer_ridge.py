#!/usr/bin/env python3
"""A linear baseline for text students: closed-form ridge regression from character 3-4-gram TF-IDF to image features.

usage: peer_ridge.py FEATURES.npy KEYS.txt CAPTIONS.jsonl     (needs numpy; captions carry image, lang, caption, split)

Trains on split train (lambda chosen on val), prints text-to-image R@10 by language on split test: candidates are the test
pictures, a hit is the caption's own picture in the top 10, ties against the model. A measuring instrument, not part of the product.
"""
import json, sys
import numpy as np


def grams(text):
    t = " " + text.lower() + " "
    return [t[i:i + n] for n in (3, 4) for i in range(len(t) - n + 1)]


def main(features, keys, captions):
    x = np.load(features).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    row = {k: i for i, k in enumerate(open(keys).read().split())}
    rows = [json.loads(line) for line in open(captions, encoding="utf-8")]
    train = [r for r in rows if r["split"] == "train"]
    df = {}
    for r in train:
        for g in set(grams(r["caption"])):
            df[g] = df.get(g, 0) + 1
    vocab = {g: i for i, g in enumerate(sorted(g for g, n in df.items() if n >= 2))}
    idf = np.log((1 + len(train)) / (1 + np.array([df[g] for g in vocab], np.float32))) + 1

    def encode(rs):
        a = np.zeros((len(rs), len(vocab)), np.float32)
        for i, r in enumerate(rs):
            for g in grams(r["caption"]):
                j = vocab.get(g)
                if j is not None:
                    a[i, j] += 1
        a[a > 0] = 1 + np.log(a[a > 0])
        a *= idf
        return a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-9)

    a = encode(train)
    y = x[[row[r["image"]] for r in train]]
    mean = y.mean(0)
    kernel = a @ a.T
    report = {}
    for split in ("val", "test"):
        rs = [r for r in rows if r["split"] == split]
        images = sorted({r["image"] for r in rs})
        report[split] = (rs, encode(rs) @ a.T, x[[row[i] for i in images]], np.array([images.index(r["image"]) for r in rs]))

    def recall(split, alpha):
        rs, k, cand, want = report[split]
        p, c = k @ alpha, cand - mean  # around the mean: CLIP's common direction would favour the same few pictures for every query
        s = (p / np.linalg.norm(p, axis=1, keepdims=True)) @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T
        rank = (s >= s[np.arange(len(rs)), want][:, None]).sum(1)
        return rs, rank <= 10

    best = None
    for lam in (0.03, 0.1, 0.3, 1, 3):
        alpha = np.linalg.solve(kernel + lam * np.eye(len(train), dtype=np.float32), y - mean)
        hit = recall("val", alpha)[1].mean()
        print(f"lambda {lam}: val R@10 {hit:.3f}")
        if best is None or hit > best[0]:
            best = (hit, lam, alpha)
    rs, hit = recall("test", best[2])
    print(f"lambda {best[1]}, {len(vocab)} n-grams, {len(train)} train captions, {report['test'][2].shape[0]} candidates")
    for lang in sorted({r["lang"] for r in rs}):
        h = hit[[i for i, r in enumerate(rs) if r["lang"] == lang]]
        print(f"{lang} R@10 {h.mean():.3f} (n {len(h)})")


if __name__ == "__main__":
    main(*sys.argv[1:])
