/* Teachers of every shape: random models of the four families, written as folders of all kinds and
 * read back, against the plain reference of tests/plainkit.h: every layer and every embedding, in
 * f32, bf16 and int8, alone and among others. */
#include "featurize/calibration.h"
#include "featurize/embed.h"
#include "featurize/gemm.h"
#include "featurize/towerload.h"
#include "tests/scratch.h"
#include "tests/shapekit.h"
#include "tests/towerkit.h"

enum { N_INPUTS = 4, MAX_TAPS = 40 };

/* The inputs of one tower, and what the reference makes of them. */
struct inputs {
    bool is_text;
    int n;
    int32_t ids[400], offsets[N_INPUTS + 1];
    float *pixels; // (n, S, S, 3)
    double *hidden[N_INPUTS], *embedding[N_INPUTS];
};

/* Of lengths from the shortest text to the longest that fits. */
static void make_texts(struct inputs *in, struct plain *p, int most)
{
    const int length[N_INPUTS] = {most, 2, 3, most - 1};
    bool is_clip = plain_is(p, "clip");
    int end = !is_clip ? 2 : p->eos == 2 ? p->vocab - 1 : p->eos, at = 0;
    for (int i = 0; i < N_INPUTS; i++) {
        in->offsets[i] = at;
        for (int k = 0; k < length[i]; k++)
            in->ids[at++] = 4 + (int)((kit_noise((uint64_t)(i * 1000 + k)) + 1) / 2 *
                                      (float)(p->vocab - 5));
        in->ids[in->offsets[i]] = 0;
        in->ids[at - 1] = end;
        in->offsets[i + 1] = at;
        if (is_clip && length[i] > 4) in->ids[at - 2] = end; /* the first of two counts */
    }
}

static void make_inputs(struct inputs *in, struct plain *p, bool is_text, int most)
{
    const struct plain_net *net = is_text ? &p->text : &p->vision;
    *in = (struct inputs){.is_text = is_text, .n = is_text ? N_INPUTS : 2};
    int longest = most < p->positions - 2 ? most + 2 : most; /* a batch with a longer text */
    size_t plane = (size_t)p->image * (size_t)p->image;
    if (is_text)
        make_texts(in, p, most);
    else
        in->pixels = kit_pixels(3 * plane * (size_t)in->n);
    double *planes = plain_alloc(3 * plane * sizeof *planes);
    for (int i = 0; i < in->n; i++) {
        int rows = is_text ? longest : plain_tokens(p);
        in->hidden[i] = plain_alloc((size_t)(net->layers + 1) * (size_t)(rows * net->width) *
                                    sizeof(double));
        in->embedding[i] = plain_alloc((size_t)p->projection * sizeof(double));
        for (size_t k = 0; !is_text && k < 3 * plane; k++)
            planes[k % 3 * plane + k / 3] = in->pixels[3 * plane * (size_t)i + k];
        if (is_text)
            plain_text(p, in->ids + in->offsets[i], in->offsets[i + 1] - in->offsets[i], rows,
                       in->hidden[i], in->embedding[i]);
        else
            plain_picture(p, planes, in->hidden[i], in->embedding[i]);
        int kept = is_text ? in->offsets[i + 1] - in->offsets[i] : rows;
        for (int layer = 1; layer <= net->layers; layer++) /* without the padding */
            memmove(in->hidden[i] + (size_t)layer * (size_t)(kept * net->width),
                    in->hidden[i] + (size_t)layer * (size_t)(rows * net->width),
                    (size_t)(kept * net->width) * sizeof(double));
    }
    free(planes);
}

static void free_inputs(struct inputs *in)
{
    for (int i = 0; i < in->n; i++) {
        free(in->hidden[i]);
        free(in->embedding[i]);
    }
    memory_free(in->pixels);
}

/* Inputs first to end in one pass: all layers, then the embedding. */
static void run(struct tower *t, struct exec *e, const struct inputs *in, int first, int end,
                struct value **out)
{
    struct error err = {0};
    struct tap taps[MAX_TAPS];
    int layers = t->config.layers, size = t->config.image_size;
    int32_t offsets[N_INPUTS + 1];
    for (int i = first; i <= end; i++) offsets[i - first] = in->offsets[i] - in->offsets[first];
    for (int k = 0; k <= layers; k++) taps[k] = (struct tap){TAP_HIDDEN, k, 0};
    taps[layers + 1] = (struct tap){TAP_FINAL, 0, 0};
    struct tower_input one = {.n = end - first,
                              .pixels = in->is_text ? NULL : in->pixels + 3L * first * size * size,
                              .ids = in->ids + in->offsets[first],
                              .offsets = offsets};
    exec_reset(e);
    kit_must(tower_forward(t, e, &one, taps, layers + 2, out, &err) == 0, &err);
}

