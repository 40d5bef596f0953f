/* Markers of a JPEG; see jpeghead.h. A struct walk stands behind the last marker; every segment is checked to
 * lie inside the bytes before it is looked at. The order of the checks is that of Pillow's reader, because
 * the first one to fail decides whether the file is refused or a fault passed over. */
#include "ingest/jpeghead.h"

#include <string.h>

#include "ingest/exif.h"

enum { SOF0 = 0xc0, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, RST0 = 0xd0, EOI = 0xd9, SOS = 0xda };
enum { DQT = 0xdb, DHP = 0xde, APP0 = 0xe0, APP15 = 0xef, JPG0 = 0xf0, JPG13 = 0xfd };

struct body {
    const uint8_t *at;
    size_t n;
};

struct walk {
    const uint8_t *bytes;
    size_t n, at;
    struct jpeghead *head;
    struct body exif, mpf, icc_first; /* icc_first: the smallest of those before a frame header */
    struct exif read;
    bool has_exif, exif_is_read, has_density, has_mpf, has_pending_icc;
};

static const char cut_file[] = "the file ends inside its headers";

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static bool begins(struct body b, const char *name, size_t n_name)
{
    return b.n >= n_name && !memcmp(b.at, name, n_name);
}

/* The marker after w->at, which is left behind it; -1 at the end of the bytes, -2 at FF01..FFBF. */
static int next_marker(struct walk *w)
{
    bool after_ff = false;
    while (w->at < w->n) {
        uint8_t b = w->bytes[w->at++];
        if (after_ff && b != 0 && b != 0xff) return b >= SOF0 ? b : -2;
        after_ff = b == 0xff; /* fill bytes, escaped FFs and rubbish are passed over */
    }
    return -1;
}

static bool has_segment(int marker)
{
    return marker != JPG && !(marker >= RST0 && marker <= EOI) &&
           !(marker >= JPG0 && marker <= JPG13);
}

/* A length below 2 means an empty body. */
static bool read_body(struct walk *w, struct body *b)
{
    if (w->n - w->at < 2) return false;
    size_t length = be16(w->bytes + w->at);
    w->at += 2;
    *b = (struct body){w->bytes + w->at, length < 2 ? 0 : length - 2};
    if (b->n > w->n - w->at) return false;
    w->at += b->n;
    return true;
}

static const char *read_frame(struct walk *w, struct body b)
{
    if (b.n < 5) return "its frame header is cut";
    w->head->height_px = be16(b.at + 1);
    w->head->width_px = be16(b.at + 3);
    if (b.at[0] != 8) return "its samples have not 8 bits";
    if (b.n < 6) return "its frame header is cut";
    w->head->n_planes = b.at[5];
    if (b.at[5] != 1 && b.at[5] != 3 && b.at[5] != 4) return "it has neither 1, 3 nor 4 planes";
    if (w->has_pending_icc && w->icc_first.n < 14) return "its ICC segment is cut";
    w->has_pending_icc = false;
    return b.n % 3 ? "its frame header is cut within a plane" : NULL;
}

static const char *read_tables(struct body b)
{
    while (b.n) {
        size_t n = 1 + (b.at[0] < 16 ? 64 : 128);
        if (b.n < n) return "a quantization table is cut";
        b = (struct body){b.at + n, b.n - n};
    }
    return NULL;
}

