/* PNG to RGB; see png.h. The chunks are walked by pngchunk, the pixels inflated and unfiltered here, row by
 * row, in the blocks in which Pillow reads them: whether a stream that ends early is refused depends on
 * where its blocks end.
 *
 * Samples are widened to RGB by Pillow's rules: tRNS and alpha are dropped and not blended, gAMA and ICC
 * are ignored, 16 bits keep the high byte, and a palette index beyond the palette is a grey of that
 * value. Pixels that no row reaches (a stream that ends early, a first frame smaller than the picture)
 * are samples of zero. */
#include "ingest/png.h"

#include <stdlib.h>
#include <string.h>

#include "ingest/pngchunk.h"
#include "ingest/zstream.h"
#include "store/memory.h"

enum { GREY, RGB = 2, INDEXED, GREY_ALPHA, RGB_ALPHA = 6 };

/* The seven passes of Adam7; a picture that is not interlaced is one pass over all. */
static const struct pass {
    uint8_t left, top, step_x, step_y;
} passes[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}},
  whole = {0, 0, 1, 1};

struct reader {
    struct pngchunk chunks;
    struct zstream *z;
    struct picture *p;
    uint32_t width, height; /* of what is stored: the picture or a part of it */
    uint8_t *first;         /* where its left upper pixel goes */
    unsigned depth, colour, bits,
        n_step; /* bits a pixel; bytes from a sample to the one that predicts it */
    uint8_t lut[256][3];
    uint8_t *row, *above;   // (1 + row_bytes), the filter in front
    uint8_t *samples, *rgb; // (width * channels), (width, 3)
    const struct pass *pass, *last_pass;
    uint32_t y; /* of the row to come */
};

static unsigned channels_of(unsigned colour)
{
    return colour == RGB ? 3 : colour == GREY_ALPHA ? 2 : colour == RGB_ALPHA ? 4 : 1;
}

/* What each grey or index means: the palette, or greys scaled from the bit depth. */
static void fill_lut(struct reader *r)
{
    unsigned scale = r->colour == GREY && r->depth < 8 ? 255u / ((1u << r->depth) - 1) : 1;
    for (unsigned i = 0; i < 256; i++) memset(r->lut[i], (int)(i * scale & 255), 3);
    size_t n = r->chunks.n_palette < 256 ? r->chunks.n_palette : 256;
    if (r->colour == INDEXED && n) memcpy(r->lut, r->chunks.palette, n * 3);
}

/* Samples of 1, 2 or 4 bits to one byte each, not scaled. */
static void unpack(uint8_t *out, const uint8_t *row, size_t n_samples, unsigned depth)
{
    unsigned per_byte = 8 / depth, mask = (1u << depth) - 1;
    for (size_t i = 0; i < n_samples; i++)
        out[i] = (uint8_t)(row[i / per_byte] >> (8 - depth * (1 + i % per_byte)) & mask);
}

/* The high byte of each 16-bit sample, which stands first. */
static void keep_high(uint8_t *out, const uint8_t *row, size_t n_samples)
{
    for (size_t i = 0; i < n_samples; i++) out[i] = row[2 * i];
}

/* One row to RGB: of the pixels the colour is kept; the lut maps a grey or an index. */
static void widen(const struct reader *r, uint8_t *rgb, const uint8_t *row, uint32_t width)
{
    size_t n_channels = channels_of(r->colour);
    if (r->depth < 8) unpack(r->samples, row, width, r->depth);
    if (r->depth == 16) keep_high(r->samples, row, width * n_channels);
    const uint8_t *s = r->depth == 8 ? row : r->samples;
    if (r->colour == RGB) {
        memcpy(rgb, s, 3 * (size_t)width);
        return;
    }
    for (uint32_t x = 0; x < width; x++, s += n_channels, rgb += 3)
        memcpy(rgb, n_channels == 4 ? s : r->lut[*s], 3);
}

static uint8_t paeth(int left, int above, int corner)
{
    int to_left = abs(above - corner), to_above = abs(left - corner);
    int to_corner = abs(left + above - 2 * corner);
    if (to_left <= to_above && to_left <= to_corner) return (uint8_t)left;
    return (uint8_t)(to_above <= to_corner ? above : corner);
}

