/* A block coded and measured; see forecast.h. */
#include "featurize/forecast.h"

#include <math.h>

#include "store/block.h"
#include "store/memory.h"

#define PAGE_BYTES      4096 /* of LMDB */
#define PAGE_HEAD_BYTES 16
#define TABLE_PAGES     8 /* heads, roots, spec, fingerprint, counts, and their last copies */

struct trial {
    struct block_shape shape;
    struct compress *z;
    uint8_t *plain, *record, *codes; // codes: (n, codec_capacity)
    struct block_row rows[BLOCK_MAX_SLOTS];
};

static int make_room(struct trial *t, uint32_t n, struct error *err)
{
    t->z = compress_new(err);
    if (!t->z) return ERR_NOMEM;
    t->plain = memory_array(block_plain_capacity(&t->shape), 1, MEMORY_MAX_FILE, err);
    if (!t->plain) return ERR_NOMEM;
    t->record = memory_array(block_record_capacity(&t->shape), 1, MEMORY_MAX_FILE, err);
    if (!t->record) return ERR_NOMEM;
    t->codes = memory_array(n, codec_capacity(&t->shape.codec), MEMORY_MAX_FILE, err);
    return t->codes ? 0 : ERR_NOMEM;
}

int forecast_sample(struct forecast *f, const struct codec *codec, uint32_t grid,
                    const float *vectors, int n_vectors, struct error *err)
{
    *f = (struct forecast){0};
    if (n_vectors < 1) return 0;
    struct trial *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return ERR_NOMEM;
    int64_t whole = 0, half = 0;
    int rc = block_shape_init(&t->shape, codec, grid, err);
    uint32_t n = (uint32_t)n_vectors < t->shape.n_slots ? (uint32_t)n_vectors : t->shape.n_slots;
    if (rc == 0) rc = make_room(t, n, err);
    for (uint32_t i = 0; i < n && rc >= 0; i++) {
        struct block_row *row = &t->rows[i];
        uint8_t *code = t->codes + i * codec_capacity(codec);
        *row = (struct block_row){.slot = i, .code = code};
        rc = row->kind = codec_encode(codec, vectors + (size_t)i * codec->dim, code, &row->norm,
                                      err);
    }
    if (rc < 0) goto done;
    whole = block_encode(&t->shape, 0, 0, t->rows, n, t->plain, t->z, t->record, err);
    half = n < 2 ? 0
                 : block_encode(&t->shape, 0, 0, t->rows, n / 2, t->plain, t->z, t->record, err);
    rc = whole < 0 ? (int)whole : half < 0 ? (int)half : 0;
    if (rc < 0) goto done;
    f->n_slots = t->shape.n_slots;
    f->vector_bytes = (double)(whole - half) / (n - n / 2);
    f->block_bytes = (double)whole - n * f->vector_bytes;
done:
    compress_free(t->z);
    memory_free(t->plain);
    memory_free(t->record);
    memory_free(t->codes);
    memory_free(t);
    return rc < 0 ? rc : 0;
}

/* Nearly normal: the sum of four numbers that a generator of Knuth's gives one after the other. */
static float bell(uint64_t *state)
{
    float sum = -2;
    for (int k = 0; k < 4; k++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(*state >> 40) / (float)(1 << 24);
    }
    return sum;
}

int forecast_made_up(struct forecast *f, const struct codec *codec, uint32_t grid,
                     struct error *err)
{
    struct block_shape shape;
    uint64_t state = 1;
    *f = (struct forecast){0};
    int rc = block_shape_init(&shape, codec, grid, err);
    if (rc < 0) return rc;
    uint64_t n = (uint64_t)shape.n_slots * codec->dim;
    float *vectors = memory_array(n, sizeof *vectors, MEMORY_MAX_FILE, err);
    if (!vectors) return ERR_NOMEM;
    for (uint64_t i = 0; i < n; i++) vectors[i] = bell(&state);
    rc = forecast_sample(f, codec, grid, vectors, (int)shape.n_slots, err);
    memory_free(vectors);
    return rc;
}

/* Bytes of the pages of a value. */
static double in_pages(double bytes)
{
    return ceil((bytes + PAGE_HEAD_BYTES) / PAGE_BYTES) * PAGE_BYTES;
}

uint64_t forecast_bytes(const struct forecast *f, uint64_t n, uint32_t n_views,
                        uint64_t n_fixed_bytes)
{
    double views = n_views ? n_views : 1, each = (double)n / views;
    double full = floor(each / f->n_slots), rest = each - full * f->n_slots;
    double block = in_pages(f->block_bytes + f->n_slots * f->vector_bytes);
    double bytes = full * block + TABLE_PAGES * PAGE_BYTES / views;
    if (rest > 0) bytes += in_pages(f->block_bytes + rest * f->vector_bytes);
    return (uint64_t)(bytes * views + in_pages((double)n_fixed_bytes));
}
