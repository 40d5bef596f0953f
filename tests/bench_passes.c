/* featurize end to end against the bare tower: what decoding, resizing, coding, compressing and
 * committing cost beside the forward pass of the same pictures. Three towers with random weights: a small
 * one, a ViT-B/32 and a ViT-L/14. Contestants, in turns, on all cores and by the clock:
 *
 *     featurize       the stage (featurize/imagepass.c) over a corpus into a new feature set, image.final in
 *                     q1e-4; its own time without the packing of weights
 *     bare tower      the forward pass of the same pictures, their pixels in memory
 *     no gaps         the same, and before it decoding and resizing on the same threads: what there is to
 *                     compute, without reading, writing, or waiting for either
 *
 * A CPU has nothing beside which a picture could be decoded for nothing: on all cores "hidden" means that
 * featurize takes no longer than "no gaps". How near that is to the bare tower is the tower's size. */
#include "tests/bench.h"

#include <omp.h>

#include "featurize/gemm.h"
#include "featurize/imagepass.h"
#include "featurize/model.h"
#include "ingest/picture.h"
#include "store/featureset.h"
#include "train/arch.h"

#define PHOTOS  "../shared/data/clothing/train"
#define OUR_OWN "samples/corpus/images"
enum { MOST = 512, DIM = 512, ROUNDS = 5, ROUNDS_LARGE = 3 };

static const char *cache;
static struct corpus *corpus;
static uint32_t n_photos;

struct contest {
    struct model model;
    enum numerics numerics;
    int n;           /* pictures */
    uint8_t *pixels; // (n, S, S, 3)
    float *out;      // (n, DIM)
    struct resizer **resizers;
    struct picture *pictures;
    struct effort effort; /* of all rounds */
};

static void add_photo(const char *folder, const char *name)
{
    struct error err = {0};
    char *path = file_join(folder, name, &err), *bytes;
    size_t n;
    struct picture pic = {0};
    struct picture_limits limits = picture_limits_default();
    bench_must(path != NULL, &err);
    bench_must(file_read(path, 1 << 28, &bytes, &n, &err) == 0, &err);
    if (picture_decode(bytes, n, &limits, true, &pic, NULL) == 0) {
        struct corpus_image image = {.width_px = pic.width_px,
                                     .height_px = pic.height_px,
                                     .format = pic.format,
                                     .orientation = pic.orientation};
        uint32_t number;
        bool is_new;
        bench_must(corpus_add_image(corpus, &image, bytes, n, &number, &is_new, &err) == 0, &err);
        n_photos += is_new;
    }
    picture_release(&pic);
    memory_free(bytes);
    memory_free(path);
}

/* Pictures of a folder, and of the folders in it. */
static void add_folder(const char *folder)
{
    struct error err = {0};
    char **names;
    size_t n;
    bench_must(file_list(folder, &names, &n, &err) == 0, &err);
    for (size_t i = 0; i < n && n_photos < MOST; i++) {
        char *path = file_join(folder, names[i], &err);
        bench_must(path != NULL, &err);
        if (file_is_folder(path))
            add_folder(path);
        else
            add_photo(folder, names[i]);
        memory_free(path);
    }
    memory_free(names);
}

static void make_corpus(void)
{
    struct error err = {0};
    cache = bench_folder();
    bench_must(corpus_open(&corpus, cache, CORPUS_WRITE, &err) == 0, &err);
    bench_must(corpus_begin(corpus, &err) == 0, &err);
    add_folder(file_is_folder(PHOTOS) ? PHOTOS : OUR_OWN);
    bench_must(corpus_commit(corpus, &err) == 0, &err);
    corpus_close(corpus);
    bench_must(corpus_open(&corpus, cache, CORPUS_READ, &err) == 0, &err);
}

