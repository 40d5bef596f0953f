/* Which snapshot of a data file is read, and what nothing leads to; see pages.h. */
#include "store/pagewalk.h"

#include <string.h>

#include "store/memory.h"
#include "store/pagehead.h"

#define MAGIC 0xBEEFC0DEu

static void forget_walk(struct pages *p)
{
    uint64_t n = (p->n_pages + 7) / 8;
    memset(p->used, 0, n);
    memset(p->is_free, 0, n);
    p->n_damages = 0;
    for (int i = 0; i < p->n_tables; i++)
        p->tables[i] = (struct pagewalk_table){.root = PAGEWALK_NO_PAGE};
}

/* Everything but the list of free pages; *n_reached: records. */
static int walk_tables(struct pages *p, const struct pages_visitor *v, uint64_t *n_reached,
                       struct error *err)
{
    *n_reached = 0;
    int rc = pagewalk_run(p, v, DIRECTORY, &p->directory, NULL, err);
    for (int i = 0; i < p->n_tables && rc == 0; i++)
        rc = pagewalk_run(p, v, i, &p->tables[i], n_reached, err);
    return rc;
}

/* A page of the directory: a leaf all of whose records are tables that we know. */
static bool is_directory(const struct pages *p, uint64_t number)
{
    const uint8_t *page = pagewalk_page(p, number), *node;
    struct kv_bytes key;
    uint64_t n_used;
    if (pagewalk_load(page + 10, 2) != PAGE_LEAF || pagewalk_wrong_head(p, page, number))
        return false;
    uint64_t n = (pagewalk_load(page + 12, 2) - PAGEWALK_HEAD) / 2;
    for (uint64_t i = 0; i < n; i++)
        if (!pagewalk_node(p, page, i, true, &key, &node, &n_used) ||
            pagewalk_load(node + 4, 2) != NODE_TABLE ||
            pagewalk_load(node, 4) != PAGEWALK_TABLE_BYTES || pagewalk_index_of(p, key) < 0)
            return false;
    return n == (uint64_t)p->n_tables;
}

/* The list of free pages in a leaf's node, or NULL when it is none: count, then pages, the larger first. */
static const uint8_t *free_list_at(const struct pages *p, const uint8_t *page, uint64_t i,
                                   uint64_t *commit, uint64_t *n)
{
    const uint8_t *node, *list;
    struct kv_bytes key;
    uint64_t n_used, before = PAGEWALK_NO_PAGE;
    if (!pagewalk_node(p, page, i, true, &key, &node, &n_used) || key.n != 8) return NULL;
    uint64_t n_value = pagewalk_load(node, 4);
    list = key.bytes + key.n;
    if (pagewalk_load(node + 4, 2) == NODE_BIG) {
        uint64_t first = pagewalk_load(list, 8), n_pages = pagewalk_overflow_pages(p, n_value);
        if (first < 2 || n_pages > p->n_pages || first > p->n_pages - n_pages) return NULL;
        list = pagewalk_page(p, first) + PAGEWALK_HEAD;
    }
    *n = n_value >= 8 ? pagewalk_load(list, 8) : PAGEWALK_NO_PAGE;
    if (n_value % 8 || *n > n_value / 8 - 1) return NULL;
    for (uint64_t k = 1; k <= *n; k++) {
        uint64_t page_number = pagewalk_load(list + 8 * k, 8);
        if (page_number < 2 || page_number >= before) return NULL;
        before = page_number;
    }
    *commit = pagewalk_load(key.bytes, 8);
    return list;
}

/* The last commit that a page of free lists speaks of; 0 when it is no such page. With `marks`, what it
 * lists is marked there. */
static uint64_t read_free_lists(const struct pages *p, uint64_t number, uint8_t *marks)
{
    const uint8_t *page = pagewalk_page(p, number);
    uint64_t newest = 0, commit, n;
    if (pagewalk_load(page + 10, 2) != PAGE_LEAF || pagewalk_wrong_head(p, page, number)) return 0;
    uint64_t n_nodes = (pagewalk_load(page + 12, 2) - PAGEWALK_HEAD) / 2;
    for (uint64_t i = 0; i < n_nodes; i++) {
        const uint8_t *list = free_list_at(p, page, i, &commit, &n);
        if (!list) return 0;
        if (commit > newest) newest = commit;
        for (uint64_t k = 1; k <= n && marks; k++)
            if (pagewalk_load(list + 8 * k, 8) < p->n_pages)
                pagewalk_add(marks, pagewalk_load(list + 8 * k, 8));
    }
    return newest;
}

