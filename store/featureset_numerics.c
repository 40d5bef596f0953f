/* Vectors of a set that were computed in other numerics than its fingerprint says, because somebody
 * accepted that: meta's "accepted", a JSON array of {"numerics", "from", "to"}, where from and to are
 * the numbers of vectors in view 0, 1, ... when such a stretch began and ended; "to" is absent while
 * it lasts. */
#include "store/featureset_inside.h"

#include <string.h>

#include "store/memory.h"

#define NAME "accepted"

static int read_list(struct kv_txn *txn, struct json **list, struct error *err)
{
    struct kv_bytes v;
    struct error why = {0};
    int rc = kv_get(txn, FEATURESET_META, NAME, strlen(NAME), &v, err);
    if (rc < 0) return rc;
    if (rc == 0) {
        *list = json_new_array();
        return 0;
    }
    rc = featureset_meta_get(txn, NAME, &v, err);
    if (rc < 0) return rc;
    *list = json_read((const char *)v.bytes, v.n, NAME, &why);
    return *list ? 0 : error_set(err, ERR_CORRUPT, "the set's meta: %.900s", why.text);
}

int featureset_accepted(struct featureset *fs, struct json **list, struct error *err)
{
    struct kv_txn *txn = NULL;
    *list = NULL;
    int rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = read_list(txn, list, err);
    kv_abort(txn);
    return featureset_name_error(fs, rc, err);
}

static struct json *counts_json(const struct featureset_counts *counts)
{
    struct json *j = json_new_array();
    for (uint32_t v = 0; v < counts->n_views; v++) json_push_int(j, (int64_t)counts->n_vectors[v]);
    return j;
}

/* The list as it is to be, or NULL when it is so already. Owned. */
static struct json *change(const struct json *list, const char *numerics,
                           const struct featureset_counts *counts)
{
    size_t n = json_size(list);
    const struct json *last = n ? json_at(list, n - 1) : NULL;
    bool lasts = last && !json_get(last, "to");
    if (lasts && numerics && !strcmp(json_text(json_get(last, "numerics"), ""), numerics))
        return NULL;
    if (!lasts && !numerics) return NULL;
    struct json *made = json_new_array(), *now = counts_json(counts);
    for (size_t i = 0; i < n; i++) {
        bool ends = lasts && i == n - 1;
        if (ends && json_same(json_get(last, "from"), now)) continue; /* nothing came of it */
        struct json *entry = json_clone(json_at(list, i));
        if (ends) json_set(entry, "to", json_clone(now));
        json_push(made, entry);
    }
    if (numerics) {
        struct json *entry = json_new_object();
        json_set_string(entry, "numerics", numerics);
        json_set(entry, "from", json_clone(now));
        json_push(made, entry);
    }
    json_free(now);
    return made;
}

static int accept_in(struct kv_txn *txn, struct featureset_counts *counts, const char *numerics,
                     bool *changed, struct error *err)
{
    struct json *list = NULL, *made = NULL;
    char *text = NULL;
    int rc = featureset_counts_get(txn, counts, err);
    if (rc == 0) rc = read_list(txn, &list, err);
    if (rc == 0) made = change(list, numerics, counts);
    *changed = made != NULL;
    if (made) {
        text = json_write(made, JSON_SORTED, err);
        rc = text ? featureset_meta_put(txn, NAME, text, strlen(text), err) : ERR_NOMEM;
    }
    memory_free(text);
    json_free(list);
    json_free(made);
    return rc;
}

int featureset_accept(struct featureset *fs, const char *numerics, struct error *err)
{
    struct kv_txn *txn = NULL;
    bool changed = false;
    const char *own = json_text(json_get(fs->fingerprint, "numerics"), NULL);
    if (own && numerics && !strcmp(own, numerics)) numerics = NULL;
    struct featureset_counts *counts = memory_array(1, sizeof *counts, MEMORY_MAX_SMALL, err);
    if (!counts) return ERR_NOMEM;
    int rc = kv_begin_write(fs->kv, &txn, err);
    if (rc == 0) rc = accept_in(txn, counts, numerics, &changed, err);
    if (rc == 0 && changed) {
        rc = kv_commit(txn, err);
        txn = NULL;
    }
    kv_abort(txn);
    memory_free(counts);
    return featureset_name_error(fs, rc, err);
}
