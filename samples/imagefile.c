/* Pictures to files, in the variants an image reader meets: JPEG (baseline, progressive, CMYK, YCCK, grey, EXIF orientation),
 * PNG (RGB, palette, alpha, 16-bit) and WebP (lossy, lossless, alpha). The encoders are deterministic for a version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <spng.h>
#include <webp/encode.h>

#include "samples/make_corpus.h"

void file_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(bytes, 1, n, f) != n) || fclose(f) != 0) die("cannot write %s", path);
}

void *file_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) die("cannot read %s", path);
    long size = ftell(f);
    rewind(f);
    char *bytes = must_alloc((size_t)size + 1);
    *n = fread(bytes, 1, (size_t)size, f);
    if (*n != (size_t)size) die("cannot read %s", path);
    fclose(f);
    return bytes;
}

const char *imagefile_extension(enum imagefile_kind kind)
{
    return kind <= FILE_JPEG_GREY ? "jpg" : kind <= FILE_PNG_16 ? "png" : "webp";
}

/* The picture as it must be stored so that applying EXIF orientation 1..8 gives rgb. */
static uint8_t *turned(const uint8_t *rgb, int *width, int *height, int orientation)
{
    int w = *width, h = *height;
    bool swap = orientation >= 5;
    int sw = swap ? h : w, sh = swap ? w : h;
    uint8_t *out = must_alloc((size_t)w * (size_t)h * 3);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int sx = 0, sy = 0; /* where upright (x, y) is stored */
            switch (orientation) {
            case 2: sx = w - 1 - x, sy = y; break;
            case 3: sx = w - 1 - x, sy = h - 1 - y; break;
            case 4: sx = x, sy = h - 1 - y; break;
            case 5: sx = y, sy = x; break;
            case 6: sx = y, sy = w - 1 - x; break;
            case 7: sx = h - 1 - y, sy = w - 1 - x; break;
            case 8: sx = h - 1 - y, sy = x; break;
            default: sx = x, sy = y; break;
            }
            memcpy(out + 3 * ((size_t)sy * sw + sx), rgb + 3 * ((size_t)y * w + x), 3);
        }
    *width = sw;
    *height = sh;
    return out;
}

/* One row to what the encoder is given; CMYK of Adobe's kind: 255 is no ink, and no black is used. */
static void jpeg_row(const uint8_t *rgb, int width, int components, uint8_t *row)
{
    for (int x = 0; x < width; x++, rgb += 3)
        if (components == 4) {
            memcpy(row + 4 * x, rgb, 3);
            row[4 * x + 3] = 255;
        } else if (components == 1)
            row[x] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
        else
            memcpy(row + 3 * x, rgb, 3);
}

static void jpeg_write(const char *path, const struct imagefile_options *o, const uint8_t *rgb,
                       int width, int height)
{
    uint8_t exif[] = {'E',  'x',  'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0,
                      0x12, 0x01, 3,   0,   1, 0, 0,   0,   0,  0, 0, 0, 0, 0, 0, 0};
    exif[24] = (uint8_t)o->orientation;
    uint8_t *stored = turned(rgb, &width, &height, o->orientation),
            *row = must_alloc((size_t)width * 4);
    uint8_t *bytes = NULL;
    unsigned long n = 0;
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct j = {.err = jpeg_std_error(&errors)};
    jpeg_create_compress(&j);
    jpeg_mem_dest(&j, &bytes, &n);
    bool ink = o->kind == FILE_JPEG_CMYK || o->kind == FILE_JPEG_YCCK;
    j.image_width = (JDIMENSION)width;
    j.image_height = (JDIMENSION)height;
    j.input_components = ink ? 4 : o->kind == FILE_JPEG_GREY ? 1 : 3;
    j.in_color_space = ink ? JCS_CMYK : o->kind == FILE_JPEG_GREY ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&j);
    if (o->kind == FILE_JPEG_YCCK) jpeg_set_colorspace(&j, JCS_YCCK);
    jpeg_set_quality(&j, o->quality, TRUE);
    j.optimize_coding = TRUE;
    if (o->kind == FILE_JPEG_PROGRESSIVE) jpeg_simple_progression(&j);
    jpeg_start_compress(&j, TRUE);
    if (o->orientation != 1) jpeg_write_marker(&j, JPEG_APP0 + 1, exif, sizeof exif);
    for (int y = 0; y < height; y++) {
        jpeg_row(stored + 3 * (size_t)y * width, width, j.input_components, row);
        jpeg_write_scanlines(&j, &row, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    file_write(path, bytes, n);
    free(bytes);
    free(row);
    free(stored);
}

/* 6 x 7 x 6 colours with a 4 x 4 ordered dither. */
static void to_palette(const uint8_t *rgb, int width, int height, struct spng_plte *palette,
                       uint8_t *index)
{
    static const int bayer[16] = {0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5},
                     levels[3] = {6, 7, 6};
    palette->n_entries = 252;
    for (int i = 0; i < 252; i++)
        palette->entries[i] = (struct spng_plte_entry){
            (uint8_t)(i / 42 * 51), (uint8_t)(i / 6 % 7 * 255 / 6), (uint8_t)(i % 6 * 51), 0};
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, rgb += 3) {
            int level[3];
            for (int c = 0; c < 3; c++)
                level[c] = (rgb[c] * (levels[c] - 1) * 16 + 255 * bayer[y % 4 * 4 + x % 4]) /
                           (255 * 16);
            *index++ = (uint8_t)(level[0] * 42 + level[1] * 6 + level[2]);
        }
}

