/* Vectors into a feature set.
 *
 * Blocks go through in waves: read the old records (serial), encode vectors, merge and compress (parallel
 * over blocks), write in order (serial). A bad vector ends the transaction, so that nothing of the
 * put is there. A worker's scratch, the codes of one block, is made before the first wave and kept
 * in the handle: it stays in the near caches, and a put needs no memory in proportion to it. Since
 * codes are a pure function of a vector and a record one of its rows, neither waves nor threads can
 * show in the result. */
#include "store/featureset_inside.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

#define WAVE 16

/* What a worker needs for one block at a time. */
struct scratch {
    struct compress *z;
    uint8_t *plain;     /* planes, of the old block and then of the new */
    uint8_t *old_codes; // (n_slots, codec_capacity)
    uint8_t *new_codes; // (n_slots + 1, codec_capacity): one that turns out to be there
    struct block old;
    struct block_row rows[BLOCK_MAX_SLOTS];
};

/* One block of a wave. */
struct job {
    uint32_t number;
    size_t from, to;     /* its vectors, in the order of numbers */
    struct kv_bytes old; /* borrowed; bytes NULL when the block is new */
    uint8_t *record;     /* record capacity */
    int64_t n_record;    /* 0: nothing changes; < 0: err */
    uint32_t n_new;      /* vectors that were not there */
    struct error err;
};

struct featureset_writer {
    int n_workers;
    struct scratch *workers;
    struct job jobs[WAVE];
};

void featureset_writer_free(struct featureset_writer *w)
{
    if (!w) return;
    for (int i = 0; i < w->n_workers && w->workers; i++) {
        compress_free(w->workers[i].z);
        memory_free(w->workers[i].plain);
        memory_free(w->workers[i].old_codes);
        memory_free(w->workers[i].new_codes);
    }
    for (int i = 0; i < WAVE; i++) memory_free(w->jobs[i].record);
    memory_free(w->workers);
    memory_free(w);
}

static struct featureset_writer *writer_new(const struct block_shape *shape, struct error *err)
{
    struct featureset_writer *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    if (!w) return NULL;
    w->n_workers = omp_get_max_threads();
    w->workers = memory_array((uint64_t)w->n_workers, sizeof *w->workers, MEMORY_MAX_FILE, err);
    bool ok = w->workers != NULL;
    for (int i = 0; ok && i < w->n_workers; i++) {
        struct scratch *s = &w->workers[i];
        s->z = compress_new(err);
        s->plain = s->z ? memory_array(block_plain_capacity(shape), 1, MEMORY_MAX_FILE, err) : NULL;
        s->old_codes = s->plain ? memory_array(shape->n_slots, codec_capacity(&shape->codec),
                                               MEMORY_MAX_FILE, err)
                                : NULL;
        s->new_codes = s->old_codes
                           ? memory_array((uint64_t)shape->n_slots + 1,
                                          codec_capacity(&shape->codec), MEMORY_MAX_FILE, err)
                           : NULL;
        ok = s->new_codes != NULL;
    }
    for (int i = 0; ok && i < WAVE; i++) {
        w->jobs[i].record = memory_array(block_record_capacity(shape), 1, MEMORY_MAX_FILE, err);
        ok = w->jobs[i].record != NULL;
    }
    if (ok) return w;
    featureset_writer_free(w);
    return NULL;
}

/* A put under way. */
struct put {
    struct featureset *fs;
    uint32_t view;
    size_t n;
    const uint32_t *numbers;
    const uint8_t (*keys)[DIGEST_BYTES];
    const float *vectors; // (n, dim); NULL: `coded` has them
    const struct featureset_codes *coded;
    size_t *order; /* rows by ascending number */
};

