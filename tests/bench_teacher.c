/* Teachers at full size: ViT-L/14 (24 blocks, 1024 wide, 257 tokens, 162 GFLOP a picture) and XLM-R
 * large, random weights, in f32, bf16 and int8, against PyTorch and ONNX Runtime; as operations a
 * second and as a share of what this core's multiply-adds can do. One thread and the processor's
 * seconds, but for the tables of one input alone: all cores, by the clock.
 *
 * Texts: 16 of natural lengths (8 to 30 tokens), which we concatenate; a peer pads them to 77, or,
 * as `bucketed`, sorts them and pads eight at a time to the longest. PyTorch has random weights of
 * its own; ONNX Runtime, which has no bf16, is given ours, and must come to the same embeddings. */
#include <omp.h>

#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/runner.h"
#include "store/memory.h"
#include "tests/peak.h"
#include "tests/peertower.h"
#include "train/arch.h"

enum { PICTURES = 4, TEXTS = 16, ROUNDS = 3, DIM = 768, LAYERS = 24, WIDTH = 1024, SIDE = 224 };

static const char *const NAMES[] = {"f32", "bf16", "int8"}; /* by numerics */
static const struct preprocess scaling = {
    .rescale = 1 / 255.0, .mean = {0.5F, 0.5F, 0.5F}, .std = {0.3F, 0.3F, 0.3F}};

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
    double start = t->seconds();
    int rc = t->tower->config.arch == ARCH_TEXT
                 ? runner_texts(t->runner, t->n, t->ids, t->offsets, &tap, 1, &t->out, &err)
                 : runner_pictures(t->runner, &scaling, t->n, t->pixels, &tap, 1, &t->out, &err);
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

/* Entries and the room for their words. */
struct table {
    struct bench_entry e[6];
    char words[6][2][48];
    int n;
};

static void add_ours(struct table *t, struct teacher *teacher, const char *kind, const char *more)
{
    char *name = t->words[t->n][0];
    snprintf(name, sizeof t->words[0][0], "clipstill %s%s", kind, more);
    t->e[t->n++] = (struct bench_entry){
        .name = name, .work = teacher->n, .run = forward, .ctx = teacher};
}

/* PyTorch's f32 on the reference BLAS would take minutes a round and says nothing. */
static void leave_out_reference(struct bench_entry *e)
{
    if (!strstr(e->ask, " f32 ") || !strstr(e->peer->name, "reference BLAS")) return;
    e->peer = NULL;
    e->name = "PyTorch f32 (its BLAS is the reference one: install libopenblas0)";
}

/* The peer's `kind` for each of the cases, of which the goal is for the first. */
static void add_peer(struct table *t, struct bench_peer *peer, const char *const cases[2],
                     const char *kind, int threads, const char *goal)
{
    for (int i = 0; i < 2 && cases[i]; i++) {
        char *name = t->words[t->n][0], *ask = t->words[t->n][1];
        const char *how = !strcmp(cases[i], "padded")     ? ", padded to 77"
                          : !strcmp(cases[i], "bucketed") ? ", bucketed"
                                                          : "";
        snprintf(name, sizeof t->words[0][0], "%s%s", kind, how);
        snprintf(ask, sizeof t->words[0][1], "%s %s %d", cases[i], kind, threads);
        struct bench_entry *e = &t->e[t->n++];
        *e = (struct bench_entry){
            .name = name, .work = t->e[0].work, .peer = peer, .ask = ask, .goal = i ? NULL : goal};
        leave_out_reference(e);
    }
}

struct peers {
    struct bench_peer torch, onnx;
};

/* Both peers, in what they have that is nearest to `numerics`: ONNX Runtime has no bf16, PyTorch
 * 1.13 no int8 of these layers that is worth its name. */
static void add_peers(struct table *t, struct peers *peers, const char *const cases[2],
                      enum numerics numerics, int threads, const char *goal)
{
    add_peer(t, &peers->torch, cases, numerics ? "bf16" : "f32", threads, goal);
    if (numerics && !cases[1]) add_peer(t, &peers->torch, cases, "f32", threads, NULL);
    add_peer(t, &peers->onnx, cases, numerics == NUMERICS_INT8 ? "int8" : "f32", threads, NULL);
}

/* One thread of each, and the share of the peak. */
static void bench_batch(struct teacher *t, enum numerics numerics, struct peers *peers)
{
    static const char *const cases[2][2] = {{"pictures", NULL}, {"padded", "bucketed"}};
    static const char *const goals[2][3] = {{">= 1.1", ">= 3 with AMX", ">= 5"},
                                            {NULL, ">= 10 with AMX", ">= 10"}};
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    struct table table = {0};
    teacher_run_on(t, numerics, 1, is_text ? TEXTS : PICTURES);
    add_ours(&table, t, NAMES[numerics], "");
    add_peers(&table, peers, cases[is_text], numerics, 1, goals[is_text][numerics]);
    bench_table(is_text ? "XLM-R large, 16 texts of 8-30 tokens, one thread"
                        : "ViT-L/14, 4 pictures, one thread",
                is_text ? "texts/s" : "pictures/s", table.e, table.n, ROUNDS);
    say_share(t, &table.e[0], numerics);
}

