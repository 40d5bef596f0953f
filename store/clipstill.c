/* The reader library; see clipstill.h. A thin front of corpus.h and featureset.h that shows nothing of
 * them: its own error type, its own structs, so that they may change beneath it. `make` builds it
 * from store/ alone, with every other symbol local. */
#include "store/clipstill.h"

#include <string.h>

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/memory.h"

#define WINDOW 256 /* records that are asked for at once */

#define SAME(name) ((int)CLIPSTILL_ERR_##name == (int)ERR_##name)
_Static_assert(CLIPSTILL_KEY_BYTES == DIGEST_BYTES && SAME(USAGE) && SAME(NOT_FOUND) && SAME(IO) &&
                   SAME(DATA) && SAME(INCOMPATIBLE) && SAME(CORRUPT) && SAME(NOMEM),
               "codes are passed on as they are");

struct clipstill {
    struct corpus *corpus;
    char *cache;
};

struct clipstill_set {
    struct clipstill *c;
    struct featureset *fs;
    struct featureset_cursor *cur;
    struct clipstill_set_info info;
    char storage[CODEC_TEXT];
    char *fingerprint;
    uint32_t n_records; /* of its tower */
    float *scratch;     // (dim)
    /* What clipstill_next knows of records window.from to window.from + window.n - 1. */
    struct {
        uint32_t view, from, n;
        uint8_t keys[WINDOW][DIGEST_BYTES], has[WINDOW];
    } window;
};

/* rc, with our error as the caller's. */
static int pass(int rc, const struct error *from, struct clipstill_error *to)
{
    if (rc >= 0 || !to) return rc;
    to->code = rc;
    memcpy(to->text, from->text, sizeof to->text);
    to->text[sizeof to->text - 1] = 0;
    return rc;
}

int clipstill_open(struct clipstill **out, const char *cache, struct clipstill_error *err)
{
    struct error e = {0};
    *out = NULL;
    struct clipstill *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, &e);
    if (!c) return pass(ERR_NOMEM, &e, err);
    c->cache = memory_string(cache, &e);
    int rc = c->cache ? corpus_open(&c->corpus, cache, CORPUS_READ, &e) : ERR_NOMEM;
    if (rc < 0)
        clipstill_close(c);
    else
        *out = c;
    return pass(rc, &e, err);
}

void clipstill_close(struct clipstill *c)
{
    if (!c) return;
    corpus_close(c->corpus);
    memory_free(c->cache);
    memory_free(c);
}

uint32_t clipstill_n_images(const struct clipstill *c)
{
    return corpus_n_images(c->corpus);
}

uint32_t clipstill_n_captions(const struct clipstill *c)
{
    return corpus_n_captions(c->corpus);
}

static int key_of(struct clipstill *c, bool is_text, uint32_t number, uint8_t *key, struct error *e)
{
    struct corpus_image image;
    const char *text;
    size_t n;
    if (is_text) return corpus_caption_text(c->corpus, number, &text, &n, key, e);
    int rc = corpus_get_image(c->corpus, number, &image, e);
    if (rc == 0) memcpy(key, image.key, DIGEST_BYTES);
    return rc;
}

static int number_of(struct clipstill *c, bool is_text, const uint8_t *key, uint32_t *number,
                     struct error *e)
{
    char hex[DIGEST_HEX];
    int rc = is_text ? corpus_caption_number(c->corpus, key, number, e)
                     : corpus_image_number(c->corpus, key, number, e);
    if (rc != ERR_NOT_FOUND) return rc;
    digest_to_hex(key, hex);
    return error_set(e, rc, "%s: no %s has the key %s", c->cache, is_text ? "caption" : "image",
                     hex);
}

int clipstill_image_key(struct clipstill *c, uint32_t number, uint8_t key[CLIPSTILL_KEY_BYTES],
                        struct clipstill_error *err)
{
    struct error e = {0};
    return pass(key_of(c, false, number, key, &e), &e, err);
}

