/* What salvage.c, corpussalvage.c, corpusrescue.c and featureset_salvage.c share: records found, the child that reads
 * the damaged file, the exchange. Nobody else includes this. */
#ifndef STORE_SALVAGE_INSIDE_H
#define STORE_SALVAGE_INSIDE_H

#include "store/pages.h"
#include "store/salvage.h"
#include "store/sandbox.h"

#define SALVAGE_FOLDER ".repair"
#define SALVAGE_BATCH ((uint64_t)64 << 20) /* bytes a transaction */

/* A record that was found: borrowed from the damaged file. */
struct found {
    struct kv_bytes key, value;
    uint64_t turn; /* in which it was found: an earlier one is nearer to the newest commit */
};

struct found_list {
    struct found *at;
    size_t n, capacity;
};

int found_add(struct found_list *l, struct kv_bytes key, struct kv_bytes value, struct error *err) MUST_CHECK;
/* By key, then by turn. */
void found_sort(struct found_list *l);

/* Runs work in a child with the result in memory that both see. folder: the damaged one, whose writer's
 * lock is held meanwhile. Afterwards CACHE/.repair/NAME takes its place (made: its path), unless the
 * result says is_gone. name: for the kept copy. */
int salvage_run(const struct salvage *how, const char *folder, const char *made, const char *name,
                int (*work)(void *context, struct salvage_result *result, struct sandbox *box,
                            struct error *err),
                void *context, struct salvage_result *result, struct error *err) MUST_CHECK;
/* "and N more" after the first thousand. */
void salvage_tell(struct sandbox *box, uint64_t turn, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
