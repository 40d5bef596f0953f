/* Pillow's two-pass resampling; see resize.h.
 *
 * An output pixel is a weighted sum of input pixels: weights are filter values, normalised in
 * double and then rounded to 22 bits, so that sums are exact integers and may be formed in any
 * order. That freedom is what makes the loops fast: the vertical pass adds whole rows; the
 * horizontal pass first turns a strip of LANES rows on its side (a pixel's column of LANES values
 * is contiguous), so that it adds whole columns the same way. Only what the vertical pass and the
 * window need is ever computed.
 *
 * The two kernels are compiled once a vector width and chosen at load time (target_clones); integer
 * sums make all of them equal.
 */
#include "ingest/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "store/memory.h"

#define PRECISION_BITS (32 - 8 - 2)
#define ROUNDING       (1 << (PRECISION_BITS - 1))
#define LANES          16 /* rows turned on their side together */
#define SPAN           1024 /* values of a row summed at once: the sums stay in the first-level cache */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define KERNEL __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define KERNEL
#endif

/* Which input pixels make an output pixel: first[i] .. first[i] + count[i], weights at k + i * stride. */
struct weights {
    int n, stride;
    int *first, *count;
    int32_t *k;
    double *exact;
    size_t first_capacity, count_capacity, k_capacity, exact_capacity;
};

struct resizer {
    struct weights across, down;
    uint8_t *turned;  // (width, 3, LANES)
    uint8_t *between; // (rows the vertical pass needs, window width, 3)
    size_t turned_capacity, between_capacity;
    int32_t sums[SPAN];
};

struct resizer *resizer_new(struct error *err)
{
    return memory_array(1, sizeof(struct resizer), MEMORY_MAX_SMALL, err);
}

static void weights_release(struct weights *w)
{
    memory_free(w->first);
    memory_free(w->count);
    memory_free(w->k);
    memory_free(w->exact);
}

void resizer_free(struct resizer *r)
{
    if (!r) return;
    weights_release(&r->across);
    weights_release(&r->down);
    memory_free(r->turned);
    memory_free(r->between);
    memory_free(r);
}

