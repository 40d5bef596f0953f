/* Networks: one matrix product, the picture and the text tower of a teacher's shape (four layers of
 * width 768, random weights), a training step of two students; against PyTorch where it is
 * installed, and the product against this core's own multiply-add peak. One thread; micro-batches
 * are those of the program.
 *
 * Texts: 32 of natural lengths (8 to 30 tokens), which we concatenate and a padding implementation
 * brings to 77 each. */
#include <omp.h>

#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/runner.h"
#include "store/memory.h"
#include "tests/peak.h"
#include "train/arch.h"
#include "train/random.h"
#include "train/student.h"

enum { M = 788, N = 3072, K = 768, PRODUCTS = 8, PICTURES = 4, TEXTS = 32, BATCH = 64, DIM = 512 };
#define GIGA(products) (2.0 * M * N * K * (products) / 1e9)

static struct bench_peer torch;

static bool has_512(void)
{
    return __builtin_cpu_supports("avx512f");
}

static double peak(void *ctx)
{
    (void)ctx;
    double start = bench_cpu();
    has_512() ? peak_run_f32_512() : peak_run_f32_256();
    return bench_cpu() - start;
}

struct product {
    struct gemm *gemm;
    struct params params;
    struct packed *packed[2]; /* by numerics */
    float *x, *y;
};

static double product_run(struct product *p, enum numerics numerics)
{
    struct error err = {0};
    double start = bench_cpu();
    struct gemm_layer layer = {.numerics = numerics,
                               .packed = p->packed[numerics],
                               .n = N,
                               .k = K,
                               .w = params_at(&p->params, 0)};
    for (int i = 0; i < PRODUCTS; i++) {
        int rc = gemm_linear(p->gemm, &layer, M, (struct rows){.x = p->x}, (struct rows){.x = p->y},
                             &err);
        bench_must(rc == 0, &err);
    }
    return bench_cpu() - start;
}

static double product_f32(void *ctx)
{
    return product_run(ctx, NUMERICS_F32);
}

static double product_bf16(void *ctx)
{
    return product_run(ctx, NUMERICS_BF16);
}

/* Entry e, and behind it PyTorch's f32 and bf16 of the case. */
static void add_torch(struct bench_entry *e, double work, const char *f32, const char *bf16,
                      const char *goal_f32, const char *goal_bf16)
{
    e[0] = (struct bench_entry){
        .name = "f32", .work = work, .peer = &torch, .ask = f32, .goal = goal_f32};
    e[1] = (struct bench_entry){
        .name = "bf16", .work = work, .peer = &torch, .ask = bf16, .goal = goal_bf16};
}

static void bench_product(void)
{
    struct error err = {0};
    struct product p = {.gemm = gemm_new(&err)};
    bench_must(p.gemm, &err);
    bench_must(params_add(&p.params, "fc1.weight", PARAM_DECAY, 2, (int64_t[]){N, K}, &err) == 0,
               &err);
    bench_must(params_allocate(&p.params, &err) == 0, &err);
    for (size_t i = 0; i < p.params.table[0].n; i++) params_at(&p.params, 0)[i] = bench_noise(i);
    p.x = bench_floats((size_t)M * K);
    p.y = bench_floats((size_t)M * N);
    for (int k = 0; k < 2; k++) {
        p.packed[k] = packed_new(&p.params, (enum numerics)k, &err);
        bench_must(p.packed[k], &err);
    }
    for (int k = 0; k < 2; k++) {
        struct bench_entry e[5] = {{.name = k ? "clipstill bf16" : "clipstill f32",
                                    .work = GIGA(PRODUCTS),
                                    .run = k ? product_bf16 : product_f32,
                                    .ctx = &p}};
        add_torch(e + 1, GIGA(PRODUCTS), "gemm f32", "gemm bf16", NULL, NULL);
        e[3] = (struct bench_entry){.name = has_512() ? "limit: AVX-512 f32 multiply-adds"
                                                      : "limit: AVX2 f32 multiply-adds",
                                    .work = 2.0 * PEAK_CHAINS * (has_512() ? 16 : 8) * PEAK_STEPS /
                                            1e9,
                                    .run = peak_f32() > 0 ? peak : NULL};
        bench_table("matrix product 788 x 768 by 3072 x 768, weights packed, one thread", "GFLOP/s",
                    e, 4, 5);
    }
    packed_free(p.packed[0]);
    packed_free(p.packed[1]);
    params_release(&p.params);
    memory_free(p.x);
    memory_free(p.y);
    gemm_free(p.gemm);
}

