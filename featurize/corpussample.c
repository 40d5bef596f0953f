/* The records with the least keys, and their pixels or ids; see corpussample.h. */
#include "featurize/corpussample.h"

#include <omp.h>
#include <string.h>

#include "featurize/embed.h"
#include "featurize/route.h"
#include "store/memory.h"
#include "store/transfer.h"

/* Pictures may turn out to be broken: some are held in reserve. */
#define RESERVE        16
#define MAX_CANDIDATES CORPUSSAMPLE_CAPTIONS

struct candidate {
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
};

struct candidates {
    struct candidate list[MAX_CANDIDATES]; /* by key */
    int n, most;
};

/* Keeps it if its key is among the least so far. */
static void consider(struct candidates *c, const uint8_t key[DIGEST_BYTES], uint32_t number)
{
    int at = c->n;
    while (at > 0 && memcmp(key, c->list[at - 1].key, DIGEST_BYTES) < 0) at--;
    if (at == c->most) return;
    if (c->n < c->most) c->n++;
    memmove(&c->list[at + 1], &c->list[at], (size_t)(c->n - 1 - at) * sizeof *c->list);
    memcpy(c->list[at].key, key, DIGEST_BYTES);
    c->list[at].number = number;
}

static int list_pictures(struct candidates *list, struct corpus *c, struct error *err)
{
    list->most = CORPUSSAMPLE_PICTURES + RESERVE;
    for (uint32_t i = 0; i < corpus_n_images(c); i++) {
        struct corpus_image image;
        int rc = corpus_get_image(c, i, &image, err);
        if (rc < 0 && rc != ERR_NOT_FOUND) return rc;
        if (rc == 0 && image.n_bytes) consider(list, image.key, i);
    }
    return 0;
}

static int list_captions(struct candidates *list, struct corpus *c,
                         const struct featurize_options *o, struct error *err)
{
    uint8_t *wanted = NULL;
    list->most = CORPUSSAMPLE_CAPTIONS;
    int rc = o->n_languages ? route_captions(c, o->languages, o->n_languages, &wanted, err) : 0;
    for (uint32_t i = 0; rc == 0 && i < corpus_n_captions(c); i++) {
        uint8_t key[DIGEST_BYTES];
        if (wanted && !wanted[i]) continue;
        rc = transfer_key(c, TOWER_TEXT, i, key, err);
        if (rc == 0) consider(list, key, i);
        if (rc == ERR_NOT_FOUND) rc = 0;
    }
    memory_free(wanted);
    return rc;
}

/* What every thread needs to decode. */
struct decoding {
    const struct model *model;
    struct resizer **resizers; // (n_threads)
    int n_threads;
    size_t picture; /* bytes */
    const uint8_t *bytes[MAX_CANDIDATES];
    size_t n_bytes[MAX_CANDIDATES];
    struct error error[MAX_CANDIDATES];
};

static int decoding_init(struct decoding *d, const struct model *m, int n_threads,
                         struct error *err)
{
    size_t side = (size_t)preprocess_side(&m->preprocess);
    d->model = m;
    d->picture = side * side * 3;
    d->resizers = memory_array((uint64_t)n_threads, sizeof *d->resizers, MEMORY_MAX_SMALL, err);
    for (; d->resizers && d->n_threads < n_threads; d->n_threads++)
        if (!(d->resizers[d->n_threads] = resizer_new(err))) return ERR_NOMEM;
    return d->resizers ? 0 : ERR_NOMEM;
}

static void decoding_free(struct decoding *d)
{
    if (!d) return;
    for (int t = 0; t < d->n_threads; t++) resizer_free(d->resizers[t]);
    memory_free(d->resizers);
    memory_free(d);
}

