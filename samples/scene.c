/* Pictures of one to three emoji on a varied background.
 *
 * A scene is a pure function of its struct: everything random comes from its seed, in a fixed order. Glyphs are the font's own
 * bitmaps (136 x 128), turned by up to 20 degrees, mirrored and scaled with 4 x 4 samples a pixel. They stand inside
 * the centred square of the picture, because a CLIP teacher looks at nothing else, and overlap little. The field look is made of
 * what a cheap camera does: dim light with a colour cast, vignetting, blur, sensor noise.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ft2build.h>
#include FT_FREETYPE_H

#include "samples/make_corpus.h"

#define SAMPLES        4 /* a side of a pixel */
#define MAX_ANGLE      0.35
#define NOISE_SIDE     16
#define SECOND_LATTICE 7 /* a second lattice begins here within the first */
#define LATTICE        (NOISE_SIDE * NOISE_SIDE + SECOND_LATTICE)

struct placed {
    double x, y, size; /* centre and side of the glyph's square, pixels */
};

void glyphs_load(struct glyph *glyphs, const char *font, const uint32_t *code_points, int n)
{
    FT_Library library;
    FT_Face face;
    if (FT_Init_FreeType(&library) || FT_New_Face(library, font, 0, &face))
        die("cannot open the font %s: install fonts-noto-color-emoji", font);
    if (FT_Select_Size(face, 0)) die("%s has no bitmap strike", font);
    for (int i = 0; i < n; i++) {
        FT_UInt index = FT_Get_Char_Index(face, code_points[i]);
        if (index == 0 || FT_Load_Glyph(face, index, FT_LOAD_COLOR))
            die("%s has no glyph for U+%04X", font, code_points[i]);
        const FT_Bitmap *b = &face->glyph->bitmap;
        if (b->pixel_mode != FT_PIXEL_MODE_BGRA) die("U+%04X is no colour bitmap", code_points[i]);
        struct glyph *g = &glyphs[i];
        g->width = (int)b->width;
        g->height = (int)b->rows;
        g->bgra = must_alloc((size_t)g->width * (size_t)g->height * 4);
        for (int y = 0; y < g->height; y++)
            memcpy(g->bgra + (size_t)y * g->width * 4, b->buffer + y * b->pitch,
                   (size_t)g->width * 4);
    }
    FT_Done_Face(face);
    FT_Done_FreeType(library);
}

/* A colour of the given greatest saturation; value within low..high. */
static void colour(struct rng *r, double saturation, int low, int high, double rgb[3])
{
    double hue = rng_unit(r) * 6, value = rng_int(r, low, high), s = rng_unit(r) * saturation;
    for (int c = 0; c < 3; c++) {
        double d = fabs(fmod(hue + 2.0 * c, 6.0) - 3.0) - 1.0; /* piecewise linear hue */
        double part = d < 0 ? 0 : d > 1 ? 1 : d;
        rgb[c] = value * (1 - s + s * part);
    }
}

/* Smooth value noise: bilinear on a random lattice with cells of cell_px, eased; in 0..1. */
static double value_noise(const double *lattice, double x, double y, double cell_px)
{
    double u = x / cell_px, v = y / cell_px;
    int i = (int)u, j = (int)v;
    double a = u - i, b = v - j;
    a = a * a * (3 - 2 * a);
    b = b * b * (3 - 2 * b);
    const double *p = lattice, *q = lattice;
    int i0 = i % NOISE_SIDE, i1 = (i + 1) % NOISE_SIDE;
    p += (j % NOISE_SIDE) * NOISE_SIDE;
    q += ((j + 1) % NOISE_SIDE) * NOISE_SIDE;
    return (p[i0] * (1 - a) + p[i1] * a) * (1 - b) + (q[i0] * (1 - a) + q[i1] * a) * b;
}

enum ground { FLAT, LINEAR, RADIAL, STRIPES, CHECKS, CLOUDS, GROUNDS };

struct background {
    enum ground ground;
    double from[3], to[3], direction_x, direction_y, period_px, lattice[LATTICE];
};