static double cosine(const float *a, const double *b, int n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Largest error of one input's layer, in units of the layer's largest value. */
static double distance(const float *x, const double *want, size_t n)
{
    double most = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(x[i] - want[i]);
        if (!(d <= most)) most = d;
        if (fabs(want[i]) > scale) scale = fabs(want[i]);
    }
    return most / scale;
}

static int rows_of(const struct inputs *in, const struct tower_config *c, int i)
{
    int side = in->is_text ? 0 : c->image_size / c->patch;
    return in->is_text ? in->offsets[i + 1] - in->offsets[i] : side * side + 1;
}

static char what[100]; /* is looked at, for messages */

/* Against the reference, and each input alone against itself among the others. */
static void check(struct tower *t, const struct inputs *in, enum numerics numerics,
                  double tolerance, double least)
{
    struct value *all[MAX_TAPS], *one[MAX_TAPS];
    const struct tower_config *c = &t->config;
    size_t at = 0, width = (size_t)c->width, dim = (size_t)c->projection_dim;
    double worst = 0, nearest = 1;
    const char *name = numerics == NUMERICS_F32    ? "f32"
                       : numerics == NUMERICS_BF16 ? "bf16"
                                                   : "int8";
    struct exec *e = kit_exec(t, EXEC_INFER, numerics), *f = kit_exec(t, EXEC_INFER, numerics);
    run(t, e, in, 0, in->n, all);
    for (int i = 0; i < in->n; i++) {
        size_t rows = (size_t)rows_of(in, c, i), n = rows * width;
        run(t, f, in, i, i + 1, one);
        for (int k = 0; k <= c->layers; k++) {
            worst = fmax(worst, distance(all[k]->x + at, in->hidden[i] + (size_t)k * n, n));
            if (memcmp(one[k]->x, all[k]->x + at, n * sizeof(float)))
                CHECK_FAIL("%s, %s: layer %d of input %d depends on its neighbours", what, name, k,
                           i);
        }
        const float *final = all[c->layers + 1]->x + (size_t)i * dim;
        nearest = fmin(nearest, cosine(final, in->embedding[i], (int)dim));
        if (numerics == NUMERICS_F32) worst = fmax(worst, distance(final, in->embedding[i], dim));
        if (memcmp(one[c->layers + 1]->x, final, dim * sizeof(float)))
            CHECK_FAIL("%s, %s: embedding %d depends on its neighbours", what, name, i);
        at += n;
    }
    if (!(worst <= tolerance))
        CHECK_FAIL("%s, %s: off by %.3g of a layer's scale", what, name, worst);
    if (!(nearest > least)) CHECK_FAIL("%s, %s: cosine %.9g", what, name, nearest);
    printf("# %s, %s: off by %.2g, 1 - cosine %.2g\n", what, name, worst, 1 - nearest);
    exec_free(e);
    exec_free(f);
}

/* Packed in int8, calibrated on these very inputs. */
static void calibrate(struct tower *t, const struct inputs *in)
{
    struct error err = {0};
    struct value *out[MAX_TAPS];
    struct observed *seen = observed_new(&t->params, &err);
    CHECK_OK(tower_pack(t, NUMERICS_F32, &err), &err);
    packed_observe(t->packed, seen);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    run(t, e, in, 0, in->n, out);
    exec_free(e);
    struct calibration *c = calibration_new(&t->params, seen, &err);
    CHECK(c != NULL);
    observed_free(seen);
    tower_calibrate(t, c);
    CHECK_OK(tower_pack(t, NUMERICS_INT8, &err), &err);
}

