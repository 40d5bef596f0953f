/* Encoding and decoding one block; the bytes are drawn in block.h. The header is one table of fields, so
 * that writer and reader cannot drift apart. */
#include "store/block.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "store/checksum.h"
#include "store/digest.h"
#include "store/planes.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "records are little-endian and copied as they are");
_Static_assert(PLANES_MAX_ROWS >= BLOCK_MAX_SLOTS, "a block's rows go through planes at once");

#define MAGIC          0x42465343u /* "CSFB" */
#define HEADER_BYTES   40
#define CHECKSUM_BYTES 8

struct header {
    uint32_t magic;
    uint16_t version, storage;
    uint32_t view, number, dim, period;
    uint16_t n_slots, n_present, n_raw, n_zero;
    uint32_t n_plain, n_packed;
};
_Static_assert(sizeof(struct header) == HEADER_BYTES,
               "struct header is the record's head, without padding");

static uint32_t n_planes(const struct block_shape *s)
{
    return s->codec.storage == STORAGE_F32 ? 4 : 2;
}

static uint32_t bitmap_bytes(const struct block_shape *s)
{
    return (s->n_slots + 7) / 8;
}

static size_t plain_bytes(const struct block_shape *s, uint32_t n_coded, uint32_t n_raw)
{
    size_t n = (size_t)n_coded * s->codec.dim * n_planes(s) + (size_t)n_raw * s->codec.dim * 4;
    return s->codec.storage == STORAGE_Q && n_coded ? n + 2 * (size_t)s->period : n;
}

int block_shape_init(struct block_shape *shape, const struct codec *codec, uint32_t grid,
                     struct error *err)
{
    uint64_t cells = grid ? (uint64_t)grid * grid : 1;
    if (codec->dim % cells)
        return error_set(err, ERR_USAGE, "a grid of %u x %u cells does not divide %u values", grid,
                         grid, codec->dim);
    uint32_t n = BLOCK_MAX_SLOTS;
    while (n > 1 && (uint64_t)n * codec->dim * 4 > BLOCK_MAX_F32_BYTES) n /= 2;
    *shape = (struct block_shape){
        .codec = *codec, .n_slots = n, .period = codec->dim / (uint32_t)cells};
    return 0;
}

uint64_t block_check_of(const uint8_t *key)
{
    uint64_t check;
    memcpy(&check, key, sizeof check);
    return check;
}

size_t block_plain_capacity(const struct block_shape *s)
{
    return (size_t)s->n_slots * s->codec.dim * 4 + 2 * (size_t)s->period;
}

size_t block_record_capacity(const struct block_shape *s)
{
    return HEADER_BYTES + 2 * (size_t)bitmap_bytes(s) + 12 * (size_t)s->n_slots +
           compress_bound(block_plain_capacity(s)) + CHECKSUM_BYTES;
}

static uint16_t unzigzag(uint16_t z)
{
    return (z >> 1) ^ (uint16_t) - (z & 1);
}

/* Of the n bytes before it. SHA-256, which version 1 has, takes as long as all the rest of reading. */
static uint64_t checksum_by(uint16_t version, const uint8_t *record, size_t n)
{
    return version == 1 ? digest_short(record, n) : checksum_of(record, n);
}

static size_t pack(const struct block_shape *s, const struct block_row *rows, uint32_t n_rows,
                   uint8_t *plain)
{
    const uint8_t *coded[BLOCK_MAX_SLOTS], *raw[BLOCK_MAX_SLOTS];
    uint32_t n_coded = 0, n_raw = 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        if (rows[i].kind == CODEC_CODED) coded[n_coded++] = rows[i].code;
        if (rows[i].kind == CODEC_RAW) raw[n_raw++] = rows[i].code;
    }
    size_t n = s->codec.storage == STORAGE_Q
                   ? planes_from_codes(coded, n_coded, s->codec.dim, s->period, plain)
                   : planes_from_rows(coded, n_coded, s->codec.dim, n_planes(s), plain);
    return n + planes_from_rows(raw, n_raw, s->codec.dim, 4, plain + n);
}

/* Bitmaps, key checks and norms behind the header; returns the bytes written. */
static size_t put_index(const struct block_shape *s, const struct block_row *rows, uint32_t n,
                        uint8_t *out)
{
    uint8_t *present = out, *raw = out + bitmap_bytes(s), *checks = raw + bitmap_bytes(s);
    uint8_t *norms = checks + 8 * (size_t)n;
    memset(present, 0, 2 * (size_t)bitmap_bytes(s));
    for (uint32_t i = 0; i < n; i++) {
        uint8_t bit = (uint8_t)(1 << rows[i].slot % 8);
        present[rows[i].slot / 8] |= bit;
        if (rows[i].kind == CODEC_RAW) raw[rows[i].slot / 8] |= bit;
        memcpy(checks + 8 * (size_t)i, &rows[i].check, 8);
        memcpy(norms + 4 * (size_t)i, &rows[i].norm, 4);
    }
    return (size_t)(norms - out) + 4 * (size_t)n;
}

