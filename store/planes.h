/* Rows of numbers <-> byte planes: the transposition between codes and what zstd is given.
 *
 *     n = planes_from_rows(rows, n_rows, dim, width, plain);      // plain: width planes
 *     planes_to_rows(plain, n_rows, dim, width, codes);           // and back, rows one after the other
 *     n = planes_from_codes(rows, n_rows, dim, period, plain);    // q: residuals, then means
 *     planes_to_codes(plain, n_rows, dim, period, codes);
 *
 * Plane k holds byte k of every number: for value j = 0..dim-1, and in it for every row. Residuals
 * and means are drawn in store/block.h, which alone calls this. The work goes through tiles of some
 * values by all rows, which stay in the nearest cache: value by value it is several times slower,
 * because rows of a power of two of bytes fall on each other there.
 *
 * Invariants: integers only, so that every CPU gives the same bytes; the way in is compiled once a
 * vector width and chosen at load time. Nothing is allocated; any thread.
 */
#ifndef STORE_PLANES_H
#define STORE_PLANES_H

#include <stddef.h>
#include <stdint.h>

#define PLANES_MAX_ROWS 256

/* n_rows rows of dim little-endian numbers of width 2 or 4 bytes; returns the bytes written. */
size_t planes_from_rows(const uint8_t *const *rows, uint32_t n_rows, uint32_t dim, uint32_t width,
                        uint8_t *out);
/* // out: (n_rows, dim) of width bytes */
void planes_to_rows(const uint8_t *planes, uint32_t n_rows, uint32_t dim, uint32_t width, uint8_t *out);

/* n_rows rows of dim int16 codes, as zig-zag residuals of the rounded average of their channel (value j
 * modulo period, which divides dim), then the averages; returns the bytes written, 0 without rows. */
size_t planes_from_codes(const uint8_t *const *rows, uint32_t n_rows, uint32_t dim, uint32_t period,
                         uint8_t *out);
/* // out: (n_rows, dim) int16 */
void planes_to_codes(const uint8_t *planes, uint32_t n_rows, uint32_t dim, uint32_t period, uint8_t *out);

#endif
