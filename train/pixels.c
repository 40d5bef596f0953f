/* Pixels of a training run: see the header. */
#include "train/pixels.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "ingest/resize.h"
#include "ingest/picture.h"
#include "store/memory.h"
#include "train/random.h"

#define DEFAULT_LIMIT ((uint64_t)2 << 30)

/* What one picture of a batch goes through. */
struct work {
    const uint8_t *bytes; /* encoded; NULL: the source is there already */
    size_t n;
    uint8_t *source; /* cache slot or scratch */
    int side;        /* of the source */
    struct error error;
    int rc;
};

struct pixels {
    struct pixels_options o;
    int source_side;
    size_t slot_bytes;
    uint64_t n_slots;
    uint8_t *slots;   // (n_slots, source_side, source_side, 3)
    uint8_t *ready;   // (n_slots) 0, or 1: at `side`, 2: at `source_side`
    uint8_t *scratch; // (n_work, source_side, source_side, 3)
    struct work *work;
    int n_work;
    struct resizer **resizer; /* one a thread */
    struct picture *picture;  /* one a thread */
    int n_resizers;
};

int pixels_open(struct pixels **out, const struct pixels_options *o, struct error *err)
{
    struct pixels *p = memory_array(1, sizeof *p, MEMORY_MAX_SMALL, err);
    if (!p) return ERR_NOMEM;
    p->o = *o;
    p->source_side = o->augment ? o->side * 5 / 4 : o->side;
    p->slot_bytes = (size_t)p->source_side * (size_t)p->source_side * 3;
    uint64_t limit = o->limit_bytes ? o->limit_bytes : DEFAULT_LIMIT;
    p->n_slots = (uint64_t)o->n_images * o->n_views;
    if (p->n_slots > limit / p->slot_bytes) p->n_slots = limit / p->slot_bytes;
    p->slots = memory_array(p->n_slots, p->slot_bytes, MEMORY_MAX_TENSOR, err);
    p->ready = memory_array(p->n_slots, 1, MEMORY_MAX_TENSOR, err);
    p->n_resizers = omp_get_max_threads();
    p->resizer = memory_array((uint64_t)p->n_resizers, sizeof *p->resizer, MEMORY_MAX_SMALL, err);
    p->picture = memory_array((uint64_t)p->n_resizers, sizeof *p->picture, MEMORY_MAX_SMALL, err);
    int rc = p->slots && p->ready && p->resizer && p->picture ? 0 : ERR_NOMEM;
    for (int i = 0; i < p->n_resizers && rc == 0; i++) {
        p->resizer[i] = resizer_new(err);
        if (!p->resizer[i]) rc = ERR_NOMEM;
    }
    if (rc < 0) {
        pixels_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pixels_close(struct pixels *p)
{
    if (!p) return;
    for (int i = 0; p->resizer && i < p->n_resizers; i++) resizer_free(p->resizer[i]);
    for (int i = 0; p->picture && i < p->n_resizers; i++) picture_release(&p->picture[i]);
    memory_free(p->picture);
    memory_free(p->resizer);
    memory_free(p->slots);
    memory_free(p->ready);
    memory_free(p->scratch);
    memory_free(p->work);
    memory_free(p);
}

static int reserve(struct pixels *p, int n, struct error *err)
{
    if (n <= p->n_work) return 0;
    memory_free(p->scratch);
    memory_free(p->work);
    p->n_work = 0;
    p->scratch = memory_array((uint64_t)n, p->slot_bytes, MEMORY_MAX_TENSOR, err);
    p->work = memory_array((uint64_t)n, sizeof *p->work, MEMORY_MAX_TENSOR, err);
    if (!p->scratch || !p->work) return ERR_NOMEM;
    p->n_work = n;
    return 0;
}

/* Serial: where each source lies, and the encoded bytes of those that are not there yet. A slot
 * that two of the batch share is decoded for the first. */
static int plan(struct pixels *p, int n, const struct pixels_want *want, struct error *err)
{
    for (int i = 0; i < n; i++) {
        struct work *w = &p->work[i];
        uint64_t slot = (uint64_t)want[i].position * p->o.n_views + want[i].view;
        *w = (struct work){.side = want[i].augment ? p->source_side : p->o.side};
        uint8_t kind = want[i].augment ? 2 : 1;
        w->source = p->scratch + (size_t)i * p->slot_bytes;
        if (slot < p->n_slots && (!p->ready[slot] || p->ready[slot] == kind)) {
            w->source = p->slots + slot * p->slot_bytes;
            if (p->ready[slot]) continue;
            p->ready[slot] = kind;
        }
        int rc = corpus_image_bytes(p->o.corpus, want[i].number, &w->bytes, &w->n, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int decode(struct pixels *p, int thread, const struct pixels_want *want, struct work *w)
{
    struct picture *picture = &p->picture[thread];
    struct picture_limits limits = picture_limits_default();
    int rc = picture_decode(w->bytes, w->n, &limits, p->o.preprocess.apply_orientation, picture,
                            &w->error);
    if (rc == 0) {
        struct view_box box = view_of(&p->o.plan, want->key, want->view, picture->width_px,
                                      picture->height_px);
        rc = preprocess_u8(&p->o.preprocess, p->resizer[thread], picture->rgb,
                           (int)picture->width_px, (int)picture->height_px, &box, w->side,
                           w->source, &w->error);
    }
    if (rc < 0) error_prefix(&w->error, "image number %u of the corpus: ", want->number);
    return rc;
}

/* A crop of 3/5 to all of the area, aspect 4/5 to 5/4, mirrored half of the time. */
static int augment(const struct pixels *p, struct resizer *r, const struct pixels_want *want,
                   struct work *w, uint8_t *out)
{
    uint64_t stream = RANDOM_AUGMENT + want->epoch, at = (uint64_t)want->position * 8;
    double area = 0.6 + 0.4 * random_uniform(p->o.seed, stream, at);
    double aspect = exp((2 * random_uniform(p->o.seed, stream, at + 1) - 1) * log(1.25));
    double side = w->side, width = fmin(side, side * sqrt(area * aspect));
    double height = fmin(side, side * sqrt(area / aspect));
    double left = (side - width) * random_uniform(p->o.seed, stream, at + 2);
    double top = (side - height) * random_uniform(p->o.seed, stream, at + 3);
    const double box[4] = {left, top, left + width, top + height};
    int s = p->o.side;
    int rc = resizer_run(r, w->source, w->side, w->side, box, RESAMPLE_BILINEAR, out, s, s,
                         &w->error);
    if (rc < 0 || random_uniform(p->o.seed, stream, at + 4) < 0.5) return rc;
    for (int y = 0; y < s; y++) {
        for (int x = 0; x < s / 2; x++) {
            for (int c = 0; c < 3; c++) {
                uint8_t *a = out + ((size_t)y * s + x) * 3 + c,
                        *b = out + ((size_t)y * s + s - 1 - x) * 3 + c;
                uint8_t kept = *a;
                *a = *b;
                *b = kept;
            }
        }
    }
    return 0;
}

int pixels_fill(struct pixels *p, int n, const struct pixels_want *want, uint8_t *out,
                struct error *err)
{
    int rc = reserve(p, n, err);
    if (rc == 0) rc = plan(p, n, want, err);
    if (rc < 0) return rc;
    int n_threads = p->n_resizers;
#pragma omp parallel for default(none) shared(p, n, want) num_threads(n_threads)                   \
    schedule(dynamic, 1)
    for (int i = 0; i < n; i++)
        if (p->work[i].bytes)
            p->work[i].rc = decode(p, omp_get_thread_num(), &want[i], &p->work[i]);
    for (int i = 0; i < n; i++) {
        if (p->work[i].rc == 0) continue;
        if (err) *err = p->work[i].error;
        return p->work[i].rc;
    }
    size_t n_out = (size_t)p->o.side * (size_t)p->o.side * 3;
#pragma omp parallel for default(none) shared(p, n, want, out, n_out) num_threads(n_threads)       \
    schedule(static)
    for (int i = 0; i < n; i++) {
        struct work *w = &p->work[i];
        if (want[i].augment)
            w->rc = augment(p, p->resizer[omp_get_thread_num()], &want[i], w,
                            out + (size_t)i * n_out);
        else
            memcpy(out + (size_t)i * n_out, w->source, n_out);
    }
    for (int i = 0; i < n; i++) {
        if (p->work[i].rc == 0) continue;
        if (err) *err = p->work[i].error;
        return p->work[i].rc;
    }
    return 0;
}