static void check_tower(const char *folder, const struct shape *s, struct plain *p, bool is_text)
{
    struct error err = {0};
    struct weightfile *w;
    struct tower_config c;
    struct tower *t;
    struct inputs in;
    char path[300];
    snprintf(path, sizeof path, "%s/config.json", folder);
    struct json *j = json_read_file(path, 1 << 20, &err);
    kit_must(j, &err);
    CHECK_OK(is_text ? tower_config_text(j, &c, &err) : tower_config_image(j, &c, &err), &err);
    json_free(j);
    CHECK_OK(weightfile_open(folder, &w, &err), &err);
    CHECK_OK(tower_load(&t, &c, w, folder, true, &err), &err);
    int most = is_text ? tower_max_tokens(&c) : 0;
    make_inputs(&in, p, is_text, most > 24 ? 24 : most);
    snprintf(what, sizeof what, "%s of shape %d, %s", is_text ? "texts" : "pictures",
             (int)(s - SHAPES), p->family);
    CHECK_OK(tower_pack(t, NUMERICS_F32, &err), &err);
    check(t, &in, NUMERICS_F32, 3e-5, 0.999999999);
    if (!s->absent) { /* those with defaults are large, and about the defaults */
        CHECK_OK(tower_pack(t, NUMERICS_BF16, &err), &err);
        check(t, &in, NUMERICS_BF16, 0.1, 0.999);
    }
    if (!s->absent && gemm_int8_is_exact()) {
        calibrate(t, &in);
        check(t, &in, NUMERICS_INT8, 0.3, 0.99);
    }
    free_inputs(&in);
    tower_free(t);
    weightfile_close(w);
}

/* A folder of the shape; *p is made. */
static void make_folder(const char *folder, const struct shape *s, struct plain *p)
{
    *p = s->p;
    plain_make(p);
    shape_write_config(folder, s);
    shape_write_weights(folder, s, p);
}

TEST(every_shape_equals_the_plain_reference)
{
    for (int i = 0; i < N_SHAPES; i++) {
        struct scratch folder;
        struct plain p;
        scratch_make(&folder);
        make_folder(folder.folder, &SHAPES[i], &p);
        check_tower(folder.folder, &SHAPES[i], &p, true);
        if (p.vision.width) check_tower(folder.folder, &SHAPES[i], &p, false);
        plain_free(&p);
        scratch_remove(&folder);
    }
}

/* A preprocessor_config.json without a type is read as the one that goes with the family, and may
 * stand inside of another file. */
TEST(an_unnamed_processor_is_the_family_s)
{
    static const char old[] = "preprocessor_config.json", new[] = "processor_config.json";
    static const struct {
        int shape;
        const char *file, *text;
        bool shortest_edge, crops;
    } cases[] = {
        {4, old, "{\"size\": 64, \"do_center_crop\": false}", false, false},
        {7, old, "{\"size\": 32, \"crop_size\": 32}", true, true},
        {3, old, "{\"do_resize\": true}", true, true},
        {7, new, "{\"image_processor\": {\"size\": 32, \"crop_size\": 32}, \"x\": 1}", true, true}};
    for (int i = 0; i < 4; i++) {
        struct error err = {0};
        struct scratch at;
        struct plain p;
        struct model *m;
        scratch_make(&at);
        make_folder(at.folder, &SHAPES[cases[i].shape], &p);
        scratch_bytes(&at, cases[i].file, cases[i].text, strlen(cases[i].text));
        CHECK_OK(model_open(&m, at.folder, MODEL_IMAGE, &err), &err);
        CHECK_EQ(preprocess_side(&m->preprocess), p.image);
        CHECK_EQ(m->preprocess.shortest_edge, cases[i].shortest_edge);
        CHECK_EQ(m->preprocess.do_crop, cases[i].crops);
        model_free(m);
        plain_free(&p);
        scratch_remove(&at);
    }
}

#define PICTURE "tests/golden/altclip-tiny/inputs/0.jpg"
#define TEXT    "a red apple and two dogs"