/* All candidates over threads; then the first that could be decoded move up. */
static int decode_all(struct corpussample *s, struct decoding *d, int n, struct error *err)
{
    uint8_t *pixels = s->pixels;
#pragma omp parallel for default(none) num_threads(d->n_threads) schedule(dynamic, 1)              \
    shared(d, n, pixels)
    for (int i = 0; i < n; i++)
        d->error[i].code = embed_decode(d->model, d->resizers[omp_get_thread_num()], d->bytes[i],
                                        d->n_bytes[i], pixels + (size_t)i * d->picture,
                                        &d->error[i]);
    for (int i = 0; i < n && s->n < CORPUSSAMPLE_PICTURES; i++) {
        if (d->error[i].code == ERR_DATA) continue;
        if (d->error[i].code < 0) return error_set(err, d->error[i].code, "%s", d->error[i].text);
        memmove(pixels + (size_t)s->n++ * d->picture, pixels + (size_t)i * d->picture, d->picture);
    }
    return 0;
}

static int take_pictures(struct corpussample *s, struct candidates *list, struct corpus *c,
                         const struct identity *id, const struct featurize_options *o,
                         struct error *err)
{
    int rc = list_pictures(list, c, err);
    struct decoding *d = memory_array(1, sizeof *d, MEMORY_MAX_SMALL, err);
    if (rc == 0) rc = d ? 0 : ERR_NOMEM;
    if (rc == 0)
        rc = decoding_init(d, id->model, o->n_threads > 0 ? o->n_threads : omp_get_max_threads(),
                           err);
    if (rc == 0) {
        s->pixels = memory_array((uint64_t)list->n, d->picture, MEMORY_MAX_TENSOR, err);
        if (!s->pixels) rc = ERR_NOMEM;
    }
    for (int i = 0; rc == 0 && i < list->n; i++)
        rc = corpus_image_bytes(c, list->list[i].number, &d->bytes[i], &d->n_bytes[i], err);
    if (rc == 0) rc = decode_all(s, d, list->n, err);
    decoding_free(d);
    return rc;
}

static int take_captions(struct corpussample *s, struct candidates *list, struct corpus *c,
                         const struct identity *id, const struct featurize_options *o,
                         struct error *err)
{
    size_t capacity = 0;
    int rc = list_captions(list, c, o, err);
    for (int i = 0; rc == 0 && i < list->n; i++) {
        const char *text;
        size_t n_text;
        rc = corpus_caption_text(c, list->list[i].number, &text, &n_text, NULL, err);
        if (rc == 0)
            rc = memory_grow(&s->ids, &capacity, (uint64_t)s->offsets[i] + (uint64_t)id->max_tokens,
                             sizeof *s->ids, MEMORY_MAX_FILE, err);
        if (rc == 0)
            rc = tokenizer_ids(id->model->tokenizer, text, n_text, id->max_tokens,
                               s->ids + s->offsets[i], NULL, NULL, err);
        if (rc < 0) return rc;
        s->offsets[i + 1] = s->offsets[i] + rc;
        rc = 0;
        s->n = i + 1;
    }
    return rc;
}

int corpussample_take(struct corpussample *s, struct corpus *c, const struct identity *id,
                      const struct featurize_options *o, struct error *err)
{
    *s = (struct corpussample){.is_text = id->is_text};
    struct candidates *list = memory_array(1, sizeof *list, MEMORY_MAX_SMALL, err);
    if (!list) return ERR_NOMEM;
    int rc = id->is_text ? take_captions(s, list, c, id, o, err)
                         : take_pictures(s, list, c, id, o, err);
    if (rc == 0 && s->n == 0)
        rc = error_set(err, ERR_USAGE, "the corpus has no %s to calibrate int8 with",
                       id->is_text ? "caption" : "picture that can be decoded");
    memory_free(list);
    return rc;
}

void corpussample_release(struct corpussample *s)
{
    memory_free(s->pixels);
    memory_free(s->ids);
    *s = (struct corpussample){0};
}

int corpussample_run(const struct corpussample *s, const struct model *m, enum numerics numerics,
                     int n_threads, const struct tap *taps, int n_taps, float *const *out,
                     struct error *err)
{
    struct runner *r = NULL;
    int rc = runner_open(&r, s->is_text ? m->text : m->image, numerics, n_threads, err);
    if (rc == 0)
        rc = s->is_text
                 ? runner_texts(r, s->n, s->ids, s->offsets, taps, n_taps, out, err)
                 : runner_pictures(r, &m->preprocess, s->n, s->pixels, taps, n_taps, out, err);
    runner_close(r);
    return rc;
}
