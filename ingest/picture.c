/* Untrusted pictures to upright RGB; see picture.h. Recognition, limits and orientation live here, one file
 * a decoder beside it. Nothing is allocated before a decoder has read the size and picture_allocate has
 * checked it: a header may claim anything. */
#include "ingest/picture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ingest/jpeg.h"
#include "ingest/png.h"
#include "ingest/webp.h"
#include "store/memory.h"

#define MAX_KEPT_BYTES ((size_t)1 << 27)

struct magic {
    const char *name;
    uint16_t at, n;
    const char *bytes;
    enum corpus_image_format format;
};

/* What Pillow knows and what else lies between pictures; the first that fits is it. */
static const struct magic magics[] = {
    {"JPEG", 0, 3, "\xff\xd8\xff", IMAGE_JPEG},
    {"PNG", 0, 8, "\x89PNG\r\n\x1a\n", IMAGE_PNG},
    {"WebP", 8, 4, "WEBP", IMAGE_WEBP}, /* and RIFF in front */
    {"GIF", 0, 4, "GIF8", IMAGE_NONE},
    {"TIFF", 0, 4, "II*\0", IMAGE_NONE},
    {"TIFF", 0, 4, "MM\0*", IMAGE_NONE},
    {"TIFF", 0, 4, "II\0*", IMAGE_NONE},
    {"TIFF", 0, 4, "MM*\0", IMAGE_NONE},
    {"BigTIFF", 0, 4, "II+\0", IMAGE_NONE},
    {"BigTIFF", 0, 4, "MM\0+", IMAGE_NONE},
    {"AVIF", 4, 8, "ftypavif", IMAGE_NONE},
    {"AVIF", 4, 8, "ftypavis", IMAGE_NONE},
    {"HEIC", 4, 7, "ftyphei", IMAGE_NONE},
    {"HEIC", 4, 7, "ftyphev", IMAGE_NONE},
    {"HEIF", 4, 8, "ftypmif1", IMAGE_NONE},
    {"HEIF", 4, 8, "ftypmsf1", IMAGE_NONE},
    {"Canon raw", 4, 7, "ftypcrx", IMAGE_NONE},
    {"MP4", 4, 4, "ftyp", IMAGE_NONE},
    {"JPEG XL", 0, 2, "\xff\x0a", IMAGE_NONE},
    {"JPEG XL", 0, 12, "\0\0\0\x0cJXL \r\n\x87\n", IMAGE_NONE},
    {"JPEG XR", 0, 3, "II\xbc", IMAGE_NONE},
    {"JPEG 2000", 0, 12, "\0\0\0\x0cjP  \r\n\x87\n", IMAGE_NONE},
    {"JPEG 2000", 0, 4, "\xff\x4f\xff\x51", IMAGE_NONE},
    {"BMP", 0, 2, "BM", IMAGE_NONE},
    {"DIB", 0, 4, "\x28\0\0\0", IMAGE_NONE},
    {"Photoshop", 0, 4, "8BPS", IMAGE_NONE},
    {"GIMP", 0, 8, "gimp xcf", IMAGE_NONE},
    {"GIMP brush", 20, 4, "GIMP", IMAGE_NONE},
    {"icon", 0, 4, "\0\0\1\0", IMAGE_NONE},
    {"cursor", 0, 4, "\0\0\2\0", IMAGE_NONE},
    {"ICNS", 0, 4, "icns", IMAGE_NONE},
    {"MNG", 0, 8, "\x8aMNG\r\n\x1a\n", IMAGE_NONE},
    {"JNG", 0, 8, "\x8bJNG\r\n\x1a\n", IMAGE_NONE},
    {"QOI", 0, 4, "qoif", IMAGE_NONE},
    {"DDS", 0, 4, "DDS ", IMAGE_NONE},
    {"BLP", 0, 3, "BLP", IMAGE_NONE},
    {"FTEX", 0, 4, "FTEX", IMAGE_NONE},
    {"SGI", 0, 2, "\1\xda", IMAGE_NONE},
    {"Sun raster", 0, 4, "\x59\xa6\x6a\x95", IMAGE_NONE},
    {"DCX", 0, 4, "\xb1\x68\xde\x3a", IMAGE_NONE},
    {"PCX", 0, 2, "\x0a\x05", IMAGE_NONE},
    {"PCX", 0, 2, "\x0a\x03", IMAGE_NONE},
    {"PCX", 0, 2, "\x0a\x02", IMAGE_NONE},
    {"Pixar", 0, 4, "\x80\xe8\0\0", IMAGE_NONE},
    {"FLI", 4, 2, "\x11\xaf", IMAGE_NONE},
    {"FLC", 4, 2, "\x12\xaf", IMAGE_NONE},
    {"MSP", 0, 4, "DanM", IMAGE_NONE},
    {"MSP", 0, 4, "LinS", IMAGE_NONE},
    {"WMF", 0, 4, "\xd7\xcd\xc6\x9a", IMAGE_NONE},
    {"EMF", 40, 4, " EMF", IMAGE_NONE},
    {"EPS", 0, 4, "%!PS", IMAGE_NONE},
    {"EPS", 0, 4, "\xc5\xd0\xd3\xc6", IMAGE_NONE},
    {"PDF", 0, 5, "%PDF-", IMAGE_NONE},
    {"PPM", 0, 2, "P1", IMAGE_NONE},
    {"PPM", 0, 2, "P2", IMAGE_NONE},
    {"PPM", 0, 2, "P3", IMAGE_NONE},
    {"PPM", 0, 2, "P4", IMAGE_NONE},
    {"PPM", 0, 2, "P5", IMAGE_NONE},
    {"PPM", 0, 2, "P6", IMAGE_NONE},
    {"PAM", 0, 2, "P7", IMAGE_NONE},
    {"PFM", 0, 2, "PF", IMAGE_NONE},
    {"PFM", 0, 2, "Pf", IMAGE_NONE},
    {"XBM", 0, 7, "#define", IMAGE_NONE},
    {"XPM", 0, 9, "/* XPM */", IMAGE_NONE},
    {"Radiance", 0, 3, "#?R", IMAGE_NONE},
    {"OpenEXR", 0, 4, "\x76\x2f\x31\x01", IMAGE_NONE},
    {"FITS", 0, 6, "SIMPLE", IMAGE_NONE},
    {"HDF5", 0, 4, "\x89HDF", IMAGE_NONE},
    {"GRIB", 0, 4, "GRIB", IMAGE_NONE},
    {"BUFR", 0, 4, "BUFR", IMAGE_NONE},
    {"DjVu", 0, 8, "AT&TFORM", IMAGE_NONE},
    {"IM", 0, 11, "Image type:", IMAGE_NONE},
    {"MPEG", 0, 4, "\0\0\1\xb3", IMAGE_NONE},
    {"FlashPix", 0, 8, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", IMAGE_NONE},
    {"Photo CD", 2048, 4, "PCD_", IMAGE_NONE},
    {"WebM", 0, 4, "\x1a\x45\xdf\xa3", IMAGE_NONE},
    {"ZIP", 0, 4, "PK\3\4", IMAGE_NONE},
    {"gzip", 0, 2, "\x1f\x8b", IMAGE_NONE},
    {"SVG", 0, 4, "<svg", IMAGE_NONE},
    {"XML", 0, 5, "<?xml", IMAGE_NONE},
    {"HTML", 0, 5, "<html", IMAGE_NONE},
    {"HTML", 0, 5, "<HTML", IMAGE_NONE},
    {"HTML", 0, 5, "<!DOC", IMAGE_NONE},
    {"HTML", 0, 5, "<!doc", IMAGE_NONE},
    {"HTML", 0, 5, "<head", IMAGE_NONE},
};

struct picture_limits picture_limits_default(void)
{
    return (struct picture_limits){
        .max_pixels = 178956970, .max_side_px = 65500, .max_bytes = (uint64_t)256 << 20};
}

int picture_refuse(struct picture *p, const char *reason, struct error *err, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->reason = reason;
    return error_set(err, ERR_DATA, "%s", text);
}

enum corpus_image_format picture_sniff(const void *bytes, size_t n, const char **name)
{
    const char *none = NULL;
    if (!name) name = &none;
    *name = NULL;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const struct magic *m = &magics[i];
        if (n < (size_t)m->at + m->n || memcmp((const char *)bytes + m->at, m->bytes, m->n))
            continue;
        if (m->format == IMAGE_WEBP && memcmp(bytes, "RIFF", 4)) continue;
        *name = m->name;
        return m->format;
    }
    static const char targa[] =
        "TRUEVISION-XFILE."; /* and a NUL: a foot, where others have a head */
    if (n >= sizeof targa && !memcmp((const char *)bytes + n - sizeof targa, targa, sizeof targa))
        *name = "TGA";
    return IMAGE_NONE;
}

