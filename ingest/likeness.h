/* What a picture looks like, in 16 bytes.
 *
 *     struct likeness l;
 *     likeness_of(p.rgb, p.width_px, p.height_px, &l);
 *     int bits = likeness_bits(&a, &b), colour = likeness_colour(&a, &b);
 *
 * hash: the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash
 * Functions" (2010): the grey picture averaged over 32x32 areas, the lowest frequencies of its
 * cosine transform without the mean, one bit each: is it above their median? A bit counts shape and
 * light, so that size, compression and brightness hardly move it; half of the bits are set, and two
 * hashes differ in an even number of bits.
 * A flat picture, whose 32x32 areas differ by less than LIKENESS_FLAT grey levels, has no shape: its
 * hash has the lowest level/4 bits set, so that two flat pictures are |difference of level|/4 bits
 * apart, and far from any picture with a shape.
 * colour: the mean Cb and Cr (128: grey) of the four quarters; row by row. It keeps apart drawings
 * of one shape in several colours.
 *
 * Not seen as alike: mirrored and turned pictures, and crops of more than a few hundredths of a side.
 * Integers only: the same on every machine. Threading: pure functions.
 */
#ifndef INGEST_LIKENESS_H
#define INGEST_LIKENESS_H

#include <stdint.h>

#include "store/corpus.h"

#define LIKENESS_BITS 64
#define LIKENESS_FLAT 4 /* grey levels between the darkest and the lightest of 32x32 areas */

/* rgb: (h, w, 3) upright; w and h from 1 to 65535. Reads each pixel once, needs no memory. */
void likeness_of(const uint8_t *rgb, uint32_t w, uint32_t h, struct likeness *out);

/* How many bits of the hashes differ, 0..64. */
int likeness_bits(const struct likeness *a, const struct likeness *b);
/* The largest difference of the eight colour bytes, 0..255. */
int likeness_colour(const struct likeness *a, const struct likeness *b);

#endif
