/* Numbers in byte strings; see bytes.h. Shifts, not casts: right on any machine, and gcc makes one
 * load of them. */
#include "store/bytes.h"

#include <string.h>

static uint8_t *put_little(uint8_t *p, uint64_t x, int n)
{
    for (int i = 0; i < n; i++, x >>= 8) p[i] = (uint8_t)x;
    return p + n;
}

static uint8_t *put_big(uint8_t *p, uint64_t x, int n)
{
    for (int i = n - 1; i >= 0; i--, x >>= 8) p[i] = (uint8_t)x;
    return p + n;
}

uint8_t *bytes_put_u8(uint8_t *p, uint8_t x)
{
    *p = x;
    return p + 1;
}

uint8_t *bytes_put_u16(uint8_t *p, uint16_t x)
{
    return put_little(p, x, 2);
}

uint8_t *bytes_put_u32(uint8_t *p, uint32_t x)
{
    return put_little(p, x, 4);
}

uint8_t *bytes_put_u64(uint8_t *p, uint64_t x)
{
    return put_little(p, x, 8);
}

uint8_t *bytes_put_f32(uint8_t *p, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return put_little(p, bits, 4);
}

uint8_t *bytes_put(uint8_t *p, const void *bytes, size_t n)
{
    if (n) memcpy(p, bytes, n);
    return p + n;
}

uint8_t *bytes_put_key_u16(uint8_t *p, uint16_t x)
{
    return put_big(p, x, 2);
}

uint8_t *bytes_put_key_u32(uint8_t *p, uint32_t x)
{
    return put_big(p, x, 4);
}

uint8_t *bytes_put_key_u64(uint8_t *p, uint64_t x)
{
    return put_big(p, x, 8);
}

struct bytes_reader bytes_reader(const void *bytes, size_t n)
{
    return (struct bytes_reader){.p = bytes, .end = (const uint8_t *)bytes + n};
}

const uint8_t *bytes_take(struct bytes_reader *r, size_t n)
{
    if (r->failed || bytes_left(r) < n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}

size_t bytes_left(const struct bytes_reader *r)
{
    return (size_t)(r->end - r->p);
}

bool bytes_at_end(const struct bytes_reader *r)
{
    return !r->failed && r->p == r->end;
}

static uint64_t take_little(struct bytes_reader *r, int n)
{
    const uint8_t *p = bytes_take(r, (size_t)n);
    uint64_t x = 0;
    for (int i = n - 1; p && i >= 0; i--) x = x << 8 | p[i];
    return x;
}

static uint64_t take_big(struct bytes_reader *r, int n)
{
    const uint8_t *p = bytes_take(r, (size_t)n);
    uint64_t x = 0;
    for (int i = 0; p && i < n; i++) x = x << 8 | p[i];
    return x;
}

uint8_t bytes_u8(struct bytes_reader *r)
{
    return (uint8_t)take_little(r, 1);
}

uint16_t bytes_u16(struct bytes_reader *r)
{
    return (uint16_t)take_little(r, 2);
}

uint32_t bytes_u32(struct bytes_reader *r)
{
    return (uint32_t)take_little(r, 4);
}

uint64_t bytes_u64(struct bytes_reader *r)
{
    return take_little(r, 8);
}

float bytes_f32(struct bytes_reader *r)
{
    uint32_t bits = bytes_u32(r);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

uint16_t bytes_key_u16(struct bytes_reader *r)
{
    return (uint16_t)take_big(r, 2);
}

uint32_t bytes_key_u32(struct bytes_reader *r)
{
    return (uint32_t)take_big(r, 4);
}

uint64_t bytes_key_u64(struct bytes_reader *r)
{
    return take_big(r, 8);
}