static int compare(struct body a, struct body b)
{
    int c = memcmp(a.at, b.at, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Image resources of Photoshop: a list that ends just before the length of a name is not survived. */
static const char *read_photoshop(struct body b)
{
    size_t at = 14;
    while (at + 4 <= b.n && !memcmp(b.at + at, "8BIM", 4)) {
        at += 4;
        if (b.n - at < 2) return NULL;
        at += 2;
        if (at >= b.n) return "its Photoshop segment is cut";
        at += 1 + (size_t)b.at[at];
        at += at & 1;
        if (at + 4 > b.n) return NULL;
        size_t size = (size_t)be16(b.at + at) << 16 | be16(b.at + at + 2);
        at += 4 + size;
        at += at & 1;
    }
    return NULL;
}

/* A density that EXIF should give is looked up as soon as there is EXIF and no density of JFIF. That look
 * forgives a block that is no TIFF at all, and a later one does not. */
static const char *look_for_density(struct walk *w)
{
    if (w->has_density || !w->has_exif) return NULL;
    w->has_density = w->exif_is_read = true;
    if (exif_read(w->exif.at, w->exif.n, &w->read) == EXIF_CUT) return "its EXIF block is cut";
    return w->read.short_density ? "the resolution in its EXIF block is cut" : NULL;
}

static const char *read_app(struct walk *w, int marker, struct body b)
{
    const char *why = NULL;
    if (marker == APP0 && begins(b, "JFIF", 4)) {
        if (b.n < 7) return "its JFIF segment is cut";
        if (b.n >= 12 && b.at[7] == 1) w->has_density = true;
    } else if (marker == APP0 + 1 && begins(b, "Exif", 5)) {
        if (!w->has_exif) w->exif = b;
        w->has_exif = true;
    } else if (marker == APP0 + 2 && begins(b, "ICC_PROFILE", 12)) {
        if (!w->has_pending_icc || compare(b, w->icc_first) < 0) w->icc_first = b;
        w->has_pending_icc = w->head->has_icc = true;
    } else if (marker == APP0 + 13 && begins(b, "Photoshop 3.0", 14)) {
        why = read_photoshop(b);
    } else if (marker == APP0 + 14 && begins(b, "Adobe", 5)) {
        if (b.n < 7) why = "its Adobe segment is cut";
    } else if (marker == APP0 + 2 && begins(b, "MPF", 4)) {
        w->mpf = (struct body){b.at + 4, b.n - 4};
        w->has_mpf = true;
    }
    return why ? why : look_for_density(w);
}

static const char *read_segment(struct walk *w, int marker)
{
    struct body b;
    if (!read_body(w, &b)) {
        w->head->is_cut = true;
        return cut_file;
    }
    if (marker >= APP0 && marker <= APP15) return read_app(w, marker, b);
    if (marker == DQT) return read_tables(b);
    bool frame = (marker >= SOF0 && marker < RST0 && marker != DHT && marker != DAC) ||
                 marker == DHP;
    return frame ? read_frame(w, b) : NULL;
}

/* What Pillow looks at once the markers are read. */
static const char *finish(struct walk *w)
{
    struct jpeghead *head = w->head;
    if (!head->n_planes) return "a scan stands before any frame header";
    if (!head->width_px || !head->height_px) return "it has no pixels";
    if (w->has_mpf && exif_mpf_is_cut(w->mpf.at, w->mpf.n)) return "its MPO index is cut";
    if (w->has_exif && !w->exif_is_read && exif_read(w->exif.at, w->exif.n, &w->read) != EXIF_GOOD)
        return "its EXIF block cannot be read";
    head->orientation = w->read.orientation;
    return NULL;
}

const char *jpeghead_read(const uint8_t *bytes, size_t n, struct jpeghead *head)
{
    struct walk w = {
        .bytes = bytes, .n = n, .at = 2, .head = head, .read.orientation = 1}; /* behind FFD8 */
    *head = (struct jpeghead){.orientation = 1};
    for (;;) {
        int marker = next_marker(&w);
        if (marker == -1) {
            head->is_cut = true;
            return cut_file;
        }
        if (marker == -2) return "it has a marker without a name";
        const char *why = has_segment(marker) ? read_segment(&w, marker) : NULL;
        if (why) return why;
        if (marker == SOS) return finish(&w);
    }
}

bool jpeghead_next_icc(const uint8_t *bytes, size_t n, size_t *at, const uint8_t **body,
                       size_t *n_body)
{
    struct walk w = {.bytes = bytes, .n = n, .at = *at ? *at : 2};
    for (int marker; (marker = next_marker(&w)) >= 0 && marker != SOS;) {
        struct body b;
        if (!has_segment(marker)) continue;
        if (!read_body(&w, &b)) break;
        if (marker != APP0 + 2 || !begins(b, "ICC_PROFILE", 12)) continue;
        *at = w.at;
        *body = b.at;
        *n_body = b.n;
        return true;
    }
    return false;
}
