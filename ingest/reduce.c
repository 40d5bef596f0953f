/* Smaller pictures; see reduce.h. Three steps over scratch that stays: decode, resample, encode. The one
 * allocation a picture is the result, of its exact size. */
#include "ingest/reduce.h"

#include "ingest/jpeg.h"
#include "ingest/jpeghead.h"
#include "ingest/resize.h"
#include "store/memory.h"

#define QUALITY 95

struct reducer {
    struct picture picture;
    struct resizer *resizer;
    struct picture_buffer small, file;
};

struct reducer *reducer_new(struct error *err)
{
    struct reducer *r = memory_array(1, sizeof *r, MEMORY_MAX_SMALL, err);
    if (r && !(r->resizer = resizer_new(err))) {
        memory_free(r);
        return NULL;
    }
    return r;
}

void reducer_free(struct reducer *r)
{
    if (!r) return;
    picture_release(&r->picture);
    resizer_free(r->resizer);
    memory_free(r->small.bytes);
    memory_free(r->file.bytes);
    memory_free(r);
}

/* side * to / from, rounded, 1 at least. */
static uint32_t scaled(uint32_t side, uint32_t to, uint32_t from)
{
    uint32_t s = (uint32_t)((2 * (uint64_t)side * to + from) / (2 * (uint64_t)from));
    return s ? s : 1;
}

/* A profile of grey or CMYK says nothing of RGB. */
static bool profile_fits(const void *bytes, size_t n, const struct picture *p)
{
    struct jpeghead head;
    return p->format == IMAGE_JPEG && p->has_icc && !jpeghead_read(bytes, n, &head) &&
           head.n_planes == 3;
}

/* r->picture to r->small to r->file; width and height as stored. */
static int make(struct reducer *r, const void *bytes, size_t n, uint32_t width, uint32_t height,
                size_t *n_file, struct error *err)
{
    const struct picture *p = &r->picture;
    uint64_t need = (uint64_t)width * height * 3;
    if (memory_grow(&r->small.bytes, &r->small.capacity, need, 1, MEMORY_MAX_TENSOR, err) < 0)
        return ERR_NOMEM;
    const double box[4] = {0, 0, p->width_px, p->height_px};
    int rc = resizer_run(r->resizer, p->rgb, (int)p->width_px, (int)p->height_px, box,
                         RESAMPLE_BICUBIC, r->small.bytes, (int)width, (int)height, err);
    if (rc < 0) return rc;
    struct jpeg_source source = {.rgb = r->small.bytes,
                                 .width_px = width,
                                 .height_px = height,
                                 .quality = QUALITY,
                                 .orientation = p->orientation};
    if (profile_fits(bytes, n, p)) {
        source.icc_of = bytes;
        source.n_icc_of = n;
    }
    return jpeg_encode(&source, &r->file, n_file, err);
}

static void set_upright(uint32_t *width, uint32_t *height, uint32_t w, uint32_t h, int orientation)
{
    *width = orientation >= 5 ? h : w;
    *height = orientation >= 5 ? w : h;
}

/* The smaller file, when the picture is larger than max_side_px. */
static int reduce(struct reducer *r, const void *bytes, size_t n, uint32_t max_side_px,
                  struct reduced *out, struct error *err)
{
    const struct picture *p = &r->picture;
    uint32_t w = p->stored_width_px, h = p->stored_height_px, longer = w > h ? w : h;
    set_upright(&out->width_px, &out->height_px, w, h, p->orientation);
    set_upright(&out->new_width_px, &out->new_height_px, w, h, p->orientation);
    if (!max_side_px || longer <= max_side_px) return 0;
    uint32_t width = scaled(w, max_side_px, longer), height = scaled(h, max_side_px, longer);
    int rc = make(r, bytes, n, width, height, &out->n, err);
    if (rc < 0) return rc;
    out->bytes = (uint8_t *)memory_copy(r->file.bytes, out->n, err);
    set_upright(&out->new_width_px, &out->new_height_px, width, height, p->orientation);
    return out->bytes ? 0 : ERR_NOMEM;
}

int reducer_run(struct reducer *r, const void *bytes, size_t n, const struct picture_limits *limits,
                uint32_t max_side_px, struct reduced *out, struct error *err)
{
    struct picture *p = &r->picture;
    int rc = picture_decode_towards(bytes, n, limits, max_side_px ? max_side_px : UINT32_MAX, p,
                                    err);
    *out = (struct reduced){.format = p->format,
                            .orientation = p->orientation,
                            .has_icc = p->has_icc,
                            .n_warnings = p->n_warnings,
                            .reason = p->reason};
    if (rc == 0) rc = reduce(r, bytes, n, max_side_px, out, err);
    if (rc == 0) rc = picture_turn(p, err);
    if (rc == 0)
        likeness_of(p->rgb, p->width_px, p->height_px, &out->likeness);
    else
        memory_free(out->bytes);
    if (rc < 0) out->bytes = NULL;
    return rc;
}

void reduced_release(struct reduced *out)
{
    if (!out) return;
    memory_free(out->bytes);
    *out = (struct reduced){0};
}