/* One input, all cores, by the clock. */
static void bench_alone(struct teacher *t, enum numerics numerics, struct peers *peers)
{
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    int threads = omp_get_num_procs();
    struct table table = {0};
    char title[80];
    teacher_run_on(t, numerics, threads, 1);
    struct teacher one_thread = *t;
    one_thread.runner = NULL;
    teacher_run_on(&one_thread, numerics, 1, 1);
    t->seconds = one_thread.seconds = bench_wall;
    add_ours(&table, t, NAMES[numerics], "");
    add_ours(&table, &one_thread, NAMES[numerics], ", one thread");
    add_peers(&table, peers, (const char *const[2]){is_text ? "text" : "picture"}, numerics,
              threads, NULL);
    snprintf(title, sizeof title, "%s, one %s alone, %d threads, by the clock",
             is_text ? "XLM-R large" : "ViT-L/14", is_text ? "text of 8 tokens" : "picture",
             threads);
    for (int i = 0; i < table.n; i++) table.e[i].rested = true;
    bench_table(title, "a second", table.e, table.n, ROUNDS);
    runner_close(one_thread.runner);
}

/* The least cosine of the peer's embeddings to ours in f32. */
static void check_peer(struct bench_peer *onnx, const char *kind, double bound)
{
    struct error err = {0};
    char ask[40], line[64];
    snprintf(ask, sizeof ask, "cosine %s 1", kind);
    bench_peer_ask(onnx, ask, line, sizeof line);
    printf("%s %s: cosine to clipstill f32 at least %.7f\n", onnx->name, kind, atof(line));
    if (!(atof(line) > bound))
        error_set(&err, ERR_DATA, "%s %s does other work: its embeddings have cosine %s to ours",
                  onnx->name, kind, line);
    bench_must(!err.code, &err);
}

/* The tower, packed in f32, for ONNX Runtime, with what it makes of the sample. */
static void give_to_onnx(struct teacher *t, const char *folder, struct bench_peer *onnx)
{
    if (!onnx->to) return;
    struct error err = {0};
    bool is_text = t->tower->config.arch == ARCH_TEXT;
    int64_t n_pixels = is_text ? 1 : (int64_t)PICTURES * SIDE * SIDE;
    float *scaled = memory_array((uint64_t)n_pixels * 3, sizeof *scaled, MEMORY_MAX_TENSOR, &err);
    bench_must(scaled && file_make_folder(folder, &err) == 0, &err);
    if (!is_text) preprocess_scale(&scaling, t->pixels, n_pixels, scaled);
    teacher_run_on(t, NUMERICS_F32, 1, is_text ? TEXTS : PICTURES);
    forward(t);
    struct tower_input in = {.n = t->n, .pixels = scaled, .ids = t->ids, .offsets = t->offsets};
    peertower_save(t->tower, folder, &in, t->out);
    memory_free(scaled);
    check_peer(onnx, "f32", 0.99999);
    check_peer(onnx, "int8", 0.999);
}

static void bench_tower(bool is_text)
{
    struct error err = {0};
    struct teacher t;
    struct peers peers;
    char folder[120];
    enum numerics last = gemm_int8_is_exact() ? NUMERICS_INT8 : NUMERICS_BF16;
    snprintf(folder, sizeof folder, "%s/%s", bench_folder_path(), is_text ? "texts" : "pictures");
    const char *const torch_args[] = {is_text ? "texts" : "pictures", NULL};
    const char *const onnx_args[] = {folder, NULL};
    teacher_new(&t, is_text);
    bench_peer_open(&peers.torch, "PyTorch", "tests/peer_teacher.py", torch_args);
    bench_peer_open(&peers.onnx, "ONNX Runtime", "tests/peer_onnx.js", onnx_args);
    for (enum numerics numerics = NUMERICS_F32; numerics <= last; numerics++) {
        teacher_pack(&t, numerics);
        if (numerics == NUMERICS_F32) give_to_onnx(&t, folder, &peers.onnx);
        bench_batch(&t, numerics, &peers);
        bench_alone(&t, numerics, &peers);
    }
    bench_peer_close(&peers.torch);
    bench_peer_close(&peers.onnx);
    bench_must(file_remove_folder(folder, &err) >= 0, &err);
    teacher_release(&t);
}

int main(void)
{
    printf(
        "\none core from registers: f32 %.0f GFLOP/s, bf16 (vdpbf16ps) %.0f, int8 (vpdpbusd) %.0f "
        "GOP/s; AMX %s; bf16 products are %s\n",
        peak_f32(), peak_bf16(), peak_int8(), peak_has_amx_bf16() ? "is there" : "is not there",
        gemm_bf16_is_fast() ? "fast" : "done by f32 ones");
    bench_folder();
    bench_tower(false);
    bench_tower(true);
    return 0;
}