int clipstill_caption_key(struct clipstill *c, uint32_t number, uint8_t key[CLIPSTILL_KEY_BYTES],
                          struct clipstill_error *err)
{
    struct error e = {0};
    return pass(key_of(c, true, number, key, &e), &e, err);
}

int clipstill_image_number(struct clipstill *c, const uint8_t key[CLIPSTILL_KEY_BYTES],
                           uint32_t *number, struct clipstill_error *err)
{
    struct error e = {0};
    return pass(number_of(c, false, key, number, &e), &e, err);
}

int clipstill_caption_number(struct clipstill *c, const uint8_t key[CLIPSTILL_KEY_BYTES],
                             uint32_t *number, struct clipstill_error *err)
{
    struct error e = {0};
    return pass(number_of(c, true, key, number, &e), &e, err);
}

int clipstill_image_bytes(struct clipstill *c, uint32_t number, const uint8_t **bytes, size_t *n,
                          struct clipstill_error *err)
{
    struct error e = {0};
    return pass(corpus_image_bytes(c->corpus, number, bytes, n, &e), &e, err);
}

int clipstill_caption_text(struct clipstill *c, uint32_t number, const char **text, size_t *n,
                           struct clipstill_error *err)
{
    struct error e = {0};
    return pass(corpus_caption_text(c->corpus, number, text, n, NULL, &e), &e, err);
}

int clipstill_pairs(struct clipstill *c, struct clipstill_pair **out, size_t *n,
                    struct clipstill_error *err)
{
    static const char *const splits[SPLIT_N] = {"train", "val", "test"};
    struct error e = {0};
    struct corpus_pair *pairs = NULL;
    *out = NULL;
    int rc = corpus_pairs(c->corpus, &pairs, n, &e);
    if (rc == 0 && !(*out = memory_array(*n, sizeof **out, MEMORY_MAX_TENSOR, &e))) rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < *n; i++) {
        const struct corpus_pair *p = &pairs[i];
        struct clipstill_pair *q = &(*out)[i];
        *q = (struct clipstill_pair){.image = p->image,
                                     .caption = p->caption,
                                     .language = corpus_name(c->corpus, NAME_LANGUAGE, p->language),
                                     .source = corpus_name(c->corpus, NAME_SOURCE, p->source),
                                     .label = corpus_name(c->corpus, NAME_LABEL, p->label),
                                     .split = splits[p->split],
                                     .weight = p->weight};
        if (!q->language || !q->source || p->image >= corpus_n_images(c->corpus) ||
            p->caption >= corpus_n_captions(c->corpus))
            rc = error_set(&e, ERR_CORRUPT, "%s: a pair points nowhere; run clipstill verify",
                           c->cache);
    }
    memory_free(pairs);
    if (rc < 0) {
        memory_free(*out);
        *out = NULL;
    }
    return pass(rc, &e, err);
}

void clipstill_free(void *memory)
{
    memory_free(memory);
}

static int fill_set(struct clipstill_set *s, const char *name, struct error *e)
{
    int rc = featureset_open(&s->fs, s->c->cache, name, FEATURESET_READ, e);
    if (rc < 0) return rc;
    const struct featureset_spec *spec = featureset_spec(s->fs);
    bool is_text = spec->tower == TOWER_TEXT;
    s->cur = featureset_cursor_new(s->fs, e);
    if (s->cur) s->fingerprint = json_write(spec->fingerprint, JSON_SORTED, e);
    if (s->fingerprint) s->scratch = memory_array(spec->dim, sizeof(float), MEMORY_MAX_FILE, e);
    if (!s->scratch) return ERR_NOMEM;
    codec_spell(spec->storage, spec->epsilon, s->storage);
    s->n_records = is_text ? corpus_n_captions(s->c->corpus) : corpus_n_images(s->c->corpus);
    s->info = (struct clipstill_set_info){.name = spec->name,
                                          .tap = spec->tap,
                                          .is_text = is_text,
                                          .dim = spec->dim,
                                          .grid = spec->grid,
                                          .n_views = featureset_n_views(s->fs),
                                          .storage = s->storage,
                                          .fingerprint = s->fingerprint};
    return 0;
}

