/* verify --repair: the damaged corpus or feature set is replaced by what can be salvaged of it. */
#ifndef CLI_REPAIR_H
#define CLI_REPAIR_H

#include "cli/keyof.h"
#include "store/json.h"

/* Salvages the corpus (set NULL) or a set; key: for the numbers of the set's records, or NULL. Prints what
 * was lost and kept, or adds it to answers. discard: the damaged one is removed. */
int repair_run(const char *cache, const char *set, struct keyof *key, bool discard, struct json *answers,
               struct error *err) MUST_CHECK;

#endif
