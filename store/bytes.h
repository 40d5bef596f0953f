/* Little-endian numbers in byte strings, and a reader that cannot run past the end.
 *
 *     p = bytes_put_u32(p, width); p = bytes_put_f32(p, weight);       // p moves on
 *     struct bytes_reader r = bytes_reader(value.bytes, value.n);
 *     uint32_t width = bytes_u32(&r); float weight = bytes_f32(&r);
 *     if (!bytes_at_end(&r)) ...       // too short, too long: the record is damaged
 *
 * A read past the end gives zeros and makes the reader fail for good, so that one check at the end
 * is enough. Keys of tables use bytes_put_key_u32: big-endian, so that their byte order is the
 * order of numbers. Pure; any thread.
 */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns the address behind what it wrote. */
uint8_t *bytes_put_u8(uint8_t *p, uint8_t x);
uint8_t *bytes_put_u16(uint8_t *p, uint16_t x);
uint8_t *bytes_put_u32(uint8_t *p, uint32_t x);
uint8_t *bytes_put_u64(uint8_t *p, uint64_t x);
uint8_t *bytes_put_f32(uint8_t *p, float x);
uint8_t *bytes_put(uint8_t *p, const void *bytes, size_t n);

/* Big-endian, for keys. */
uint8_t *bytes_put_key_u16(uint8_t *p, uint16_t x);
uint8_t *bytes_put_key_u32(uint8_t *p, uint32_t x);
uint8_t *bytes_put_key_u64(uint8_t *p, uint64_t x);

struct bytes_reader {
    const uint8_t *p, *end;
    bool failed;
};

struct bytes_reader bytes_reader(const void *bytes, size_t n);
uint8_t bytes_u8(struct bytes_reader *r);
uint16_t bytes_u16(struct bytes_reader *r);
uint32_t bytes_u32(struct bytes_reader *r);
uint64_t bytes_u64(struct bytes_reader *r);
float bytes_f32(struct bytes_reader *r);
uint16_t bytes_key_u16(struct bytes_reader *r);
uint32_t bytes_key_u32(struct bytes_reader *r);
uint64_t bytes_key_u64(struct bytes_reader *r);
/* The next n bytes, borrowed; NULL (and failed) when there are fewer. */
const uint8_t *bytes_take(struct bytes_reader *r, size_t n);
size_t bytes_left(const struct bytes_reader *r);
/* Nothing failed and nothing is left. */
bool bytes_at_end(const struct bytes_reader *r);

#endif
