/* A tower given to a peer that does the same work with the same weights: a folder with config.json
 * and model.safetensors (Hugging Face's names), and in the latter a sample besides:
 *
 *     bench.input     what the tower is given: pixels (n, S, S, 3), scaled; or token ids (tokens)
 *     bench.offsets   of texts (n + 1)
 *     bench.output    what it makes of them (n, projection_dim), before normalisation
 *
 * so that the peer can say how near it comes. For inference: random weights will do. */
#ifndef TESTS_PEERTOWER_H
#define TESTS_PEERTOWER_H

#include "featurize/safetensors.h"
#include "featurize/tower.h"
#include "tests/bench.h"

static inline struct tensor peertower_tensor(const char *name, enum tensor_type type,
                                             const void *bytes, int64_t rows, int64_t cols)
{
    size_t n = (size_t)(rows * cols);
    return (struct tensor){.name = name,
                           .type = type,
                           .n_dims = 2,
                           .shape = {rows, cols},
                           .n = n,
                           .bytes = bytes,
                           .n_bytes = n * tensor_type_bytes(type)};
}

/* in, output: the sample and its final embeddings. */
static inline void peertower_save(const struct tower *t, const char *folder,
                                  const struct tower_input *in, const float *output)
{
    struct error err = {0};
    const struct tower_config *c = &t->config;
    bool is_text = c->arch == ARCH_TEXT;
    struct tensor *list = memory_array((uint64_t)t->params.n + 3, sizeof *list, MEMORY_MAX_SMALL, &err);
    char *config_path = file_join(folder, "config.json", &err);
    char *weights_path = file_join(folder, "model.safetensors", &err);
    struct json *config = json_new_object();
    json_set(config, is_text ? "text_config" : "vision_config", tower_config_json(c));
    char *text = json_write(config, JSON_PRETTY, &err);
    bench_must(list && config_path && weights_path && text, &err);
    size_t n = 0;
    for (int i = 0; i < t->params.n; i++) {
        const struct param *p = &t->params.table[i];
        list[n] = peertower_tensor(p->name, TENSOR_F32, params_at(&t->params, i), (int64_t)p->n, 1);
        list[n].n_dims = p->n_dims;
        memcpy(list[n++].shape, p->shape, sizeof p->shape);
    }
    int64_t side = c->image_size;
    if (is_text) {
        list[n++] = peertower_tensor("bench.input", TENSOR_I32, in->ids, in->offsets[in->n], 1);
        list[n++] = peertower_tensor("bench.offsets", TENSOR_I32, in->offsets, in->n + 1, 1);
    } else
        list[n++] = peertower_tensor("bench.input", TENSOR_F32, in->pixels, in->n, side * side * 3);
    list[n++] = peertower_tensor("bench.output", TENSOR_F32, output, in->n, c->projection_dim);
    bench_must(file_write(config_path, text, strlen(text), &err) == 0, &err);
    bench_must(safetensors_write(weights_path, n, list, NULL, &err) == 0, &err);
    json_free(config);
    memory_free(text);
    memory_free(list);
    memory_free(config_path);
    memory_free(weights_path);
}

#endif
