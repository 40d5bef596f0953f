/* Teachers at full size: ViT-L/14 (24 blocks, 1024 wide, 257 tokens, 162 GFLOP a picture) and XLM-R
 * large, random weights, in f32, bf16 and int8, against PyTorch; as operations a second and as a
 * share of what this core's multiply-adds can do. One thread and the processor's seconds, but for the last
 * tables: one input alone on all cores, by the clock.
 *
 * Texts: 16 of natural lengths (8 to 30 tokens), which we concatenate; PyTorch pads them to 77, or,
 * as `bucketed`, sorts them and pads eight at a time to the longest. */
#include <omp.h>

#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/runner.h"
#include "store/memory.h"
#include "tests/peak.h"
#include "train/arch.h"

enum { PICTURES = 4, TEXTS = 16, ROUNDS = 3, DIM = 768, LAYERS = 24, WIDTH = 1024, SIDE = 224 };

static const char *const NAMES[] = {"f32", "bf16", "int8"}; /* by numerics */

struct teacher {
    struct tower *tower;
    struct runner *runner;
    uint8_t *pixels;
    int32_t *ids, offsets[TEXTS + 1];
    int n;
    float *out;
    double (*seconds)(void);
};

static double forward(void *ctx)
{
    struct teacher *t = ctx;
    struct error err = {0};
    struct tap tap = {.kind = TAP_FINAL};
    struct preprocess p = {
        .rescale = 1 / 255.0, .mean = {0.5F, 0.5F, 0.5F}, .std = {0.3F, 0.3F, 0.3F}};
    double start = t->seconds();
    int rc = t->tower->config.arch == ARCH_TEXT
                 ? runner_texts(t->runner, t->n, t->ids, t->offsets, &tap, 1, &t->out, &err)
                 : runner_pictures(t->runner, &p, t->n, t->pixels, &tap, 1, &t->out, &err);
    bench_must(rc == 0, &err);
    return t->seconds() - start;
}

/* Multiply-adds of the linears and of attention, two operations each. */
static double giga(const struct teacher *t, int n)
{
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    double sum = 0, linears = 12.0 * WIDTH * WIDTH;
    for (int i = 0; i < n; i++) {
        double rows = is_text ? t->offsets[i + 1] - t->offsets[i] : 257;
        sum += 2 * LAYERS * rows * (linears + 2 * rows * WIDTH);
        if (!is_text) sum += 2 * 256.0 * WIDTH * 3 * 14 * 14;
    }
    return sum / 1e9;
}

static void teacher_new(struct teacher *t, bool is_text)
{
    struct error err = {0};
    struct tower_config c = is_text ? arch_text_default() : arch_image_default();
    const char *words = is_text ? "text:width=1024,layers=24,heads=16,mlp=4096,embed=0,tokens=77"
                                : "vit:width=1024,layers=24,heads=16,mlp=4096,patch=14,size=224";
    bench_must(arch_parse(words, is_text, &c, &err) == 0, &err);
    c.projection_dim = c.head_dim = DIM;
    c.vocab = 1000;
    if (is_text) c.pooling = POOL_CLS;
    *t = (struct teacher){.tower = tower_new(&c, &err)};
    bench_must(t->tower, &err);
    tower_randomise(t->tower, 1);
    size_t n_pixels = is_text ? 1 : (size_t)PICTURES * SIDE * SIDE * 3;
    t->pixels = memory_array(n_pixels, 1, MEMORY_MAX_TENSOR, &err);
    t->ids = memory_array(TEXTS * 77, sizeof *t->ids, MEMORY_MAX_SMALL, &err);
    t->out = memory_array(TEXTS * DIM, sizeof *t->out, MEMORY_MAX_SMALL, &err);
    bench_must(t->pixels && t->ids && t->out, &err);
    for (size_t i = 0; i < n_pixels; i++) t->pixels[i] = (uint8_t)(128 + 120 * bench_noise(i));
    for (int i = 0; i < TEXTS; i++) t->offsets[i + 1] = t->offsets[i] + 8 + i * 11 % 23;
    for (int i = 0; i < t->offsets[TEXTS]; i++) t->ids[i] = 5 + i * 31 % 990;
}

static void teacher_pack(struct teacher *t, enum numerics numerics)
{
    struct error err = {0};
    double start = bench_cpu();
    if (numerics == NUMERICS_INT8)
        tower_calibrate(t->tower, calibration_plain(&t->tower->params, &err));
    bench_must(tower_pack(t->tower, numerics, &err) == 0, &err);
    printf("\nweights packed for %s in %.1f s of the processor\n", NAMES[numerics],
           bench_cpu() - start);
}

static void teacher_run_on(struct teacher *t, enum numerics numerics, int threads, int n)
{
    struct error err = {0};
    runner_close(t->runner);
    bench_must(runner_open(&t->runner, t->tower, numerics, threads, &err) == 0, &err);
    t->n = n;
    t->seconds = threads == 1 ? bench_cpu : bench_wall;
}

static void teacher_release(struct teacher *t)
{
    runner_close(t->runner);
    tower_free(t->tower);
    memory_free(t->pixels);
    memory_free(t->ids);
    memory_free(t->out);
}

/* What the products of `numerics` can do at most, by `*how`. */
static double limit_of(enum numerics numerics, const char **how)
{
    if (numerics == NUMERICS_INT8) {
        *how = "vpdpbusd";
        return peak_int8();
    }
    bool bf16 = numerics == NUMERICS_BF16 && gemm_bf16_is_fast();
    *how = bf16 ? "vdpbf16ps" : "f32 multiply-adds";
    return bf16 ? peak_bf16() : peak_f32();
}

