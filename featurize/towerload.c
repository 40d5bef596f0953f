/* Filling a tower from a weight file; see towerload.h. */
#include "featurize/towerload.h"

#include "store/memory.h"

static bool same_shape(const struct tensor *t, const struct param *p)
{
    if (t->n_dims != p->n_dims) return false;
    for (int i = 0; i < t->n_dims; i++)
        if (t->shape[i] != p->shape[i]) return false;
    return true;
}

/* The tensor of every parameter. // sources (p->n) */
static int find_all(const struct params *p, const struct weightfile *weights, const char *dir,
                    const struct tensor **sources, struct error *err)
{
    for (int i = 0; i < p->n; i++) {
        const struct param *wanted = &p->table[i];
        const struct tensor *found = weightfile_find(weights, wanted->name);
        char want[120], have[120];
        tensor_shape(wanted->n_dims, wanted->shape, want, sizeof want);
        if (!found)
            return error_set(err, ERR_DATA,
                             "%s: tensor %s %s is missing from the weights: config.json and the "
                             "weights belong to different models, or a shard is missing",
                             dir, wanted->name, want);
        if (!same_shape(found, wanted))
            return error_set(err, ERR_DATA, "%s: tensor %s has shape %s, config.json asks for %s",
                             dir, wanted->name,
                             tensor_shape(found->n_dims, found->shape, have, sizeof have), want);
        sources[i] = found;
    }
    return 0;
}

static int copy_all(struct params *p, const struct tensor *const *sources, struct error *err)
{
    int rc = params_allocate(p, err);
    for (int i = 0; i < p->n && rc == 0; i++) {
        rc = tensor_f32(sources[i], params_at(p, i), err);
        tensor_drop(sources[i]);
    }
    return rc;
}

int tower_load(struct tower **out, const struct tower_config *config,
               const struct weightfile *weights, const char *dir, bool mapped, struct error *err)
{
    const struct tensor **sources = NULL;
    int rc = ERR_NOMEM;
    struct tower *t = tower_plan(config, err);
    if (!t) {
        rc = err && err->code < 0 ? err->code : ERR_DATA;
        goto done;
    }
    sources = memory_array((uint64_t)t->params.n, sizeof *sources, MEMORY_MAX_FILE, err);
    if (!sources) goto done;
    rc = find_all(&t->params, weights, dir, sources, err);
    if (rc < 0) goto done;
    rc = mapped ? params_map(&t->params, sources, err) : copy_all(&t->params, sources, err);
    if (rc < 0) error_prefix(err, "%s: ", dir);
done:
    memory_free(sources);
    if (rc < 0) tower_free(t), t = NULL;
    *out = t;
    return rc;
}
