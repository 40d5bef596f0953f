/* Interned names; see names.h. */
#include "store/names.h"

#include <string.h>

#include "store/memory.h"

#define MAX_BYTES ((uint64_t)1 << 30)

static size_t hash_of(const char *text, size_t n)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static void place(struct names *names, size_t id)
{
    size_t at = hash_of(names->text[id], strlen(names->text[id])) & (names->n_slots - 1);
    while (names->slots[at]) at = (at + 1) & (names->n_slots - 1);
    names->slots[at] = (uint32_t)id + 1;
}

static void place_all(struct names *names)
{
    if (names->n_slots) memset(names->slots, 0, names->n_slots * sizeof *names->slots);
    for (size_t id = 0; id < names->n; id++) place(names, id);
}

int names_add(struct names *names, const char *text, size_t n, struct error *err)
{
    int rc = memory_grow(&names->text, &names->capacity, names->n + 1, sizeof *names->text,
                         MAX_BYTES, err);
    if (rc < 0) return rc;
    if (2 * (names->n + 1) > names->n_slots) {
        size_t n_slots = names->n_slots ? 2 * names->n_slots : 64;
        uint32_t *slots = memory_array(n_slots, sizeof *slots, MAX_BYTES, err);
        if (!slots) return ERR_NOMEM;
        memory_free(names->slots);
        names->slots = slots;
        names->n_slots = n_slots;
        place_all(names);
    }
    char *copy = memory_copy(text, n, err);
    if (!copy) return ERR_NOMEM;
    names->text[names->n] = copy;
    place(names, names->n++);
    return 0;
}

int names_find(const struct names *names, const char *text, size_t n)
{
    if (!names->n_slots) return -1;
    size_t at = hash_of(text, n) & (names->n_slots - 1);
    for (; names->slots[at]; at = (at + 1) & (names->n_slots - 1)) {
        const char *found = names->text[names->slots[at] - 1];
        if (strlen(found) == n && !memcmp(found, text, n)) return (int)names->slots[at] - 1;
    }
    return -1;
}

void names_cut(struct names *names, size_t n)
{
    if (n >= names->n) return;
    while (names->n > n) memory_free(names->text[--names->n]);
    place_all(names);
}

void names_release(struct names *names)
{
    names_cut(names, 0);
    memory_free(names->text);
    memory_free(names->slots);
    *names = (struct names){0};
}