/* Room for that many pixels; the old content is not kept. A buffer that one very large picture has needed
 * is given back by the next small one. */
static uint8_t *reserve(struct picture_buffer *b, uint64_t n_pixels, struct error *err)
{
    bool too_large = b->capacity > MAX_KEPT_BYTES && n_pixels * 3 < b->capacity / 4;
    if (b->bytes && n_pixels * 3 <= b->capacity && !too_large) return b->bytes;
    memory_free(b->bytes);
    b->bytes = memory_array(n_pixels, 3, MEMORY_MAX_TENSOR, err);
    b->capacity = b->bytes ? n_pixels * 3 : 0;
    return b->bytes;
}

int picture_check(struct picture *p, uint64_t width_px, uint64_t height_px,
                  const struct picture_limits *limits, struct error *err)
{
    if (width_px == 0 || height_px == 0)
        return picture_refuse(p, "empty-picture", err, "the picture is %llu x %llu pixels",
                              (unsigned long long)width_px, (unsigned long long)height_px);
    if (width_px > limits->max_side_px || height_px > limits->max_side_px ||
        width_px * height_px > limits->max_pixels)
        return picture_refuse(
            p, "too-large", err,
            "the header claims %llu x %llu pixels; the limit is %llu pixels and %u a side",
            (unsigned long long)width_px, (unsigned long long)height_px,
            (unsigned long long)limits->max_pixels, limits->max_side_px);
    p->stored_width_px = (uint32_t)width_px;
    p->stored_height_px = (uint32_t)height_px;
    return 0;
}

