/* Chunks of a PNG; see pngchunk.h. One handler a chunk type, told apart by name in one table; a handler
 * sees the whole body, which lies inside the file. */
#include "ingest/pngchunk.h"

#include <string.h>

#include "ingest/exif.h"
#include "ingest/zstream.h"
#include "store/memory.h"

#define MAX_TEXT  ((size_t)1 << 20)   /* one text or profile, inflated */
#define MAX_TEXTS ((uint64_t)1 << 26) /* all texts of a file */
#define MAX_SPENT                                                                                  \
    ((uint64_t)1 << 28) /* all that is inflated beside the pixels: ours, not Pillow's */
#define MAX_BLOCK       65536
#define TAG(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))
#define IS(s, literal)  ((s).n == sizeof(literal) - 1 && !memcmp((s).at, literal, (s).n))

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

/* Takes what stands before the first NUL off s. False when there is none. */
static bool split(struct span *s, struct span *first)
{
    const uint8_t *nul = s->n ? memchr(s->at, 0, s->n) : NULL;
    if (!nul) return false;
    *first = (struct span){s->at, (size_t)(nul - s->at)};
    s->n -= first->n + 1;
    s->at = nul + 1;
    return true;
}

/* The characters of strict UTF-8, or -1. */
static int64_t count_utf8(struct span s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        uint8_t b = s.at[i];
        int more = b < 0x80 ? 0 : b < 0xc2 ? -1 : b < 0xe0 ? 1 : b < 0xf0 ? 2 : b < 0xf5 ? 3 : -1;
        if (more < 0 || s.n - i - 1 < (size_t)more) return -1;
        for (int k = 1; k <= more; k++)
            if ((s.at[i + (size_t)k] & 0xc0) != 0x80) return -1;
        uint8_t next = more ? s.at[i + 1] : 0;
        if ((b == 0xe0 && next < 0xa0) || (b == 0xed && next >= 0xa0) ||
            (b == 0xf0 && next < 0x90) || (b == 0xf4 && next >= 0x90))
            return -1; /* overlong, a surrogate, beyond U+10FFFF */
        i += 1 + (size_t)more;
    }
    return n;
}

/* Inflates into c->scratch. ZSTREAM_BROKEN data is no error, too much of it is. */
static int inflate_text(struct pngchunk *c, struct span in, struct span *out,
                        enum zstream_state *state, struct error *err)
{
    if (!c->z && !(c->z = zstream_new(err))) return ERR_NOMEM;
    if (!c->scratch && !(c->scratch = memory_array(MAX_TEXT, 1, MEMORY_MAX_SMALL, err)))
        return ERR_NOMEM;
    out->at = c->scratch;
    bool fits = zstream_whole(c->z, in.at, in.n, MAX_TEXT, c->scratch, &out->n, state);
    if (*state == ZSTREAM_NOMEM) return error_set(err, ERR_NOMEM, "out of memory while inflating");
    c->n_spent += out->n;
    if (!fits) return refuse(c, "a text or profile is larger than 1 MiB");
    if (c->n_spent > MAX_SPENT) return refuse(c, "its texts and profiles are larger than 256 MiB");
    return 0;
}

/* Keeps a value; what stands in the scratch is copied. */
static int keep_text(struct pngchunk *c, struct pngchunk_text *t, struct span value,
                     struct error *err)
{
    uint8_t *owned = NULL;
    if (value.at == c->scratch) {
        if (!(owned = (uint8_t *)memory_copy(value.at, value.n, err))) return ERR_NOMEM;
        value.at = owned;
    }
    memory_free(t->owned);
    *t = (struct pngchunk_text){value.at, value.n, owned};
    return 0;
}

/* A text becomes a property of the picture under its own key, also where a property of that name has a
 * meaning. */
static int add_text(struct pngchunk *c, struct span key, struct span value, bool is_latin,
                    int64_t n_characters, struct error *err)
{
    struct pngchunk_text *t = NULL;
    if (IS(key, "exif")) {
        t = &c->exif;
        c->exif_kind = is_latin ? PNGCHUNK_EXIF : PNGCHUNK_EXIF_IS_TEXT;
    }
    if (IS(key, "Raw profile type exif")) t = &c->raw_exif;
    if (IS(key, "XML:com.adobe.xmp")) t = &c->xmp;
    if (t && keep_text(c, t, value, err) < 0) return ERR_NOMEM;
    if (IS(key, "interlace")) c->interlaced = value.n > 0;
    if (IS(key, "transparency")) c->is_text_transparency = true;
    if (IS(key, "bbox")) c->is_text_box = c->has_box = true;
    c->n_texts += (uint64_t)n_characters;
    return c->n_texts > MAX_TEXTS ? refuse(c, "its texts are larger than 64 MiB") : 0;
}

static int read_tEXt(struct pngchunk *c, struct span s, struct error *err)
{
    struct span key = s, value = s;
    if (!split(&value, &key)) value = (struct span){s.at + s.n, 0};
    if (!key.n) return 0;
    return add_text(c, key, value, true, (int64_t)value.n, err);
}

