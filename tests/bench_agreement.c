/* What bf16 and int8 cost in accuracy at full size: features of a ViT-L/14 and an XLM-R large (random
 * weights) in either against f32, over real photos and captions where they lie beside the clone
 * (../shared/data), else over samples/corpus. Printed: 1 - cosine, and how many of an item's ten
 * nearest are the same. Random weights put all features close together, so that the second is a
 * harsher test than with a trained teacher: the spread is printed beside it. int8 is calibrated on
 * the first half of the items.
 *
 *     bench_agreement [N]      items of each kind, 40 without */
#include <glob.h>

#include "featurize/calibration.h"
#include "featurize/embed.h"
#include "featurize/gemm.h"
#include "featurize/runner.h"
#include "store/json.h"
#include "store/memory.h"
#include "tests/bench.h"
#include "train/arch.h"

enum { MAX = 400, DIM = 768, NEAREST = 10 };

static float features[3][MAX * DIM]; /* unit rows, by numerics */

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* The ten nearest of item i in one set of features. */
static void nearest(const float *x, int n, int i, int *out)
{
    double best[NEAREST];
    int n_out = 0;
    for (int j = 0; j < n; j++) {
        if (j == i) continue;
        double c = dot(x + (size_t)i * DIM, x + (size_t)j * DIM);
        int at = n_out;
        while (at > 0 && best[at - 1] < c) at--;
        if (at == NEAREST) continue;
        int last = n_out < NEAREST ? n_out++ : NEAREST - 1;
        for (int k = last; k > at; k--) best[k] = best[k - 1], out[k] = out[k - 1];
        best[at] = c;
        out[at] = j;
    }
}

static void compare(const char *what, enum numerics numerics, int n)
{
    double worst = 1, mean = 0, spread = 0;
    int same = 0, total = 0;
    for (int i = 0; i < n; i++) {
        int ours[NEAREST], theirs[NEAREST], k_most = n - 1 < NEAREST ? n - 1 : NEAREST;
        double c = dot(features[0] + (size_t)i * DIM, features[numerics] + (size_t)i * DIM);
        worst = c < worst ? c : worst;
        mean += c / n;
        for (int j = 0; j < i; j++)
            spread += (1 - dot(features[0] + (size_t)i * DIM, features[0] + (size_t)j * DIM)) * 2 /
                      n / (n - 1);
        nearest(features[0], n, i, ours);
        nearest(features[numerics], n, i, theirs);
        for (int k = 0; k < k_most; k++, total++)
            for (int l = 0; l < k_most; l++) same += ours[k] == theirs[l];
    }
    printf("  %s, %s: 1 - cos to f32 %.2g on average, %.2g at worst; of the ten nearest %.1f%% are "
           "the "
           "same; 1 - cos between two of them %.2g\n",
           what, numerics == NUMERICS_INT8 ? "int8" : "bf16", 1 - mean, 1 - worst,
           100.0 * same / total, spread);
    fflush(stdout);
}

static struct tower *random_tower(const char *words, bool is_text, int vocab)
{
    struct error err = {0};
    struct tower_config c = is_text ? arch_text_default() : arch_image_default();
    bench_must(arch_parse(words, is_text, &c, &err) == 0, &err);
    c.projection_dim = c.head_dim = DIM;
    c.act = is_text ? ACT_GELU : ACT_QUICK_GELU;
    c.vocab = vocab;
    if (is_text) c.pooling = POOL_CLS;
    struct tower *t = tower_new(&c, &err);
    bench_must(t, &err);
    tower_randomise(t, 1);
    return t;
}

/* What there is to embed, and how. */
struct items {
    struct model *model;
    struct tower *tower;
    const void *bytes[MAX];
    size_t n_bytes[MAX];
    int n;
};

static void embed(const struct items *items, enum numerics numerics, int first, int end)
{
    struct error err = {0};
    float *out = features[numerics] + (size_t)first * DIM;
    const size_t *n_bytes = items->n_bytes + first;
    const void *const *bytes = items->bytes + first;
    int rc = items->tower == items->model->image
                 ? embed_pictures(items->model, numerics, end - first, bytes, n_bytes, out, NULL,
                                  NULL, &err)
                 : model_embed_texts(items->model, numerics, end - first,
                                     (const char *const *)bytes, n_bytes, out, NULL, &err);
    bench_must(rc == 0, &err);
}