/* What the reference says of the picture, by the folder's preprocessing, and of the text. */
static void expect(const char *folder, struct plain *p, double *picture, double *text)
{
    static const double mean[3] = {0.48145466, 0.4578275, 0.40821073},
                        std[3] = {0.26862954, 0.26130258, 0.27577711};
    struct error err = {0};
    struct model *m;
    char *bytes;
    size_t n, plane = (size_t)p->image * (size_t)p->image;
    int32_t ids[80];
    kit_must(model_open(&m, folder, MODEL_IMAGE | MODEL_TEXT, &err) == 0, &err);
    kit_must(file_read(PICTURE, 1 << 24, &bytes, &n, &err) == 0, &err);
    struct resizer *r = resizer_new(&err);
    uint8_t *u8 = plain_alloc(3 * plane);
    kit_must(embed_decode(m, r, bytes, n, u8, &err) == 0, &err);
    int n_ids = tokenizer_ids(m->tokenizer, TEXT, strlen(TEXT), m->max_tokens, ids, NULL, NULL,
                              &err);
    kit_must(n_ids > 5, &err);
    double *pixels = plain_alloc(3 * plane * sizeof *pixels);
    for (size_t k = 0; k < 3 * plane; k++)
        pixels[k % 3 * plane + k / 3] = (u8[k] / 255.0 - mean[k % 3]) / std[k % 3];
    int most = n_ids > plain_tokens(p) ? n_ids : plain_tokens(p);
    double *hidden = plain_alloc(33 * (size_t)(most * p->vision.width) * sizeof *hidden);
    plain_picture(p, pixels, hidden, picture);
    plain_text(p, ids, n_ids, n_ids, hidden, text);
    free(hidden);
    free(pixels);
    free(u8);
    resizer_free(r);
    memory_free(bytes);
    model_free(m);
}

static void shell(const char *format, ...)
{
    char command[1500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command)) CHECK_FAIL("failed: %s", command);
}

static void check_row(const char *path, uint64_t row, const double *want, int dim, bool is_raw)
{
    struct error err = {0};
    struct npy a;
    float x[64];
    CHECK_OK(npy_open(path, &a, &err), &err);
    CHECK(a.n_rows > row && a.n_cols == (uint64_t)dim && dim <= 64);
    npy_row_f32(&a, row, x);
    npy_close(&a);
    CHECK(cosine(x, want, dim) > 0.999999999);
    if (is_raw) CHECK(distance(x, want, (size_t)dim) < 3e-5);
}

/* Asked, put into a cache and taken out of it again, made a student with fewer ids and all layers. */
static void check_commands(const struct shape *s)
{
    struct scratch at;
    struct plain p;
    double picture[64], text[64];
    char preprocessing[120];
    scratch_make(&at);
    const char *dir = at.folder;
    make_folder(dir, s, &p);
    int n = snprintf(preprocessing, sizeof preprocessing,
                     "{\"size\": %d, \"crop_size\": %d, \"feature_extractor_type\": "
                     "\"CLIPFeatureExtractor\"}",
                     p.image, p.image);
    scratch_bytes(&at, "preprocessor_config.json", preprocessing, (size_t)n);
    shell("cp tests/golden/altclip-tiny/model/sentencepiece.bpe.model %s/", dir);
    expect(dir, &p, picture, text);
    shell("./clipstill embed --model %s --image " PICTURE " --text '" TEXT "' --raw --npy %s/e.npy",
          dir, dir);
    check_row(scratch_path(&at, "e.npy"), 0, picture, p.projection, true);
    check_row(scratch_path(&at, "e.npy"), 1, text, p.projection, true);
    shell("mkdir %s/in && cp " PICTURE " %s/in/ && printf 'image\\tcaption\\n0.jpg\\t" TEXT
          "\\n' >%s/in/m.tsv",
          dir, dir, dir);
    shell("./clipstill ingest %s/c %s/in/m.tsv >/dev/null", dir, dir);
    shell("./clipstill featurize %s/c --teacher %s --numerics f32 --store f32 >/dev/null", dir,
          dir);
    shell("./clipstill export %s/c --set image.final --npy %s/i >/dev/null", dir, dir);
    shell("./clipstill export %s/c --set text.final --npy %s/t >/dev/null", dir, dir);
    check_row(scratch_path(&at, "i.npy"), 0, picture, p.projection, false);
    check_row(scratch_path(&at, "t.npy"), 0, text, p.projection, false);
    shell("./clipstill shrink %s/c --teacher %s --out %s/s >/dev/null", dir, dir, dir);
    shell("./clipstill embed --model %s/s --image " PICTURE " --text '" TEXT
          "' --raw --npy %s/s.npy",
          dir, dir);
    check_row(scratch_path(&at, "s.npy"), 0, picture, p.projection, true);
    check_row(scratch_path(&at, "s.npy"), 1, text, p.projection, true);
    plain_free(&p);
    scratch_remove(&at);
}

/* AltCLIP-m18 in small, and another padding, as a user meets them. */
TEST(two_teachers_through_the_command_line)
{
    if (access("./clipstill", X_OK)) SKIP("./clipstill is not built");
    check_commands(&SHAPES[0]);
    check_commands(&SHAPES[2]);
}

TEST_MAIN