/* Marks what was free after the newest commit whose lists are in the file: among others, every directory
 * before the newest one. */
static void mark_older(const struct pages *p, uint8_t *marks)
{
    uint64_t newest = 0, at = 0;
    for (uint64_t i = 2; i < p->n_pages; i++) {
        uint64_t commit = read_free_lists(p, i, NULL);
        if (commit <= newest) continue;
        newest = commit;
        at = i;
    }
    if (at) read_free_lists(p, at, marks);
}

/* A directory and what it leads to. */
struct choice {
    uint64_t root, n_damages, n_reached;
    bool is_older;
};

static bool is_better(const struct choice *a, const struct choice *b)
{
    if (a->is_older != b->is_older) return b->is_older;
    if (a->n_damages != b->n_damages) return a->n_damages < b->n_damages;
    return a->n_reached > b->n_reached;
}

/* The heads contradict each other: of all directories in the file the newest, as far as lists of free
 * pages tell; else the one with the fewest damages and the most records. */
static void search_directory(struct pages *p, uint8_t *older)
{
    struct choice best = {p->directory.root, PAGEWALK_NO_PAGE, 0, true};
    mark_older(p, older);
    for (uint64_t i = 2; i < p->n_pages; i++) {
        if (!is_directory(p, i)) continue;
        struct choice c = {i, 0, 0, pagewalk_has(older, i)};
        forget_walk(p);
        p->directory = (struct pagewalk_table){0, 1, 0, 1, 0, (uint64_t)p->n_tables, i};
        if (walk_tables(p, NULL, &c.n_reached, NULL) < 0) continue;
        c.n_damages = p->n_damages;
        if (is_better(&c, &best)) best = c;
    }
    forget_walk(p);
    p->directory = (struct pagewalk_table){0, 1, 0, 1, 0, (uint64_t)p->n_tables, best.root};
    p->last_page = p->n_pages - 1;
}

/* Chooses the newest commit, from what the two heads say. */
static int read_heads(struct pages *p, struct error *err)
{
    const uint8_t *a = pagewalk_page(p, 0), *b = pagewalk_page(p, 1);
    uint64_t ta = pagewalk_load(a + 144, 8), tb = pagewalk_load(b + 144, 8);
    const uint8_t *newer = ta > tb ? a : b;
    p->heads_agree = pagehead_agree(p, a, b);
    forget_walk(p);
    p->txnid = pagewalk_load(newer + 144, 8);
    p->last_page = pagewalk_load(newer + 136, 8);
    p->free = pagewalk_table_at(newer + 40);
    p->directory = pagewalk_table_at(newer + 88);
    if (p->heads_agree) return 0;
    uint8_t *older = memory_array(p->n_pages / 8 + 1, 1, MEMORY_MAX_TENSOR, err);
    if (!older) return ERR_NOMEM;
    search_directory(p, older);
    memory_free(older);
    return 0;
}

static uint64_t page_size(const struct file_map *map)
{
    for (uint64_t n = 512; n <= 65536; n *= 2)
        if (map->n >= n + 20 && pagewalk_load(map->bytes + n + 16, 4) == MAGIC) return n;
    uint64_t said = map->n > 44 ? pagewalk_load(map->bytes + 40, 4) : 0;
    return said >= 512 && said <= 65536 && !(said & (said - 1)) ? said : 4096;
}

int pages_open(struct pages **out, const char *folder, const char *const *tables, int n_tables,
               struct error *err)
{
    char *path = file_join(folder, "data.mdb", err);
    struct pages *p = memory_array(1, sizeof *p, MEMORY_MAX_SMALL, err);
    int rc = path && p && n_tables <= PAGEWALK_MAX_TABLES ? 0 : ERR_NOMEM;
    if (rc == 0 && !file_exists(path))
        rc = error_set(err, ERR_NOT_FOUND, "%s: there is no such file", path);
    if (rc == 0) rc = file_map(path, &p->map, err);
    if (rc < 0) goto done;
    p->names = tables;
    p->n_tables = n_tables;
    p->page_bytes = page_size(&p->map);
    p->n_pages = p->map.n / p->page_bytes;
    if (p->n_pages < 2) {
        rc = error_set(err, ERR_CORRUPT, "%s: is cut off: nothing is left but %zu bytes", path,
                       p->map.n);
        goto done;
    }
    p->used = memory_array(p->n_pages / 8 + 1, 1, MEMORY_MAX_TENSOR, err);
    p->is_free = memory_array(p->n_pages / 8 + 1, 1, MEMORY_MAX_TENSOR, err);
    rc = p->used && p->is_free ? 0 : ERR_NOMEM;
    if (rc == 0) rc = read_heads(p, err);
    if (rc == 0) *out = p;
    if (rc == 0) p = NULL;
done:
    pages_close(p);
    memory_free(path);
    return rc;
}