/* In all numerics; the f32 tower shows what it sees of the first half. */
static void embed_all(const struct items *items, const char *what)
{
    struct error err = {0};
    struct tower *t = items->tower;
    struct observed *seen = observed_new(&t->params, &err);
    bench_must(seen && tower_pack(t, NUMERICS_F32, &err) == 0, &err);
    packed_observe(t->packed, seen);
    embed(items, NUMERICS_F32, 0, items->n / 2);
    packed_observe(t->packed, NULL);
    embed(items, NUMERICS_F32, items->n / 2, items->n);
    tower_calibrate(t, calibration_new(&t->params, seen, &err));
    bench_must(t->calibration, &err);
    observed_free(seen);
    for (enum numerics k = NUMERICS_BF16; k <= NUMERICS_INT8; k++) {
        if (k == NUMERICS_INT8 && !gemm_int8_is_exact()) break;
        bench_must(tower_pack(t, k, &err) == 0, &err);
        embed(items, k, 0, items->n);
        compare(what, k, items->n);
    }
}

static void pictures(struct model *m, int most)
{
    struct error err = {0};
    static struct file_map map[MAX];
    struct items items = {.model = m};
    glob_t found = {0};
    const char *from = "../shared/data/clothing/val/*/*.jpg";
    if (glob(from, 0, NULL, &found) != 0) glob(from = "samples/corpus/images/*", 0, NULL, &found);
    int n = found.gl_pathc < (size_t)most ? (int)found.gl_pathc : most;
    for (int i = 0; i < n; i++) {
        const char *path = found.gl_pathv[(size_t)i * found.gl_pathc / (size_t)n];
        bench_must(file_map(path, &map[i], &err) >= 0, &err);
        items.bytes[i] = map[i].bytes;
        items.n_bytes[i] = map[i].n;
    }
    items.n = n;
    items.tower = m->image = random_tower(
        "vit:width=1024,layers=24,heads=16,mlp=4096,patch=14,size=224", false, 0);
    printf("\nagainst f32, ViT-L/14, %d pictures of %s\n", n, from);
    embed_all(&items, "pictures");
    for (int i = 0; i < n; i++) file_unmap(&map[i]);
    globfree(&found);
}

/* Captions that differ, one in every five lines (a picture has five). */
static void texts(struct model *m, int most)
{
    struct error err = {0};
    struct model *teacher = NULL;
    static char text[MAX][400];
    const char *from = "../shared/data/flickr8k-clip/captions.jsonl";
    struct items items = {.model = m};
    char line[2000];
    int n = 0;
    bench_must(model_open(&teacher, "samples/teacher", MODEL_TEXT, &err) == 0, &err);
    FILE *f = fopen(from, "r");
    for (int i = 0; f && n < most && fgets(line, sizeof line, f); i++) {
        struct json *j = i % 5 ? NULL : json_read(line, strlen(line), from, &err);
        if (j) snprintf(text[n++], sizeof *text, "%s", json_text(json_get(j, "caption"), ""));
        json_free(j);
    }
    if (f) fclose(f);
    if (!f && (f = fopen(from = "samples/corpus/public.tsv", "r"))) {
        while (n < most && fgets(line, sizeof line, f))
            snprintf(text[n++], sizeof *text, "%.300s", line);
        fclose(f);
    }
    for (int i = 0; i < n; i++) items.bytes[i] = text[i], items.n_bytes[i] = strlen(text[i]);
    items.n = n;
    items.tower = m->text = random_tower(
        "text:width=1024,layers=24,heads=16,mlp=4096,embed=0,tokens=77", true,
        tokenizer_vocab(teacher->tokenizer));
    m->tokenizer = teacher->tokenizer;
    m->max_tokens = 77;
    printf("\nagainst f32, XLM-R large, %d texts of %s\n", n, from);
    embed_all(&items, "texts");
    model_free(teacher);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    int n = argc > 1 ? atoi(argv[1]) : 40;
    struct model m = {.projection_dim = DIM}, *teacher = NULL;
    if (n < 2 || n > MAX) {
        printf("\nbf16 and int8 against f32: not compared (N is not 2 to %d)\n", MAX);
        return 0;
    }
    bench_must(model_open(&teacher, "samples/teacher", MODEL_IMAGE, &err) == 0, &err);
    m.preprocess = preprocess_at_side(&teacher->preprocess, 224);
    model_free(teacher);
    pictures(&m, n);
    runner_close(m.image_run.runner);
    tower_free(m.image);
    m.image = NULL;
    texts(&m, n);
    runner_close(m.text_run.runner);
    tower_free(m.text);
    return 0;
}
