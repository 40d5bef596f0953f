/* A zip archive of stored entries in memory, for tests: zipkit_build(out, entries, n, zip64) returns its length. Included by a test. */
#ifndef TESTS_ZIPKIT_H
#define TESTS_ZIPKIT_H

#include <stdbool.h>
#include <string.h>

#include "store/bytes.h"

struct zipkit_entry {
    const char *name;
    const void *bytes;
    size_t n;
    uint16_t method, flags; /* 0: stored, plain */
};

/* The fields that local header and directory share, from "version needed" to the length of the extra field. */
static inline uint8_t *zipkit_fields(uint8_t *p, const struct zipkit_entry *e, bool zip64, uint16_t n_extra)
{
    p = bytes_put_u16(p, zip64 ? 45 : 20);
    p = bytes_put_u16(p, e->flags);
    p = bytes_put_u16(p, e->method);
    p = bytes_put_u32(p, 0); /* time */
    p = bytes_put_u32(p, 0); /* checksum */
    for (int i = 0; i < 2; i++) p = bytes_put_u32(p, zip64 ? UINT32_MAX : (uint32_t)e->n);
    p = bytes_put_u16(p, (uint16_t)strlen(e->name));
    return bytes_put_u16(p, n_extra);
}

static inline uint8_t *zipkit_directory(uint8_t *p, const struct zipkit_entry *e, uint32_t at, bool zip64)
{
    p = bytes_put_u32(p, 0x02014b50);
    p = bytes_put_u16(p, 20);
    p = zipkit_fields(p, e, zip64, zip64 ? 28 : 0);
    p = bytes_put_u16(p, 0); /* comment */
    p = bytes_put_u16(p, 0); /* disk */
    p = bytes_put_u16(p, 0);
    p = bytes_put_u32(p, 0);
    p = bytes_put_u32(p, zip64 ? UINT32_MAX : at);
    p = bytes_put(p, e->name, strlen(e->name));
    if (!zip64) return p;
    p = bytes_put_u16(p, 1);
    p = bytes_put_u16(p, 24);
    for (int i = 0; i < 2; i++) p = bytes_put_u64(p, e->n);
    return bytes_put_u64(p, at);
}

/* At most 64 entries. */
static inline size_t zipkit_build(uint8_t *out, const struct zipkit_entry *e, int n, bool zip64)
{
    uint32_t at[64];
    uint8_t *p = out;
    for (int i = 0; i < n; i++) {
        at[i] = (uint32_t)(p - out);
        p = bytes_put_u32(p, 0x04034b50);
        p = zipkit_fields(p, &e[i], zip64, 0);
        p = bytes_put(p, e[i].name, strlen(e[i].name));
        p = bytes_put(p, e[i].bytes, e[i].n);
    }
    uint64_t directory = (uint64_t)(p - out);
    for (int i = 0; i < n; i++) p = zipkit_directory(p, &e[i], at[i], zip64);
    uint64_t end = (uint64_t)(p - out);
    if (zip64) {
        p = bytes_put_u32(p, 0x06064b50);
        p = bytes_put_u64(p, 44);
        p = bytes_put_u16(p, 45);
        p = bytes_put_u16(p, 45);
        p = bytes_put_u64(p, 0); /* disks */
        for (int i = 0; i < 2; i++) p = bytes_put_u64(p, (uint64_t)n);
        p = bytes_put_u64(p, end - directory);
        p = bytes_put_u64(p, directory);
        p = bytes_put_u32(p, 0x07064b50);
        p = bytes_put_u32(p, 0);
        p = bytes_put_u64(p, end);
        p = bytes_put_u32(p, 1);
    }
    p = bytes_put_u32(p, 0x06054b50);
    p = bytes_put_u32(p, 0);
    for (int i = 0; i < 2; i++) p = bytes_put_u16(p, zip64 ? UINT16_MAX : (uint16_t)n);
    p = bytes_put_u32(p, zip64 ? UINT32_MAX : (uint32_t)(end - directory));
    p = bytes_put_u32(p, zip64 ? UINT32_MAX : (uint32_t)directory);
    return (size_t)(bytes_put_u16(p, 0) - out);
}

#endif
