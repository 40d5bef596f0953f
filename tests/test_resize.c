/* Resampling against Pillow's results is in test_preprocess; here: a plain twin, windows,
 * identities, refusals. */
#include "ingest/resize.h"
#include "store/memory.h"
#include "tests/check.h"

static uint8_t *noise(int w, int h, unsigned seed)
{
    uint8_t *rgb = memory_array((uint64_t)w * h, 3, MEMORY_MAX_FILE, NULL);
    for (int i = 0; i < w * h * 3; i++) {
        seed = seed * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(seed >> 24);
    }
    return rgb;
}

static double kernel(enum resample how, double x)
{
    x = fabs(x);
    double s = x == 0 ? 1 : sin(M_PI * x) / (M_PI * x) * sin(M_PI * x / 3) / (M_PI * x / 3);
    switch (how) {
    case RESAMPLE_LANCZOS: return x < 3 ? s : 0;
    case RESAMPLE_BILINEAR: return x < 1 ? 1 - x : 0;
    case RESAMPLE_BICUBIC:
        return x < 1   ? 1.5 * x * x * x - 2.5 * x * x + 1
               : x < 2 ? -0.5 * (x * x * x - 5 * x * x + 8 * x - 4)
                       : 0;
    default: return x <= 0.5 ? 1 : 0;
    }
}

/* The textbook in doubles, one axis at a time, rounded between the passes. // in (n_in) stepped,
 * out (n_out) stepped */
static void line(const uint8_t *in, int step_in, int n_in, double from, double to,
                 enum resample how, uint8_t *out, int step_out, int n_out)
{
    static const double support[] = {0, 3, 1, 2, 0.5};
    double scale = (to - from) / n_out, stretch = scale < 1 ? 1 : scale,
           reach = support[how] * stretch;
    for (int i = 0; i < n_out; i++) {
        double center = from + (i + 0.5) * scale, sum = 0, total = 0;
        int a = (int)(center - reach + 0.5), b = (int)(center + reach + 0.5);
        for (int j = a < 0 ? 0 : a; j < b && j < n_in; j++) {
            double k = kernel(how, (j - center + 0.5) / stretch);
            sum += k * in[(size_t)j * step_in];
            total += k;
        }
        double x = floor(sum / total + 0.5);
        out[(size_t)i * step_out] = (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
    }
}

static void twin(const uint8_t *src, int w, int h, const double box[4], enum resample how,
                 uint8_t *out, int out_w, int out_h)
{
    uint8_t *mid = memory_array((uint64_t)out_w * h, 3, MEMORY_MAX_FILE, NULL);
    for (int y = 0; y < h; y++)
        for (int c = 0; c < 3; c++)
            line(src + (size_t)y * w * 3 + c, 3, w, box[0], box[2], how,
                 mid + (size_t)y * out_w * 3 + c, 3, out_w);
    for (int x = 0; x < out_w * 3; x++)
        line(mid + x, out_w * 3, h, box[1], box[3], how, out + x, out_w * 3, out_h);
    memory_free(mid);
}

static const int sizes[][4] = {{64, 48, 20, 30}, {37, 53, 90, 11},  {5, 40, 40, 5},
                               {1, 1, 7, 3},     {300, 17, 33, 33}, {33, 100, 33, 50}};

/* Fixed point differs from the textbook by less than a rounding a pass: at most 1 of 255, seldom. */
TEST(every_filter_follows_the_textbook)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    for (int how = RESAMPLE_LANCZOS; how <= RESAMPLE_BOX; how++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            int w = sizes[s][0], h = sizes[s][1], ow = sizes[s][2], oh = sizes[s][3], worst = 0;
            double box[4] = {w > 4 ? 1.25 : 0, 0, w, h > 4 ? h - 2.5 : h};
            uint8_t *src = noise(w, h, 7), *a = noise(ow, oh, 1), *b = noise(ow, oh, 2);
            CHECK_OK(resizer_run(r, src, w, h, box, how, a, ow, oh, &err), &err);
            twin(src, w, h, box, how, b, ow, oh);
            int n_off = 0;
            for (int i = 0; i < ow * oh * 3; i++) {
                int d = abs(a[i] - b[i]);
                worst = d > worst ? d : worst;
                n_off += d != 0;
            }
            CHECK(worst <= 1);
            CHECK(n_off <= 1 + ow * oh * 3 / 100);
            memory_free(src);
            memory_free(a);
            memory_free(b);
        }
    resizer_free(r);
}