static int read_zTXt(struct pngchunk *c, struct span s, struct error *err)
{
    struct span key = s, value = s;
    if (!split(&value, &key)) value = (struct span){s.at + s.n, 0};
    if (value.n && value.at[0] != 0) return refuse(c, "a text is compressed in an unknown way");
    if (value.n) value = (struct span){value.at + 1, value.n - 1};
    enum zstream_state state;
    int rc = inflate_text(c, value, &value, &state, err);
    if (rc < 0 || !key.n) return rc;
    if (state == ZSTREAM_BROKEN) value.n = 0;
    return add_text(c, key, value, false, (int64_t)value.n, err);
}

static int read_iTXt(struct pngchunk *c, struct span s, struct error *err)
{
    struct span key, language, translated, value = s;
    if (!split(&value, &key) || value.n < 2) return 0;
    bool compressed = value.at[0] != 0;
    if (compressed && value.at[1] != 0) return 0;
    value = (struct span){value.at + 2, value.n - 2};
    if (!split(&value, &language) || !split(&value, &translated)) return 0;
    if (compressed) {
        enum zstream_state state;
        int rc = inflate_text(c, value, &value, &state, err);
        if (rc < 0 || state == ZSTREAM_BROKEN) return rc;
    }
    int64_t n_characters = count_utf8(value);
    if (n_characters < 0 || count_utf8(language) < 0 || count_utf8(translated) < 0) return 0;
    return add_text(c, key, value, false, n_characters, err);
}

static int read_iCCP(struct pngchunk *c, struct span s, struct error *err)
{
    struct span name, profile = s;
    if (!split(&profile, &name)) return refuse(c, "its profile has no name");
    c->has_icc = true;
    profile = profile.n ? (struct span){profile.at + 1, profile.n - 1} : profile;
    enum zstream_state state;
    return inflate_text(c, profile, &profile, &state, err);
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

static int read_eXIf(struct pngchunk *c, struct span s, struct error *err)
{
    c->exif_kind = PNGCHUNK_EXIF_BARE;
    return keep_text(c, &c->exif, s, err);
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
    zstream_free(c->z);
    memory_free(c->scratch);
    memory_free(c->exif.owned);
    memory_free(c->raw_exif.owned);
    memory_free(c->xmp.owned);
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

static int digit(uint8_t b)
{
    if (b >= '0' && b <= '9') return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool is_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

/* ImageMagick's EXIF: three lines of head, then hexadecimal digits. *block: owned. */
static int read_raw_exif(struct pngchunk *c, uint8_t **block, size_t *n_block, struct error *err)
{
    const uint8_t *p = c->raw_exif.at, *end = p + c->raw_exif.n;
    for (int line = 0; line < 3 && p < end; p++) line += *p == '\n';
    if (!(*block = memory_array(c->raw_exif.n / 2 + 1, 1, MEMORY_MAX_FILE, err))) return ERR_NOMEM;
    int high = -1;
    for (*n_block = 0; p < end; p++) {
        if (*p == '\n' || (high < 0 && is_space(*p))) continue; /* lines are joined first */
        int d = digit(*p);
        if (d < 0) return refuse(c, "its EXIF text is not hexadecimal");
        if (high >= 0) (*block)[(*n_block)++] = (uint8_t)(high << 4 | d);
        high = high < 0 ? d : -1;
    }
    return high < 0 ? 0 : refuse(c, "its EXIF text has an odd number of digits");
}

int pngchunk_orientation(struct pngchunk *c, bool before_pixels, struct error *err)
{
    struct exif e = {.orientation = 1};
    if (before_pixels && c->exif_kind == PNGCHUNK_NO_EXIF) return 0;
    if (c->exif_kind == PNGCHUNK_EXIF_IS_TEXT && c->exif.n)
        return refuse(c, "a text poses as its EXIF block");
    enum exif_verdict verdict = EXIF_GOOD;
    if (c->exif_kind != PNGCHUNK_NO_EXIF) {
        bool twice_named = c->exif.n >= 4 && !memcmp(c->exif.at, "Exif", 4);
        verdict = c->exif_kind == PNGCHUNK_EXIF_BARE && twice_named
                      ? EXIF_NOT_TIFF
                      : exif_read(c->exif.at, c->exif.n, &e);
    } else if (c->raw_exif.at) {
        uint8_t *block = NULL;
        size_t n = 0;
        int rc = read_raw_exif(c, &block, &n, err);
        if (rc == 0) verdict = exif_read(block, n, &e);
        memory_free(block);
        if (rc < 0) return rc;
    }
    if (verdict != EXIF_GOOD) return refuse(c, "its EXIF block cannot be read");
    uint8_t by_xmp = e.has_orientation || !c->xmp.at ? 0
                                                     : exif_xmp_orientation(c->xmp.at, c->xmp.n);
    return by_xmp >= 1 && by_xmp <= 8 ? by_xmp : e.orientation;
}
