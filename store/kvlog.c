/* The replay log of a writing transaction; see kvlog.h. */
#include "store/kvlog.h"

#include <string.h>

#include "store/memory.h"

#define KEEP_BYTES ((size_t)1 << 28) /* a larger block is given back after its batch */

int kvlog_add(struct kvlog *log, const struct kvlog_entry *e, struct error *err)
{
    uint64_t need = (uint64_t)log->used + sizeof *e + e->n_key + e->n_value;
    int rc = memory_grow(&log->bytes, &log->capacity, need, 1, MEMORY_MAX_TENSOR, err);
    if (rc < 0) return rc;
    char *p = log->bytes + log->used;
    memcpy(p, e, sizeof *e);
    memcpy(p + sizeof *e, e->key, e->n_key);
    if (e->n_value) memcpy(p + sizeof *e + e->n_key, e->value, e->n_value);
    log->used = need;
    return 0;
}

int kvlog_next(const struct kvlog *log, size_t *offset, struct kvlog_entry *e)
{
    if (*offset == log->used) return 0;
    const char *p = log->bytes + *offset;
    memcpy(e, p, sizeof *e);
    e->key = (const uint8_t *)p + sizeof *e;
    e->value = e->key + e->n_key;
    *offset += sizeof *e + e->n_key + e->n_value;
    return 1;
}

void kvlog_clear(struct kvlog *log)
{
    if (log->capacity > KEEP_BYTES)
        kvlog_release(log);
    else
        log->used = 0;
}

void kvlog_release(struct kvlog *log)
{
    memory_free(log->bytes);
    *log = (struct kvlog){0};
}