static double featurize(void *ctx)
{
    static int turn;
    struct contest *c = ctx;
    struct error err = {0};
    struct featurize_options o = featurize_defaults();
    struct featurize_set result = {0};
    double before = effort_total_s(&c->effort);
    struct roll roll;
    uint64_t n_skipped = 0;
    struct json *fingerprint = json_new_object();
    json_set_string(fingerprint, "numerics", "x");
    struct featureset_spec spec = {.tap = "image.final",
                                   .dim = DIM,
                                   .storage = STORAGE_Q,
                                   .epsilon = 1e-4f,
                                   .fingerprint = fingerprint,
                                   .replay = fingerprint};
    snprintf(spec.name, sizeof spec.name, "set%d", turn++);
    struct tapsets *ts = memory_array(1, sizeof *ts, MEMORY_MAX_SMALL, &err);
    bench_must(ts != NULL, &err);
    *ts = (struct tapsets){.n = 1, .numerics = c->numerics, .says = "x"};
    ts->list[0] = (struct tapset){.result = &result, .dim = DIM};
    bench_must(featureset_create(&ts->list[0].fs, cache, &spec, &err) == 0, &err);
    bench_must(roll_open(&roll, corpus, &o, false, &err) == 0, &err);
    roll.n = (uint32_t)c->n;
    int rc = imagepass_run(ts, &roll, &o, &c->model, NULL, &c->effort, &n_skipped, &err);
    bench_must(rc == 0, &err);
    if (result.n_computed != (uint64_t)c->n)
        error_set(&err, ERR_DATA, "%d pictures, %d vectors", c->n, (int)result.n_computed);
    bench_must(result.n_computed == (uint64_t)c->n, &err);
    roll_release(&roll);
    tapsets_close(ts);
    memory_free(ts);
    json_free(fingerprint);
    return effort_total_s(&c->effort) - before;
}

/* Into c->pixels, as imagepass does it. */
static void decode(struct contest *c)
{
    int side = preprocess_side(&c->model.preprocess), n_bad = 0;
#pragma omp parallel for default(none) shared(c, corpus, side) schedule(dynamic, 1) reduction(+ : n_bad)
    for (int i = 0; i < c->n; i++) {
        struct picture *pic = &c->pictures[omp_get_thread_num()];
        struct picture_limits limits = picture_limits_default();
        const uint8_t *bytes;
        size_t n;
        int rc = corpus_image_bytes(corpus, (uint32_t)i, &bytes, &n, NULL);
        if (rc == 0) rc = picture_decode(bytes, n, &limits, true, pic, NULL);
        struct view_box box = {.whole = true, .width = pic->width_px, .height = pic->height_px};
        if (rc == 0)
            rc = preprocess_u8(&c->model.preprocess, c->resizers[omp_get_thread_num()], pic->rgb,
                               (int)pic->width_px, (int)pic->height_px, &box, side,
                               c->pixels + (size_t)i * (size_t)(side * side * 3), NULL);
        n_bad += rc != 0;
    }
    struct error err = {.text = "a picture of the corpus cannot be decoded"};
    bench_must(n_bad == 0, &err);
}

static void forward(struct contest *c, struct runner *r)
{
    struct error err = {0};
    struct tap tap = {.kind = TAP_FINAL};
    bench_must(runner_pictures(r, &c->model.preprocess, c->n, c->pixels, &tap, 1, &c->out, &err) ==
                   0,
               &err);
}

/* The weights are as `featurize`, which packs them anew, has left them. */
static double without_store(struct contest *c, bool decoding)
{
    struct error err = {0};
    struct runner *r = NULL;
    bench_must(runner_open(&r, c->model.image, c->numerics, 0, &err) == 0, &err);
    double start = bench_wall();
    if (decoding) decode(c);
    forward(c, r);
    double seconds = bench_wall() - start;
    runner_close(r);
    return seconds;
}

static double bare(void *ctx)
{
    return without_store(ctx, false);
}
static double no_gaps(void *ctx)
{
    return without_store(ctx, true);
}