int clipstill_set_open(struct clipstill *c, const char *name, struct clipstill_set **out,
                       struct clipstill_error *err)
{
    struct error e = {0};
    *out = NULL;
    struct clipstill_set *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, &e);
    if (!s) return pass(ERR_NOMEM, &e, err);
    s->c = c;
    int rc = fill_set(s, name, &e);
    if (rc < 0)
        clipstill_set_close(s);
    else
        *out = s;
    return pass(rc, &e, err);
}

void clipstill_set_close(struct clipstill_set *s)
{
    if (!s) return;
    featureset_cursor_free(s->cur);
    featureset_close(s->fs);
    memory_free(s->fingerprint);
    memory_free(s->scratch);
    memory_free(s);
}

const struct clipstill_set_info *clipstill_set_info(const struct clipstill_set *s)
{
    return &s->info;
}

uint64_t clipstill_set_count(struct clipstill_set *s, uint32_t view)
{
    return featureset_n_vectors(s->fs, view);
}

int clipstill_get(struct clipstill_set *s, uint32_t view, uint32_t number, float *out, float *norm,
                  struct clipstill_error *err)
{
    struct error e = {0};
    uint8_t key[DIGEST_BYTES];
    int rc = key_of(s->c, s->info.is_text, number, key, &e);
    if (rc == 0) rc = featureset_get(s->cur, view, number, key, out, norm, &e);
    return pass(rc, &e, err);
}

int clipstill_get_key(struct clipstill_set *s, uint32_t view,
                      const uint8_t key[CLIPSTILL_KEY_BYTES], float *out, float *norm,
                      struct clipstill_error *err)
{
    struct error e = {0};
    uint32_t number;
    int rc = number_of(s->c, s->info.is_text, key, &number, &e);
    if (rc == 0) rc = featureset_get(s->cur, view, number, key, out, norm, &e);
    return pass(rc, &e, err);
}

/* Fills the window that `number` lies in. */
static int look(struct clipstill_set *s, uint32_t view, uint32_t number, struct error *e)
{
    uint32_t numbers[WINDOW], n_asked = 0, from = number - number % WINDOW;
    uint32_t n = s->n_records - from < WINDOW ? s->n_records - from : WINDOW;
    uint8_t keys[WINDOW][DIGEST_BYTES], has[WINDOW];
    s->window.n = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->window.has[i] = 0;
        int rc = key_of(s->c, s->info.is_text, from + i, s->window.keys[i], e);
        if (rc == ERR_NOT_FOUND) continue; /* forgotten */
        if (rc < 0) return rc;
        memcpy(keys[n_asked], s->window.keys[i], DIGEST_BYTES);
        numbers[n_asked++] = from + i;
    }
    int rc = featureset_has(s->fs, view, n_asked, numbers, (const uint8_t(*)[DIGEST_BYTES])keys,
                            has, e);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < n_asked; i++) s->window.has[numbers[i] - from] = has[i];
    s->window.view = view;
    s->window.from = from;
    s->window.n = n;
    return 0;
}

int clipstill_next(struct clipstill_set *s, uint32_t view, uint32_t *number,
                   uint8_t key[CLIPSTILL_KEY_BYTES], float *out, float *norm,
                   struct clipstill_error *err)
{
    struct error e = {0};
    for (uint32_t i = *number; i < s->n_records; i++) {
        int rc = 0;
        if (s->window.view != view || i < s->window.from || i >= s->window.from + s->window.n)
            rc = look(s, view, i, &e);
        if (rc < 0) return pass(rc, &e, err);
        uint32_t at = i - s->window.from;
        if (!s->window.has[at]) continue;
        rc = featureset_get(s->cur, view, i, s->window.keys[at], out ? out : s->scratch, norm, &e);
        if (rc < 0) return pass(rc, &e, err);
        *number = i;
        if (key) memcpy(key, s->window.keys[at], DIGEST_BYTES);
        return 1;
    }
    return 0;
}
