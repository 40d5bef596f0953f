/* PNG to RGB; see png.h. libspng gives the samples as they are stored; they are widened to RGB
 * here, because Pillow's rules are not the library's: tRNS and alpha are dropped and not blended,
 * gAMA and ICC are ignored, 16 bits keep the high byte, and a palette index beyond the palette is a
 * grey of that value. */
#include "ingest/png.h"

#include <spng.h>

#include "store/memory.h"

static int refuse(struct picture *p, int code, size_t n, struct error *err)
{
    if (code == SPNG_EMEM) return error_set(err, ERR_NOMEM, "out of memory while decoding a PNG");
    if (code == SPNG_IO_EOF || code == SPNG_EIDAT_TOO_SHORT)
        return picture_refuse(p, "truncated", err,
                              "the PNG ends after %zu bytes, before its picture does", n);
    return picture_refuse(p, "broken-png", err, "broken PNG: %s", spng_strerror(code));
}

/* Samples of 1, 2 or 4 bits to one byte each, not scaled. */
static void unpack(uint8_t *out, const uint8_t *row, size_t n_samples, unsigned depth)
{
    unsigned per_byte = 8 / depth, mask = (1u << depth) - 1;
    for (size_t i = 0; i < n_samples; i++)
        out[i] = row[i / per_byte] >> (8 - depth * (1 + i % per_byte)) & mask;
}

/* The high byte of each 16-bit sample, which stands first in raw rows. */
static void keep_high(uint8_t *out, const uint8_t *row, size_t n_samples)
{
    for (size_t i = 0; i < n_samples; i++) out[i] = row[2 * i];
}

/* n_channels samples of 8 bits a pixel, of which the colour is kept; lut maps a grey or an index to RGB. */
static void widen(uint8_t *rgb, const uint8_t *samples, uint32_t width, unsigned n_channels,
                  const uint8_t lut[256][3])
{
    bool colour = n_channels >= 3;
    for (uint32_t x = 0; x < width; x++) {
        const uint8_t *s = samples + (size_t)x * n_channels;
        const uint8_t *c = colour ? s : lut[*s];
        for (int i = 0; i < 3; i++) rgb[3 * (size_t)x + i] = c[i];
    }
}

/* What each grey or index means: the palette, or greys scaled from the bit depth. */
static int fill_lut(spng_ctx *png, const struct spng_ihdr *head, uint8_t lut[256][3])
{
    unsigned scale = head->color_type == SPNG_COLOR_TYPE_GRAYSCALE && head->bit_depth < 8
                         ? 255u / ((1u << head->bit_depth) - 1)
                         : 1;
    for (unsigned i = 0; i < 256; i++)
        for (int k = 0; k < 3; k++) lut[i][k] = (uint8_t)(i * scale);
    if (head->color_type != SPNG_COLOR_TYPE_INDEXED) return 0;
    struct spng_plte palette = {0};
    int code = spng_get_plte(png, &palette);
    for (unsigned i = 0; !code && i < palette.n_entries; i++) {
        lut[i][0] = palette.entries[i].red;
        lut[i][1] = palette.entries[i].green;
        lut[i][2] = palette.entries[i].blue;
    }
    return code;
}

static unsigned channels_of(unsigned color_type)
{
    switch (color_type) {
    case SPNG_COLOR_TYPE_TRUECOLOR: return 3;
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA: return 2;
    case SPNG_COLOR_TYPE_TRUECOLOR_ALPHA: return 4;
    default: return 1;
    }
}

static int decode(spng_ctx *png, const uint8_t *bytes, size_t n,
                  const struct picture_limits *limits, struct picture *p, uint8_t **raw,
                  uint8_t **samples, struct error *err)
{
    struct spng_ihdr head;
    uint8_t lut[256][3];
    size_t n_raw;
    int code = spng_set_image_limits(png, limits->max_side_px, limits->max_side_px);
    if (!code) code = spng_set_png_buffer(png, bytes, n);
    if (!code) code = spng_get_ihdr(png, &head);
    if (code == SPNG_EUSER_WIDTH || code == SPNG_EUSER_HEIGHT)
        return picture_refuse(p, "too-large", err, "the header claims a side above %u pixels",
                              limits->max_side_px);
    if (code) return refuse(p, code, n, err);
    int rc = picture_allocate(p, head.width, head.height, limits, err);
    if (rc < 0) return rc;
    if ((code = fill_lut(png, &head, lut))) return refuse(p, code, n, err);
    if ((code = spng_decoded_image_size(png, SPNG_FMT_RAW, &n_raw))) return refuse(p, code, n, err);
    unsigned n_channels = channels_of(head.color_type);
    size_t row_samples = (size_t)head.width * n_channels, row_bytes = n_raw / head.height;
    if (!(*raw = memory_array(n_raw, 1, MEMORY_MAX_TENSOR, err))) return ERR_NOMEM;
    if (!(*samples = memory_array(row_samples, 1, MEMORY_MAX_TENSOR, err))) return ERR_NOMEM;
    if ((code = spng_decode_image(png, *raw, n_raw, SPNG_FMT_RAW, 0)))
        return refuse(p, code, n, err);
    for (uint32_t y = 0; y < head.height; y++) {
        const uint8_t *row = *raw + y * row_bytes;
        if (head.bit_depth < 8) unpack(*samples, row, row_samples, head.bit_depth);
        if (head.bit_depth == 16) keep_high(*samples, row, row_samples);
        widen(p->rgb + 3 * (size_t)y * head.width, head.bit_depth == 8 ? row : *samples, head.width,
              n_channels, lut);
    }
    return 0;
}

int png_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
               struct picture *p, struct error *err)
{
    uint8_t *raw = NULL, *samples = NULL; // (height, row_bytes); (width * channels)
    spng_ctx *png = spng_ctx_new(0);
    if (!png) return error_set(err, ERR_NOMEM, "out of memory while opening a PNG");
    int rc = decode(png, bytes, n, limits, p, &raw, &samples, err);
    spng_ctx_free(png);
    memory_free(raw);
    memory_free(samples);
    return rc;
}