/* Takes the prediction off one row of n bytes. False for an unknown filter. */
static bool unfilter(uint8_t *row, const uint8_t *above, size_t n, size_t step, unsigned filter)
{
    size_t first = step < n ? step : n;
    switch (filter) {
    case 0: return true;
    case 1:
        for (size_t i = first; i < n; i++) row[i] += row[i - step];
        return true;
    case 2:
        for (size_t i = 0; i < n; i++) row[i] += above[i];
        return true;
    case 3:
        for (size_t i = 0; i < first; i++) row[i] += above[i] / 2;
        for (size_t i = first; i < n; i++) row[i] += (uint8_t)((row[i - step] + above[i]) / 2);
        return true;
    case 4:
        for (size_t i = 0; i < first; i++) row[i] += above[i];
        for (size_t i = first; i < n; i++)
            row[i] += paeth(row[i - step], above[i], above[i - step]);
        return true;
    default: return false;
    }
}

static uint32_t pass_width(const struct reader *r)
{
    const struct pass *p = r->pass;
    return p->left >= r->width ? 0 : (r->width - p->left + p->step_x - 1) / p->step_x;
}

static size_t row_bytes(const struct reader *r)
{
    return ((size_t)pass_width(r) * r->bits + 7) / 8;
}

static void place_row(struct reader *r, uint32_t width)
{
    size_t stride = 3 * (size_t)r->p->width_px;
    uint8_t *line = r->first + r->y * stride;
    if (r->pass->step_x == 1) {
        widen(r, line, r->row + 1, width);
        return;
    }
    widen(r, r->rgb, r->row + 1, width);
    for (uint32_t x = 0; x < width; x++)
        memcpy(line + 3 * ((size_t)r->pass->left + (size_t)x * r->pass->step_x), r->rgb + 3 * x, 3);
}

/* Goes on to the next row that is stored. False behind the last. */
static bool advance(struct reader *r)
{
    uint8_t *above = r->above;
    r->above = r->row;
    r->row = above;
    r->y += r->pass->step_y;
    while (r->y >= r->height || !pass_width(r)) {
        if (r->pass == r->last_pass) return false;
        r->pass++;
        r->y = r->pass->top;
        memset(r->above, 0, 1 + ((size_t)r->width * r->bits + 7) / 8);
    }
    return true;
}

static int refuse(struct picture *p, const char *why, struct error *err)
{
    return picture_refuse(p, "broken-png", err, "broken PNG: %s", why);
}

/* Passes on what pngchunk found. */
static int refuse_chunks(const struct reader *r, int rc, struct error *err)
{
    if (rc != ERR_DATA) return rc;
    if (r->chunks.is_cut)
        return picture_refuse(r->p, "truncated", err,
                              "the PNG ends after %zu bytes, before its picture does", r->chunks.n);
    return refuse(r->p, r->chunks.why, err);
}

/* Samples of zero, from row y of the picture on. */
static void blacken(const struct reader *r, uint32_t y)
{
    size_t width = r->p->width_px, n = width * r->p->height_px;
    for (size_t i = width * y; i < n; i++) memcpy(r->p->rgb + 3 * i, r->lut[0], 3);
}

/* Rows until the last or the end of the stream. A stream that ends exactly behind a row is whole, even
 * if rows are missing; one that ends within a row asks for more until the chunks are out. */
static int read_rows(struct reader *r, struct error *err)
{
    const uint8_t *in = NULL;
    size_t n_in = 0;
    uint8_t *out = r->row;
    size_t room = 1 + row_bytes(r);
    for (;;) {
        if (!n_in) {
            int rc = pngchunk_data(&r->chunks, &in, &n_in);
            if (rc < 0) return refuse_chunks(r, rc, err);
        }
        enum zstream_state state = zstream_run(r->z, &in, &n_in, &out, &room);
        if (state == ZSTREAM_NOMEM)
            return error_set(err, ERR_NOMEM, "out of memory while decoding a PNG");
        if (state == ZSTREAM_BROKEN) return refuse(r->p, "its pixels cannot be inflated", err);
        if (room) {
            n_in = 0;
            continue;
        }
        if (!unfilter(r->row + 1, r->above + 1, row_bytes(r), r->n_step, r->row[0]))
            return refuse(r->p, "a row has an unknown filter", err);
        place_row(r, pass_width(r));
        bool more = advance(r);
        if (more && state == ZSTREAM_END) {
            r->p->n_warnings++;
            bool apart = r->pass != &whole || r->width != r->p->width_px ||
                         r->height != r->p->height_px; /* black already */
            if (!apart) blacken(r, r->y);
        }
        if (!more || state == ZSTREAM_END) return 0;
        out = r->row;
        room = 1 + row_bytes(r);
    }
}

