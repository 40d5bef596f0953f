/* One block of a feature set: up to 256 vectors in one checked, compressed record.
 *
 *     block_shape_init(&shape, &codec, grid, &err);
 *     int64_t n = block_encode(&shape, view, number, rows, n_rows, plain, z, record, &err);
 *     block_decode(&block, &shape, view, number, record, n, plain, z, &err);
 *     if (block.kind[slot] != BLOCK_ABSENT) block_code(&block, &shape, slot, code);
 *
 * The record, little-endian (the value of the LMDB key view u32, block u32, both big-endian):
 *
 *      0   4  "CSFB"
 *      4   2  version: 2, or 1, which is still read; they differ in the checksum alone
 *      6   2  storage: 0 f32, 1 f16, 2 q, 3 bf16
 *      8   4  view                             a record read under another key is refused
 *     12   4  block number: slot i holds record number * n_slots + i of the corpus
 *     16   4  dim, values a vector
 *     20   4  period: means are taken for value j modulo period; dim, or dim / G^2 for a grid
 *     24   2  n_slots, a power of two, 1..256
 *     26   2  n_present, 1..n_slots
 *     28   2  n_raw: vectors kept as f32 in a set of storage q
 *     30   2  n_zero: vectors of norm 0, which have no code
 *     32   4  n_plain, bytes of the planes; follows from the counts
 *     36   4  n_packed, bytes of their zstd frame; 0 when n_plain is
 *     40   p  presence bitmap, p = (n_slots + 7) / 8 bytes, slot i is bit i % 8 of byte i / 8
 *          p  raw bitmap, within presence
 *          8 * n_present  first 8 bytes of each present record's key, ascending slots
 *          4 * n_present  norms, f32
 *          n_packed       the planes
 *          8  checksum: checksum_of everything before it; of version 1, digest_short
 *
 * The planes, once unpacked, with m = n_present - n_raw - n_zero vectors coded; "plane k" is byte k
 * of each number, for value j = 0..dim-1, and in it for every vector in order of slots
 * (value-major: 1.6% smaller than vector-major on real features):
 *
 *     f32   planes 0, 1, 2, 3 of m * dim floats
 *     f16   planes 0, 1 of m * dim halves; bf16 likewise
 *     q     planes 0, 1 of m * dim residuals, then planes 0, 1 of period means (when m > 0), then
 *           planes 0..3 of n_raw * dim floats
 *
 * A residual is code - mean, a mean the rounded average of the block's codes of that channel; both
 * wrap in 16 bits and are kept zig-zag (0, -1, 1, -2, ... as 0, 1, 2, 3, ...), so that the high
 * plane is nearly all zero. The mean is taken away from codes that exist already: it never changes
 * one.
 *
 * Invariants: a record is a pure function of its rows. Every size is checked before it is used; any
 * flipped bit is refused. Threading: a struct block belongs to one thread, any number of threads
 * may read a decoded one.
 */
#ifndef STORE_BLOCK_H
#define STORE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "store/codec.h"
#include "store/compress.h"
#include "store/error.h"

#define BLOCK_MAX_SLOTS 256
#define BLOCK_MAX_F32_BYTES (1 << 20)
#define BLOCK_VERSION 2
#define BLOCK_OLDEST 1 /* that is still read */
#define BLOCK_ABSENT 3 /* beside enum codec_kind */

struct block_shape {
    struct codec codec;
    uint32_t n_slots;
    uint32_t period;
};

/* A vector on its way in. code: as codec_encode left it, borrowed; unused for CODEC_ZERO. */
struct block_row {
    uint32_t slot;
    int kind; /* enum codec_kind */
    float norm;
    uint64_t check;
    const uint8_t *code;
};

/* A decoded record. plain is borrowed: the planes, or NULL when only the index was asked for. */
struct block {
    uint32_t view, number;
    uint32_t n_present, n_coded, n_raw;
    uint8_t kind[BLOCK_MAX_SLOTS];  /* enum codec_kind or BLOCK_ABSENT */
    uint16_t rank[BLOCK_MAX_SLOTS]; /* place among the vectors of its kind */
    uint64_t check[BLOCK_MAX_SLOTS];
    float norm[BLOCK_MAX_SLOTS];
    const uint8_t *plain;
};

/* The largest power of two of slots, 1..256, that keeps a block within 1 MiB of f32. grid: G of a
 * "@GxG" tap or 0. ERR_USAGE when G * G does not divide the codec's dim. */
int block_shape_init(struct block_shape *shape, const struct codec *codec, uint32_t grid,
                     struct error *err) MUST_CHECK;

/* First 8 bytes of a key. */
uint64_t block_check_of(const uint8_t *key);

/* Most bytes of the planes, and of a record. */
size_t block_plain_capacity(const struct block_shape *shape);
size_t block_record_capacity(const struct block_shape *shape);

/* Bytes of the record. rows: at least one, ascending slots. plain, record: scratch and output of
 * the capacities above. */
int64_t block_encode(const struct block_shape *shape, uint32_t view, uint32_t number,
                     const struct block_row *rows, uint32_t n_rows, uint8_t *plain,
                     struct compress *z, uint8_t *record, struct error *err) MUST_CHECK;

/* ERR_CORRUPT, ERR_INCOMPATIBLE (another version). plain NULL: the index alone, without unpacking. */
int block_decode(struct block *b, const struct block_shape *shape, uint32_t view, uint32_t number,
                 const uint8_t *record, size_t n, uint8_t *plain, struct compress *z,
                 struct error *err) MUST_CHECK;

/* What the head of a record says, before anything is checked: its length, at most n, its view and number;
 * 0 when these bytes begin no record. For finding records in a damaged file. */
size_t block_record_bytes(const uint8_t *bytes, size_t n, uint32_t *view, uint32_t *number);

/* The code of a present slot, equal to what went in. // code: codec_bytes of its kind */
void block_code(const struct block *b, const struct block_shape *shape, uint32_t slot, uint8_t *code);
/* The codes of all vectors of a kind, by rank, several times faster than one by one.
 * // codes: (n_coded or n_raw, codec_bytes of the kind) */
void block_codes(const struct block *b, const struct block_shape *shape, enum codec_kind kind,
                 uint8_t *codes);

#endif
