/* A corpus as WebDataset tars, so that `clipstill ingest` of them gives the corpus again.
 *
 *     struct corpustar_options o = {.path = "out", .shard_bytes = 1000000000, .where = &where};
 *     corpustar_export(corpus, &o, report, &counts, &err);   // out/000000.tar, out/000001.tar, ...
 *
 * A sample is
 *
 *   KEY.jpg, .png or .webp   the stored bytes
 *   KEY.json                 {"captions": {"de": [..], "en": [..]}, "key", "label", "source", "split",
 *                            "weight"}, sorted; no .json for a picture without a pair
 *
 * KEY is the picture's key in hex. Label, split, weight and source belong to pairs, and a sample has one of
 * each: a picture whose pairs differ in them comes as several samples KEY, KEY-1, KEY-2, .. with the
 * picture in each. A caption is written as it came (its original text); ingest it with the same
 * --nfkc, --html and --max-chars. The class list is written as classes.json beside the tars
 * (ingest --classes).
 *
 * Carried: pictures, captions of pairs, languages, labels, splits, weights, originals, classes; the
 * source when it is one (`where` source=NAME, then ingest --source NAME). Not carried: foreign ids (a
 * sample's id is its KEY), captions that stand in no pair and no class list, rejects; pictures without
 * bytes (left out, counted); the key of a picture that was reduced (its smaller JPEG has another one).
 *
 * Invariants: samples in order of keys, within one in order of names: the tars are a function of the
 * corpus's content alone, equal for equal dumps. Every tar is put in place whole. Memory: the pairs
 * and keys of the corpus. Threading: one thread.
 */
#ifndef STORE_CORPUSTAR_H
#define STORE_CORPUSTAR_H

#include "store/corpus.h"
#include "store/where.h"

struct corpustar_options {
    /* a folder, or one file when it ends in ".tar" (shard_bytes is then not used) */
    const char *path;
    uint64_t shard_bytes; /* most bytes of a tar that has more than one sample; 0: no limit */
    /* which pairs, bound to the corpus; NULL or without words: all, and pictures without pairs */
    const struct where *where;
};

struct corpustar_counts {
    uint64_t n_shards, n_samples, n_images, n_pairs, n_bytes;
    uint64_t n_without_bytes; /* pictures left out, as they were registered without their file */
    uint64_t n_reduced;       /* pictures that leave as the smaller JPEG, with another key */
};

/* ERR_EXISTS: the folder holds shards beyond the last, of another export. ERR_NOT_FOUND: nothing is
 * meant. ERR_STOPPED between two pictures: no part of a shard is left. */
int corpustar_export(struct corpus *c, const struct corpustar_options *o, const struct report *report,
                     struct corpustar_counts *counts, struct error *err) MUST_CHECK;

#endif