static void background_draw_up(struct background *b, struct rng *r, bool field)
{
    b->ground = field ? CLOUDS : (enum ground)rng_int(r, 0, GROUNDS - 1);
    colour(r, 0.55, 90, 255, b->from);
    colour(r, 0.55, 90, 255, b->to);
    if (b->ground == STRIPES ||
        b->ground == CHECKS) /* patterns of two near colours, not of two loud ones */
        for (int c = 0; c < 3; c++) b->to[c] = 0.72 * b->from[c] + 0.28 * b->to[c];
    double x = rng_unit(r) * 2 - 1, y = rng_unit(r) * 2 - 1, length = sqrt(x * x + y * y) + 1e-3;
    b->direction_x = x / length;
    b->direction_y = y / length;
    b->period_px = rng_int(r, 14, 44);
    for (int i = 0; i < LATTICE; i++) b->lattice[i] = rng_unit(r);
}

/* How much of the second colour pixel (x, y) has, 0..1. */
static double background_at(const struct background *b, int x, int y, int width, int height)
{
    double cx = x - 0.5 * width, cy = y - 0.5 * height,
           along = cx * b->direction_x + cy * b->direction_y;
    double half = 0.5 * sqrt((double)width * width + (double)height * height);
    switch (b->ground) {
    case LINEAR: return 0.5 + 0.5 * along / half;
    case RADIAL: return sqrt(cx * cx + cy * cy) / half;
    case STRIPES: return fmod(along + 1000 * b->period_px, b->period_px) < 0.5 * b->period_px;
    case CHECKS:
        return (((int)(x / (0.5 * b->period_px)) + (int)(y / (0.5 * b->period_px))) & 1) != 0;
    case CLOUDS:
        return 0.65 * value_noise(b->lattice, x, y, b->period_px) +
               0.35 *
                   value_noise(b->lattice + SECOND_LATTICE, x + 31, y + 17, 0.4 * b->period_px + 1);
    default: return 0;
    }
}

static void background_draw(struct rng *r, const struct scene *s, double *canvas)
{
    struct background b;
    background_draw_up(&b, r, s->field);
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            double t = background_at(&b, x, y, s->width, s->height);
            double *p = canvas + 3 * ((size_t)y * s->width + x);
            for (int c = 0; c < 3; c++) p[c] = b.from[c] * (1 - t) + b.to[c] * t;
        }
}

/* Sizes by number of objects, as parts of the centred square's side; shrunk until a place without much overlap is found. */
static void places_find(struct rng *r, const struct scene *s, struct placed *placed)
{
    static const double low[] = {0.54, 0.43, 0.38}, high[] = {0.90, 0.56, 0.48};
    double side = s->width < s->height ? s->width : s->height, shrink = 1;
    int n = 0;
    for (int tries = 0; n < s->n_objects; tries++) {
        if (tries == 60) {
            tries = n = 0;
            shrink *= 0.97;
        }
        int k = s->n_objects - 1;
        struct placed p = {.size = shrink * side * (low[k] + (high[k] - low[k]) * rng_unit(r))};
        double room = side - p.size;
        p.x = 0.5 * (s->width - side) + 0.5 * p.size + room * rng_unit(r);
        p.y = 0.5 * (s->height - side) + 0.5 * p.size + room * rng_unit(r);
        bool free_place = true;
        for (int i = 0; i < n && free_place; i++) {
            double dx = p.x - placed[i].x, dy = p.y - placed[i].y,
                   apart = 0.46 * (p.size + placed[i].size);
            free_place = dx * dx + dy * dy >= apart * apart;
        }
        if (free_place) placed[n++] = p;
    }
}

/* Bilinear sample of a premultiplied glyph; transparent outside. */
static void glyph_sample(const struct glyph *g, double u, double v, double bgra[4])
{
    double fu = floor(u), fv = floor(v);
    int x = (int)fu, y = (int)fv;
    double a = u - fu, b = v - fv;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            if (x + i < 0 || y + j < 0 || x + i >= g->width || y + j >= g->height) continue;
            double weight = (i ? a : 1 - a) * (j ? b : 1 - b);
            const uint8_t *p = g->bgra + 4 * ((size_t)(y + j) * g->width + (x + i));
            for (int c = 0; c < 4; c++) bgra[c] += weight * p[c];
        }
}

