/* The picture files of a batch; see shots.h. An open-addressing table of indices over one array of
 * shots. Decoding in parallel is only a check and a look at the size: the pixels are let go at
 * once. The one allocation inside the parallel loop is the decoders' own. */
#include "ingest/shots.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "ingest/reduce.h"
#include "store/digest.h"
#include "store/file.h"
#include "store/memory.h"

#define SLOTS (4 * SHOTS_MAX) /* a power of two */

struct shots {
    struct picture_limits limits;
    uint32_t max_side_px;
    int n_threads;
    struct reducer **reducers; // (n_threads)
    struct shot *shot;         // (n)
    size_t n, capacity;
    size_t *fresh; // (n_fresh) read in this batch, to be decoded
    size_t n_fresh, fresh_capacity;
    uint64_t n_bytes;
    uint32_t slot[SLOTS]; /* 1 + index; 0: free */
};

struct shots *shots_new(const struct picture_limits *limits, uint32_t max_side_px, int n_threads,
                        struct error *err)
{
    struct shots *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return NULL;
    s->limits = *limits;
    s->max_side_px = max_side_px;
    s->n_threads = n_threads;
    s->reducers = memory_array((uint64_t)n_threads, sizeof *s->reducers, MEMORY_MAX_SMALL, err);
    bool ok = s->reducers;
    for (int i = 0; ok && i < n_threads; i++) ok = (s->reducers[i] = reducer_new(err)) != NULL;
    if (ok) return s;
    shots_free(s);
    return NULL;
}

static void drop_bytes(struct shots *s, struct shot *shot)
{
    if (shot->bytes) s->n_bytes -= shot->n;
    memory_free(shot->bytes);
    shot->bytes = NULL;
}

static void forget_all(struct shots *s)
{
    for (size_t i = 0; i < s->n; i++) {
        drop_bytes(s, &s->shot[i]);
        memory_free(s->shot[i].message);
        memory_free(s->shot[i].path);
    }
    s->n = 0;
    memset(s->slot, 0, sizeof s->slot);
}

void shots_free(struct shots *s)
{
    if (!s) return;
    forget_all(s);
    memory_free(s->shot);
    memory_free(s->fresh);
    for (int i = 0; s->reducers && i < s->n_threads; i++) reducer_free(s->reducers[i]);
    memory_free(s->reducers);
    memory_free(s);
}

/* The slot of path, or the free one where it belongs. */
static uint32_t *find(struct shots *s, const char *path)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *p = path; *p; p++) h = (h ^ (uint8_t)*p) * 1099511628211u;
    for (size_t i = (size_t)(h ^ h >> 32);; i++) {
        uint32_t *slot = &s->slot[i % SLOTS];
        if (!*slot || !strcmp(s->shot[*slot - 1].path, path)) return slot;
    }
}

static int refuse(struct shot *shot, const char *reason, const char *sentence, struct error *err)
{
    memory_free(shot->message);
    shot->message = memory_string(sentence, err);
    if (!shot->message) return ERR_NOMEM;
    shot->reason = reason;
    return 0;
}

/* Gives a shot its bytes (owned, n): looks their key up, and keeps them when it is new. */
static int settle_key(struct shots *s, struct shot *shot, struct corpus *corpus, struct error *err)
{
    struct error why = {0};
    s->n_bytes += shot->n;
    digest_of(shot->bytes, shot->n, shot->image.key);
    int rc = corpus_image_number(corpus, shot->image.key, &shot->number, &why);
    if (rc < 0 && rc != ERR_NOT_FOUND) return error_set(err, rc, "%s", why.text);
    if (rc == 0) {
        shot->stored = true;
        drop_bytes(s, shot);
        return 0;
    }
    if (memory_grow(&s->fresh, &s->fresh_capacity, s->n_fresh + 1, sizeof *s->fresh,
                    MEMORY_MAX_SMALL, err) < 0)
        return ERR_NOMEM;
    s->fresh[s->n_fresh++] = (size_t)(shot - s->shot);
    return 0;
}

/* Reads the file of a shot. */
static int load(struct shots *s, struct shot *shot, struct corpus *corpus, struct error *err)
{
    struct error why = {0};
    int rc = file_read(shot->path, s->limits.max_bytes, &shot->bytes, &shot->n, &why);
    if (rc == ERR_NOMEM) return error_set(err, rc, "%s", why.text);
    if (rc == 0) return settle_key(s, shot, corpus, err);
    const char *reason = rc == ERR_NOT_FOUND ? "missing-file"
                         : rc == ERR_DATA    ? "too-large"
                                             : "unreadable-file";
    return refuse(shot, reason, why.text, err);
}