static int make_room(struct reader *r, struct error *err)
{
    size_t n = 1 + ((size_t)r->width * r->bits + 7) / 8;
    if (!(r->z = zstream_new(err))) return ERR_NOMEM;
    /* one allocation: row, above, samples, rgb */
    uint64_t total = 2 * n + 4 * (uint64_t)r->width + 3 * (uint64_t)r->width;
    if (!(r->row = memory_array(total, 1, MEMORY_MAX_TENSOR, err))) return ERR_NOMEM;
    r->above = r->row + n;
    r->samples = r->above + n;
    r->rgb = r->samples + 4 * (size_t)r->width;
    return 0;
}

/* A text may pose as the transparent colour; Pillow finds out when it converts to RGB, and only where it
 * would have to convert that colour. */
static bool text_poses_as_colour(const struct reader *r)
{
    bool asked = (r->colour == GREY && r->depth > 1 && r->depth < 16) || r->colour == INDEXED;
    return r->chunks.is_text_transparency && asked;
}

static void describe(struct reader *r)
{
    const struct pngchunk *c = &r->chunks;
    r->depth = c->depth;
    r->colour = c->colour;
    r->bits = c->depth * channels_of(c->colour);
    r->n_step = (r->bits + 7) / 8;
    r->width = c->box[2] - c->box[0];
    r->height = c->box[3] - c->box[1];
    r->pass = c->interlaced ? passes : &whole;
    r->last_pass = c->interlaced ? passes + 6 : &whole;
    /* of an interlaced picture Pillow forgets where its first frame lies */
    size_t at = c->interlaced ? 0 : c->box[0] + (size_t)c->box[1] * r->p->width_px;
    r->first = r->p->rgb + 3 * at;
    fill_lut(r);
}

static int decode(struct reader *r, const struct picture_limits *limits, struct error *err)
{
    struct pngchunk *c = &r->chunks;
    int rc = pngchunk_head(c, err);
    r->p->has_icc = c->has_icc;
    if (rc < 0) return refuse_chunks(r, rc, err);
    if ((rc = picture_check(r->p, c->width_px, c->height_px, limits, err)) < 0) return rc;
    if (c->n_palette > 256 && c->colour == INDEXED)
        return refuse(r->p, "its palette has more than 256 colours", err);
    if (c->palette && c->colour != INDEXED)
        return refuse(r->p, "its palette belongs to another header", err);
    int orientation = pngchunk_orientation(c, true, err);
    if (orientation < 0) return refuse_chunks(r, orientation, err);
    if ((rc = picture_allocate(r->p, c->width_px, c->height_px, err)) < 0) return rc;
    describe(r);
    if ((rc = make_room(r, err)) < 0) return rc;
    bool covers = r->width == r->p->width_px && r->height == r->p->height_px;
    if (!covers || c->interlaced) blacken(r, 0);
    if ((rc = read_rows(r, err)) < 0) return rc;
    if ((rc = pngchunk_tail(c, err)) < 0) return refuse_chunks(r, rc, err);
    r->p->has_icc = c->has_icc;
    if (text_poses_as_colour(r)) return refuse(r->p, "a text poses as its transparent colour", err);
    /* having turned the picture by what stood before its pixels, Pillow reads EXIF once more */
    int behind = orientation == 1 ? 1 : pngchunk_orientation(c, false, err);
    if (behind < 0) return refuse_chunks(r, behind, err);
    if (!orientation) orientation = behind;
    r->p->orientation = (uint8_t)orientation;
    return 0;
}

int png_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
               struct picture *p, struct error *err)
{
    struct reader r = {.p = p};
    pngchunk_open(&r.chunks, bytes, n);
    int rc = decode(&r, limits, err);
    pngchunk_close(&r.chunks);
    zstream_free(r.z);
    memory_free(r.row < r.above ? r.row : r.above); /* they change places */
    return rc;
}
