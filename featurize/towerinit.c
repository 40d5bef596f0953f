/* Random weights: a pure function of (seed, tensor name, position in the tensor) in integer
 * arithmetic up to the last product, so that they are the same on every machine, whatever the order
 * of tensors, and a tower of other depth keeps the weights that it shares.
 *
 *     embeddings                0.02
 *     linears                   sqrt(2 / (in + out)), Glorot & Bengio 2010; what writes to the
 *                               residual stream / sqrt(2 layers) (Radford et al. 2019)
 *     convolutions              sqrt(2 / (out k k)), He et al. 2015, fan-out; depthwise: out is 1
 *     norm weights, variances   1;  biases, means 0
 */
#include "featurize/tower.h"

#include <math.h>
#include <string.h>

#define EMBEDDING_STD   0.02f
#define MOBILEVIT_DEPTH 3 /* layers of a MobileViT's transformer, about */

/* Steele, Lea & Flood 2014, the finaliser of SplitMix64. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t key_of(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return mix(h ^ mix(seed + 0x9e3779b97f4a7c15u));
}

/* Nearly normal, mean 0, variance 1, within +-3.46: the sum of four uniform 16-bit numbers. */
static float bell(uint64_t key, uint64_t i)
{
    uint64_t z = mix(key + (i + 1) * 0x9e3779b97f4a7c15u);
    int32_t sum = 0;
    for (int k = 0; k < 4; k++) sum += (int32_t)(z >> (16 * k) & 0xffff);
    float centred = (float)(2 * sum - 4 * 0xffff); /* exact: below 2^24 */
    return centred *
           (1.7320508f / 131072.0f); /* a sum has variance (2^32 - 1)/3, its double 4 times */
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

static bool is_embedding(const char *name)
{
    return ends_with(name, "_embedding") || ends_with(name, "_embedding.weight") ||
           ends_with(name, "_embeddings.weight");
}

static bool is_residual(const char *name)
{
    return ends_with(name, "output.dense.weight") || ends_with(name, "out_proj.weight") ||
           ends_with(name, "mlp.fc2.weight");
}

/* Standard deviation of a tensor's random values; 0 for one that is constant. */
static float deviation(const struct tower_config *c, const struct param *p)
{
    bool patches = ends_with(p->name, "patch_embedding.weight");
    if (is_embedding(p->name) && !patches) return EMBEDDING_STD;
    if (p->n_dims < 2) return 0;
    int64_t in = (int64_t)p->n / p->shape[0], out = p->shape[0];
    if (p->n_dims == 4 && !patches) {
        int64_t area = p->shape[2] * p->shape[3];
        bool depthwise = p->shape[1] == 1;
        return sqrtf(2.0f / (float)(area * (depthwise ? 1 : out)));
    }
    float std = sqrtf(2.0f / (float)(in + out));
    int layers = c->arch == ARCH_MOBILEVIT ? MOBILEVIT_DEPTH : c->layers;
    return is_residual(p->name) ? std / sqrtf(2.0f * (float)layers) : std;
}

void tower_randomise(struct tower *t, uint64_t seed)
{
    for (int i = 0; i < t->params.n; i++) {
        const struct param *p = &t->params.table[i];
        float *w = params_at(&t->params, i);
        float std = deviation(&t->config, p);
        bool ones = ends_with(p->name, ".running_var") ||
                    (p->kind != PARAM_BUFFER && ends_with(p->name, ".weight"));
        uint64_t key = key_of(seed, p->name);
        for (size_t k = 0; k < p->n; k++) w[k] = std > 0 ? std * bell(key, k) : ones ? 1.0f : 0.0f;
    }
}
