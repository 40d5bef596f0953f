/* Names of records; see recordname.h. */
#include "store/recordname.h"

#include <stdio.h>
#include <string.h>

#include "store/bytes.h"

#define HEX_BYTES 40 /* shown of a key */

static void hex_of(struct kv_bytes key, const char *before, char text[RECORDNAME_TEXT])
{
    int at = snprintf(text, RECORDNAME_TEXT, "%s", before);
    for (size_t i = 0; i < key.n && i < HEX_BYTES; i++)
        at += snprintf(text + at, RECORDNAME_TEXT - (size_t)at, "%02x", key.bytes[i]);
}

void recordname_of(enum corpus_table table, struct kv_bytes key, char text[RECORDNAME_TEXT])
{
    struct bytes_reader r = bytes_reader(key.bytes, key.n);
    if (table == TABLE_META && key.n && key.n < 64) {
        snprintf(text, RECORDNAME_TEXT, "\"%.*s\"", (int)key.n, (const char *)key.bytes);
    } else if (key.n == 4 &&
               (table == TABLE_IMAGES || table == TABLE_IMAGE_BYTES || table == TABLE_CAPTIONS)) {
        snprintf(text, RECORDNAME_TEXT, "record %u", bytes_key_u32(&r));
    } else if (key.n == RECORD_PAIR_KEY && table == TABLE_PAIRS) {
        uint32_t image = bytes_key_u32(&r), caption = bytes_key_u32(&r);
        snprintf(text, RECORDNAME_TEXT, "the pair of image %u and caption %u", image, caption);
    } else if (key.n == 3 && table == TABLE_NAMES) {
        static const char *const kinds[] = {"language", "source", "label", "unknown name"};
        unsigned kind = bytes_u8(&r);
        snprintf(text, RECORDNAME_TEXT, "%s %u", kinds[kind < NAME_KINDS ? kind : NAME_KINDS],
                 bytes_key_u16(&r));
    } else if (key.n == 8 && table == TABLE_REJECTS) {
        snprintf(text, RECORDNAME_TEXT, "reject %llu", (unsigned long long)bytes_key_u64(&r));
    } else {
        hex_of(key, "key ", text);
    }
}

/* "from A to before B" of two names. */
static void join(const char *from, const char *to, char text[RECORDNAME_TEXT])
{
    snprintf(text, RECORDNAME_TEXT, "%s%.130s%s%.130s", *from ? "from " : "all records", from,
             *to ? (*from ? " to before " : " before ") : (*from ? " on" : ""), to);
}

static bool is_one(struct kv_bytes from, struct kv_bytes to)
{
    return from.n && from.n == to.n && !memcmp(from.bytes, to.bytes, from.n);
}

void recordname_between(enum corpus_table table, struct kv_bytes from, struct kv_bytes to,
                        char text[RECORDNAME_TEXT])
{
    char a[RECORDNAME_TEXT] = "", b[RECORDNAME_TEXT] = "";
    if (from.n) recordname_of(table, from, a);
    if (to.n) recordname_of(table, to, b);
    if (is_one(from, to))
        strcpy(text, a);
    else
        join(a, b, text);
}

void recordname_block(struct kv_bytes key, uint32_t n_slots, char text[RECORDNAME_TEXT])
{
    struct bytes_reader r = bytes_reader(key.bytes, key.n);
    uint32_t view = bytes_key_u32(&r);
    uint64_t first = (uint64_t)bytes_key_u32(&r) * n_slots;
    if (bytes_at_end(&r) && n_slots == 0)
        snprintf(text, RECORDNAME_TEXT, "view %u, block %u", view,
                 (key.bytes[4] * 256u + key.bytes[5]) * 65536u + key.bytes[6] * 256u +
                     key.bytes[7]);
    else if (bytes_at_end(&r))
        snprintf(text, RECORDNAME_TEXT, "view %u, records %llu to %llu", view,
                 (unsigned long long)first, (unsigned long long)first + n_slots - 1);
    else
        hex_of(key, "key ", text);
}

void recordname_blocks(struct kv_bytes from, struct kv_bytes to, uint32_t n_slots,
                       char text[RECORDNAME_TEXT])
{
    char a[RECORDNAME_TEXT] = "", b[RECORDNAME_TEXT] = "";
    if (from.n) recordname_block(from, n_slots, a);
    if (to.n) recordname_block(to, n_slots, b);
    if (is_one(from, to))
        strcpy(text, a);
    else
        join(a, b, text);
}
