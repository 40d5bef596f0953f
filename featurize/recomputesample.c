/* Which vectors are computed again: a pure function of seed, key and view, so that nights with other
 * seeds see other vectors, and one seed the same ones whatever else the cache holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/recompute_inside.h"
#include "store/bytes.h"
#include "store/memory.h"
#include "store/transfer.h"

#define BATCH 4096

static uint64_t hash_of(uint64_t seed, const uint8_t key[DIGEST_BYTES], uint32_t view)
{
    uint8_t bytes[8 + DIGEST_BYTES + 4];
    bytes_put_u32(bytes_put(bytes_put_u64(bytes, seed), key, DIGEST_BYTES), view);
    return digest_short(bytes, sizeof bytes);
}

static int by_hash(const void *a, const void *b)
{
    const struct sampled *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_number(const void *a, const void *b)
{
    const struct sampled *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->view < y->view ? -1 : x->view > y->view;
}

/* What a growing list of vectors needs. */
struct list {
    struct sampled *at;
    size_t n, capacity;
    uint32_t number[BATCH];
    uint8_t key[BATCH][DIGEST_BYTES], has[BATCH];
};

/* The vectors of one view among the records first..end. */
static int add_records(struct list *l, struct corpus *c, struct featureset *fs, uint32_t view,
                       uint32_t first, uint32_t end, uint64_t seed, struct error *err)
{
    size_t m = 0;
    for (uint32_t i = first; i < end; i++) {
        int rc = transfer_key(c, featureset_spec(fs)->tower, i, l->key[m], err);
        if (rc == ERR_NOT_FOUND) continue;
        if (rc < 0) return rc;
        l->number[m++] = i;
    }
    int rc = featureset_has(fs, view, m, l->number, (const uint8_t(*)[DIGEST_BYTES])l->key, l->has,
                            err);
    if (rc == 0)
        rc = memory_grow(&l->at, &l->capacity, l->n + m, sizeof *l->at, MEMORY_MAX_TENSOR, err);
    for (size_t i = 0; rc == 0 && i < m; i++)
        if (l->has[i])
            l->at[l->n++] = (struct sampled){hash_of(seed, l->key[i], view), l->number[i], view};
    return rc;
}

/* How many of the n, ordered by hash, are meant. */
static size_t wanted(const struct sampled *s, size_t n, const struct recompute_options *o)
{
    if (o->share <= 0) return o->n < n ? (size_t)o->n : n;
    if (o->share >= 1) return n;
    uint64_t limit = (uint64_t)ldexp(o->share, 64);
    size_t k = 0;
    while (k < n && s[k].hash < limit) k++;
    return k ? k : n ? 1 : 0;
}

int sample_of(struct corpus *c, struct featureset *fs, const struct recompute_options *o,
              struct sampled **sample, size_t *n, struct error *err)
{
    bool is_text = featureset_spec(fs)->tower == TOWER_TEXT;
    uint32_t n_records = is_text ? corpus_n_captions(c) : corpus_n_images(c);
    uint32_t n_views = featureset_n_views(fs);
    struct list *l = memory_array(1, sizeof *l, MEMORY_MAX_SMALL, err);
    int rc = l ? 0 : ERR_NOMEM;
    *sample = NULL;
    *n = 0;
    for (uint32_t v = 0; v < n_views && rc == 0; v++)
        for (uint64_t first = 0; first < n_records && rc == 0; first += BATCH) {
            uint64_t end = first + BATCH < n_records ? first + BATCH : n_records;
            rc = add_records(l, c, fs, v, (uint32_t)first, (uint32_t)end, o->seed, err);
        }
    if (rc == 0 && l->n) {
        qsort(l->at, l->n, sizeof *l->at, by_hash);
        *n = wanted(l->at, l->n, o);
        qsort(l->at, *n, sizeof *l->at, by_number);
        *sample = l->at;
    } else if (l) {
        memory_free(l->at);
    }
    memory_free(l);
    return rc;
}
