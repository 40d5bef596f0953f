/* JPEG to RGB and back; see jpeg.h. The settings of the decoder are Pillow's: the library's slow integer transform and
 * fancy upsampling; four planes are always taken as inverted CMYK, whatever the Adobe marker says.
 *
 * The source never invents an end marker: at the end of the bytes it suspends, as Pillow's does, so
 * that a truncated file is seen as such, and not filled with grey. It hands the bytes over in
 * Pillow's blocks, although they all lie in memory: once the last row is there, what the library still
 * finds wrong counts only as far as the block at hand goes. So a baseline file that lacks nothing
 * but its end marker may be whole. Every exit of the library through error_exit comes back by
 * longjmp to jpeg_decode, which alone frees. */
#include "ingest/jpeg.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

#include "ingest/jpeghead.h"
#include "store/memory.h"

/* A file of a few kB can ask for thousands of passes over the whole picture. */
#define MAX_SCAN_PIXELS ((uint64_t)1 << 32) /* scans times pixels */
#define MIN_MAX_SCANS   64                  /* so many are always allowed */
#define MAX_MAX_SCANS   100000

#define BLOCK_BYTES ((size_t)65536) /* Pillow's MAXBLOCK */

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    size_t n_to_come; /* bytes behind the block at hand */
    size_t n_to_skip; /* of them */
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    int max_scans;
    char message[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr c)
{
    struct decoder *d = c->client_data;
    c->err->format_message(c, d->message);
    longjmp(d->out, 1);
}

static void on_message(j_common_ptr c)
{
    (void)c;
}

static void on_progress(j_common_ptr c)
{
    struct decoder *d = c->client_data;
    if (d->jpeg.input_scan_number <= d->max_scans) return;
    snprintf(d->message, sizeof d->message, "more than %d scans", d->max_scans);
    longjmp(d->out, 1);
}

static void source_noop(j_decompress_ptr c)
{
    (void)c;
}

static boolean source_fill(j_decompress_ptr c)
{
    (void)c;
    return FALSE; /* suspend: there is no more in this block */
}

static void source_skip(j_decompress_ptr c, long n)
{
    if (n <= 0) return;
    struct decoder *d = c->client_data;
    size_t left = c->src->bytes_in_buffer, skip = (size_t)n < left ? (size_t)n : left;
    c->src->next_input_byte += skip;
    c->src->bytes_in_buffer -= skip;
    d->n_to_skip = (size_t)n - skip;
}

/* After a suspension: one more block. False when there is none. */
static bool next_block(struct decoder *d)
{
    do {
        size_t n = d->n_to_come < BLOCK_BYTES ? d->n_to_come : BLOCK_BYTES;
        if (n == 0) return false;
        d->n_to_come -= n;
        d->source.bytes_in_buffer += n;
        if (d->n_to_skip) source_skip(&d->jpeg, (long)d->n_to_skip);
    } while (d->n_to_skip);
    return true;
}

static void open_decoder(struct decoder *d, const uint8_t *bytes, size_t n, uint64_t n_pixels)
{
    struct jpeg_decompress_struct *c = &d->jpeg;
    c->src = &d->source;
    d->source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                         .bytes_in_buffer = 0,
                                         .init_source = source_noop,
                                         .fill_input_buffer = source_fill,
                                         .skip_input_data = source_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_noop};
    d->n_to_come = n;
    uint64_t max = MAX_SCAN_PIXELS / n_pixels;
    d->max_scans = max < MIN_MAX_SCANS   ? MIN_MAX_SCANS
                   : max > MAX_MAX_SCANS ? MAX_MAX_SCANS
                                         : (int)max;
    d->progress.progress_monitor = on_progress;
    c->progress = &d->progress;
}