static int by_number(const void *a, const void *b, void *context)
{
    const uint32_t *numbers = context;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    if (numbers[i] != numbers[j]) return numbers[i] < numbers[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static bool rows_equal(const struct codec *c, const struct block_row *a, const struct block_row *b)
{
    return a->kind == b->kind && !memcmp(&a->norm, &b->norm, sizeof a->norm) &&
           !memcmp(a->code, b->code, codec_bytes(c, (enum codec_kind)a->kind));
}

/* Rows of the old record into s->rows by slot (kind BLOCK_ABSENT where there is none). */
static int read_old(struct scratch *s, const struct put *p, struct job *job)
{
    const struct block_shape *shape = &p->fs->shape;
    for (uint32_t slot = 0; slot < shape->n_slots; slot++)
        s->rows[slot] = (struct block_row){.slot = slot, .kind = BLOCK_ABSENT};
    if (!job->old.bytes) return 0;
    int rc = block_decode(&s->old, shape, p->view, job->number, job->old.bytes, job->old.n,
                          s->plain, s->z, &job->err);
    if (rc < 0) return rc;
    for (uint32_t slot = 0; slot < shape->n_slots; slot++) {
        if (s->old.kind[slot] == BLOCK_ABSENT) continue;
        uint8_t *code = s->old_codes + slot * codec_capacity(&shape->codec);
        block_code(&s->old, shape, slot, code);
        s->rows[slot] = (struct block_row){slot, s->old.kind[slot], s->old.norm[slot],
                                           s->old.check[slot], code};
    }
    return 0;
}

static int row_conflict(const struct put *p, size_t row, bool other_key, struct error *err)
{
    if (other_key)
        return error_set(
            err, ERR_CORRUPT,
            "record %u of view %u is stored under another key: the set belongs to another corpus, "
            "or one of the two is damaged",
            p->numbers[row], p->view);
    return error_set(err, ERR_EXISTS, "record %u of view %u is there already with another vector",
                     p->numbers[row], p->view);
}

/* The row of a put as a block has it, in a code of its own, or as it was given. in->kind < 0: an error. */
static void take_row(const struct put *p, size_t row, uint8_t *code, struct block_row *in,
                     struct error *err)
{
    const struct codec *codec = &p->fs->shape.codec;
    in->check = block_check_of(p->keys[row]);
    in->code = code;
    if (p->coded) {
        in->kind = p->coded->kinds[row];
        in->norm = p->coded->norms[row];
        in->code = p->coded->codes + row * codec_capacity(codec);
        return;
    }
    in->kind = codec_encode(codec, p->vectors + row * codec->dim, code, &in->norm, err);
    if (in->kind < 0) error_prefix(err, "row %zu (record %u): ", row, p->numbers[row]);
}

/* Encodes the job's vectors and merges them into s->rows. */
static int merge(struct scratch *s, const struct put *p, struct job *job)
{
    const struct codec *codec = &p->fs->shape.codec;
    uint8_t *code = s->new_codes;
    job->n_new = 0;
    for (size_t i = job->from; i < job->to; i++) {
        size_t row = p->order[i];
        uint32_t slot = p->numbers[row] % p->fs->shape.n_slots;
        struct block_row in = {.slot = slot};
        take_row(p, row, code, &in, &job->err);
        if (in.kind < 0) return in.kind;
        struct block_row *at = &s->rows[slot];
        if (at->kind == BLOCK_ABSENT) {
            *at = in;
            job->n_new++;
            code += codec_capacity(codec);
        } else if (at->check != in.check || !rows_equal(codec, at, &in)) {
            return row_conflict(p, row, at->check != in.check, &job->err);
        }
    }
    return 0;
}

/* Reads, merges and compresses one block; the outcome is in job->n_record and job->n_new. */
static void do_job(struct scratch *s, const struct put *p, struct job *job)
{
    const struct block_shape *shape = &p->fs->shape;
    int rc = read_old(s, p, job);
    if (rc == 0) rc = merge(s, p, job);
    job->n_record = rc;
    if (rc < 0 || !job->n_new) return;
    uint32_t n = 0;
    for (uint32_t slot = 0; slot < shape->n_slots; slot++)
        if (s->rows[slot].kind != BLOCK_ABSENT) s->rows[n++] = s->rows[slot];
    job->n_record = block_encode(shape, p->view, job->number, s->rows, n, s->plain, s->z,
                                 job->record, &job->err);
}

/* Fills up to WAVE jobs with the blocks from p->order[at]; returns the number of jobs or an error. */
static int read_wave(const struct put *p, struct kv_txn *txn, size_t at, struct error *err)
{
    struct job *jobs = p->fs->writer->jobs;
    int n_jobs = 0;
    for (; n_jobs < WAVE && at < p->n; n_jobs++) {
        struct job *job = &jobs[n_jobs];
        uint8_t key[FEATURESET_KEY_BYTES];
        job->number = p->numbers[p->order[at]] / p->fs->shape.n_slots;
        job->from = at;
        while (at < p->n && p->numbers[p->order[at]] / p->fs->shape.n_slots == job->number) at++;
        job->to = at;
        job->old = (struct kv_bytes){0};
        featureset_block_key(p->view, job->number, key);
        int rc = kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &job->old, err);
        if (rc < 0) return rc;
        if (rc == 0) job->old.bytes = NULL;
    }
    return n_jobs;
}

/* Writes what the wave changed. The old records are gone after the first put: their checksums were
 * noted before. */
static int write_wave(const struct put *p, struct kv_txn *txn, int n_jobs,
                      struct featureset_counts *counts, struct error *err)
{
    struct job *jobs = p->fs->writer->jobs;
    for (int i = 0; i < n_jobs; i++) {
        if (jobs[i].n_record < 0) {
            if (err) *err = jobs[i].err;
            return (int)jobs[i].n_record;
        }
        if (jobs[i].n_record == 0) continue;
        if (jobs[i].old.bytes)
            counts->digest -= featureset_block_checksum(jobs[i].old.bytes, jobs[i].old.n);
        counts->n_blocks += !jobs[i].old.bytes;
        counts->digest += featureset_block_checksum(jobs[i].record, (size_t)jobs[i].n_record);
        counts->n_vectors[p->view] += jobs[i].n_new;
    }
    for (int i = 0; i < n_jobs; i++) {
        uint8_t key[FEATURESET_KEY_BYTES];
        if (jobs[i].n_record == 0) continue;
        featureset_block_key(p->view, jobs[i].number, key);
        int rc = kv_put(txn, FEATURESET_BLOCKS, key, sizeof key, jobs[i].record,
                        (size_t)jobs[i].n_record, err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* All waves; returns 1 when anything was written. */
static int put_blocks(const struct put *p, struct kv_txn *txn, struct featureset_counts *counts,
                      struct error *err)
{
    struct featureset_writer *w = p->fs->writer;
    uint64_t digest = counts->digest, n_vectors = counts->n_vectors[p->view];
    for (size_t at = 0; at < p->n;) {
        int n_jobs = read_wave(p, txn, at, err);
        if (n_jobs < 0) return n_jobs;
        int n_workers = n_jobs < w->n_workers ? n_jobs : w->n_workers;
#pragma omp parallel for schedule(dynamic) num_threads(n_workers) default(none) shared(w, p, n_jobs)
        for (int i = 0; i < n_jobs; i++) do_job(&w->workers[omp_get_thread_num()], p, &w->jobs[i]);
        at = w->jobs[n_jobs - 1].to;
        int rc = write_wave(p, txn, n_jobs, counts, err);
        if (rc < 0) return rc;
    }
    return counts->digest != digest || counts->n_vectors[p->view] != n_vectors;
}

static int put_in_transaction(const struct put *p, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct featureset_counts *counts = memory_array(1, sizeof *counts, MEMORY_MAX_SMALL, err);
    if (!counts) return ERR_NOMEM;
    int rc = kv_begin_write(p->fs->kv, &txn, err);
    if (rc < 0) goto done;
    rc = featureset_counts_get(txn, counts, err);
    if (rc < 0) goto done;
    rc = put_blocks(p, txn, counts, err);
    if (rc <= 0) goto done;
    if (counts->n_views <= p->view) counts->n_views = p->view + 1;
    rc = featureset_counts_put(txn, counts, err);
    if (rc < 0) goto done;
    rc = kv_commit(txn, err);
    txn = NULL;
done:
    kv_abort(txn);
    memory_free(counts);
    return rc;
}

/* Checks what every put asks first, sorts its rows, and runs it. */
static int run(struct put *p, struct error *err)
{
    struct featureset *fs = p->fs;
    if (fs->mode != FEATURESET_WRITE)
        return error_set(err, ERR_USAGE, "feature set %s is open for reading only", fs->folder);
    if (p->view >= FEATURESET_MAX_VIEWS)
        return error_set(err, ERR_USAGE, "view %u: a feature set has at most %d", p->view,
                         FEATURESET_MAX_VIEWS);
    if (p->n == 0) return 0;
    if (!fs->writer) fs->writer = writer_new(&fs->shape, err);
    if (!fs->writer) return ERR_NOMEM;
    p->order = memory_array(p->n, sizeof *p->order, MEMORY_MAX_TENSOR, err);
    if (!p->order) return ERR_NOMEM;
    for (size_t i = 0; i < p->n; i++) p->order[i] = i;
    qsort_r(p->order, p->n, sizeof *p->order, by_number, (void *)(uintptr_t)p->numbers);
    int rc = put_in_transaction(p, err);
    featureset_name_error(fs, rc, err);
    memory_free(p->order);
    return rc;
}

int featureset_put(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], const float *vectors, struct error *err)
{
    struct put p = {
        .fs = fs, .view = view, .n = n, .numbers = numbers, .keys = keys, .vectors = vectors};
    return run(&p, err);
}

int featureset_put_codes(struct featureset *fs, uint32_t view, size_t n,
                         const struct featureset_codes *in, struct error *err)
{
    struct put p = {.fs = fs,
                    .view = view,
                    .n = n,
                    .numbers = in->numbers,
                    .keys = (const uint8_t(*)[DIGEST_BYTES])in->keys,
                    .coded = in};
    return run(&p, err);
}
