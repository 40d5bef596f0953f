/* Lines of a dump or of findings gathered into one text; for tests of stores. `append` is what the dumps
 * and verifiers call.
 */
#ifndef TESTS_DUMPTEXT_H
#define TESTS_DUMPTEXT_H

#include <string.h>

#include "store/corpus.h"
#include "store/memory.h"

/* Zeroed at first; p is owned: memory_free. */
struct text {
    struct corpus *c; /* first: a test's key_of may read it */
    char *p;
    size_t n, capacity;
    int n_findings; /* the test's own */
};

static inline int append(void *context, const char *line)
{
    struct text *t = context;
    size_t n = strlen(line);
    if (memory_grow(&t->p, &t->capacity, t->n + n + 2, 1, MEMORY_MAX_FILE, NULL) < 0)
        return ERR_NOMEM;
    memcpy(t->p + t->n, line, n);
    t->p[t->n + n] = '\n';
    t->p[t->n + n + 1] = 0;
    t->n += n + 1;
    return 0;
}

#endif
