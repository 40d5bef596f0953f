/* HTML character references; see entity.h. The only file that includes libxml2, and all it takes is
 * the table of names. */
#include "ingest/entity.h"

#include <stdbool.h>
#include <string.h>

#include <libxml/HTMLparser.h>

#define MAX_NAME    8 /* thetasym */
#define REPLACEMENT 0xfffd

/* What browsers show for the C1 controls; 0: the control itself. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

static int digit_of(char c, int base)
{
    int lower = c | 0x20;
    if (c >= '0' && c <= '9') return c - '0';
    return base == 16 && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static uint32_t numbered(uint32_t value)
{
    if (value == 0 || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return REPLACEMENT;
    if (value >= 0x80 && value <= 0x9f && windows_1252[value - 0x80])
        return windows_1252[value - 0x80];
    return value;
}

/* After "&#". */
static size_t decode_number(const char *text, size_t n, uint32_t *c)
{
    size_t at = 2;
    int base = 10, digit;
    if (at < n && (text[at] | 0x20) == 'x') {
        base = 16;
        at++;
    }
    size_t first = at;
    uint32_t value = 0;
    for (; at < n && (digit = digit_of(text[at], base)) >= 0; at++)
        if (value <= 0x10ffff) value = value * (uint32_t)base + (uint32_t)digit;
    if (at == first || at == n || text[at] != ';') return 0;
    *c = numbered(value);
    return at + 1;
}

size_t entity_decode(const char *text, size_t n, uint32_t *c)
{
    char name[MAX_NAME + 1];
    size_t k = 0;
    if (n < 3 || text[0] != '&') return 0;
    if (text[1] == '#') return decode_number(text, n, c);
    while (k < MAX_NAME && k + 1 < n && text[k + 1] != ';') {
        char lower = (char)(text[k + 1] | 0x20);
        if ((lower < 'a' || lower > 'z') && digit_of(text[k + 1], 10) < 0) return 0;
        name[k] = text[k + 1];
        k++;
    }
    if (k == 0 || k + 1 == n || text[k + 1] != ';') return 0;
    name[k] = '\0';
    const htmlEntityDesc *found = htmlEntityLookup((const xmlChar *)name);
    if (!found) return 0;
    *c = found->value;
    return k + 2;
}
