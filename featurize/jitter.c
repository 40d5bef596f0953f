/* Colour jitter; see jitter.h. */
#include "featurize/jitter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELDS      5
#define PROBABILITY 800 /* permille: what SimCLR, BYOL and DINO give their jitter */

static const struct {
    const char *name;
    uint32_t max_permille;
} fields[FIELDS] = {{"brightness", 1000},
                    {"contrast", 1000},
                    {"saturation", 1000},
                    {"hue", 500},
                    {"probability", 1000}};

static void to_fields(const struct jitter_strength *s, uint32_t field[FIELDS])
{
    field[0] = s->brightness_permille;
    field[1] = s->contrast_permille;
    field[2] = s->saturation_permille;
    field[3] = s->hue_permille;
    field[4] = s->probability_permille;
}

static int bad_form(const char *text, struct error *err)
{
    return error_set(err, ERR_USAGE,
                     "jitter \"%.60s\": expected brightness,contrast,saturation,hue and perhaps "
                     ",probability, as 0.4,0.4,0.2,0.1 or 0.4,0.4,0.2,0.1,0.8",
                     text);
}

int jitter_parse(const char *text, struct jitter_strength *s, struct error *err)
{
    uint32_t field[FIELDS] = {[4] = PROBABILITY};
    const char *at = text;
    for (int i = 0; i < FIELDS; i++) {
        char *end;
        double x = strtod(at, &end), max = fields[i].max_permille / 1000.0;
        if (end == at) return bad_form(text, err);
        if (!(x >= 0 && x <= max))
            return error_set(err, ERR_USAGE, "jitter \"%.60s\": %s %.*s is not within 0 to %g",
                             text, fields[i].name, (int)(end - at), at, max);
        field[i] = (uint32_t)lround(x * 1000);
        if (fabs(x * 1000 - field[i]) > 1e-6)
            return error_set(err, ERR_USAGE,
                             "jitter \"%.60s\": %s %.*s has more than three decimals", text,
                             fields[i].name, (int)(end - at), at);
        at = end;
        if (*at == 0 && i >= 3) break;
        if (*at++ != ',' || i == FIELDS - 1) return bad_form(text, err);
    }
    *s = (struct jitter_strength){field[0], field[1], field[2], field[3], field[4]};
    if (jitter_is_none(s)) *s = (struct jitter_strength){0};
    return 0;
}

const char *jitter_spell(const struct jitter_strength *s, char text[JITTER_TEXT])
{
    uint32_t field[FIELDS];
    int n = 0;
    to_fields(s, field);
    for (int i = 0; i < FIELDS; i++)
        n += snprintf(text + n, JITTER_TEXT - (size_t)n, "%s%g", i ? "," : "", field[i] / 1000.0);
    return text;
}

int jitter_check(const struct jitter_strength *s, struct error *err)
{
    uint32_t field[FIELDS];
    to_fields(s, field);
    for (int i = 0; i < FIELDS; i++)
        if (field[i] > fields[i].max_permille)
            return error_set(err, ERR_USAGE, "jitter: %s %u permille is above %u", fields[i].name,
                             field[i], fields[i].max_permille);
    return 0;
}

bool jitter_is_none(const struct jitter_strength *s)
{
    return s->probability_permille == 0 ||
           (s->brightness_permille == 0 && s->contrast_permille == 0 &&
            s->saturation_permille == 0 && s->hue_permille == 0);
}

/* Uniform in 0..n - 1. */
static uint32_t below(uint64_t bits, uint32_t n)
{
    return (uint32_t)(((bits >> 32) * n) >> 32);
}

/* Uniform in -reach..reach, a strength in units of JITTER_ONE. */
static int32_t around(uint64_t bits, uint32_t permille)
{
    uint32_t reach = (permille * JITTER_ONE + 500) / 1000;
    return (int32_t)below(bits, 2 * reach + 1) - (int32_t)reach;
}

