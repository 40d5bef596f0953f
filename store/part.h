/* A t-th of many records, so that t nightly runs see each of them once.
 *
 *     part_parse("2/7", &part, &err);
 *     if (part_has_number(&part, number)) ...
 *
 * By number: every t-th one, so that a run of neighbours is spread over the nights. By key: of keys that are
 * digests, or end in a number, by their last bytes. {0} is all of them. Pure.
 */
#ifndef STORE_PART_H
#define STORE_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct part {
    uint32_t n, t; /* 1 <= n <= t; t 0: all */
};

/* "n/t" with 1 <= n <= t <= 65536; ERR_USAGE otherwise. */
int part_parse(const char *text, struct part *part, struct error *err) MUST_CHECK;
bool part_is_all(const struct part *part);
bool part_has_number(const struct part *part, uint64_t number);
bool part_has_key(const struct part *part, const uint8_t *key, size_t n_key);

#endif
