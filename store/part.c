/* A part of many; see part.h. */
#include "store/part.h"

#include <stdio.h>

#define MAX_PARTS 65536

int part_parse(const char *text, struct part *part, struct error *err)
{
    unsigned n = 0, t = 0;
    int end = 0;
    bool is_digit = text[0] >= '0' && text[0] <= '9';
    if (is_digit && sscanf(text, "%6u/%6u%n", &n, &t, &end) == 2 && end && !text[end] && n >= 1 &&
        n <= t && t <= MAX_PARTS) {
        *part = (struct part){n, t};
        return 0;
    }
    return error_set(err, ERR_USAGE,
                     "\"%.40s\" is no part: expected n/t with 1 <= n <= t <= %d, as 3/7", text,
                     MAX_PARTS);
}

bool part_is_all(const struct part *part)
{
    return part->t <= 1;
}

bool part_has_number(const struct part *part, uint64_t number)
{
    return part_is_all(part) || number % part->t == part->n - 1;
}

bool part_has_key(const struct part *part, const uint8_t *key, size_t n_key)
{
    uint64_t x = 0;
    for (size_t i = n_key > 4 ? n_key - 4 : 0; i < n_key; i++) x = x << 8 | key[i];
    return part_has_number(part, x);
}
