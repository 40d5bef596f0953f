/* Base64; see base64.h. */
#include "ingest/base64.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int64_t base64_decode(const char *text, size_t n, uint8_t *out)
{
    uint32_t bits = 0;
    int64_t n_out = 0;
    size_t end = n;
    while (end && n - end < 2 && text[end - 1] == '=') end--;
    for (size_t i = 0; i < end; i++) {
        int v = value_of(text[i]);
        if (v < 0) return -1 - (int64_t)i;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 == 0) continue; /* six bits make no byte yet */
        out[n_out++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return end % 4 == 1 ? -1 - (int64_t)end : n_out;
}