/* A tower in inference, cut into the program's micro-batches. */
struct forward {
    struct tower *tower;
    struct exec *e;
    float *pixels;
    int32_t *ids, offsets[TEXTS + 1];
};

static double forward_run(void *ctx)
{
    struct forward *f = ctx;
    struct error err = {0};
    struct tap tap = {.kind = TAP_FINAL};
    struct value *out;
    bool is_text = f->tower->config.arch == ARCH_TEXT;
    int n = is_text ? TEXTS : PICTURES;
    double start = bench_cpu();
    for (int i = 0, end; i < n; i = end) {
        int32_t offsets[TEXTS + 1] = {0};
        size_t side = (size_t)f->tower->config.image_size;
        for (end = i; end < n; end++) {
            if (is_text && f->offsets[end + 1] - f->offsets[i] > RUNNER_TOKENS) break;
            if (!is_text && end - i == RUNNER_PICTURES) break;
            if (is_text) offsets[end + 1 - i] = f->offsets[end + 1] - f->offsets[i];
        }
        struct tower_input in = {.n = end - i, .offsets = offsets};
        if (is_text)
            in.ids = f->ids + f->offsets[i];
        else
            in.pixels = f->pixels + (size_t)i * side * side * 3;
        exec_reset(f->e);
        bench_must(tower_forward(f->tower, f->e, &in, &tap, 1, &out, &err) == 0, &err);
    }
    return bench_cpu() - start;
}

static void bench_forward(bool is_text, enum numerics numerics)
{
    struct error err = {0};
    struct tower_config c = is_text ? arch_text_default() : arch_image_default();
    const char *words = is_text ? "text:width=768,layers=4,heads=12,mlp=3072,embed=0,tokens=77"
                                : "vit:width=768,layers=4,heads=12,mlp=3072,patch=16,size=224";
    bench_must(arch_parse(words, is_text, &c, &err) == 0, &err);
    c.projection_dim = c.head_dim = DIM;
    c.vocab = 1000;
    if (is_text) c.pooling = POOL_CLS;
    struct forward f = {.tower = tower_new(&c, &err), .e = exec_new(EXEC_INFER, numerics, &err)};
    bench_must(f.tower && f.e, &err);
    tower_randomise(f.tower, 1);
    if (numerics == NUMERICS_INT8)
        tower_calibrate(f.tower, calibration_plain(&f.tower->params, &err));
    bench_must(tower_pack(f.tower, numerics, &err) == 0, &err);
    exec_bind(f.e, &f.tower->params, f.tower->packed);
    f.pixels = bench_floats(is_text ? 1 : (size_t)PICTURES * 224 * 224 * 3);
    f.ids = memory_array(TEXTS * 77, sizeof *f.ids, MEMORY_MAX_SMALL, &err);
    bench_must(f.ids, &err);
    for (int i = 0; i < TEXTS; i++) f.offsets[i + 1] = f.offsets[i] + 8 + i * 11 % 23;
    for (int i = 0; i < f.offsets[TEXTS]; i++) f.ids[i] = 5 + i * 31 % 990;
    static const char *const names[] = {"clipstill f32", "clipstill bf16", "clipstill int8"};
    struct bench_entry e[3] = {{.name = names[numerics],
                                .work = is_text ? TEXTS : PICTURES,
                                .run = forward_run,
                                .ctx = &f}};
    if (is_text)
        add_torch(e + 1, TEXTS, "text f32", "text bf16", NULL, numerics ? ">= 10" : NULL);
    else
        add_torch(e + 1, PICTURES, "vit f32", "vit bf16", numerics ? NULL : ">= 1.1",
                  numerics == NUMERICS_INT8 ? ">= 5"
                  : numerics                ? ">= 3"
                                            : NULL);
    char title[160];
    snprintf(title, sizeof title, "%s, %s, four layers of width 768, forward, one thread",
             is_text ? "XLM-R" : "ViT-B/16",
             is_text ? "32 texts of 8-30 tokens, PyTorch padded to 77" : "224 px");
    bench_table(title, is_text ? "texts/s" : "pictures/s", e, 3, 5);
    memory_free(f.pixels);
    memory_free(f.ids);
    exec_free(f.e);
    tower_free(f.tower);
}

