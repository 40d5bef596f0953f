/* zstd behind two bounded calls; see compress.h. Contexts are kept, because making one costs more than
 * compressing a small block. */
#include "store/compress.h"

#include <zstd.h>

#include "store/memory.h"

struct compress {
    ZSTD_CCtx *c;
    ZSTD_DCtx *d;
};

struct compress *compress_new(struct error *err)
{
    struct compress *z = memory_array(1, sizeof *z, MEMORY_MAX_SMALL, err);
    if (!z) return NULL;
    z->c = ZSTD_createCCtx();
    z->d = ZSTD_createDCtx();
    /* entropy coding of what has no repetition, which levels below 0 leave out by themselves; the
     * parameter's name (literalCompressionMode) is not in the stable header, its number is */
    if (z->c && z->d && !ZSTD_isError(ZSTD_CCtx_setParameter(z->c, ZSTD_c_experimentalParam5, 1)))
        return z;
    error_set(err, ERR_NOMEM, "out of memory: no zstd context");
    compress_free(z);
    return NULL;
}

void compress_free(struct compress *z)
{
    if (!z) return;
    ZSTD_freeCCtx(z->c);
    ZSTD_freeDCtx(z->d);
    memory_free(z);
}

size_t compress_bound(size_t n)
{
    return ZSTD_compressBound(n);
}

int64_t compress_pack(struct compress *z, int level, void *out, size_t capacity, const void *bytes,
                      size_t n, struct error *err)
{
    size_t got = ZSTD_CCtx_setParameter(z->c, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(got)) got = ZSTD_compress2(z->c, out, capacity, bytes, n);
    if (!ZSTD_isError(got)) return (int64_t)got;
    return error_set(err, ERR_NOMEM, "cannot compress %zu bytes into %zu: %s", n, capacity,
                     ZSTD_getErrorName(got));
}

int compress_unpack(struct compress *z, void *out, size_t n_out, const void *packed, size_t n,
                    struct error *err)
{
    size_t frame = ZSTD_findFrameCompressedSize(packed, n);
    if (ZSTD_isError(frame) || frame != n)
        return error_set(err, ERR_CORRUPT,
                         "compressed bytes are damaged: %zu bytes are not one zstd frame", n);
    size_t got = ZSTD_decompressDCtx(z->d, out, n_out, packed, n);
    if (ZSTD_isError(got))
        return error_set(err, ERR_CORRUPT, "compressed bytes are damaged: %s",
                         ZSTD_getErrorName(got));
    if (got != n_out)
        return error_set(err, ERR_CORRUPT, "compressed bytes hold %zu bytes, expected %zu", got,
                         n_out);
    return 0;
}