static void contest_new(struct contest *c, const char *arch, int n)
{
    struct error err = {0};
    struct tower_config config = arch_image_default();
    bench_must(arch_parse(arch, false, &config, &err) == 0, &err);
    config.projection_dim = DIM;
    uint64_t side = (uint64_t)config.image_size;
    *c = (struct contest){.numerics = gemm_bf16_is_fast() ? NUMERICS_BF16 : NUMERICS_F32,
                          .n = (uint32_t)n < n_photos ? n : (int)n_photos};
    c->model.image = tower_new(&config, &err);
    bench_must(c->model.image != NULL, &err);
    tower_randomise(c->model.image, 1);
    c->model.preprocess = (struct preprocess){.shortest_edge = true,
                                              .size = (int)side,
                                              .resample = RESAMPLE_BICUBIC,
                                              .do_crop = true,
                                              .crop_size = (int)side,
                                              .rescale = 1 / 255.0,
                                              .mean = {0.5F, 0.5F, 0.5F},
                                              .std = {0.3F, 0.3F, 0.3F},
                                              .apply_orientation = true};
    int n_threads = omp_get_max_threads();
    c->pixels = memory_array((uint64_t)c->n, side * side * 3, MEMORY_MAX_TENSOR, &err);
    c->out = memory_array((uint64_t)c->n, DIM * sizeof *c->out, MEMORY_MAX_TENSOR, &err);
    c->pictures = memory_array((uint64_t)n_threads, sizeof *c->pictures, MEMORY_MAX_SMALL, &err);
    c->resizers = memory_array((uint64_t)n_threads, sizeof *c->resizers, MEMORY_MAX_SMALL, &err);
    bench_must(c->pixels && c->out && c->pictures && c->resizers, &err);
    for (int i = 0; i < n_threads; i++)
        bench_must((c->resizers[i] = resizer_new(&err)) != NULL, &err);
    decode(c);
}

static void contest_release(struct contest *c)
{
    for (int i = 0; i < omp_get_max_threads(); i++) {
        resizer_free(c->resizers[i]);
        picture_release(&c->pictures[i]);
    }
    tower_free(c->model.image);
    memory_free(c->pixels);
    memory_free(c->out);
    memory_free(c->pictures);
    memory_free(c->resizers);
}

int main(void)
{
    static const struct {
        const char *name, *arch, *goal;
        int n;
    } towers[] = {
        {"a small tower (128 wide, 6 blocks, 64 pixels)",
         "vit:width=128,layers=6,heads=4,mlp=512,patch=8,size=64", NULL, 512},
        {"ViT-B/32", "vit:width=768,layers=12,heads=12,mlp=3072,patch=32,size=224", NULL, 128},
        {"ViT-L/14", "vit:width=1024,layers=24,heads=16,mlp=4096,patch=14,size=224", ">= 0.95", 8},
    };
    make_corpus();
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        struct contest c;
        char title[200];
        contest_new(&c, towers[i].arch, towers[i].n);
        struct bench_entry e[] = {
            {.name = "featurize", .work = c.n, .run = featurize, .ctx = &c},
            {.name = "bare tower", .work = c.n, .run = bare, .ctx = &c, .goal = towers[i].goal},
            {.name = "decoding and tower, no gaps",
             .work = c.n,
             .run = no_gaps,
             .ctx = &c,
             .goal = ">= 0.95"}};
        snprintf(title, sizeof title,
                 "featurize end to end, %s, %s, %d %s, %d threads, by the clock", towers[i].name,
                 c.numerics == NUMERICS_BF16 ? "bf16" : "f32", c.n,
                 file_is_folder(PHOTOS) ? "photos" : "pictures of the sample corpus",
                 omp_get_max_threads());
        bench_table(title, "pictures/s", e, 3, i ? ROUNDS_LARGE : ROUNDS);
        double total = effort_total_s(&c.effort) / 100;
        printf("  of featurize's time: reading and decoding %.1f%%, tower %.1f%%, waiting for the "
               "store %.1f%%\n",
               c.effort.seconds[EFFORT_PREPARE] / total, c.effort.seconds[EFFORT_COMPUTE] / total,
               c.effort.waited_s / total);
        contest_release(&c);
    }
    corpus_close(corpus);
    return 0;
}
