/* Cached teacher features of a run: see the header. */
#include "train/targets.h"

#include <math.h>
#include <string.h>

#include "store/memory.h"

struct targets {
    struct featureset_cursor *cursor;
    targets_record record;
    const void *context;
    uint32_t dim, n_views;
    float *all; // (n_records, n_views, dim); NULL: read when asked
};

static int read_one(struct targets *t, uint32_t position, uint32_t view, float *out,
                    struct error *err)
{
    uint32_t number;
    const uint8_t *key;
    t->record(t->context, position, &number, &key);
    int rc = featureset_get(t->cursor, view, number, key, out, NULL, err);
    if (rc == ERR_NOT_FOUND) out[0] = NAN; /* never stored: featurize and import refuse it */
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int targets_open(struct targets **out, struct featureset *set, uint32_t n_records, uint32_t n_views,
                 uint64_t *budget_bytes, targets_record record, const void *context,
                 struct error *err)
{
    struct targets *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return ERR_NOMEM;
    t->record = record;
    t->context = context;
    t->dim = featureset_spec(set)->dim;
    t->n_views = n_views;
    t->cursor = featureset_cursor_new(set, err);
    int rc = t->cursor ? 0 : ERR_NOMEM;
    uint64_t row = (uint64_t)t->dim * sizeof *t->all, n = (uint64_t)n_records * n_views;
    if (rc == 0 && n <= *budget_bytes / row) {
        *budget_bytes -= n * row;
        t->all = memory_array(n, row, MEMORY_MAX_TENSOR, err);
        if (!t->all) rc = ERR_NOMEM;
        for (uint32_t v = 0; v < n_views && rc == 0; v++)
            for (uint32_t i = 0; i < n_records && rc == 0; i++)
                rc = read_one(t, i, v, t->all + ((uint64_t)i * n_views + v) * t->dim, err);
    }
    if (rc < 0) {
        targets_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void targets_close(struct targets *t)
{
    if (!t) return;
    featureset_cursor_free(t->cursor);
    memory_free(t->all);
    memory_free(t);
}

int targets_get(struct targets *t, uint32_t position, uint32_t view, float *out, bool *has,
                struct error *err)
{
    int rc = 0;
    if (t->all)
        memcpy(out, t->all + ((uint64_t)position * t->n_views + view) * t->dim,
               t->dim * sizeof *out);
    else
        rc = read_one(t, position, view, out, err);
    *has = rc == 0 && !isnan(out[0]);
    if (rc == 0 && !*has) memset(out, 0, t->dim * sizeof *out);
    return rc;
}