static void png_write(const char *path, enum imagefile_kind kind, const uint8_t *rgb, int width,
                      int height)
{
    size_t n_pixels = (size_t)width * (size_t)height, n = 0;
    uint8_t *data = must_alloc(n_pixels * 6);
    struct spng_ihdr header = {.width = (uint32_t)width,
                               .height = (uint32_t)height,
                               .bit_depth = 8,
                               .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    struct spng_plte palette = {0};
    size_t n_data = n_pixels * 3;
    if (kind == FILE_PNG_PALETTE) {
        header.color_type = SPNG_COLOR_TYPE_INDEXED;
        to_palette(rgb, width, height, &palette, data);
        n_data = n_pixels;
    } else if (kind == FILE_PNG_16) {
        header.bit_depth = 16;
        for (size_t i = 0; i < 3 * n_pixels; i++) data[2 * i] = data[2 * i + 1] = rgb[i];
        n_data = n_pixels * 6;
    } else if (kind == FILE_PNG_ALPHA) {
        header.color_type = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
        for (size_t i = 0; i < n_pixels; i++) {
            memcpy(data + 4 * i, rgb + 3 * i, 3);
            data[4 * i + 3] = (uint8_t)(255 - i / (size_t)width % 32);
        }
        n_data = n_pixels * 4;
    } else
        memcpy(data, rgb, n_data);
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    int rc = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (!rc) rc = spng_set_option(png, SPNG_IMG_COMPRESSION_LEVEL, 9);
    if (!rc) rc = spng_set_ihdr(png, &header);
    if (!rc && palette.n_entries) rc = spng_set_plte(png, &palette);
    if (!rc)
        rc = spng_encode_image(png, data, n_data, kind == FILE_PNG_16 ? SPNG_FMT_RAW : SPNG_FMT_PNG,
                               SPNG_ENCODE_FINALIZE);
    void *bytes = rc ? NULL : spng_get_png_buffer(png, &n, &rc);
    if (rc) die("cannot encode %s: %s", path, spng_strerror(rc));
    file_write(path, bytes, n);
    free(bytes);
    spng_ctx_free(png);
    free(data);
}

static void webp_write(const char *path, const struct imagefile_options *o, const uint8_t *rgb,
                       int width, int height)
{
    uint8_t *bytes = NULL;
    size_t n = 0, n_pixels = (size_t)width * (size_t)height;
    if (o->kind == FILE_WEBP_ALPHA) {
        uint8_t *rgba = must_alloc(n_pixels * 4);
        for (size_t i = 0; i < n_pixels; i++) {
            memcpy(rgba + 4 * i, rgb + 3 * i, 3);
            rgba[4 * i + 3] = (uint8_t)(255 - i / (size_t)width % 32);
        }
        n = WebPEncodeRGBA(rgba, width, height, width * 4, (float)o->quality, &bytes);
        free(rgba);
    } else if (o->kind == FILE_WEBP_LOSSLESS)
        n = WebPEncodeLosslessRGB(rgb, width, height, width * 3, &bytes);
    else
        n = WebPEncodeRGB(rgb, width, height, width * 3, (float)o->quality, &bytes);
    if (n == 0) die("cannot encode %s", path);
    file_write(path, bytes, n);
    WebPFree(bytes);
}

void imagefile_write(const char *path, const struct imagefile_options *o, const uint8_t *rgb,
                     int width, int height)
{
    if (o->kind <= FILE_JPEG_GREY)
        jpeg_write(path, o, rgb, width, height);
    else if (o->kind <= FILE_PNG_16)
        png_write(path, o->kind, rgb, width, height);
    else
        webp_write(path, o, rgb, width, height);
}
