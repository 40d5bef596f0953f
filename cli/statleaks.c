/* `clipstill stat --leaks`; see statleaks.h. */
#include "cli/statleaks.h"

#include <inttypes.h>
#include <stdio.h>

#include "ingest/leaks.h"
#include "store/corpus.h"

static const char *const split_names[SPLIT_N] = {"train", "val", "test"};

/* "train" or "train+test". */
static void spell_splits(uint8_t splits, char out[24])
{
    int n = 0;
    *out = '\0';
    for (int s = 0; s < SPLIT_N; s++)
        if (splits & 1 << s)
            n += snprintf(out + n, 24 - (size_t)n, "%s%s", n ? "+" : "", split_names[s]);
}

static int picture_json(struct corpus *c, const struct leaks *l, uint32_t image, struct json **j,
                        struct error *err)
{
    struct corpus_image record;
    char hex[DIGEST_HEX], splits[24];
    int rc = corpus_get_image(c, image, &record, err);
    if (rc < 0) return rc;
    digest_to_hex(record.key, hex);
    spell_splits(l->splits[image], splits);
    *j = json_new_object();
    json_set_string(*j, "image", hex);
    json_set_string(*j, "splits", splits);
    return 0;
}

/* The twins of the tree of a group that stand in different splits, or one that stands in several. */
static int list_pairs(struct corpus *c, const struct leaks *l, struct json *pairs,
                      struct error *err)
{
    for (size_t i = 0; i < l->n_edges; i++) {
        const struct leaks_edge *e = &l->edges[i];
        uint8_t splits = l->splits[e->a] | l->splits[e->b];
        if (!l->splits[e->a] || !l->splits[e->b] || !(splits & (splits - 1))) continue;
        struct json *a = NULL, *b = NULL, *pair = json_new_object();
        int rc = picture_json(c, l, e->a, &a, err);
        if (rc == 0) rc = picture_json(c, l, e->b, &b, err);
        json_set(pair, "a", a);
        json_set(pair, "b", b);
        json_set_int(pair, "distance", e->distance);
        json_push(pairs, pair);
        if (rc < 0) return rc;
    }
    return 0;
}

int statleaks_add(struct json *answer, const char *cache, struct error *err)
{
    struct corpus *c = NULL;
    struct leaks l = {0};
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = leaks_open(&l, c, true, 0, err);
    if (rc == 0) {
        struct json *j = json_new_object(), *leaking = json_new_object(), *pairs = json_new_array();
        json_set_int(j, "groups", l.counts.n_groups);
        json_set_int(j, "pictures_in_groups", l.counts.n_grouped);
        json_set_int(j, "largest_group", l.counts.n_largest);
        json_set_int(j, "without_likeness", l.n_unknown);
        uint32_t n_both = 0;
        for (uint32_t i = 0; i < l.n_images; i++) n_both += (l.splits[i] & (l.splits[i] - 1)) != 0;
        json_set_int(j, "pictures_in_several_splits", n_both);
        for (int s = 0; s < SPLIT_N; s++) json_set_int(leaking, split_names[s], l.n_leaking[s]);
        json_set(j, "leaking", leaking);
        rc = list_pairs(c, &l, pairs, err);
        json_set(j, "pairs", pairs);
        json_set(answer, "leaks", j);
    }
    leaks_close(&l);
    corpus_close(c);
    return rc;
}

void statleaks_print(const struct json *answer)
{
    const struct json *j = json_get(answer, "leaks"), *leaking = json_get(j, "leaking"),
                      *pairs = json_get(j, "pairs");
    if (!j) return;
    printf("near-duplicates: %" PRId64 " pictures in %" PRId64 " groups, the largest of %" PRId64
           "; in groups that stand in several splits: %" PRId64 " train, %" PRId64 " val, %" PRId64
           " test\n",
           json_int(json_get(j, "pictures_in_groups"), 0), json_int(json_get(j, "groups"), 0),
           json_int(json_get(j, "largest_group"), 0), json_int(json_get(leaking, "train"), 0),
           json_int(json_get(leaking, "val"), 0), json_int(json_get(leaking, "test"), 0));
    if (json_int(json_get(j, "pictures_in_several_splits"), 0))
        printf("  %" PRId64 " pictures stand in several splits themselves\n",
               json_int(json_get(j, "pictures_in_several_splits"), 0));
    if (json_int(json_get(j, "without_likeness"), 0))
        printf("  %" PRId64 " pictures without bytes could not be looked at\n",
               json_int(json_get(j, "without_likeness"), 0));
    for (size_t i = 0; i < json_size(pairs); i++) {
        const struct json *p = json_at(pairs, i), *a = json_get(p, "a"), *b = json_get(p, "b");
        printf("  %.16s %-10s %.16s %-10s %2" PRId64 " apart\n",
               json_text(json_get(a, "image"), ""), json_text(json_get(a, "splits"), ""),
               json_text(json_get(b, "image"), ""), json_text(json_get(b, "splits"), ""),
               json_int(json_get(p, "distance"), 0));
    }
    if (json_size(pairs))
        printf(
            "  `clipstill retag CACHE --assign-splits 80/10/10` puts each group into one split\n");
}
