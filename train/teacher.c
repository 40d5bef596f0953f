/* Feature sets of a run: see the header. */
#include "train/teacher.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

static int describe(const char *cache, const char *name, struct teacher_set *s, struct teacher *t,
                    struct error *err)
{
    struct featureset *fs = NULL;
    char *text = NULL;
    int rc = featureset_open(&fs, cache, name, FEATURESET_READ, err);
    if (rc < 0) return rc;
    const struct featureset_spec *spec = featureset_spec(fs);
    *s = (struct teacher_set){.is_text = spec->tower == TOWER_TEXT};
    snprintf(s->name, sizeof s->name, "%s", spec->name);
    bool is_text;
    rc = tap_parse(spec->tap, &s->tap, &is_text, err);
    if (rc < 0) goto done;
    s->is_final = s->tap.kind == TAP_FINAL;
    s->cells = spec->grid ? (int)(spec->grid * spec->grid) : 1;
    s->dim = (int)spec->dim / s->cells;
    s->blocks = (int)json_int(json_get(spec->replay, "blocks"), 0);
    text = json_write(spec->fingerprint, JSON_SORTED, err);
    if (!text) {
        rc = ERR_NOMEM;
        goto done;
    }
    uint8_t digest[DIGEST_BYTES];
    digest_of(text, strlen(text), digest);
    digest_to_hex(digest, s->fingerprint);
    snprintf(s->space, sizeof s->space, "%s",
             json_text(json_get(spec->fingerprint, "weights"), s->fingerprint));
    if (s->is_final && (t->logit_scale == 0 || !strcmp(name, spec->tap)))
        t->logit_scale = json_number(json_get(spec->replay, "logit_scale"), t->logit_scale);
    if (s->is_text)
        t->max_tokens = (int)json_int(json_get(spec->replay, "max_tokens"), t->max_tokens);
done:
    memory_free(text);
    featureset_close(fs);
    return rc;
}

/* Image before text; of a tower first the primary set, then final ones, then by name. */
static int compare_sets(const void *a, const void *b)
{
    const struct teacher_set *x = a, *y = b;
    if (x->is_text != y->is_text) return x->is_text - y->is_text;
    if (x->is_primary != y->is_primary) return y->is_primary - x->is_primary;
    if (x->is_final != y->is_final) return y->is_final - x->is_final;
    return strcmp(x->name, y->name);
}

static void choose_primary(struct teacher *t, bool is_text)
{
    struct teacher_set *best = NULL;
    for (int i = 0; i < t->n; i++) {
        struct teacher_set *s = &t->sets[i];
        if (s->is_text != is_text || !s->is_final) continue;
        if (!best || !strcmp(s->name, is_text ? "text.final" : "image.final")) best = s;
    }
    if (best) best->is_primary = true;
}

int teacher_open(struct teacher *t, const char *cache, const char *const *names, size_t n_names,
                 struct error *err)
{
    char **found = NULL;
    int rc = 0;
    *t = (struct teacher){0};
    if (!names) {
        rc = featureset_list(cache, &found, &n_names, err);
        if (rc < 0) return rc;
        names = (const char *const *)found;
    }
    t->sets = memory_array(n_names, sizeof *t->sets, MEMORY_MAX_SMALL, err);
    if (!t->sets) rc = ERR_NOMEM;
    for (size_t i = 0; i < n_names && rc == 0; i++) {
        rc = describe(cache, names[i], &t->sets[t->n], t, err);
        if (rc == 0) t->n++;
    }
    memory_free(found);
    if (rc < 0) {
        teacher_release(t);
        return rc;
    }
    choose_primary(t, false);
    choose_primary(t, true);
    qsort(t->sets, (size_t)t->n, sizeof *t->sets, compare_sets);
    return 0;
}

void teacher_release(struct teacher *t)
{
    memory_free(t->sets);
    *t = (struct teacher){0};
}

int teacher_match_block(const struct teacher *t, const struct teacher_set *s, int student_blocks)
{
    int blocks = s->blocks;
    for (int i = 0; s->blocks == 0 && i < t->n; i++) /* the deepest tap of the tower */
        if (t->sets[i].is_text == s->is_text && t->sets[i].tap.block > blocks)
            blocks = t->sets[i].tap.block;
    if (blocks == 0 || s->tap.block == 0) return 0;
    int at = (int)lround((double)s->tap.block * student_blocks / blocks);
    return at < 1 ? 1 : at > student_blocks ? student_blocks : at;
}

int teacher_tokenizer(const struct teacher *t, const char *cache, char **bytes, size_t *n,
                      struct error *err)
{
    *bytes = NULL;
    *n = 0;
    for (int i = 0; i < t->n; i++) {
        if (!t->sets[i].is_text) continue;
        struct featureset *fs = NULL;
        int rc = featureset_open(&fs, cache, t->sets[i].name, FEATURESET_READ, err);
        if (rc == 0) rc = featureset_tokenizer(fs, bytes, n, err);
        featureset_close(fs);
        if (rc < 0 || *n) return rc;
        memory_free(*bytes);
        *bytes = NULL;
    }
    return 0;
}
