/* Beginning and end of samples/teacher, whose middle is `clipstill align` (train_tiny_teacher.sh runs all three):
 *
 *     tiny_teacher begin CACHE IMAGE-ARCH TEXT-ARCH DIM PIECES SEED OUT     random towers, a SentencePiece model trained on the captions
 *     clipstill align CACHE --init OUT --out TRAINED ...
 *     tiny_teacher finish TRAINED TEACHER                                   the same network in AltCLIP's format, tensors as f16
 *
 * clipstill itself makes no teachers: a student starts from a teacher, its features or its preprocessing. This program puts a folder in that
 * place, through the public functions of the library. AltCLIP's network asks for a ViT, class-token pooling and a whole embedding.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/model.h"
#include "featurize/safetensors.h"
#include "featurize/weightfile.h"
#include "store/codec.h"
#include "store/file.h"
#include "store/memory.h"
#include "train/arch.h"
#include "train/vocabulary.h"

/* CLIP's own preprocessing, at the tower's side. */
static int clip_preprocess(int side, struct preprocess *p, struct error *err)
{
    char text[400];
    int n = snprintf(text, sizeof text,
                     "{\"do_resize\": true, \"size\": {\"shortest_edge\": %d}, \"resample\": 3, "
                     "\"do_center_crop\": true, "
                     "\"crop_size\": {\"height\": %d, \"width\": %d}, \"do_rescale\": true, "
                     "\"do_normalize\": true, "
                     "\"image_mean\": [0.48145466, 0.4578275, 0.40821073], "
                     "\"image_std\": [0.26862954, 0.26130258, 0.27577711]}",
                     side, side, side);
    struct json *j = json_read(text, (size_t)n, "CLIP's preprocessing", err);
    if (!j) return err->code;
    int rc = preprocess_read(j, "CLIP's preprocessing", p, err);
    json_free(j);
    return rc;
}

static int train_tokenizer(const char *cache, int n_pieces, struct tokenizer **t, struct error *err)
{
    struct corpus *corpus = NULL;
    char *bytes = NULL;
    size_t n = 0;
    int rc = corpus_open(&corpus, cache, CORPUS_READ, err);
    if (rc == 0) rc = vocabulary_train(corpus, NULL, 0, n_pieces, &bytes, &n, err);
    if (rc == 0) rc = tokenizer_new(bytes, n, "the trained vocabulary", t, err);
    corpus_close(corpus);
    memory_free(bytes);
    return rc;
}

static int begin(char **words, struct error *err)
{
    const char *cache = words[0], *out = words[6];
    int dim = atoi(words[3]), n_pieces = atoi(words[4]);
    uint64_t seed = strtoull(words[5], NULL, 10);
    struct tower_config image = arch_image_default(), text = arch_text_default();
    struct model m = {.is_student = true, .logit_scale = 1 / 0.07F, .projection_dim = dim};
    text.pooling = POOL_CLS;
    text.embed_dim = 0;
    image.projection_dim = text.projection_dim = text.head_dim = dim;
    int rc = arch_parse(words[1], false, &image, err);
    if (rc == 0) rc = arch_parse(words[2], true, &text, err);
    if (rc == 0) rc = clip_preprocess(image.image_size, &m.preprocess, err);
    if (rc == 0) rc = train_tokenizer(cache, n_pieces, &m.tokenizer, err);
    if (rc < 0) goto done;
    text.vocab = tokenizer_vocab(m.tokenizer);
    m.max_tokens = text.max_positions - 2;
    m.image = tower_new(&image, err);
    m.text = m.image ? tower_new(&text, err) : NULL;
    rc = m.text ? 0 : err->code;
    if (rc < 0) goto done;
    tower_randomise(m.image, seed);
    tower_randomise(m.text, seed + 1);
    rc = model_save(&m, out, NULL, err);
done:
    tower_free(m.image);
    tower_free(m.text);
    tokenizer_free(m.tokenizer);
    return rc;
}

/* The tensor as halves, behind *at; every value must stay finite. */
static int halve(struct tensor *t, float *values, uint16_t **at, struct error *err)
{
    uint16_t *half = *at;
    int rc = tensor_f32(t, values, err);
    for (size_t i = 0; rc == 0 && i < t->n; i++) {
        half[i] = codec_half_of(values[i]);
        if (!isfinite(codec_float_of(half[i])))
            rc = error_set(err, ERR_DATA, "%s holds %g, which f16 cannot", t->name,
                           (double)values[i]);
    }
    t->type = TENSOR_F16;
    t->bytes = (const uint8_t *)half;
    t->n_bytes = t->n * sizeof *half;
    *at += t->n;
    return rc;
}

/* Writes the folder's weights again, as halves. */
static int weights_halve(const char *dir, struct error *err)
{
    struct weightfile *s = NULL;
    int rc = weightfile_open(dir, &s, err);
    if (rc < 0) return rc;
    size_t n = weightfile_n(s), n_values = 0, n_most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_own = weightfile_at(s, i)->n;
        n_values += n_own;
        if (n_own > n_most) n_most = n_own;
    }
    struct json *metadata = json_new_object();
    json_set_string(metadata, "format", "pt");
    struct tensor *out = memory_array(n, sizeof *out, MEMORY_MAX_SMALL, err);
    uint16_t *halves = memory_array(n_values, sizeof *halves, MEMORY_MAX_TENSOR, err), *at = halves;
    float *values = memory_array(n_most, sizeof *values, MEMORY_MAX_TENSOR, err);
    char *path = file_join(dir, "model.safetensors", err);
    rc = out && halves && values && path ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        out[i] = *weightfile_at(s, i);
        rc = halve(&out[i], values, &at, err);
    }
    if (rc == 0) rc = safetensors_write(path, n, out, metadata, err);
    memory_free(path);
    memory_free(values);
    memory_free(halves);
    memory_free(out);
    json_free(metadata);
    weightfile_close(s);
    return rc;
}

static int finish(char **words, struct error *err)
{
    struct model *m = NULL;
    int rc = model_open(&m, words[0], MODEL_IMAGE | MODEL_TEXT, err);
    if (rc < 0) return rc;
    if (!m->image || !m->text || m->image->config.arch != ARCH_VIT ||
        m->text->config.pooling != POOL_CLS || m->text->config.embed_dim)
        rc = error_set(err, ERR_USAGE,
                       "%s is no network that AltCLIP's format can hold: it has a ViT and a text "
                       "tower with cls pooling and embed=0",
                       words[0]);
    m->is_student = false;
    if (rc == 0) rc = model_save(m, words[1], NULL, err);
    if (rc == 0) rc = weights_halve(words[1], err);
    model_free(m);
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    int rc = ERR_USAGE;
    if (argc == 9 && !strcmp(argv[1], "begin"))
        rc = begin(argv + 2, &err);
    else if (argc == 4 && !strcmp(argv[1], "finish"))
        rc = finish(argv + 2, &err);
    else
        error_set(&err, ERR_USAGE,
                  "usage: tiny_teacher begin CACHE IMAGE-ARCH TEXT-ARCH DIM PIECES SEED OUT, or "
                  "finish TRAINED TEACHER");
    if (rc < 0) fprintf(stderr, "tiny_teacher: %s\n", err.text);
    return rc < 0;
}
