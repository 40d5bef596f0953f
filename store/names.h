/* Interned names: small dense ids for texts that repeat (languages, sources, class labels).
 *
 *     names_add(&names, "zh-Hans", 7, &err);        // the next id, counted from 0
 *     int id = names_find(&names, "zh-Hans", 7);    // or -1
 *
 * Both directions take constant time. Threading: read-only use from several threads is fine.
 */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

/* Zeroed at first. */
struct names {
    char **text; /* by id; owned */
    size_t n, capacity;
    uint32_t *slots; /* open addressing: id + 1, or 0 */
    size_t n_slots;
};

int names_add(struct names *names, const char *text, size_t n, struct error *err) MUST_CHECK;
int names_find(const struct names *names, const char *text, size_t n);
/* Forgets the ids from n on. */
void names_cut(struct names *names, size_t n);
void names_release(struct names *names);

#endif
