/* Colour jitter of a view: torchvision's ColorJitter on uint8 pictures, in numbers that anyone replays.
 *
 *     jitter_parse("0.4,0.4,0.2,0.1", &strength, &err);        // brightness, contrast, saturation, hue
 *     struct jitter j = jitter_draw(&strength, bits);          // bits: view.c's, of (key, view)
 *     jitter_apply(&j, rgb, (size_t)side * side);
 *
 * A view is jittered with the strength's probability; then factors uniform in 1 - x .. 1 + x for
 * brightness (a blend with black), contrast (with the mean grey) and saturation (with each pixel's
 * grey) and a shift of the hue uniform in -x .. x turns are applied in a random order of the four.
 * The pixels are those that Pillow's ImageEnhance and torchvision's adjust_hue give, bit for bit:
 * factors are whole 16384ths, so that Pillow's own float is exact and integers do the same; HSV is
 * Pillow's, hue in 255ths of a turn (tests/make_jitter.py). What has no strength is left out, as
 * torchvision does: hue would lose levels on its way through HSV.
 * Threading: pure functions.
 */
#ifndef FEATURIZE_JITTER_H
#define FEATURIZE_JITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct jitter_strength { /* all 0: none */
    uint32_t brightness_permille, contrast_permille, saturation_permille; /* 0..1000 */
    uint32_t hue_permille;         /* 0..500 */
    uint32_t probability_permille; /* 0..1000 */
};

enum jitter_kind { JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION, JITTER_HUE, JITTER_KINDS };

#define JITTER_ONE 16384 /* the factor 1 */

struct jitter { /* all 0: none */
    int n;                  /* so many of the following, one after the other */
    uint8_t kind[JITTER_KINDS];
    int32_t amount[JITTER_KINDS]; /* a factor, 0..2 * JITTER_ONE; of hue: 255ths of a turn, -127..127 */
};

/* "B,C,S,H" or "B,C,S,H,P" in decimals of at most three places; P 0.8 when not given. What never
 * does anything (P 0, or all others) is none. ERR_USAGE quotes what is wrong. */
int jitter_parse(const char *text, struct jitter_strength *s, struct error *err) MUST_CHECK;
/* "0.4,0.4,0.2,0.1,0.8": what jitter_parse takes. Returns text. */
#define JITTER_TEXT 64
const char *jitter_spell(const struct jitter_strength *s, char text[JITTER_TEXT]);
int jitter_check(const struct jitter_strength *s, struct error *err) MUST_CHECK; /* ERR_USAGE */
bool jitter_is_none(const struct jitter_strength *s);

/* Of one view, out of independent uniform numbers. */
#define JITTER_BITS 8
struct jitter jitter_draw(const struct jitter_strength *s, const uint64_t bits[JITTER_BITS]);
void jitter_apply(const struct jitter *j, uint8_t *rgb, size_t n_pixels); // rgb (n_pixels, 3)

#endif
