/* Chunks of a PNG; see pngchunk.h. One handler a chunk type, told apart by name in one table; a handler
 * sees the whole body, which lies inside the file. */
#include "ingest/pngchunk.h"

#include <string.h>

#include "ingest/pngtext.h"
#include "ingest/zstream.h"

#define MAX_BLOCK       65536
#define TAG(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

enum { GREY, RGB = 2, INDEXED, GREY_ALPHA, RGB_ALPHA = 6 };

struct span {
    const uint8_t *at;
    size_t n;
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int refuse(struct pngchunk *c, const char *why)
{
    c->why = why;
    return ERR_DATA;
}

static int refuse_cut(struct pngchunk *c)
{
    c->is_cut = true;
    return refuse(c, "the file ends inside a chunk");
}

static int refuse_text(struct pngchunk *c, int rc)
{
    return rc == ERR_DATA ? refuse(c, c->texts.why) : rc;
}

static int read_text(struct pngchunk *c, struct span s, enum pngtext_kind kind, struct error *err)
{
    enum pngtext_pose pose;
    int rc = pngtext_read(&c->texts, kind, s.at, s.n, &pose, err);
    if (rc < 0) return refuse_text(c, rc);
    if (pose == PNGTEXT_INTERLACE || pose == PNGTEXT_NO_INTERLACE)
        c->interlaced = pose == PNGTEXT_INTERLACE;
    if (pose == PNGTEXT_TRANSPARENCY) c->is_text_transparency = true;
    if (pose == PNGTEXT_BOX) c->is_text_box = c->has_box = true;
    return 0;
}

static int read_tEXt(struct pngchunk *c, struct span s, struct error *err)
{
    return read_text(c, s, PNGTEXT_LATIN, err);
}

static int read_zTXt(struct pngchunk *c, struct span s, struct error *err)
{
    return read_text(c, s, PNGTEXT_DEFLATED, err);
}

static int read_iTXt(struct pngchunk *c, struct span s, struct error *err)
{
    return read_text(c, s, PNGTEXT_UNICODE, err);
}

static int read_iCCP(struct pngchunk *c, struct span s, struct error *err)
{
    c->has_icc = true;
    return refuse_text(c, pngtext_read_profile(&c->texts, s.at, s.n, err));
}

static int read_eXIf(struct pngchunk *c, struct span s, struct error *err)
{
    return refuse_text(c, pngtext_read_exif(&c->texts, s.at, s.n, err));
}

static int read_IHDR(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    if (s.n < 13) return refuse(c, "its header is cut");
    c->width_px = be32(s.at);
    c->height_px = be32(s.at + 4);
    uint8_t depth = s.at[8], colour = s.at[9];
    bool whole = depth == 8 || depth == 16, part = depth == 1 || depth == 2 || depth == 4;
    if ((colour == GREY && (whole || part)) || (colour == INDEXED && (depth == 8 || part)) ||
        (whole && (colour == RGB || colour == GREY_ALPHA || colour == RGB_ALPHA))) {
        c->depth = depth;
        c->colour = colour;
        c->has_type = true;
    }
    if (s.at[12]) c->interlaced = true;
    return s.at[11] ? refuse(c, "its filters are of an unknown kind") : 0;
}

static bool is_indexed(const struct pngchunk *c)
{
    return c->has_type && c->colour == INDEXED;
}

static int read_PLTE(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    if (!is_indexed(c)) return 0;
    c->palette = s.at;
    c->n_palette = s.n / 3;
    return 0;
}

static int read_tRNS(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    size_t need = !c->has_type ? 0 : c->colour == GREY ? 2 : c->colour == RGB ? 6 : 0;
    if (s.n < need) return refuse(c, "its transparent colour is cut");
    if (need || is_indexed(c)) c->is_text_transparency = false;
    return 0;
}

static int read_lengths(struct pngchunk *c, struct span s, size_t at_least, const char *why)
{
    return s.n < at_least ? refuse(c, why) : 0;
}

static int read_gAMA(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    return read_lengths(c, s, 4, "its gamma is cut");
}

static int read_sRGB(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    return read_lengths(c, s, 1, "its sRGB chunk is empty");
}

static int read_pHYs(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    return read_lengths(c, s, 9, "its density is cut");
}

static int read_cHRM(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    return s.n % 4 ? refuse(c, "its chromaticities are cut") : 0;
}

static int read_acTL(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    if (s.n < 8) return refuse(c, "its animation header is cut");
    uint32_t n_frames = be32(s.at);
    bool again = c->has_frames;
    if (again) c->has_frames = false;
    if (again || n_frames == 0 || n_frames > 0x80000000u) return 0;
    c->has_frames = true;
    c->n_frames = n_frames;
    return 0;
}

static int read_fcTL(struct pngchunk *c, struct span s, struct error *err)
{
    (void)err;
    if (s.n < 26) return refuse(c, "a frame header is cut");
    uint32_t sequence = be32(s.at);
    if (sequence != (c->has_sequence ? c->sequence + 1 : 0) ||
        (c->has_sequence && c->sequence == UINT32_MAX))
        return refuse(c, "its frames are out of order");
    c->has_sequence = true;
    c->sequence = sequence;
    uint64_t width = be32(s.at + 4), height = be32(s.at + 8);
    uint64_t left = be32(s.at + 12), top = be32(s.at + 16);
    if (left + width > c->width_px || top + height > c->height_px)
        return refuse(c, "a frame lies outside the picture");
    c->has_box = true;
    c->is_text_box = false;
    c->box[0] = (uint32_t)left;
    c->box[1] = (uint32_t)top;
    c->box[2] = (uint32_t)(left + width);
    c->box[3] = (uint32_t)(top + height);
    return 0;
}

static const struct {
    uint32_t tag;
    int (*read)(struct pngchunk *c, struct span body, struct error *err);
} handlers[] = {
    {TAG('I', 'H', 'D', 'R'), read_IHDR}, {TAG('P', 'L', 'T', 'E'), read_PLTE},
    {TAG('t', 'R', 'N', 'S'), read_tRNS}, {TAG('i', 'C', 'C', 'P'), read_iCCP},
    {TAG('g', 'A', 'M', 'A'), read_gAMA}, {TAG('c', 'H', 'R', 'M'), read_cHRM},
    {TAG('s', 'R', 'G', 'B'), read_sRGB}, {TAG('p', 'H', 'Y', 's'), read_pHYs},
    {TAG('t', 'E', 'X', 't'), read_tEXt}, {TAG('z', 'T', 'X', 't'), read_zTXt},
    {TAG('i', 'T', 'X', 't'), read_iTXt}, {TAG('e', 'X', 'I', 'f'), read_eXIf},
    {TAG('a', 'c', 'T', 'L'), read_acTL}, {TAG('f', 'c', 'T', 'L'), read_fcTL},
};

enum { IDAT = TAG('I', 'D', 'A', 'T'), DDAT = TAG('D', 'D', 'A', 'T') };
enum { FDAT = TAG('f', 'd', 'A', 'T'), IEND = TAG('I', 'E', 'N', 'D') };
enum { FCTL = TAG('f', 'c', 'T', 'L') };

struct chunk {
    uint32_t tag;
    uint64_t length;
};

/* The length and name at c->at, which moves behind them. False at the end and at what is no name. */
static bool next_chunk(struct pngchunk *c, struct chunk *k)
{
    if (c->n - c->at < 8) {
        c->is_cut = true;
        return false;
    }
    const uint8_t *p = c->bytes + c->at;
    c->at += 8;
    for (int i = 4; i < 8; i++) {
        uint8_t b = p[i], upper = b & 0xdf;
        if (!((upper >= 'A' && upper <= 'Z') || (b >= '0' && b <= '9') || b == '_')) return false;
    }
    *k = (struct chunk){be32(p + 4), be32(p)};
    return true;
}

static int refuse_chunk(struct pngchunk *c)
{
    return c->is_cut ? refuse_cut(c) : refuse(c, "a chunk has no name");
}

static int handle(struct pngchunk *c, struct chunk k, struct error *err)
{
    if (k.length > c->n - c->at) return refuse_cut(c);
    struct span body = {c->bytes + c->at, (size_t)k.length};
    c->at += body.n;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].tag == k.tag) return handlers[i].read(c, body, err);
    return 0;
}