int64_t block_encode(const struct block_shape *s, uint32_t view, uint32_t number,
                     const struct block_row *rows, uint32_t n_rows, uint8_t *plain,
                     struct compress *z, uint8_t *record, struct error *err)
{
    struct header h = {.magic = MAGIC,
                       .version = BLOCK_VERSION,
                       .storage = (uint16_t)s->codec.storage,
                       .view = view,
                       .number = number,
                       .dim = s->codec.dim,
                       .period = s->period,
                       .n_slots = (uint16_t)s->n_slots,
                       .n_present = (uint16_t)n_rows};
    for (uint32_t i = 0; i < n_rows; i++) {
        h.n_raw += rows[i].kind == CODEC_RAW;
        h.n_zero += rows[i].kind == CODEC_ZERO;
    }
    h.n_plain = (uint32_t)pack(s, rows, n_rows, plain);
    size_t n = HEADER_BYTES + put_index(s, rows, n_rows, record + HEADER_BYTES);
    if (h.n_plain) {
        int level = s->codec.storage == STORAGE_F32 ? COMPRESS_FLOATS : COMPRESS_CODES;
        int64_t packed = compress_pack(z, level, record + n, compress_bound(h.n_plain), plain,
                                       h.n_plain, err);
        if (packed < 0) return packed;
        h.n_packed = (uint32_t)packed;
        n += (size_t)packed;
    }
    memcpy(record, &h, sizeof h);
    uint64_t checksum = checksum_by(BLOCK_VERSION, record, n);
    memcpy(record + n, &checksum, CHECKSUM_BYTES);
    return (int64_t)(n + CHECKSUM_BYTES);
}

static int damaged(struct error *err, uint32_t view, uint32_t number, const char *what)
{
    return error_set(err, ERR_CORRUPT, "feature block %u of view %u is damaged: %s", number, view,
                     what);
}

/* Header against the shape, the key it was found under, and the record's length. */
static int check_header(const struct header *h, const struct block_shape *s, uint32_t view,
                        uint32_t number, size_t n, struct error *err)
{
    if (h->magic != MAGIC) return damaged(err, view, number, "it does not begin with CSFB");
    if (h->version < BLOCK_OLDEST || h->version > BLOCK_VERSION)
        return error_set(err, ERR_INCOMPATIBLE,
                         "feature block %u of view %u has format version %u; this program reads "
                         "versions %d to %d: use the clipstill that made it, or a newer one",
                         number, view, h->version, BLOCK_OLDEST, BLOCK_VERSION);
    if (h->view != view || h->number != number)
        return damaged(err, view, number, "it is stored under another block's key");
    if (h->storage != s->codec.storage || h->dim != s->codec.dim || h->period != s->period ||
        h->n_slots != s->n_slots)
        return damaged(err, view, number, "its storage, dimension or slots are not the set's");
    if (h->n_present < 1 || h->n_present > s->n_slots || h->n_raw + h->n_zero > h->n_present ||
        (h->n_raw && h->storage != STORAGE_Q))
        return damaged(err, view, number, "its counts are impossible");
    uint32_t n_coded = h->n_present - h->n_raw - h->n_zero;
    if (h->n_plain != plain_bytes(s, n_coded, h->n_raw) || !h->n_plain != !h->n_packed)
        return damaged(err, view, number, "its plane bytes do not follow from its counts");
    uint64_t want = HEADER_BYTES + 2 * (uint64_t)bitmap_bytes(s) + 12 * (uint64_t)h->n_present +
                    h->n_packed + CHECKSUM_BYTES;
    if (want != n) return damaged(err, view, number, "its length does not follow from its header");
    return 0;
}

/* Fills kind, rank, check and norm. p: behind the header, of a length that check_header has made sure of. */
static int read_index(struct block *b, const struct block_shape *s, const struct header *h,
                      const uint8_t *p, struct error *err)
{
    const uint8_t *present = p, *raw = p + bitmap_bytes(s), *checks = raw + bitmap_bytes(s);
    const uint8_t *norms = checks + 8 * (size_t)h->n_present;
    uint32_t i = 0, n_zero = 0;
    for (uint32_t slot = 0; slot < 8 * bitmap_bytes(s); slot++) {
        bool is_present = present[slot / 8] >> slot % 8 & 1, is_raw = raw[slot / 8] >> slot % 8 & 1;
        if (is_raw > is_present || (is_present && (slot >= s->n_slots || i == h->n_present)))
            return damaged(err, b->view, b->number, "its bitmaps and counts disagree");
        if (!is_present) continue;
        memcpy(&b->check[slot], checks + 8 * (size_t)i, 8);
        memcpy(&b->norm[slot], norms + 4 * (size_t)i, 4);
        i++;
        float norm = b->norm[slot];
        if (!isfinite(norm) || signbit(norm) || (is_raw && norm == 0))
            return damaged(err, b->view, b->number, "a norm is no length");
        b->kind[slot] = norm == 0 ? CODEC_ZERO : is_raw ? CODEC_RAW : CODEC_CODED;
        b->rank[slot] = (uint16_t)(norm == 0 ? n_zero++ : is_raw ? b->n_raw++ : b->n_coded++);
    }
    b->n_present = i;
    if (i != h->n_present || n_zero != h->n_zero || b->n_raw != h->n_raw)
        return damaged(err, b->view, b->number, "its bitmaps and counts disagree");
    return 0;
}

