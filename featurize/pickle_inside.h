/* What the files of pickle share: pickle.c (the values) and pickle_machine.c (the program that builds
 * them). Nobody else includes this.
 *
 * Values are never freed or changed before the end but for the items that a list, dictionary or call
 * gains.
 */
#ifndef FEATURIZE_PICKLE_INSIDE_H
#define FEATURIZE_PICKLE_INSIDE_H

#include "featurize/pickle.h"

struct pickle_link {
    int32_t value, next;
};

struct pickle {
    struct pickle_value *values;
    struct pickle_link *links;
    char *text; /* all texts, each with a NUL behind it */
    size_t n_values, values_capacity, n_links, links_capacity, n_text;
    int32_t root;
};

/* With room for `n_text` bytes of texts and their NULs; NULL when memory is out. pickle_close. */
struct pickle *pickle_new(size_t n_text, struct error *err);
/* A copy of v, without items: its index. ERR_DATA when there are too many. */
int32_t pickle_add(struct pickle *p, const struct pickle_value *v, struct error *err) MUST_CHECK;
/* A text of n bytes: its index. The room was given to pickle_new. */
int32_t pickle_add_text(struct pickle *p, const void *bytes, size_t n, struct error *err) MUST_CHECK;
/* Value `item` behind the last of `to`. ERR_DATA when there are too many. */
int pickle_add_item(struct pickle *p, int32_t to, int32_t item, struct error *err) MUST_CHECK;

#endif