/* The sequence number in front of the pixels of a frame. */
static int read_sequence(struct pngchunk *c, uint64_t length)
{
    if (length < 4) return refuse(c, "the pixels of a frame are cut");
    if (c->n - c->at < 4) return refuse_cut(c);
    uint32_t sequence = be32(c->bytes + c->at);
    c->at += 4;
    if (!c->has_sequence || sequence == 0 || c->sequence != sequence - 1)
        return refuse(c, "its frames are out of order");
    c->sequence = sequence;
    return 0;
}

void pngchunk_open(struct pngchunk *c, const uint8_t *bytes, size_t n)
{
    *c = (struct pngchunk){.bytes = bytes, .n = n, .at = n < 8 ? n : 8};
}

void pngchunk_close(struct pngchunk *c)
{
    pngtext_release(&c->texts);
}

static int check_crc(struct pngchunk *c, size_t name_at)
{
    if (c->n - c->at < 4) return refuse_cut(c);
    uint32_t crc = zstream_crc(0, c->bytes + name_at, c->at - name_at);
    c->at += 4;
    return crc == be32(c->bytes + c->at - 4) ? 0 : refuse(c, "the checksum of a chunk is wrong");
}

/* The header is complete: c->at stands at the first pixels. */
static int settle(struct pngchunk *c, bool has_pixels, bool is_default)
{
    if (!c->has_type) return refuse(c, "it has a colour type that is unknown, or none");
    if (!has_pixels) return refuse(c, "it has no pixels");
    c->is_animated = c->has_frames && c->n_frames + (uint64_t)is_default > 1;
    if (c->is_text_box) return refuse(c, "a text poses as the place of its pixels");
    if (!c->has_box || (c->box[0] == 0 && c->box[2] == 0)) {
        c->box[0] = c->box[1] = 0;
        c->box[2] = c->width_px;
        c->box[3] = c->height_px;
    }
    bool empty = c->box[0] >= c->box[2] || c->box[1] >= c->box[3];
    return empty ? refuse(c, "its first frame has no pixels") : 0;
}