int picture_allocate(struct picture *p, uint32_t width_px, uint32_t height_px, struct error *err)
{
    p->width_px = width_px;
    p->height_px = height_px;
    p->rgb = reserve(&p->pixels, (uint64_t)width_px * height_px, err);
    return p->rgb ? 0 : ERR_NOMEM;
}

/* Source position of upright pixel (x, y): origin + x * step_x + y * step_y, in pixels. */
static void turn(uint8_t *out, uint32_t out_w, uint32_t out_h, const uint8_t *in, int64_t origin,
                 int64_t step_x, int64_t step_y)
{
    for (uint32_t y = 0; y < out_h; y++) {
        int64_t at = origin + (int64_t)y * step_y;
        for (uint32_t x = 0; x < out_w; x++, at += step_x, out += 3) memcpy(out, in + 3 * at, 3);
    }
}

/* EXIF 2..8: mirrored, turned by 180, flipped, transposed, turned by 270, transversed, turned by 90
 * (anticlockwise). */
int picture_turn(struct picture *p, struct error *err)
{
    if (p->orientation == 1) return 0;
    int64_t w = p->width_px, h = p->height_px, last = w * h - 1;
    const int64_t origin[9] = {0, 0, w - 1, last, last - w + 1, 0, last - w + 1, last, w - 1};
    const int64_t step_x[9] = {0, 1, -1, -1, 1, w, -w, -w, w};
    const int64_t step_y[9] = {0, w, w, -w, -w, 1, 1, -1, -1};
    uint8_t *out = reserve(&p->spare, (uint64_t)(w * h), err);
    if (!out) return ERR_NOMEM;
    if (p->orientation >= 5) {
        p->width_px = (uint32_t)h;
        p->height_px = (uint32_t)w;
    }
    int o = p->orientation;
    turn(out, p->width_px, p->height_px, p->rgb, origin[o], step_x[o], step_y[o]);
    struct picture_buffer turned = p->spare;
    p->spare = p->pixels;
    p->pixels = turned;
    p->rgb = out;
    return 0;
}

static int decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
                  uint32_t target_side_px, struct picture *p, struct error *err)
{
    if (n == 0) return picture_refuse(p, "empty-file", err, "the file is empty");
    if (n > limits->max_bytes)
        return picture_refuse(p, "too-large", err, "the file has %zu bytes; the limit is %llu", n,
                              (unsigned long long)limits->max_bytes);
    const char *name;
    p->format = (uint8_t)picture_sniff(bytes, n, &name);
    switch (p->format) {
    case IMAGE_JPEG: return jpeg_decode(bytes, n, limits, target_side_px, p, err);
    case IMAGE_PNG: return png_decode(bytes, n, limits, p, err);
    case IMAGE_WEBP: return webp_decode(bytes, n, limits, p, err);
    default: break;
    }
    if (name)
        return picture_refuse(p, "unsupported-format", err,
                              "this is a %s file; JPEG, PNG and WebP can be read", name);
    return picture_refuse(p, "not-a-picture", err,
                          "the first bytes are those of no known picture format");
}

static int decode_as(const void *bytes, size_t n, const struct picture_limits *limits,
                     uint32_t target_side_px, bool apply_orientation, struct picture *p,
                     struct error *err)
{
    *p = (struct picture){.orientation = 1, .pixels = p->pixels, .spare = p->spare};
    int rc = decode(bytes, n, limits, target_side_px, p, err);
    if (rc == 0 && apply_orientation) rc = picture_turn(p, err);
    if (rc < 0) {
        p->rgb = NULL;
        p->width_px = p->height_px = 0;
    }
    return rc;
}

int picture_decode(const void *bytes, size_t n, const struct picture_limits *limits,
                   bool apply_orientation, struct picture *p, struct error *err)
{
    return decode_as(bytes, n, limits, 0, apply_orientation, p, err);
}

int picture_decode_towards(const void *bytes, size_t n, const struct picture_limits *limits,
                           uint32_t target_side_px, struct picture *p, struct error *err)
{
    return decode_as(bytes, n, limits, target_side_px, false, p, err);
}

void picture_release(struct picture *p)
{
    if (!p) return;
    memory_free(p->pixels.bytes);
    memory_free(p->spare.bytes);
    *p = (struct picture){0};
}
