/* Teacher features of the records of a run, by position in its table: from memory where they fit,
 * else from the cache.
 *
 *     targets_open(&t, set, n_records, n_views, &budget, get_key, context, &err);
 *     targets_get(t, position, view, out, &has, &err);        // out: (dim)
 *
 * Threading: one caller.
 */
#ifndef TRAIN_TARGETS_H
#define TRAIN_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/featureset.h"

struct targets;

/* Number and key of the record at a position of the run's table. */
typedef void (*targets_record)(const void *context, uint32_t position, uint32_t *number, const uint8_t **key);

/* set is borrowed. *budget_bytes: what may be taken into memory; less what was. */
int targets_open(struct targets **t, struct featureset *set, uint32_t n_records, uint32_t n_views,
                 uint64_t *budget_bytes, targets_record record, const void *context,
                 struct error *err) MUST_CHECK;
void targets_close(struct targets *t);
/* The unit vector; zeros and *has false when the set has none of this record. */
int targets_get(struct targets *t, uint32_t position, uint32_t view, float *out, bool *has,
                struct error *err) MUST_CHECK;

#endif
