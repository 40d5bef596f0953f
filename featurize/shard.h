/* A share of a corpus: what one of several machines features.
 *
 *     shard_parse("3/16", &s, &err);
 *     for (uint32_t i = 0; i < shard_n(&s, n_records); i++) number = shard_number(&s, i);
 *
 * Numbers are dealt out in units of 256, the most slots a feature block has (store/block.h), so that no
 * block is ever in two shards; unit u belongs to shard u modulo count, so that a corpus that grows moves
 * nothing. {0, 1} is everything. Pure functions.
 */
#ifndef FEATURIZE_SHARD_H
#define FEATURIZE_SHARD_H

#include <stdint.h>

#include "store/error.h"

#define SHARD_UNIT 256
#define SHARD_MAX  100000

struct shard {
    uint32_t index, count; /* index 0..count - 1 */
};

/* "i/n", 1 <= i <= n. ERR_USAGE otherwise. */
int shard_parse(const char *text, struct shard *s, struct error *err) MUST_CHECK;
/* How many numbers below n_total are the shard's, and the i-th of them. */
uint32_t shard_n(const struct shard *s, uint32_t n_total);
uint32_t shard_number(const struct shard *s, uint32_t i);

#endif
