/* Time by phase, and operations by configuration; see effort.h. */
#include "featurize/effort.h"

#include <time.h>

double effort_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void effort_add(struct effort *e, enum effort_phase phase, double *since)
{
    double now = effort_now();
    e->seconds[phase] += now - *since;
    *since = now;
}

double effort_total_s(const struct effort *e)
{
    return e->seconds[EFFORT_PREPARE] + e->seconds[EFFORT_COMPUTE] + e->waited_s;
}

void effort_foresee(struct effort *e, uint64_t n_records, uint64_t n_inputs)
{
    if (e->n_inputs == 0) return;
    double records = (double)n_records / (double)e->n_inputs,
           inputs = (double)n_inputs / (double)e->n_inputs;
    double pass = records * e->seconds[EFFORT_PREPARE] + inputs * e->seconds[EFFORT_COMPUTE],
           store = inputs * e->seconds[EFFORT_STORE];
    e->forecast_s = pass > store ? pass : store;
}

enum effort_phase effort_limit(const struct effort *e)
{
    double prepare = e->seconds[EFFORT_PREPARE], compute = e->seconds[EFFORT_COMPUTE];
    if (e->seconds[EFFORT_STORE] > prepare + compute) return EFFORT_STORE;
    return prepare > compute ? EFFORT_PREPARE : EFFORT_COMPUTE;
}

double effort_flop(const struct tower_config *c, int n_tokens, const struct tap *taps, int n_taps)
{
    if (c->arch == ARCH_MOBILEVIT) return 0;
    bool is_picture = c->arch == ARCH_VIT, to_the_end = false;
    double d = c->width, n_patches = is_picture ? c->image_size / c->patch : 0;
    n_patches *= n_patches;
    double t = is_picture ? n_patches + 1 : n_tokens;
    int blocks = 0;
    for (int k = 0; k < n_taps; k++) {
        int block = taps[k].kind == TAP_FINAL ? c->layers : taps[k].block;
        if (block > blocks) blocks = block;
        to_the_end |= taps[k].kind == TAP_FINAL;
    }
    /* a product of m rows, k columns and n outputs is 2 m k n */
    double embedding = is_picture ? 2 * n_patches * 3 * c->patch * c->patch * d : 0;
    double linears = 2 * t * (4 * d * d + 2 * d * c->mlp), attention = 4 * t * t * d;
    double head = !to_the_end       ? 0
                  : c->head_dim > 0 ? 2 * d * c->head_dim
                                    : 2 * d * c->projection_dim;
    return embedding + blocks * (linears + attention) + head;
}