struct jitter jitter_draw(const struct jitter_strength *s, const uint64_t bits[JITTER_BITS])
{
    struct jitter j = {0};
    uint32_t field[FIELDS];
    uint8_t order[JITTER_KINDS] = {JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION,
                                   JITTER_HUE};
    if (jitter_is_none(s) || below(bits[0], 1000) >= s->probability_permille) return j;
    to_fields(s, field);
    for (uint32_t i = JITTER_KINDS - 1; i > 0; i--) {
        uint32_t k = below(bits[i], i + 1);
        uint8_t kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
    for (int i = 0; i < JITTER_KINDS; i++) {
        uint8_t kind = order[i];
        if (field[kind] == 0) continue;
        int32_t x = around(bits[JITTER_KINDS + kind], field[kind]);
        j.kind[j.n] = kind;
        /* the shift is cut towards 0, as torchvision's int(hue * 255) */
        j.amount[j.n++] = kind == JITTER_HUE ? x * 255 / JITTER_ONE : JITTER_ONE + x;
    }
    return j;
}

/* Pillow's convert("L"). */
static int grey_of(const uint8_t p[3])
{
    return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

/* Pillow's blend: from `from` (factor 0) to x (factor 1) and beyond, clipped, cut to whole levels. */
static uint8_t blend(int from, int x, int32_t factor)
{
    int32_t v = from * JITTER_ONE + factor * (x - from);
    return (uint8_t)(v <= 0 ? 0 : v >= 255 * JITTER_ONE ? 255 : v / JITTER_ONE);
}

static void blend_all(uint8_t *rgb, size_t n_pixels, int from, int32_t factor)
{
    uint8_t table[256];
    for (int x = 0; x < 256; x++) table[x] = blend(from, x, factor);
    for (size_t i = 0; i < 3 * n_pixels; i++) rgb[i] = table[rgb[i]];
}

static int mean_grey(const uint8_t *rgb, size_t n_pixels)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_pixels; i++) sum += (uint64_t)grey_of(rgb + 3 * i);
    return n_pixels ? (int)((2 * sum + n_pixels) / (2 * n_pixels)) : 0;
}

static void saturate(uint8_t *rgb, size_t n_pixels, int32_t factor)
{
    for (size_t i = 0; i < n_pixels; i++) {
        uint8_t *p = rgb + 3 * i;
        int grey = grey_of(p);
        for (int c = 0; c < 3; c++) p[c] = blend(grey, p[c], factor);
    }
}

/* Pillow's convert("HSV"), in its order of operations and its mixture of float and double: the levels
 * hang on the last bit. Returns the hue; grey has none and stays out. */
static int hue_of(const uint8_t p[3], int max, int min)
{
    float range = (float)(max - min), h;
    float r = (float)(max - p[0]) / range, g = (float)(max - p[1]) / range,
          b = (float)(max - p[2]) / range;
    if (p[0] == max)
        h = b - g;
    else if (p[1] == max)
        h = (float)(2.0 + (double)r - (double)b);
    else
        h = (float)(4.0 + (double)g - (double)r);
    double turn = (double)h / 6.0 + 1.0;
    h = (float)(turn >= 1.0 ? turn - 1.0 : turn);
    return (int)((double)h * 255.0);
}

/* A hue in Pillow's way back: the side of the hexagon, and how far along. */
struct side {
    int i;
    float f;
};

static void side_of(int hue, struct side *s)
{
    s->i = (int)floor((double)((float)hue * 6.0f) / 255.0);
    s->f = (float)((double)((float)hue * 6.0f) / 255.0 - (double)s->i);
    s->i %= 6;
}

static void rgb_of(const struct side *s, int saturation, int value, uint8_t p[3])
{
    /* where the value, the three levels below it go on each side */
    static const uint8_t place[6][3] = {{0, 3, 1}, {2, 0, 1}, {1, 0, 3},
                                        {1, 2, 0}, {3, 1, 0}, {0, 1, 2}};
    float fs = (float)((double)saturation / 255.0);
    double v = value;
    uint8_t level[4] = {(uint8_t)value, (uint8_t)(v * (1.0 - (double)fs) + 0.5),
                        (uint8_t)(v * (1.0 - (double)(fs * s->f)) + 0.5),
                        (uint8_t)(v * (1.0 - (double)fs * (1.0 - (double)s->f)) + 0.5)};
    for (int c = 0; c < 3; c++) p[c] = level[place[s->i][c]];
}

static void turn_hue(uint8_t *rgb, size_t n_pixels, int32_t shift)
{
    struct side side[256]; /* by the hue before */
    for (int h = 0; h < 256; h++) side_of((h + shift) & 255, &side[h]);
    for (size_t i = 0; i < n_pixels; i++) {
        uint8_t *p = rgb + 3 * i;
        int max = p[0] > p[1] ? p[0] : p[1], min = p[0] < p[1] ? p[0] : p[1];
        if (p[2] > max) max = p[2];
        if (p[2] < min) min = p[2];
        if (max == min) continue;
        float s = (float)(max - min) / (float)max;
        int saturation = (int)((double)s * 255.0);
        if (saturation == 0)
            p[0] = p[1] = p[2] = (uint8_t)max;
        else
            rgb_of(&side[hue_of(p, max, min)], saturation, max, p);
    }
}

void jitter_apply(const struct jitter *j, uint8_t *rgb, size_t n_pixels)
{
    for (int i = 0; i < j->n; i++) {
        int32_t x = j->amount[i];
        switch ((enum jitter_kind)j->kind[i]) {
        case JITTER_BRIGHTNESS: blend_all(rgb, n_pixels, 0, x); break;
        case JITTER_CONTRAST: blend_all(rgb, n_pixels, mean_grey(rgb, n_pixels), x); break;
        case JITTER_SATURATION: saturate(rgb, n_pixels, x); break;
        case JITTER_HUE: turn_hue(rgb, n_pixels, x); break;
        case JITTER_KINDS: break;
        }
    }
}
