/* Compaction; see gc.h. */
#include "store/gc.h"

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/memory.h"

/* Numbers of a tower that are forgotten; owned. */
struct tombs {
    uint32_t *number[2]; /* by enum featureset_tower */
    size_t n[2];
};

static bool is_tomb(struct corpus *c, enum featureset_tower tower, uint32_t number, int *rc,
                    struct error *err)
{
    struct corpus_image image;
    const char *text;
    size_t n;
    struct error why;
    *rc = tower == TOWER_TEXT ? corpus_caption_text(c, number, &text, &n, NULL, &why)
                              : corpus_get_image(c, number, &image, &why);
    if (*rc == ERR_NOT_FOUND) return !(*rc = 0);
    if (*rc < 0) *rc = error_set(err, *rc, "%s", why.text);
    return false;
}

static int find_tombs(const char *cache, struct tombs *t, struct error *err)
{
    struct corpus *c = NULL;
    size_t capacity[2] = {0, 0};
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    for (int tower = TOWER_IMAGE; rc == 0 && tower <= TOWER_TEXT; tower++) {
        uint32_t n = tower == TOWER_TEXT ? corpus_n_captions(c) : corpus_n_images(c);
        for (uint32_t i = 0; rc == 0 && i < n; i++) {
            if (!is_tomb(c, (enum featureset_tower)tower, i, &rc, err)) continue;
            rc = memory_grow(&t->number[tower], &capacity[tower], t->n[tower] + 1,
                             sizeof **t->number, MEMORY_MAX_TENSOR, err);
            if (rc == 0) t->number[tower][t->n[tower]++] = i;
        }
    }
    corpus_close(c);
    return rc;
}

/* Takes what one store came to into the result; that somebody writes to it is no end. */
static int take(struct gc_result *r, int rc, const struct generation_bytes *bytes,
                const struct report *report, const struct error *err)
{
    if (rc == ERR_LOCKED) {
        r->n_locked++;
        report_warn(report, "%s", err->text);
        return 0;
    }
    if (rc < 0) return rc;
    r->n_stores++;
    r->bytes_before += bytes->before;
    r->bytes_after += bytes->after;
    return 0;
}

static int do_corpus(const char *cache, const struct report *report, struct generation_bytes *bytes,
                     struct error *err)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, cache, CORPUS_WRITE, err);
    if (rc == 0) rc = corpus_replace_generation(c, report, bytes, err);
    corpus_close(c);
    return rc;
}

static int do_set(const char *cache, const char *name, const struct tombs *t,
                  const struct report *report, struct generation_bytes *bytes, uint64_t *n_vectors,
                  struct error *err)
{
    struct featureset *fs = NULL;
    uint64_t n = 0;
    int rc = featureset_open(&fs, cache, name, FEATURESET_WRITE, err);
    if (rc < 0) return rc;
    enum featureset_tower tower = featureset_spec(fs)->tower;
    rc = featureset_forget(fs, t->n[tower], t->number[tower], false, &n, err);
    *n_vectors += n;
    if (rc == 0) rc = featureset_replace_generation(fs, report, bytes, err);
    featureset_close(fs);
    return rc;
}

int gc_run(const char *cache, const struct report *report, struct gc_result *r, struct error *err)
{
    struct tombs t = {0};
    struct generation_bytes bytes = {0};
    struct error why = {0};
    char **names = NULL;
    size_t n = 0;
    *r = (struct gc_result){0};
    int rc = find_tombs(cache, &t, &why);
    if (rc == 0) rc = take(r, do_corpus(cache, report, &bytes, &why), &bytes, report, &why);
    if (rc == 0) rc = featureset_list(cache, &names, &n, &why);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = take(r, do_set(cache, names[i], &t, report, &bytes, &r->n_vectors, &why), &bytes,
                  report, &why);
    memory_free(names);
    memory_free(t.number[TOWER_IMAGE]);
    memory_free(t.number[TOWER_TEXT]);
    if (rc < 0) return error_set(err, rc, "%s", why.text);
    if (r->n_locked)
        return error_set(err, ERR_LOCKED,
                         "%s: %llu of %llu stores are being written to and were left as they are; "
                         "run gc again when that has ended",
                         cache, (unsigned long long)r->n_locked,
                         (unsigned long long)(r->n_locked + r->n_stores));
    return 0;
}