int pngchunk_head(struct pngchunk *c, struct error *err)
{
    for (;;) {
        struct chunk k;
        size_t name_at = c->at + 4;
        if (!next_chunk(c, &k)) return refuse_chunk(c);
        int rc = 0;
        if (k.tag == FDAT) rc = read_sequence(c, k.length);
        if (rc == 0 && k.tag == FDAT && !c->has_type)
            rc = refuse(c, "its first chunk is of a frame");
        if (rc < 0) return rc;
        /* before the header IDAT is a chunk like any other */
        if ((k.tag == IDAT && c->has_type) || k.tag == FDAT || k.tag == IEND) {
            c->n_left = k.tag == FDAT ? k.length - 4 : k.length;
            return settle(c, k.tag != IEND, !c->has_box);
        }
        rc = handle(c, k, err);
        if (rc == 0) rc = check_crc(c, name_at);
        if (rc < 0) return rc;
    }
}

static void skip(struct pngchunk *c, uint64_t n)
{
    c->at += n < c->n - c->at ? (size_t)n : c->n - c->at;
}

int pngchunk_data(struct pngchunk *c, const uint8_t **block, size_t *n_block)
{
    while (c->n_left == 0) {
        struct chunk k;
        skip(c, 4); /* its checksum is not looked at */
        if (!next_chunk(c, &k)) return refuse_chunk(c);
        if (k.tag != IDAT && k.tag != DDAT && k.tag != FDAT) return refuse_cut(c);
        int rc = k.tag == FDAT ? read_sequence(c, k.length) : 0;
        if (rc < 0) return rc;
        c->n_left = k.tag == FDAT ? k.length - 4 : k.length;
    }
    size_t n = c->n_left < MAX_BLOCK ? (size_t)c->n_left : MAX_BLOCK;
    c->n_left -= n;
    *block = c->bytes + c->at;
    *n_block = n < c->n - c->at ? n : c->n - c->at;
    c->at += *n_block;
    return *n_block ? 1 : refuse_cut(c);
}

int pngchunk_tail(struct pngchunk *c, struct error *err)
{
    skip(c, c->n_left);
    struct chunk k;
    while (skip(c, 4), next_chunk(c, &k)) {
        if (k.tag == IEND || (k.tag == FCTL && c->is_animated)) break;
        int rc = 0;
        if (k.tag == FDAT) {
            rc = read_sequence(c, k.length);
            k.length -= 4;
        }
        if (rc == 0) rc = handle(c, k, err);
        if (rc < 0) return rc;
    }
    c->is_cut = false; /* all that counts is there */
    return 0;
}

int pngchunk_orientation(struct pngchunk *c, bool before_pixels, struct error *err)
{
    if (before_pixels && c->texts.exif_kind == PNGTEXT_NO_EXIF) return 0;
    return refuse_text(c, pngtext_orientation(&c->texts, err));
}