static double box_filter(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear_filter(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic_filter(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos_filter(double x)
{
    return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct filter {
    double (*at)(double x);
    double support;
};

static const struct filter filters[] = {
    [RESAMPLE_LANCZOS] = {lanczos_filter, 3.0},
    [RESAMPLE_BILINEAR] = {bilinear_filter, 1.0},
    [RESAMPLE_BICUBIC] = {bicubic_filter, 2.0},
    [RESAMPLE_BOX] = {box_filter, 0.5},
};

static int32_t fixed_point(double x)
{
    double scaled = x * (1 << PRECISION_BITS);
    return (int32_t)(x < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* The weights of output pixels from .. from + n of out_size, over the input's edge0 .. edge1. */
static int weights_make(struct weights *w, const struct filter *filter, int in_size, float edge0,
                        float edge1, int out_size, int from, int n, struct error *err)
{
    double scale = (double)(edge1 - edge0) / out_size;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = filter->support * stretch, shrink = 1.0 / stretch;
    int stride = (int)ceil(support) * 2 + 1;
    const uint64_t limit = MEMORY_MAX_FILE;
    uint64_t n_weights = (uint64_t)n * (uint64_t)stride;
    if (memory_grow(&w->first, &w->first_capacity, n, sizeof *w->first, limit, err) < 0 ||
        memory_grow(&w->count, &w->count_capacity, n, sizeof *w->count, limit, err) < 0 ||
        memory_grow(&w->k, &w->k_capacity, n_weights, sizeof *w->k, limit, err) < 0 ||
        memory_grow(&w->exact, &w->exact_capacity, stride, sizeof *w->exact, limit, err) < 0)
        return ERR_NOMEM;
    w->n = n;
    w->stride = stride;
    for (int i = 0; i < n; i++) {
        double center = edge0 + (from + i + 0.5) * scale, sum = 0;
        int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
        if (first < 0) first = 0;
        if (end > in_size) end = in_size;
        for (int j = 0; j < end - first; j++) {
            w->exact[j] = filter->at((j + first - center + 0.5) * shrink);
            sum += w->exact[j];
        }
        for (int j = 0; j < end - first; j++) {
            double x = sum != 0.0 ? w->exact[j] / sum : w->exact[j];
            w->k[(size_t)i * stride + j] = fixed_point(x);
        }
        w->first[i] = first;
        w->count[i] = end - first;
    }
    return 0;
}

static inline uint8_t clip(int32_t sum)
{
    int32_t x = sum >> PRECISION_BITS;
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

/* out[i] = clip(sum over j of k[j] * src[j * stride + i]) for n <= SPAN values. */
KERNEL static void sum_rows(const uint8_t *restrict src, size_t stride, const int32_t *restrict k,
                            int n_k, int n, int32_t *restrict sums, uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) sums[i] = ROUNDING;
    for (int j = 0; j < n_k; j++) {
        const uint8_t *restrict row = src + (size_t)j * stride;
        int32_t weight = k[j];
        for (int i = 0; i < n; i++) sums[i] += weight * row[i];
    }
    for (int i = 0; i < n; i++) out[i] = clip(sums[i]);
}

/* A strip turned on its side (width, 3, LANES) -> one output pixel of all its rows (3, LANES). */
KERNEL static void sum_columns(const uint8_t *restrict turned, const int32_t *restrict k, int n_k,
                               uint8_t *restrict out)
{
    int32_t sums[3 * LANES];
    for (int i = 0; i < 3 * LANES; i++) sums[i] = ROUNDING;
    for (int j = 0; j < n_k; j++)
        for (int i = 0; i < 3 * LANES; i++) sums[i] += k[j] * turned[j * 3 * LANES + i];
    for (int i = 0; i < 3 * LANES; i++) out[i] = clip(sums[i]);
}

/* rows <= LANES rows of the columns first .. first + n of src -> (n, 3, LANES); missing rows repeat
 * the last. */
KERNEL static void turn_strip(const uint8_t *src, size_t stride, int rows, int first, int n,
                              uint8_t *restrict turned)
{
    const uint8_t *row[LANES];
    for (int l = 0; l < LANES; l++)
        row[l] = src + (size_t)(l < rows ? l : rows - 1) * stride + (size_t)first * 3;
    for (int i = 0; i < 3 * n; i++)
        for (int l = 0; l < LANES; l++) turned[(size_t)i * LANES + l] = row[l][i];
}

/* Rows top .. top + n_rows of src -> between. */
static int pass_across(struct resizer *r, const uint8_t *src, int w, int top, int n_rows,
                       struct error *err)
{
    const struct weights *a = &r->across;
    int first = a->first[0], end = a->first[a->n - 1] + a->count[a->n - 1];
    if (memory_grow(&r->turned, &r->turned_capacity, (uint64_t)(end - first) * 3 * LANES, 1,
                    MEMORY_MAX_FILE, err) < 0 ||
        memory_grow(&r->between, &r->between_capacity, (uint64_t)n_rows * a->n * 3, 1,
                    MEMORY_MAX_TENSOR, err) < 0)
        return ERR_NOMEM;
    for (int y = 0; y < n_rows; y += LANES) {
        int rows = n_rows - y < LANES ? n_rows - y : LANES;
        turn_strip(src + (size_t)(top + y) * w * 3, (size_t)w * 3, rows, first, end - first,
                   r->turned);
        for (int x = 0; x < a->n; x++) {
            uint8_t pixel[3 * LANES];
            sum_columns(r->turned + (size_t)(a->first[x] - first) * 3 * LANES,
                        a->k + (size_t)x * a->stride, a->count[x], pixel);
            for (int l = 0; l < rows; l++) {
                uint8_t *to = r->between + ((size_t)(y + l) * a->n + x) * 3;
                for (int c = 0; c < 3; c++) to[c] = pixel[c * LANES + l];
            }
        }
    }
    return 0;
}

/* src: row 0 is the input row r->down counts from `top`; columns start at src. */
static void pass_down(struct resizer *r, const uint8_t *src, size_t stride, int top, int width,
                      uint8_t *out)
{
    const struct weights *d = &r->down;
    int n = width * 3;
    for (int y = 0; y < d->n; y++)
        for (int i = 0; i < n; i += SPAN)
            sum_rows(src + (size_t)(d->first[y] - top) * stride + i, stride,
                     d->k + (size_t)y * d->stride, d->count[y], n - i < SPAN ? n - i : SPAN,
                     r->sums, out + (size_t)y * n + i);
}

/* PIL's ImagingScaleAffine: positions are summed up one by one, as there. */
static void nearest(const uint8_t *src, int w, int h, const float box[4], int out_w, int out_h,
                    const struct resize_window *win, uint8_t *out)
{
    double step_x = (double)(box[2] - box[0]) / out_w, step_y = (double)(box[3] - box[1]) / out_h;
    double y = box[1] + step_y * 0.5;
    for (int oy = 0; oy < win->top + win->height; oy++, y += step_y) {
        if (oy < win->top) continue;
        int iy = (int)y < h ? (int)y : h - 1;
        double x = box[0] + step_x * 0.5;
        for (int ox = 0; ox < win->left + win->width; ox++, x += step_x) {
            if (ox < win->left) continue;
            int ix = (int)x < w ? (int)x : w - 1;
            size_t to = (size_t)(oy - win->top) * win->width + (ox - win->left);
            memcpy(out + to * 3, src + ((size_t)iy * w + ix) * 3, 3);
        }
    }
}

static int check(int w, int h, const double box[4], enum resample how, int out_w, int out_h,
                 const struct resize_window *win, struct error *err)
{
    if ((int)how < 0 || (int)how > RESAMPLE_BOX)
        return error_set(err, ERR_USAGE, "unknown resampling filter %d: 0 (nearest) to 4 (box)",
                         how);
    if (w < 1 || h < 1 || out_w < 1 || out_h < 1 || w > RESIZE_MAX_SIDE || h > RESIZE_MAX_SIDE ||
        out_w > RESIZE_MAX_SIDE || out_h > RESIZE_MAX_SIDE)
        return error_set(err, ERR_USAGE, "cannot resize %dx%d to %dx%d pixels: sides are 1 to %d",
                         w, h, out_w, out_h, RESIZE_MAX_SIDE);
    if (!(box[0] >= 0 && box[1] >= 0 && box[2] <= w && box[3] <= h && box[0] < box[2] &&
          box[1] < box[3]))
        return error_set(err, ERR_USAGE, "box (%g, %g, %g, %g) does not lie in a picture of %dx%d",
                         box[0], box[1], box[2], box[3], w, h);
    if (win->left < 0 || win->top < 0 || win->width < 1 || win->height < 1 ||
        win->left > out_w - win->width || win->top > out_h - win->height)
        return error_set(err, ERR_USAGE, "window %dx%d+%d+%d does not lie in a picture of %dx%d",
                         win->width, win->height, win->left, win->top, out_w, out_h);
    return 0;
}

int resizer_window(struct resizer *r, const uint8_t *src, int w, int h, const double box_edges[4],
                   enum resample how, int out_w, int out_h, const struct resize_window *win,
                   uint8_t *out, struct error *err)
{
    int rc = check(w, h, box_edges, how, out_w, out_h, win, err);
    if (rc < 0) return rc;
    const float box[4] = {(float)box_edges[0], (float)box_edges[1], (float)box_edges[2],
                          (float)box_edges[3]};
    bool across = out_w != w || box[0] != 0 || box[2] != (float)w;
    bool down = out_h != h || box[1] != 0 || box[3] != (float)h;
    if (how == RESAMPLE_NEAREST && (across || down)) {
        nearest(src, w, h, box, out_w, out_h, win, out);
        return 0;
    }
    int top = win->top, n_rows = win->height; /* input rows that are needed */
    const struct filter *f = &filters[how];
    if (down) {
        struct weights *d = &r->down;
        rc = weights_make(d, f, h, box[1], box[3], out_h, win->top, win->height, err);
        if (rc < 0) return rc;
        top = d->first[0];
        n_rows = d->first[d->n - 1] + d->count[d->n - 1] - top;
    }
    if (across) {
        rc = weights_make(&r->across, f, w, box[0], box[2], out_w, win->left, win->width, err);
        if (rc < 0) return rc;
        rc = pass_across(r, src, w, top, n_rows, err);
        if (rc < 0) return rc;
    }
    size_t row = (size_t)win->width * 3, stride = across ? row : (size_t)w * 3;
    const uint8_t *from = across ? r->between : src + (size_t)top * stride + (size_t)win->left * 3;
    if (down)
        pass_down(r, from, stride, top, win->width, out);
    else
        for (int y = 0; y < n_rows; y++) memcpy(out + y * row, from + y * stride, row);
    return 0;
}

int resizer_run(struct resizer *r, const uint8_t *src, int w, int h, const double box[4],
                enum resample how, uint8_t *out, int out_w, int out_h, struct error *err)
{
    struct resize_window all = {0, 0, out_w, out_h};
    return resizer_window(r, src, w, h, box, how, out_w, out_h, &all, out, err);
}