void pages_close(struct pages *p)
{
    if (!p) return;
    if (p->map.bytes) file_unmap(&p->map);
    memory_free(p->used);
    memory_free(p->is_free);
    memory_free(p);
}

int pages_walk(struct pages *p, const struct pages_visitor *v, struct error *err)
{
    uint64_t n_reached;
    forget_walk(p);
    if (!p->heads_agree) pagewalk_damage(p, v, 0, "or page 1 is a wrong head: they disagree");
    if (p->heads_agree && p->last_page >= p->n_pages)
        pagewalk_damage(p, v, p->last_page, "is not there: the file is cut off");
    int rc = pagewalk_run(p, v, FREE_LISTS, &p->free, NULL, err);
    if (rc == 0) rc = walk_tables(p, v, &n_reached, err);
    if (!p->heads_agree) p->free_is_known = false;
    for (uint64_t i = 2; i < p->n_pages && rc == 0 && p->heads_agree; i++) {
        if (!pagewalk_has(p->used, i) || !pagewalk_has(p->is_free, i)) continue;
        pagewalk_damage(p, v, i, "is in use and free at once: the next write would go over it");
        p->free_is_known = false;
    }
    return rc;
}

/* The records of a leaf that nothing leads to. */
static int stray_leaf(const struct pages *p, const struct pages_visitor *v, const uint8_t *page,
                      struct error *err)
{
    struct kv_bytes key, value;
    const uint8_t *node;
    uint64_t n_used, lower = pagewalk_load(page + 12, 2);
    int rc = 0;
    if (lower < PAGEWALK_HEAD || lower > p->page_bytes) return 0;
    for (uint64_t i = 0; i < (lower - PAGEWALK_HEAD) / 2 && rc >= 0; i++) {
        if (!pagewalk_node(p, page, i, true, &key, &node, &n_used) || key.n == 0) continue;
        uint64_t n = pagewalk_load(node, 4);
        value = (struct kv_bytes){key.bytes + key.n, n};
        if (pagewalk_load(node + 4, 2) == NODE_BIG) {
            uint64_t first = pagewalk_load(value.bytes, 8), n_pages = pagewalk_overflow_pages(p, n);
            if (first < 2 || n_pages > p->n_pages || first > p->n_pages - n_pages) continue;
            value.bytes = pagewalk_page(p, first) + PAGEWALK_HEAD;
        } else if (pagewalk_load(node + 4, 2)) {
            continue;
        }
        rc = v->record(v->context, &(struct pages_record){PAGES_NO_TABLE, key, value}, err);
    }
    return rc;
}

int pages_strays(struct pages *p, const struct pages_visitor *v, bool with_free, struct error *err)
{
    int rc = 0;
    for (uint64_t i = 2; i < p->n_pages && rc >= 0; i++) {
        const uint8_t *page = pagewalk_page(p, i);
        if (pagewalk_has(p->used, i)) continue;
        if (!with_free && p->free_is_known && pagewalk_has(p->is_free, i)) continue;
        uint64_t flags = pagewalk_load(page + 10, 2), n = pagewalk_load(page + 12, 4);
        if (flags & PAGE_LEAF) rc = stray_leaf(p, v, page, err);
        if (flags != PAGE_OVERFLOW || pagewalk_load(page, 8) != i || n < 1 || n > p->n_pages - i)
            continue;
        struct kv_bytes value = {page + PAGEWALK_HEAD, n * p->page_bytes - PAGEWALK_HEAD};
        rc = v->record(v->context, &(struct pages_record){PAGES_NO_TABLE, {0}, value}, err);
    }
    return rc < 0 ? rc : 0;
}

bool pages_free_is_known(const struct pages *p)
{
    return p->free_is_known;
}

uint64_t pages_n_damages(const struct pages *p)
{
    return p->n_damages;
}
