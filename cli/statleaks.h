/* `clipstill stat --leaks`: near-duplicate pictures, and those that stand in different splits. */
#ifndef CLI_STATLEAKS_H
#define CLI_STATLEAKS_H

#include "store/error.h"
#include "store/json.h"

/* Adds "leaks" to answer: counts, and every pair of twins that stands in more than one split. */
int statleaks_add(struct json *answer, const char *cache, struct error *err) MUST_CHECK;
void statleaks_print(const struct json *answer);

#endif