static int hold(struct shots *s, struct shot *shot, const void *bytes, size_t n,
                struct corpus *corpus, struct error *err)
{
    char sentence[100];
    snprintf(sentence, sizeof sentence, "the picture has %zu bytes; the limit is %llu", n,
             (unsigned long long)s->limits.max_bytes);
    if (n > s->limits.max_bytes) return refuse(shot, "too-large", sentence, err);
    shot->bytes = memory_copy(bytes, n, err);
    shot->n = n;
    return shot->bytes ? settle_key(s, shot, corpus, err) : ERR_NOMEM;
}

/* The shot of a name. *is_due: its bytes are to be had, for the first time, or because they went with
 * a batch in which no good row named it. */
static int find_or_add(struct shots *s, const char *name, size_t *index, bool *is_due,
                       struct error *err)
{
    uint32_t *slot = find(s, name);
    if (*slot) {
        *index = *slot - 1;
        const struct shot *known = &s->shot[*index];
        *is_due = !known->stored && !known->reason && !known->bytes;
        return 0;
    }
    if (memory_grow(&s->shot, &s->capacity, s->n + 1, sizeof *s->shot, MEMORY_MAX_FILE, err) < 0)
        return ERR_NOMEM;
    struct shot *new = &s->shot[s->n];
    *new = (struct shot){.image.orientation = 1, .path = memory_string(name, err)};
    if (!new->path) return ERR_NOMEM;
    *index = s->n++;
    *slot = (uint32_t)s->n;
    *is_due = true;
    return 0;
}

int shots_get(struct shots *s, const char *path, struct corpus *corpus, size_t *index,
              struct error *err)
{
    bool is_due;
    int rc = find_or_add(s, path, index, &is_due, err);
    return rc < 0 || !is_due ? rc : load(s, &s->shot[*index], corpus, err);
}

int shots_hold(struct shots *s, const char *name, const void *bytes, size_t n,
               struct corpus *corpus, size_t *index, struct error *err)
{
    bool is_due;
    int rc = find_or_add(s, name, index, &is_due, err);
    return rc < 0 || !is_due ? rc : hold(s, &s->shot[*index], bytes, n, corpus, err);
}

/* What the reducer saw of the picture, and its smaller file where it made one. */
static void fill(struct shot *shot, struct reduced *r)
{
    struct corpus_image *image = &shot->image;
    image->width_px = r->new_width_px;
    image->height_px = r->new_height_px;
    image->format = r->format;
    image->orientation = r->orientation;
    image->has_icc = r->has_icc;
    image->n_warnings = r->n_warnings < UINT8_MAX ? (uint8_t)r->n_warnings : UINT8_MAX;
    image->has_likeness = true;
    image->likeness = r->likeness;
    if (!r->bytes) return;
    image->is_reduced = true;
    image->came_width_px = r->width_px;
    image->came_height_px = r->height_px;
    image->came_format = r->format;
    image->format = IMAGE_JPEG;
    digest_of(r->bytes, r->n, image->stored_key);
    memory_free(shot->bytes);
    shot->bytes = (char *)r->bytes;
    shot->n = r->n;
    r->bytes = NULL;
}

/* Fills in what the picture is. Reads and writes nothing but its shot; r is the thread's own. */
static int decode_one(struct shot *shot, const struct shots *s, struct reducer *r)
{
    struct error why = {0};
    struct reduced seen;
    int rc = reducer_run(r, shot->bytes, shot->n, &s->limits, s->max_side_px, &seen, &why);
    if (rc == ERR_DATA) return refuse(shot, seen.reason, why.text, &why);
    if (rc == 0) fill(shot, &seen);
    return rc;
}

int shots_decode(struct shots *s, struct error *err)
{
    int rc = 0, n = (int)s->n_fresh;
#pragma omp parallel for default(none) shared(s, n) reduction(min                                  \
                                                              : rc) schedule(dynamic, 1)           \
    num_threads(s->n_threads)
    for (int i = 0; i < n; i++) {
        int one = decode_one(&s->shot[s->fresh[i]], s, s->reducers[omp_get_thread_num()]);
        if (one < rc) rc = one;
    }
    s->n_fresh = 0;
    s->n_bytes = 0; /* some were let go, some became fewer */
    for (size_t i = 0; i < s->n; i++) {
        struct shot *shot = &s->shot[i];
        if (shot->reason) {
            memory_free(shot->bytes);
            shot->bytes = NULL;
        }
        if (shot->bytes) s->n_bytes += shot->n;
    }
    return rc < 0 ? error_set(err, rc, "out of memory while decoding pictures") : 0;
}

struct shot *shots_at(struct shots *s, size_t index)
{
    return &s->shot[index];
}

uint64_t shots_bytes(const struct shots *s)
{
    return s->n_bytes;
}

void shots_settle(struct shots *s)
{
    for (size_t i = 0; i < s->n; i++) drop_bytes(s, &s->shot[i]);
    if (s->n >= SHOTS_MAX) forget_all(s);
}
