/* Python's pickles as data: what a pickle says is noted down, and nothing of it is done.
 *
 *     pickle_read(bytes, n, "data.pkl", globals, n_globals, &p, &err);
 *     const struct pickle_value *root = pickle_root(p);
 *     for (int32_t i = root->first; i >= 0; i = pickle_next(p, i)) {     // key, value, key, value
 *         const struct pickle_value *key = pickle_item(p, i); ...
 *     }
 *     pickle_close(p);
 *
 * A pickle is a program that may call any Python function. This reader knows the opcodes that build
 * numbers, texts, tuples, lists and dictionaries, and notes a call as "this global with these
 * arguments". An opcode outside of these, and a global outside of the caller's list, is refused by
 * name. Values, stack and memo are bounded by the bytes given and by limits of its own; no
 * recursion. A list may contain itself: readers look at fixed depths.
 * Format: Python's Lib/pickletools.py, protocols 2 to 5. Threading: read-only; any thread.
 */
#ifndef FEATURIZE_PICKLE_H
#define FEATURIZE_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,       /* number 0 or 1 */
    PICKLE_INT,        /* number */
    PICKLE_FLOAT,      /* real */
    PICKLE_TEXT,       /* text, n_text: bytes or UTF-8, NUL behind, none inside */
    PICKLE_TUPLE,      /* items */
    PICKLE_LIST,       /* items */
    PICKLE_DICT,       /* items: key, value, key, value, ... */
    PICKLE_GLOBAL,     /* number: index into the caller's list */
    PICKLE_CALL,       /* number: the global called; argument: a tuple; items: as of DICT, what was set on the result */
    PICKLE_PERSISTENT, /* argument: the identity that stands for an object outside of the pickle */
};

struct pickle_value {
    enum pickle_kind kind;
    int32_t first, last, n_items; /* links for pickle_next; -1 when empty */
    int32_t argument;             /* a value, for pickle_at */
    int64_t number;
    double real;
    const char *text;
    size_t n_text;
};

/* A function or class that may be named. */
struct pickle_global {
    const char *module, *name;
};

struct pickle;
/* All is copied: bytes may go. ERR_DATA names opcode or global and where it stands. */
int pickle_read(const void *bytes, size_t n, const char *where, const struct pickle_global *globals,
                int n_globals, struct pickle **p, struct error *err) MUST_CHECK;
void pickle_close(struct pickle *p);
const struct pickle_value *pickle_root(const struct pickle *p);
const struct pickle_value *pickle_at(const struct pickle *p, int32_t value);
/* Items of a value: from v->first on; the link after `link`, or -1; what a link holds. */
int32_t pickle_next(const struct pickle *p, int32_t link);
const struct pickle_value *pickle_item(const struct pickle *p, int32_t link);
/* The k-th item, or NULL. */
const struct pickle_value *pickle_nth(const struct pickle *p, const struct pickle_value *v, int k);

#endif
