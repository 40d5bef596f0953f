/* UTF-16 to UTF-8; see utf16.h. */
#include "ingest/utf16.h"

#include <string.h>

bool utf16_begins(const char *head, size_t n, struct utf16 *u)
{
    *u = (struct utf16){0};
    if (n < 2) return false;
    u->is_big_endian = !memcmp(head, "\xfe\xff", 2);
    return u->is_big_endian || !memcmp(head, "\xff\xfe", 2);
}

/* One code point, a lone surrogate among them. */
static size_t put(uint32_t c, char *out)
{
    uint8_t *p = (uint8_t *)out;
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        p[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    p[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static size_t take(struct utf16 *u, uint16_t unit, char *out)
{
    size_t n = 0;
    bool is_low = (unit & 0xfc00) == 0xdc00;
    if (u->high && is_low) {
        n = put(0x10000 + (((uint32_t)u->high & 0x3ff) << 10) + (unit & 0x3ffu), out);
        u->high = 0;
        return n;
    }
    if (u->high) n = put(u->high, out);
    u->high = (unit & 0xfc00) == 0xd800 ? unit : 0;
    return u->high ? n : n + put(unit, out + n);
}

size_t utf16_decode(struct utf16 *u, const char *in, size_t n, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)in[i];
        if (!u->has_odd) {
            u->odd = byte;
            u->has_odd = true;
            continue;
        }
        u->has_odd = false;
        uint16_t unit = (uint16_t)(u->is_big_endian ? u->odd << 8 | byte : byte << 8 | u->odd);
        n_out += take(u, unit, out + n_out);
    }
    return n_out;
}

size_t utf16_end(struct utf16 *u, char *out)
{
    size_t n = 0;
    if (u->high) n = put(u->high, out);
    if (u->has_odd) n += put(0xd800, out + n); /* half a unit is no text either */
    u->high = 0;
    u->has_odd = false;
    return n;
}