static void say_share(const struct teacher *t, const struct bench_entry *e, enum numerics numerics)
{
    const char *how;
    double s[3], limit = limit_of(numerics, &how);
    bench_spread(e->seconds, ROUNDS, s);
    double rate = giga(t, t->n) / s[0];
    printf("  %s does %.0f G operations/s", e->name, rate);
    if (numerics && peak_has_amx_bf16())
        printf(" (the peak of AMX is not measured here)");
    else if (limit > 0)
        printf(", %.0f%% of the %.0f that %s of this core can do from registers",
               100 * rate / limit, limit, how);
    printf("\n");
    fflush(stdout);
}

/* PyTorch's f32 on the reference BLAS would take minutes a round and says nothing. */
static void leave_out_reference(struct bench_entry *e)
{
    if (!e->peer || !strstr(e->ask, " f32 ") || !strstr(e->peer->name, "reference BLAS")) return;
    e->peer = NULL;
    e->name = "PyTorch f32 (its BLAS is the reference one: install libopenblas0)";
}

/* One thread of each, and the share of the peak. */
static void bench_batch(struct teacher *t, enum numerics numerics, struct bench_peer *torch)
{
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    int n = is_text ? TEXTS : PICTURES;
    teacher_run_on(t, numerics, 1, n);
    /* PyTorch 1.13 has no int8 of these layers that is worth its name: its bf16 is the peer */
    const char *kind = numerics ? "bf16" : "f32";
    char ours[40], label[2][40], ask[2][40];
    snprintf(ours, sizeof ours, "clipstill %s", NAMES[numerics]);
    snprintf(label[0], sizeof label[0], is_text ? "%s, padded to 77" : "%s", kind);
    snprintf(label[1], sizeof label[1], is_text ? "%s, bucketed" : "f32", kind);
    snprintf(ask[0], sizeof ask[0], "%s %s 1", is_text ? "padded" : "pictures", kind);
    snprintf(ask[1], sizeof ask[1], "%s %s 1", is_text ? "bucketed" : "pictures",
             is_text ? kind : "f32");
    struct bench_entry e[3] = {{.name = ours, .work = n, .run = forward, .ctx = t},
                               {.name = label[0], .work = n, .peer = torch, .ask = ask[0]},
                               {.name = label[1], .work = n, .peer = torch, .ask = ask[1]}};
    static const char *const picture_goals[] = {">= 1.1", ">= 3 with AMX", ">= 5"},
                             *const text_goals[] = {NULL, ">= 10 with AMX", ">= 10"};
    e[1].goal = is_text ? text_goals[numerics] : picture_goals[numerics];
    for (int i = 1; i < 3; i++) leave_out_reference(&e[i]);
    bench_table(is_text ? "XLM-R large, 16 texts of 8-30 tokens, one thread"
                        : "ViT-L/14, 4 pictures, one thread",
                is_text ? "texts/s" : "pictures/s", e, numerics || is_text ? 3 : 2, ROUNDS);
    say_share(t, &e[0], numerics);
}

/* One input, all cores, by the clock. */
static void bench_alone(struct teacher *t, struct teacher *one_thread, struct bench_peer *torch)
{
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    char ask[2][40], title[80];
    int threads = omp_get_num_procs();
    teacher_run_on(t, NUMERICS_BF16, threads, 1);
    *one_thread = *t;
    one_thread->runner = NULL;
    teacher_run_on(one_thread, NUMERICS_BF16, 1, 1);
    one_thread->seconds = bench_wall;
    snprintf(ask[0], sizeof ask[0], "%s f32 %d", is_text ? "text" : "picture", threads);
    snprintf(ask[1], sizeof ask[1], "%s bf16 %d", is_text ? "text" : "picture", threads);
    snprintf(title, sizeof title, "%s, one %s alone, %d threads, by the clock",
             is_text ? "XLM-R large" : "ViT-L/14", is_text ? "text of 8 tokens" : "picture",
             threads);
    struct bench_entry e[4] = {
        {.name = "clipstill bf16", .work = 1, .run = forward, .ctx = t},
        {.name = "clipstill bf16, one thread", .work = 1, .run = forward, .ctx = one_thread},
        {.name = "f32", .work = 1, .peer = torch, .ask = ask[0]},
        {.name = "bf16", .work = 1, .peer = torch, .ask = ask[1]}};
    leave_out_reference(&e[2]);
    bench_table(title, "a second", e, 4, ROUNDS);
    runner_close(one_thread->runner);
}

int main(void)
{
    printf(
        "\none core from registers: f32 %.0f GFLOP/s, bf16 (vdpbf16ps) %.0f, int8 (vpdpbusd) %.0f "
        "GOP/s; AMX %s; bf16 products are %s\n",
        peak_f32(), peak_bf16(), peak_int8(), peak_has_amx_bf16() ? "is there" : "is not there",
        gemm_bf16_is_fast() ? "fast" : "done by f32 ones");
    enum numerics last = gemm_int8_is_exact() ? NUMERICS_INT8 : NUMERICS_BF16;
    for (int is_text = 0; is_text < 2; is_text++) {
        struct teacher t, alone;
        struct bench_peer torch;
        const char *const args[] = {is_text ? "texts" : "pictures", NULL};
        teacher_new(&t, is_text);
        bench_peer_open(&torch, "PyTorch", "tests/peer_teacher.py", args);
        for (enum numerics numerics = NUMERICS_F32; numerics <= last; numerics++) {
            teacher_pack(&t, numerics);
            bench_batch(&t, numerics, &torch);
            if (numerics == NUMERICS_BF16) bench_alone(&t, &alone, &torch);
        }
        bench_peer_close(&torch);
        teacher_release(&t);
    }
    return 0;
}