static void glyph_draw(const struct glyph *g, const struct placed *p, double angle, bool mirror,
                       const struct scene *s, double *canvas)
{
    double a2 =
        angle *
        angle; /* series to the 7th power: exact to 1e-9 for 20 degrees, and the same on every machine */
    double cosine = 1 - a2 / 2 * (1 - a2 / 12 * (1 - a2 / 30)),
           sine = angle * (1 - a2 / 6 * (1 - a2 / 20 * (1 - a2 / 42)));
    double scale = g->width / p->size; /* glyph pixels a picture pixel */
    int reach = (int)(0.75 * p->size) + 2;
    for (int y = (int)p->y - reach; y <= (int)p->y + reach; y++)
        for (int x = (int)p->x - reach; x <= (int)p->x + reach; x++) {
            if (x < 0 || y < 0 || x >= s->width || y >= s->height) continue;
            double sum[4] = {0};
            for (int k = 0; k < SAMPLES * SAMPLES; k++) {
                double dx = x + (k % SAMPLES + 0.5) / SAMPLES - p->x;
                double dy = y + (double)(k / SAMPLES + 0.5) / SAMPLES - p->y;
                double u = (dx * cosine + dy * sine) * (mirror ? -scale : scale);
                double v = (dy * cosine - dx * sine) * scale;
                glyph_sample(g, u + 0.5 * g->width - 0.5, v + 0.5 * g->height - 0.5, sum);
            }
            double *out = canvas + 3 * ((size_t)y * s->width + x);
            double opaque = sum[3] / (255.0 * SAMPLES * SAMPLES);
            for (int c = 0; c < 3; c++)
                out[c] = sum[2 - c] / (SAMPLES * SAMPLES) + (1 - opaque) * out[c];
        }
}

static void blur(double *canvas, int width, int height)
{
    size_t n = (size_t)width * (size_t)height * 3;
    double *old = must_alloc(n * sizeof *old);
    memcpy(old, canvas, n * sizeof *old);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                double sum = 0;
                for (int k = 0; k < 9; k++) {
                    int i = x + k % 3 - 1, j = y + k / 3 - 1;
                    i = i < 0 ? 0 : i >= width ? width - 1 : i;
                    j = j < 0 ? 0 : j >= height ? height - 1 : j;
                    sum += old[3 * ((size_t)j * width + i) + c];
                }
                canvas[3 * ((size_t)y * width + x) + c] = sum / 9;
            }
    free(old);
}

static void field_look(struct rng *r, const struct scene *s, double *canvas)
{
    double light = 0.5 + 0.3 * rng_unit(r), cast[3], noise = rng_int(r, 5, 12);
    for (int c = 0; c < 3; c++) cast[c] = light * (0.85 + 0.3 * rng_unit(r));
    blur(canvas, s->width, s->height);
    double half2 = 0.25 * ((double)s->width * s->width + (double)s->height * s->height);
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            double cx = x - 0.5 * s->width, cy = y - 0.5 * s->height;
            double vignette = 1 - 0.45 * (cx * cx + cy * cy) / half2;
            double grain = noise * (rng_unit(r) + rng_unit(r) - 1);
            double *p = canvas + 3 * ((size_t)y * s->width + x);
            for (int c = 0; c < 3; c++) p[c] = p[c] * cast[c] * vignette + grain;
        }
}

void scene_draw(const struct scene *s, const struct glyph *glyphs, uint8_t *rgb)
{
    struct rng r = {s->seed};
    struct placed placed[SCENE_OBJECTS];
    size_t n = (size_t)s->width * (size_t)s->height * 3;
    double *canvas = must_alloc(n * sizeof *canvas);
    background_draw(&r, s, canvas);
    places_find(&r, s, placed);
    for (int i = 0; i < s->n_objects; i++) {
        double angle = (rng_unit(&r) * 2 - 1) * MAX_ANGLE;
        bool mirror = rng_int(&r, 0, 1) != 0;
        glyph_draw(&glyphs[s->object[i]], &placed[i], angle, mirror, s, canvas);
    }
    if (s->field) field_look(&r, s, canvas);
    for (size_t i = 0; i < n; i++) {
        double v = canvas[i] + 0.5;
        rgb[i] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
    }
    free(canvas);
}