struct training {
    struct student *s;
    struct loader_batch batch;
};

static double training_step(void *ctx)
{
    struct training *t = ctx;
    struct error err = {0};
    struct micro_sums sums;
    double start = bench_cpu();
    optimiser_zero_grad(&t->s->optimiser);
    int rc = student_gradients(t->s, &t->s->image, &t->batch, NULL, &sums, &err);
    bench_must(rc == 0, &err);
    bench_must(optimiser_step(&t->s->optimiser, NULL, &err) == 0, &err);
    return bench_cpu() - start;
}

static void training_new(struct training *t, const char *arch, int n, enum numerics numerics)
{
    struct error err = {0};
    struct tower_config c = arch_image_default();
    struct optimiser_config config = optimiser_config_default();
    struct target target = {.kind = TARGET_EMBEDDING,
                            .name = "image.final",
                            .tap = {.kind = TAP_FINAL},
                            .cells = 1,
                            .dim = DIM,
                            .weight = 1};
    bench_must(arch_parse(arch, false, &c, &err) == 0, &err);
    c.projection_dim = DIM;
    bench_must(student_new(&t->s, &c, NULL, numerics, &err) == 0, &err);
    tower_randomise(t->s->image.tower, 1);
    t->s->model->preprocess = (struct preprocess){
        .rescale = 1 / 255.0, .mean = {0.5F, 0.5F, 0.5F}, .std = {0.3F, 0.3F, 0.3F}};
    bench_must(student_add_target(t->s, &t->s->image, &target, &err) == 0, &err);
    config.n_steps = 1000;
    bench_must(student_prepare(t->s, &config, false, 1, &err) == 0, &err);
    size_t n_pixels = (size_t)n * (size_t)c.image_size * (size_t)c.image_size * 3;
    t->batch = (struct loader_batch){.n = n};
    t->batch.pixels = memory_array(n_pixels, 1, MEMORY_MAX_FILE, &err);
    float *x = bench_floats((size_t)n * DIM); /* any direction will do */
    t->batch.image_target[0] = x;
    bench_must(t->batch.pixels, &err);
    for (size_t i = 0; i < n_pixels; i++) t->batch.pixels[i] = (uint8_t)random_bits(1, 0, i);
}

static void bench_training(enum numerics numerics)
{
    struct training vit, mobile;
    training_new(&vit, "vit-tiny", BATCH, numerics);
    training_new(&mobile, "mobilevit-xs:size=160", BATCH / 8, numerics);
    const char *name = numerics ? "clipstill bf16" : "clipstill f32";
    struct bench_entry e[3] = {{.name = name, .work = BATCH, .run = training_step, .ctx = &vit}};
    add_torch(e + 1, BATCH, "step f32", "step bf16", NULL, numerics ? ">= 2.2" : NULL);
    bench_table("training step of vit-tiny (160 px, batch 64, AdamW), one thread", "pictures/s", e,
                3, 3);
    struct bench_entry m[2] = {
        {.name = name, .work = BATCH / 8, .run = training_step, .ctx = &mobile},
        {.name = "PyTorch (no peer is written for MobileViT)"}};
    bench_table("training step of mobilevit-xs (160 px, batch 8, AdamW), one thread", "pictures/s",
                m, 2, 3);
    struct training *both[] = {&vit, &mobile};
    for (int i = 0; i < 2; i++) {
        loader_batch_release(&both[i]->batch);
        student_free(both[i]->s);
    }
}

int main(void)
{
    omp_set_num_threads(1);
    bench_peer_open(&torch, "PyTorch", "tests/peer_tower.py", NULL);
    printf("\nbf16 products are %s here; the goals against bf16 are set for CPUs with AMX, which "
           "this one %s\n",
           gemm_bf16_is_fast() ? "fast" : "done by f32 ones",
           peak_has_amx_bf16() ? "has" : "lacks");
    bench_product();
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
        bench_forward(false, numerics);
        bench_forward(true, numerics);
        bench_training(numerics);
    }
    if (gemm_int8_is_exact()) {
        bench_forward(false, NUMERICS_INT8);
        bench_forward(true, NUMERICS_INT8);
    }
    bench_peer_close(&torch);
    return 0;
}