/* MULDIV255 of Pillow: a * b / 255, rounded. */
static uint8_t product(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* One row of inverted CMYK to RGB: with c' = 255 - c and k' = 255 - k, r = k - c' * k / 255. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, uint32_t width)
{
    for (uint32_t x = 0; x < width; x++)
        for (int i = 0; i < 3; i++)
            rgb[3 * x + i] = (uint8_t)(cmyk[4 * x + 3] -
                                       product(255u - cmyk[4 * x + i], cmyk[4 * x + 3]));
}

static void grey_to_rgb(uint8_t *rgb, const uint8_t *grey, uint32_t width)
{
    for (uint32_t x = 0; x < width; x++) rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = grey[x];
}

static int refuse_truncated(struct picture *p, size_t n, struct error *err)
{
    return picture_refuse(p, "truncated", err,
                          "the JPEG ends after %zu bytes, before its picture does", n);
}

static int read_rows(struct decoder *d, size_t n, struct picture *p, struct error *err)
{
    struct jpeg_decompress_struct *c = &d->jpeg;
    while (!jpeg_start_decompress(c))
        if (!next_block(d)) return refuse_truncated(p, n, err);
    JSAMPARRAY row = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE,
                                          c->output_width * (JDIMENSION)c->output_components, 1);
    for (uint8_t *rgb = p->rgb; c->output_scanline < c->output_height;
         rgb += 3 * (size_t)p->width_px) {
        JSAMPROW direct = rgb;
        bool is_rgb = c->out_color_space == JCS_RGB;
        while (jpeg_read_scanlines(c, is_rgb ? &direct : row, 1) != 1)
            if (!next_block(d)) return refuse_truncated(p, n, err);
        if (c->out_color_space == JCS_CMYK) cmyk_to_rgb(rgb, row[0], p->width_px);
        if (c->out_color_space == JCS_GRAYSCALE) grey_to_rgb(rgb, row[0], p->width_px);
    }
    jpeg_finish_decompress(c); /* may still find the rest of the block broken */
    p->n_warnings = (uint32_t)c->err->num_warnings;
    return 0;
}

/* The first header that has a picture: tables alone may stand before it, closed by an end marker. */
static bool read_header(struct decoder *d)
{
    for (;;) {
        int found = jpeg_read_header(&d->jpeg, FALSE);
        if (found == JPEG_HEADER_OK) return true;
        if (found == JPEG_SUSPENDED && !next_block(d)) return false;
    }
}

/* 1, 2, 4 or 8: the most by which the longer side can be divided and still be twice the target; a
 * picture that is no longer than the target is only looked at. */
static unsigned divisor_for(const struct jpeghead *head, uint32_t target_side_px)
{
    uint32_t longer = head->width_px > head->height_px ? head->width_px : head->height_px;
    unsigned by = 1;
    if (target_side_px && longer <= target_side_px) target_side_px = PICTURE_LOOK_PX;
    while (target_side_px && by < 8 && longer / (2 * by) >= 2 * (uint64_t)target_side_px) by *= 2;
    return by;
}

static int decode(struct decoder *d, const uint8_t *bytes, size_t n, const struct jpeghead *head,
                  uint32_t target_side_px, struct picture *p, struct error *err)
{
    struct jpeg_decompress_struct *c = &d->jpeg;
    if (setjmp(d->out)) return picture_refuse(p, "broken-jpeg", err, "broken JPEG: %s", d->message);
    jpeg_create_decompress(c);
    open_decoder(d, bytes, n, (uint64_t)head->width_px * head->height_px);
    if (!read_header(d)) return refuse_truncated(p, n, err);
    if (c->image_width != head->width_px || c->image_height != head->height_px ||
        c->num_components != head->n_planes)
        return picture_refuse(p, "broken-jpeg", err, "broken JPEG: two frame headers that differ");
    switch (c->num_components) {
    case 1: c->out_color_space = JCS_GRAYSCALE; break;
    case 3: c->out_color_space = JCS_RGB; break;
    default: c->out_color_space = JCS_CMYK; break;
    }
    c->scale_num = 1;
    c->scale_denom = divisor_for(head, target_side_px);
    jpeg_calc_output_dimensions(c);
    int rc = picture_allocate(p, c->output_width, c->output_height, err);
    return rc < 0 ? rc : read_rows(d, n, p, err);
}

