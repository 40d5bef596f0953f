/* XXH64; see checksum.h. Four lanes take 8 bytes each of every 32; the rest goes through the sum in words of
 * 8, 4 and 1. About 4 bytes a cycle, which is more than a core reads from memory. */
#include "store/checksum.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they stand");

#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu
#define PRIME_3 0x165667b19e3779f9u
#define PRIME_4 0x85ebca77c2b2ae63u
#define PRIME_5 0x27d4eb2f165667c5u

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t word_at(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t mixed(uint64_t lane, uint64_t word)
{
    return rotate(lane + word * PRIME_2, 31) * PRIME_1;
}

uint64_t checksum_of(const void *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = p + n;
    uint64_t sum = PRIME_5;
    if (n >= 32) {
        uint64_t a = PRIME_1 + PRIME_2, b = PRIME_2, c = 0, d = 0 - PRIME_1;
        for (; end - p >= 32; p += 32) {
            a = mixed(a, word_at(p));
            b = mixed(b, word_at(p + 8));
            c = mixed(c, word_at(p + 16));
            d = mixed(d, word_at(p + 24));
        }
        sum = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        const uint64_t lanes[4] = {a, b, c, d};
        for (int i = 0; i < 4; i++) sum = (sum ^ mixed(0, lanes[i])) * PRIME_1 + PRIME_4;
    }
    sum += n;
    for (; end - p >= 8; p += 8) sum = rotate(sum ^ mixed(0, word_at(p)), 27) * PRIME_1 + PRIME_4;
    if (end - p >= 4) {
        uint32_t half;
        memcpy(&half, p, sizeof half);
        sum = rotate(sum ^ half * PRIME_1, 23) * PRIME_2 + PRIME_3;
        p += 4;
    }
    for (; p < end; p++) sum = rotate(sum ^ *p * PRIME_5, 11) * PRIME_1;
    sum = (sum ^ sum >> 33) * PRIME_2;
    sum = (sum ^ sum >> 29) * PRIME_3;
    return sum ^ sum >> 32;
}
