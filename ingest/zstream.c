/* Inflating; see zstream.h. */
#include "ingest/zstream.h"

#include <limits.h>

#include <zlib.h>

#include "store/memory.h"

enum { BLOCK = 1 << 14 };

struct zstream {
    z_stream z;
};

struct zstream *zstream_new(struct error *err)
{
    struct zstream *z = memory_array(1, sizeof *z, MEMORY_MAX_SMALL, err);
    if (z && inflateInit(&z->z) == Z_OK) return z;
    if (z) error_set(err, ERR_NOMEM, "out of memory while inflating");
    memory_free(z);
    return NULL;
}

void zstream_free(struct zstream *z)
{
    if (z) inflateEnd(&z->z);
    memory_free(z);
}

enum zstream_state zstream_run(struct zstream *z, const uint8_t **in, size_t *n_in, uint8_t **out,
                               size_t *n_out)
{
    uInt taken = *n_in > UINT_MAX ? UINT_MAX : (uInt)*n_in;
    uInt room = *n_out > UINT_MAX ? UINT_MAX : (uInt)*n_out;
    z->z.next_in = (Bytef *)(uintptr_t)*in; /* zlib only reads it */
    z->z.avail_in = taken;
    z->z.next_out = *out;
    z->z.avail_out = room;
    int code = inflate(&z->z, Z_NO_FLUSH);
    *in = z->z.next_in;
    *n_in -= taken - z->z.avail_in;
    *out = z->z.next_out;
    *n_out -= room - z->z.avail_out;
    if (code == Z_MEM_ERROR) return ZSTREAM_NOMEM;
    if (code == Z_STREAM_END) return ZSTREAM_END;
    return code == Z_OK || code == Z_BUF_ERROR ? ZSTREAM_MORE : ZSTREAM_BROKEN;
}

bool zstream_whole(struct zstream *z, const uint8_t *in, size_t n_in, size_t max, uint8_t *out,
                   size_t *n_out, enum zstream_state *state)
{
    uint8_t nowhere[BLOCK];
    *n_out = 0;
    *state = inflateReset(&z->z) == Z_OK ? ZSTREAM_MORE : ZSTREAM_BROKEN;
    bool full = true; /* there may be more to come out of what went in */
    while (*state == ZSTREAM_MORE && (n_in || full) && *n_out < max) {
        size_t room = max - *n_out < BLOCK ? max - *n_out : BLOCK, left = room;
        uint8_t *at = out ? out + *n_out : nowhere;
        *state = zstream_run(z, &in, &n_in, &at, &left);
        *n_out += room - left;
        full = left == 0;
    }
    return *state != ZSTREAM_MORE || n_in == 0;
}

uint32_t zstream_crc(uint32_t crc, const uint8_t *bytes, size_t n)
{
    return (uint32_t)crc32_z(crc, bytes, n);
}