int jpeg_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
                uint32_t target_side_px, struct picture *p, struct error *err)
{
    struct jpeghead head;
    const char *why = jpeghead_read(bytes, n, &head);
    p->has_icc = head.has_icc;
    if (why && head.is_cut) return refuse_truncated(p, n, err);
    if (why) return picture_refuse(p, "broken-jpeg", err, "broken JPEG: %s", why);
    p->orientation = head.orientation;
    int rc = picture_check(p, head.width_px, head.height_px, limits, err);
    if (rc < 0) return rc;
    struct decoder d = {.jpeg.err = jpeg_std_error(&d.errors)};
    d.jpeg.client_data = &d;
    d.errors.error_exit = on_error;
    d.errors.output_message = on_message;
    rc = decode(&d, bytes, n, &head, target_side_px, p, err);
    jpeg_destroy_decompress(&d.jpeg);
    return rc;
}

struct encoder {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    struct picture_buffer *out;
    struct error *err;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
};

static void on_encoder_error(j_common_ptr c)
{
    struct encoder *e = c->client_data;
    c->err->format_message(c, e->message);
    longjmp(e->jump, 1);
}

static void destination_noop(j_compress_ptr c)
{
    (void)c;
}

/* The buffer is full, all of it: goes on in one that is larger. */
static boolean destination_grow(j_compress_ptr c)
{
    struct encoder *e = c->client_data;
    size_t n = e->out->capacity;
    if (memory_grow(&e->out->bytes, &e->out->capacity, n + 1, 1, MEMORY_MAX_FILE, e->err) < 0)
        longjmp(e->jump, 2);
    e->destination.next_output_byte = e->out->bytes + n;
    e->destination.free_in_buffer = e->out->capacity - n;
    return TRUE;
}

/* A TIFF block of one entry. */
static void write_orientation(struct encoder *e, uint8_t orientation)
{
    uint8_t block[] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0?\0\0\0\0\0";
    block[25] = orientation;
    jpeg_write_marker(&e->jpeg, JPEG_APP0 + 1, block, sizeof block - 1);
}

static void write_profile(struct encoder *e, const struct jpeg_source *s)
{
    size_t at = 0, n;
    const uint8_t *body;
    while (s->icc_of && jpeghead_next_icc(s->icc_of, s->n_icc_of, &at, &body, &n))
        jpeg_write_marker(&e->jpeg, JPEG_APP0 + 2, body, (unsigned)n);
}

static int encode(struct encoder *e, const struct jpeg_source *s, size_t *n)
{
    struct jpeg_compress_struct *c = &e->jpeg;
    int jumped = setjmp(e->jump);
    if (jumped == 2) return ERR_NOMEM;
    if (jumped) return error_set(e->err, ERR_DATA, "cannot encode a JPEG: %s", e->message);
    jpeg_create_compress(c);
    c->dest = &e->destination;
    e->destination = (struct jpeg_destination_mgr){.next_output_byte = e->out->bytes,
                                                   .free_in_buffer = e->out->capacity,
                                                   .init_destination = destination_noop,
                                                   .empty_output_buffer = destination_grow,
                                                   .term_destination = destination_noop};
    c->image_width = s->width_px;
    c->image_height = s->height_px;
    c->input_components = 3;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, s->quality, TRUE);
    for (int i = 0; i < 3; i++) c->comp_info[i].h_samp_factor = c->comp_info[i].v_samp_factor = 1;
    jpeg_start_compress(c, TRUE);
    if (s->orientation != 1) write_orientation(e, s->orientation);
    write_profile(e, s);
    while (c->next_scanline < c->image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(s->rgb + (size_t)c->next_scanline * s->width_px * 3);
        jpeg_write_scanlines(c, &row, 1);
    }
    jpeg_finish_compress(c);
    *n = e->out->capacity - e->destination.free_in_buffer;
    return 0;
}

int jpeg_encode(const struct jpeg_source *s, struct picture_buffer *out, size_t *n,
                struct error *err)
{
    if (memory_grow(&out->bytes, &out->capacity, 1 << 16, 1, MEMORY_MAX_FILE, err) < 0)
        return ERR_NOMEM;
    struct encoder e = {.jpeg.err = jpeg_std_error(&e.errors), .out = out, .err = err};
    e.jpeg.client_data = &e;
    e.errors.error_exit = on_encoder_error;
    e.errors.output_message = on_message;
    int rc = encode(&e, s, n);
    jpeg_destroy_compress(&e.jpeg);
    return rc;
}
