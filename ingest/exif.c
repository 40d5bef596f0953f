/* TIFF blocks; see exif.h. One pass over the first folder, which ends at the first entry whose data lies
 * outside the block, as in Pillow: what stands behind such an entry is not seen. */
#include "ingest/exif.h"

#include <string.h>

enum { RESOLUTION = 0x011a, RESOLUTION_UNIT = 0x0128, ORIENTATION = 0x0112 };
enum { MPF_COUNT = 0xb001, MPF_ENTRIES = 0xb002, MPF_ENTRY_BYTES = 16 };

enum kind {
    BYTE = 1,
    ASCII,
    SHORT,
    LONG,
    RATIONAL,
    SIGNED_BYTE,
    UNDEFINED,
    SIGNED_SHORT,
    SIGNED_LONG,
    SIGNED_RATIONAL,
    FLOAT,
    DOUBLE,
    FOLDER,
    LONG8 = 16
};

static const uint8_t bytes_of[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

struct tag {
    uint16_t id;
    uint16_t kind; /* 0: not there */
    bool big_endian;
    const uint8_t *data;
    size_t n;
};

static uint64_t number(const uint8_t *p, int n_bytes, bool big_endian)
{
    uint64_t v = 0;
    for (int i = 0; i < n_bytes; i++) v = v << 8 | p[big_endian ? i : n_bytes - 1 - i];
    return v;
}

/* Takes one entry down if it is wanted. False when its data lies outside: the folder ends here. */
static bool read_entry(const uint8_t *block, size_t n, const uint8_t *entry, bool big_endian,
                       struct tag *wanted, int n_wanted)
{
    uint16_t id = (uint16_t)number(entry, 2, big_endian);
    uint16_t kind = (uint16_t)number(entry + 2, 2, big_endian);
    if (kind >= sizeof bytes_of || !bytes_of[kind]) return true;
    uint64_t size = number(entry + 4, 4, big_endian) * bytes_of[kind];
    const uint8_t *data = entry + 8;
    if (size == 0) return true;
    if (size > 4) {
        uint64_t at = number(entry + 8, 4, big_endian);
        if (at > n || size > n - at) return false;
        data = block + at;
    }
    for (int i = 0; i < n_wanted; i++)
        if (wanted[i].id == id) wanted[i] = (struct tag){id, kind, big_endian, data, (size_t)size};
    return true;
}

/* The wanted tags of the first folder; of a repeated tag the last counts. */
static enum exif_verdict read_folder(const uint8_t *block, size_t n, struct tag *wanted,
                                     int n_wanted)
{
    if (n < 4) return EXIF_NOT_TIFF;
    bool big_endian = block[0] == 'M';
    const char *heads[] = {"MM\0*", "II*\0", "MM*\0", "II\0*", "MM\0+", "II+\0"};
    bool known = false;
    for (int i = 0; i < 6; i++) known |= !memcmp(block, heads[i], 4);
    if (!known) return EXIF_NOT_TIFF;
    if (n < 8 || block[2] == '+') return EXIF_CUT;
    uint64_t at = number(block + 4, 4, big_endian);
    if (at + 2 > n) return EXIF_GOOD;
    uint64_t n_entries = number(block + at, 2, big_endian);
    at += 2;
    for (uint64_t i = 0; i < n_entries && at + 12 <= n; i++, at += 12)
        if (!read_entry(block, n, block + at, big_endian, wanted, n_wanted)) break;
    return EXIF_GOOD;
}

static double float_at(const uint8_t *p, int n_bytes, bool big_endian)
{
    uint64_t bits = number(p, n_bytes, big_endian);
    if (n_bytes == 4) {
        uint32_t half = (uint32_t)bits;
        float f;
        memcpy(&f, &half, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* a / b when that is a whole number above 0, else 0. */
static double quotient(int64_t a, int64_t b)
{
    return b != 0 && a % b == 0 ? (double)(a / b) : 0;
}

/* The first value of a tag; bytes and text are no number: 0. */
static double first_value(const struct tag *t)
{
    uint64_t u = t->n >= bytes_of[t->kind] ? number(t->data, bytes_of[t->kind], t->big_endian) : 0;
    uint32_t a = 0, b = 0;
    if (bytes_of[t->kind] == 8) {
        a = (uint32_t)number(t->data, 4, t->big_endian);
        b = (uint32_t)number(t->data + 4, 4, t->big_endian);
    }
    switch (t->kind) {
    case SHORT:
    case LONG:
    case FOLDER:
    case LONG8: return (double)u;
    case SIGNED_BYTE: return (int8_t)u;
    case SIGNED_SHORT: return (int16_t)u;
    case SIGNED_LONG: return (int32_t)u;
    case FLOAT: return float_at(t->data, 4, t->big_endian);
    case DOUBLE: return float_at(t->data, 8, t->big_endian);
    case RATIONAL: return quotient(a, b);
    case SIGNED_RATIONAL: return quotient((int32_t)a, (int32_t)b);
    default: return 0;
    }
}

/* Whether Pillow, asking this resolution for its second part, would find no second part. */
static bool is_short(const struct tag *t)
{
    if (t->kind == BYTE || t->kind == UNDEFINED) return t->n == 1;
    if (t->kind != ASCII) return false;
    size_t n = t->n - (t->data[t->n - 1] == 0);
    return n == 0 || (n == 1 && t->data[0] >= '0' && t->data[0] <= '9');
}

enum exif_verdict exif_read(const uint8_t *block, size_t n, struct exif *e)
{
    *e = (struct exif){.orientation = 1};
    if (n >= 6 && !memcmp(block, "Exif\0\0", 6)) {
        block += 6;
        n -= 6;
    }
    if (n == 0) return EXIF_GOOD;
    struct tag tags[] = {{.id = ORIENTATION}, {.id = RESOLUTION}, {.id = RESOLUTION_UNIT}};
    enum exif_verdict verdict = read_folder(block, n, tags, 3);
    e->has_orientation = tags[0].kind != 0;
    double value = e->has_orientation ? first_value(&tags[0]) : 1;
    for (int i = 2; i <= 8; i++)
        if (value == i) e->orientation = (uint8_t)i;
    e->short_density = tags[1].kind && tags[2].kind && is_short(&tags[1]);
    return verdict;
}

bool exif_mpf_is_cut(const uint8_t *block, size_t n)
{
    struct tag tags[] = {{.id = MPF_COUNT}, {.id = MPF_ENTRIES}};
    if (read_folder(block, n, tags, 2) != EXIF_GOOD || !tags[0].kind || !tags[1].kind) return false;
    uint16_t kind = tags[0].kind;
    bool is_integer = kind != RATIONAL && kind != SIGNED_RATIONAL && kind != FLOAT &&
                      kind != DOUBLE;
    if (!is_integer || (tags[1].kind != BYTE && tags[1].kind != UNDEFINED)) return false;
    double n_pictures = first_value(&tags[0]);
    bool big_endian = !memcmp(block, "MM\0*", 4);
    for (size_t at = 0, i = 0; (double)i < n_pictures; i++, at += MPF_ENTRY_BYTES) {
        if (at + MPF_ENTRY_BYTES > tags[1].n) return true;
        if (number(tags[1].data + at, 4, big_endian) >> 24 & 7) return false; /* no JPEG inside */
    }
    return false;
}

uint8_t exif_xmp_orientation(const uint8_t *text, size_t n)
{
    static const char name[] = "tiff:Orientation";
    enum { N = sizeof name - 1 };
    for (size_t at = 0; at + N + 2 <= n; at++) {
        if (text[at] != 't' || memcmp(text + at, name, N)) continue;
        const uint8_t *p = text + at + N, *end = text + n;
        if (*p == '>')
            p++;
        else if (*p == '=' && p[1] == '"')
            p += 2;
        else
            continue;
        if (p < end && *p >= '0' && *p <= '9') return (uint8_t)(*p - '0');
    }
    return 0;
}
