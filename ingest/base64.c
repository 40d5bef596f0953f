/* Base64; see base64.h. Four characters at a time through a table, where a character that does not
 * belong has a high bit that one test over the four finds. */
#include "ingest/base64.h"

#define BAD 0x80

/* clang-format off */
static const uint8_t values[256] = {
#define B BAD
#define ROW B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B
    ROW, ROW,
    B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  62, B,  62, B,  63, /* + - / */
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, B,  B,  B,  B,  B,  B,
    B,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, B,  B,  B,  B,  63, /* _ */
    B,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, B,  B,  B,  B,  B,
    ROW, ROW, ROW, ROW, ROW, ROW, ROW, ROW,
#undef ROW
#undef B
};
/* clang-format on */

int64_t base64_decode(const char *text, size_t n, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t end = n, i = 0;
    int64_t n_out = 0;
    uint32_t bits = 0;
    while (end && n - end < 2 && text[end - 1] == '=') end--;
    for (; end - i >= 4; i += 4) {
        uint32_t a = values[in[i]], b = values[in[i + 1]], c = values[in[i + 2]],
                 d = values[in[i + 3]];
        if ((a | b | c | d) & BAD) break;
        bits = a << 18 | b << 12 | c << 6 | d;
        out[n_out++] = (uint8_t)(bits >> 16);
        out[n_out++] = (uint8_t)(bits >> 8);
        out[n_out++] = (uint8_t)bits;
    }
    for (; i < end; i++) {
        uint32_t v = values[in[i]];
        if (v & BAD) return -1 - (int64_t)i;
        bits = bits << 6 | v;
        if (i % 4 == 0) continue; /* six bits make no byte yet */
        out[n_out++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return end % 4 == 1 ? -1 - (int64_t)end : n_out;
}
