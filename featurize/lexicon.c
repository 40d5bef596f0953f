/* Texts of tokens and their ids; see lexicon.h. */
#include "featurize/lexicon.h"

#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

struct entry {
    uint32_t n;
    int32_t id;
    uint64_t at; /* in bytes; while sorting told apart by it: later ones lie behind */
    const char *text;
};

struct lexicon {
    char *bytes;
    size_t n_bytes, bytes_capacity, longest;
    struct entry *list; /* sorted by text once finished */
    size_t n, capacity;
    int n_ids;
};

struct lexicon *lexicon_new(struct error *err)
{
    return memory_array(1, sizeof(struct lexicon), MEMORY_MAX_SMALL, err);
}

void lexicon_free(struct lexicon *l)
{
    if (!l) return;
    memory_free(l->bytes);
    memory_free(l->list);
    memory_free(l);
}

int lexicon_add(struct lexicon *l, const char *text, size_t n, int32_t id, struct error *err)
{
    if (id < 0 || id >= LEXICON_MAX_IDS || n > UINT32_MAX)
        return error_set(err, ERR_DATA, "the token \"%.*s\" has id %d; expected 0 to %d",
                         n < 40 ? (int)n : 40, text, (int)id, LEXICON_MAX_IDS - 1);
    int rc = memory_grow(&l->list, &l->capacity, (uint64_t)l->n + 1, sizeof *l->list,
                         MEMORY_MAX_TENSOR, err);
    if (rc >= 0)
        rc = memory_grow(&l->bytes, &l->bytes_capacity, (uint64_t)l->n_bytes + n + 1, 1,
                         MEMORY_MAX_TENSOR, err);
    if (rc < 0) return rc;
    if (n) memcpy(l->bytes + l->n_bytes, text, n);
    l->list[l->n++] = (struct entry){.n = (uint32_t)n, .id = id, .at = l->n_bytes};
    l->n_bytes += n;
    if (n > l->longest) l->longest = n;
    if (id >= l->n_ids) l->n_ids = id + 1;
    return 0;
}

static int compare(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int c = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return c ? c : (n_a > n_b) - (n_a < n_b);
}

static int by_text(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int c = compare(a->text, a->n, b->text, b->n);
    return c ? c : (a->at > b->at) - (a->at < b->at);
}

void lexicon_finish(struct lexicon *l)
{
    for (size_t i = 0; i < l->n; i++) l->list[i].text = l->bytes + l->list[i].at;
    if (l->n) qsort(l->list, l->n, sizeof *l->list, by_text);
}

int lexicon_n_ids(const struct lexicon *l)
{
    return l->n_ids;
}

size_t lexicon_longest(const struct lexicon *l)
{
    return l->longest;
}

int32_t lexicon_find(const struct lexicon *l, const char *text, size_t n)
{
    size_t low = 0, high = l->n; /* the first entry that is greater */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct entry *e = &l->list[middle];
        if (compare(e->text, e->n, text, n) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return -1;
    const struct entry *e = &l->list[low - 1];
    return compare(e->text, e->n, text, n) == 0 ? e->id : -1;
}
