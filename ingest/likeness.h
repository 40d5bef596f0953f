/* What a picture looks like, in 16 bytes.
 *
 *     struct likeness a, b;
 *     likeness_of(p.rgb, p.width_px, p.height_px, &a);
 *     ...
 *     if (likeness_distance(&a, &b) <= 18) ...             // near-duplicates; see ingest/twins.h
 *
 * hash: the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash
 * Functions" (2010): the grey picture averaged over 32x32 areas (of 8 rows each, at even distances:
 * pictures of more than 256 rows are not read whole), its cosine transform's coefficients 1..8 by 1..8, one bit each: is it above the threshold? Size, compression and brightness hardly
 * move a bit. The threshold is not the median alone but the median and an eighth of the mean
 * magnitude: half of the coefficients of a symmetric picture are 0, and noise would toss their bits.
 * A plain picture (one colour, a gradient, stripes), whose coefficients are below
 * LIKENESS_PLAIN grey levels on average, has no shape to hash. Its hash is a thermometer of its
 * brightness in 4x2 areas: two plain pictures are a quarter of their mean difference in grey levels
 * apart, and far from any picture with a shape.
 * colour: the mean Cb and Cr (128: grey) of the middle, the upper, the lower and the side parts, so
 * that one shape in two colours is two pictures.
 *
 * distance: two for every bit that differs, and the largest difference of the colour bytes. A crop
 * moves bits and not colours, a change of brightness colours and not bits: the sum tells them from
 * two pictures of a kind, where both differ a little (twins.h has the figures).
 *
 * Not alike: mirrored and turned pictures, and crops of more than a few hundredths of a side.
 * Exact arithmetic: the same on every machine. Threading: pure functions.
 */
#ifndef INGEST_LIKENESS_H
#define INGEST_LIKENESS_H

#include <stdint.h>

#include "store/corpus.h"

#define LIKENESS_PLAIN        1 /* grey levels; the plainest of 4,035 measured pictures has 4.7 */
#define LIKENESS_MAX_DISTANCE (2 * 64 + 255)

/* rgb: (h, w, 3) upright; w and h from 1 to 65535. Reads 256 rows; allocates nothing. */
void likeness_of(const uint8_t *rgb, uint32_t w, uint32_t h, struct likeness *out);

/* 0..LIKENESS_MAX_DISTANCE; symmetric, 0 for equal ones, and the triangle inequality holds. */
int likeness_distance(const struct likeness *a, const struct likeness *b);

#endif