TEST(a_window_equals_a_later_crop)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    uint8_t *src = noise(200, 150, 3), *whole = noise(90, 70, 1), *part = noise(31, 23, 2);
    double box[4] = {10, 0.5, 190, 150};
    for (int how = RESAMPLE_NEAREST; how <= RESAMPLE_BOX; how++) {
        struct resize_window win = {17, 29, 31, 23};
        CHECK_OK(resizer_run(r, src, 200, 150, box, how, whole, 90, 70, &err), &err);
        CHECK_OK(resizer_window(r, src, 200, 150, box, how, 90, 70, &win, part, &err), &err);
        for (int y = 0; y < 23; y++)
            CHECK(!memcmp(part + y * 31 * 3, whole + ((y + 29) * 90 + 17) * 3, 31 * 3));
    }
    memory_free(src);
    memory_free(whole);
    memory_free(part);
    resizer_free(r);
}

TEST(the_same_size_changes_nothing)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    uint8_t *src = noise(41, 29, 9), *out = noise(41, 29, 1);
    for (int how = RESAMPLE_NEAREST; how <= RESAMPLE_BOX; how++) {
        memset(out, 0, 41 * 29 * 3);
        CHECK_OK(resizer_run(r, src, 41, 29, (double[]){0, 0, 41, 29}, how, out, 41, 29, &err),
                 &err);
        CHECK(!memcmp(src, out, 41 * 29 * 3));
    }
    memory_free(src);
    memory_free(out);
    resizer_free(r);
}

TEST(a_long_thin_picture_needs_little_memory)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    uint8_t *src = noise(1, 60000, 5), *out = noise(224, 224, 1);
    struct resize_window win = {0, (60000 * 224 - 224) / 2, 224, 224};
    CHECK_OK(resizer_window(r, src, 1, 60000, (double[]){0, 0, 1, 60000}, RESAMPLE_BICUBIC, 224,
                            60000 * 224, &win, out, &err),
             &err);
    CHECK(!memcmp(out, out + 3, 3));
    memory_free(src);
    memory_free(out);
    resizer_free(r);
}

TEST(nonsense_is_refused)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    uint8_t rgb[12] = {0}, out[12];
    CHECK_EQ(resizer_run(r, rgb, 2, 2, (double[]){0, 0, 3, 2}, RESAMPLE_BOX, out, 2, 2, &err),
             ERR_USAGE);
    CHECK_HAS(err.text, "box (0, 0, 3, 2) does not lie in a picture of 2x2");
    CHECK_EQ(resizer_run(r, rgb, 2, 2, (double[]){0, 0, NAN, 2}, RESAMPLE_BOX, out, 2, 2, &err),
             ERR_USAGE);
    CHECK_EQ(resizer_run(r, rgb, 2, 2, (double[]){0, 0, 2, 2}, 5, out, 2, 2, &err), ERR_USAGE);
    CHECK_EQ(resizer_run(r, rgb, 2, 2, (double[]){0, 0, 2, 2}, RESAMPLE_BOX, out, 0, 2, &err),
             ERR_USAGE);
    struct resize_window win = {1, 0, 2, 2};
    CHECK_EQ(
        resizer_window(r, rgb, 2, 2, (double[]){0, 0, 2, 2}, RESAMPLE_BOX, 2, 2, &win, out, &err),
        ERR_USAGE);
    resizer_free(r);
}

TEST(memory_running_out_is_said)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    uint8_t *src = noise(20, 20, 1), out[300];
    for (int nth = 1; nth <= 10; nth++) {
        memory_fail_at(nth);
        int rc = resizer_run(r, src, 20, 20, (double[]){0, 0, 20, 20}, RESAMPLE_BICUBIC, out, 10,
                             10, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
    }
    CHECK_OK(
        resizer_run(r, src, 20, 20, (double[]){0, 0, 20, 20}, RESAMPLE_BICUBIC, out, 10, 10, &err),
        &err);
    memory_free(src);
    resizer_free(r);
}

TEST_MAIN
