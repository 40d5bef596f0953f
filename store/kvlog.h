/* The changes of one writing transaction, in order, so that store/kv_txn.c can replay them after the
 * map has grown: kept only where the map may fill. One block of memory that is reused from batch to
 * batch; threading: one owner.
 */
#ifndef STORE_KVLOG_H
#define STORE_KVLOG_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum kvlog_kind { KVLOG_PUT, KVLOG_APPEND, KVLOG_DELETE };

struct kvlog_entry {
    uint32_t kind, table; /* enum kvlog_kind */
    size_t n_key, n_value;
    const uint8_t *key, *value; /* borrowed until the next kvlog_add */
};

/* Zeroed at first. */
struct kvlog {
    char *bytes;
    size_t capacity, used;
};

int kvlog_add(struct kvlog *log, const struct kvlog_entry *entry, struct error *err) MUST_CHECK;
/* The entry at *offset (0 at first), which moves on; 0 at the end, 1 otherwise. */
int kvlog_next(const struct kvlog *log, size_t *offset, struct kvlog_entry *entry);
void kvlog_clear(struct kvlog *log);
void kvlog_release(struct kvlog *log);

#endif
