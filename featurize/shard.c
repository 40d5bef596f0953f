/* Shares of a corpus; see shard.h. */
#include "featurize/shard.h"

#include <stdio.h>

int shard_parse(const char *text, struct shard *s, struct error *err)
{
    unsigned i, n;
    char rest;
    if (sscanf(text, "%6u/%6u%c", &i, &n, &rest) != 2 || i < 1 || i > n || n > SHARD_MAX)
        return error_set(err, ERR_USAGE,
                         "shard \"%s\": expected i/n with i from 1 to n and n at most %d, as 3/16",
                         text, SHARD_MAX);
    *s = (struct shard){i - 1, n};
    return 0;
}

uint32_t shard_n(const struct shard *s, uint32_t n_total)
{
    uint32_t units = n_total / SHARD_UNIT, rest = n_total % SHARD_UNIT;
    uint32_t own = units / s->count + (units % s->count > s->index);
    return own * SHARD_UNIT + (units % s->count == s->index ? rest : 0);
}

uint32_t shard_number(const struct shard *s, uint32_t i)
{
    return (i / SHARD_UNIT * s->count + s->index) * SHARD_UNIT + i % SHARD_UNIT;
}