size_t block_record_bytes(const uint8_t *bytes, size_t n, uint32_t *view, uint32_t *number)
{
    struct header h;
    if (n < HEADER_BYTES) return 0;
    memcpy(&h, bytes, sizeof h);
    uint64_t want = HEADER_BYTES + 2 * (((uint64_t)h.n_slots + 7) / 8) +
                    12 * (uint64_t)h.n_present + h.n_packed + CHECKSUM_BYTES;
    if (h.magic != MAGIC || want > n) return 0;
    *view = h.view;
    *number = h.number;
    return want;
}

int block_decode(struct block *b, const struct block_shape *s, uint32_t view, uint32_t number,
                 const uint8_t *record, size_t n, uint8_t *plain, struct compress *z,
                 struct error *err)
{
    struct header h;
    uint64_t checksum;
    if (n < HEADER_BYTES + CHECKSUM_BYTES) return damaged(err, view, number, "it is cut short");
    memcpy(&h, record, sizeof h);
    memcpy(&checksum, record + n - CHECKSUM_BYTES, CHECKSUM_BYTES);
    if (checksum != checksum_by(h.version, record, n - CHECKSUM_BYTES))
        return damaged(err, view, number, "its checksum does not match");
    int rc = check_header(&h, s, view, number, n, err);
    if (rc < 0) return rc;
    *b = (struct block){.view = view, .number = number, .plain = plain};
    memset(b->kind, BLOCK_ABSENT, sizeof b->kind);
    rc = read_index(b, s, &h, record + HEADER_BYTES, err);
    if (rc < 0 || !plain || !h.n_plain) return rc;
    rc = compress_unpack(z, plain, h.n_plain, record + n - CHECKSUM_BYTES - h.n_packed, h.n_packed,
                         err);
    if (rc < 0) error_prefix(err, "feature block %u of view %u: ", number, view);
    return rc;
}

void block_code(const struct block *b, const struct block_shape *s, uint32_t slot, uint8_t *code)
{
    uint32_t dim = s->codec.dim, width = n_planes(s), n = b->n_coded, r = b->rank[slot];
    const uint8_t *p = b->plain;
    if (b->kind[slot] == CODEC_ZERO) return;
    if (b->kind[slot] == CODEC_RAW) {
        p += plain_bytes(s, b->n_coded, 0);
        n = b->n_raw;
        width = 4;
    }
    size_t plane = (size_t)n * dim;
    if (b->kind[slot] == CODEC_RAW || s->codec.storage != STORAGE_Q) {
        for (uint32_t j = 0; j < dim; j++)
            for (uint32_t k = 0; k < width; k++)
                code[(size_t)j * width + k] = p[k * plane + (size_t)j * n + r];
        return;
    }
    const uint8_t *means = p + 2 * plane;
    for (uint32_t j = 0, channel = 0; j < dim; j++) {
        uint16_t z = (uint16_t)(p[(size_t)j * n + r] | p[(size_t)j * n + r + plane] << 8);
        uint16_t mean = (uint16_t)(means[channel] | means[channel + s->period] << 8);
        uint16_t v = (uint16_t)(unzigzag(z) + unzigzag(mean));
        memcpy(code + 2 * (size_t)j, &v, 2);
        if (++channel == s->period) channel = 0;
    }
}

void block_codes(const struct block *b, const struct block_shape *s, enum codec_kind kind,
                 uint8_t *codes)
{
    uint32_t dim = s->codec.dim;
    if (kind == CODEC_RAW)
        planes_to_rows(b->plain + plain_bytes(s, b->n_coded, 0), b->n_raw, dim, 4, codes);
    else if (kind == CODEC_CODED && s->codec.storage == STORAGE_Q)
        planes_to_codes(b->plain, b->n_coded, dim, s->period, codes);
    else if (kind == CODEC_CODED)
        planes_to_rows(b->plain, b->n_coded, dim, n_planes(s), codes);
}
