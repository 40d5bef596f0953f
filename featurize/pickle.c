/* The values of a pickle; see pickle.h and pickle_inside.h. */
#include <string.h>

#include "featurize/pickle_inside.h"
#include "store/memory.h"

#define MAX_VALUES (1 << 20)
#define MAX_ITEMS  (1 << 21)

struct pickle *pickle_new(size_t n_text, struct error *err)
{
    struct pickle *p = memory_array(1, sizeof *p, MEMORY_MAX_SMALL, err);
    if (p && !(p->text = memory_array(n_text, 1, MEMORY_MAX_FILE, err))) {
        memory_free(p);
        return NULL;
    }
    return p;
}

int32_t pickle_add(struct pickle *p, const struct pickle_value *v, struct error *err)
{
    if (p->n_values >= MAX_VALUES) return error_set(err, ERR_DATA, "too many values");
    int rc = memory_grow(&p->values, &p->values_capacity, p->n_values + 1, sizeof *p->values,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    p->values[p->n_values] = *v;
    p->values[p->n_values].first = p->values[p->n_values].last = -1;
    return (int32_t)p->n_values++;
}

int32_t pickle_add_text(struct pickle *p, const void *bytes, size_t n, struct error *err)
{
    char *to = p->text + p->n_text;
    memcpy(to, bytes, n);
    to[n] = 0;
    p->n_text += n + 1;
    return pickle_add(p, &(struct pickle_value){.kind = PICKLE_TEXT, .text = to, .n_text = n}, err);
}

int pickle_add_item(struct pickle *p, int32_t to, int32_t item, struct error *err)
{
    if (p->n_links >= MAX_ITEMS) return error_set(err, ERR_DATA, "too many items");
    int rc = memory_grow(&p->links, &p->links_capacity, p->n_links + 1, sizeof *p->links,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    struct pickle_value *v = &p->values[to];
    int32_t link = (int32_t)p->n_links++;
    p->links[link] = (struct pickle_link){item, -1};
    if (v->last >= 0) p->links[v->last].next = link;
    if (v->first < 0) v->first = link;
    v->last = link;
    v->n_items++;
    return 0;
}

void pickle_close(struct pickle *p)
{
    if (!p) return;
    memory_free(p->values);
    memory_free(p->links);
    memory_free(p->text);
    memory_free(p);
}

const struct pickle_value *pickle_root(const struct pickle *p)
{
    return &p->values[p->root];
}

const struct pickle_value *pickle_at(const struct pickle *p, int32_t value)
{
    return &p->values[value];
}

int32_t pickle_next(const struct pickle *p, int32_t link)
{
    return p->links[link].next;
}

const struct pickle_value *pickle_item(const struct pickle *p, int32_t link)
{
    return &p->values[p->links[link].value];
}

const struct pickle_value *pickle_nth(const struct pickle *p, const struct pickle_value *v, int k)
{
    if (k < 0 || k >= v->n_items) return NULL;
    int32_t link = v->first;
    while (k-- > 0) link = p->links[link].next;
    return pickle_item(p, link);
}
