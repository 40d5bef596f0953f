/* One table of a data file; see pagewalk.h for the layout and pages.h for what is promised. */
#include "store/pagewalk.h"

#include <string.h>

#define MAX_DEPTH        32
#define NODE_HEAD        8
#define FREE_LISTS_FLAGS ((uint64_t)8 << 32) /* keys are numbers */

/* A table's walk: what was met of it. */
struct walk {
    struct pages *p;
    const struct pages_visitor *v;
    int table;
    struct pagewalk_table seen;
    uint64_t depth;
    uint64_t n_reached, n_damages;
    struct error *err;
};

uint64_t pagewalk_load(const uint8_t *at, int n_bytes)
{
    uint64_t x = 0;
    for (int i = n_bytes - 1; i >= 0; i--) x = x << 8 | at[i];
    return x;
}

const uint8_t *pagewalk_page(const struct pages *p, uint64_t n)
{
    return n < p->n_pages ? p->map.bytes + n * p->page_bytes : NULL;
}

struct pagewalk_table pagewalk_table_at(const uint8_t *b)
{
    struct pagewalk_table t = {.kind = pagewalk_load(b, 6), .depth = pagewalk_load(b + 6, 2)};
    t.n_branches = pagewalk_load(b + 8, 8);
    t.n_leaves = pagewalk_load(b + 16, 8);
    t.n_overflows = pagewalk_load(b + 24, 8);
    t.n_records = pagewalk_load(b + 32, 8);
    t.root = pagewalk_load(b + 40, 8);
    return t;
}

bool pagewalk_has(const uint8_t *bits, uint64_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

void pagewalk_add(uint8_t *bits, uint64_t i)
{
    bits[i / 8] |= (uint8_t)(1 << i % 8);
}

static void damage(struct walk *w, uint64_t page, struct kv_bytes from, struct kv_bytes to,
                   const char *why)
{
    int table = w->table < 0 ? PAGES_NO_TABLE : w->table;
    w->n_damages++;
    if (w->v && w->v->damage)
        w->v->damage(w->v->context, &(struct pages_damage){table, page, why, from, to});
}

void pagewalk_damage(struct pages *p, const struct pages_visitor *v, uint64_t page, const char *why)
{
    struct walk w = {.p = p, .v = v, .table = PAGES_NO_TABLE};
    damage(&w, page, (struct kv_bytes){0}, (struct kv_bytes){0}, why);
    p->n_damages++;
}

/* Keys as LMDB orders them; those of free lists are numbers of this machine. */
static int compare(const struct walk *w, struct kv_bytes a, struct kv_bytes b)
{
    if (w->table == FREE_LISTS && a.n == 8 && b.n == 8) {
        uint64_t x = pagewalk_load(a.bytes, 8), y = pagewalk_load(b.bytes, 8);
        return x < y ? -1 : x > y;
    }
    int order = memcmp(a.bytes, b.bytes, a.n < b.n ? a.n : b.n);
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

/* Takes n pages from `first` on into use; false when one is not in the file, or was met before. */
static bool take(struct walk *w, uint64_t first, uint64_t n)
{
    if (first < 2 || n > w->p->n_pages || first > w->p->n_pages - n) return false;
    for (uint64_t i = 0; i < n; i++)
        if (pagewalk_has(w->p->used, first + i)) return false;
    for (uint64_t i = 0; i < n; i++) pagewalk_add(w->p->used, first + i);
    return true;
}

/* A node of a page: its key, and what follows, or false when it does not lie in the page. */
bool pagewalk_node(const struct pages *p, const uint8_t *page, uint64_t i, bool is_leaf,
                   struct kv_bytes *key, const uint8_t **rest, uint64_t *n_used)
{
    uint64_t at = pagewalk_load(page + PAGEWALK_HEAD + 2 * i, 2),
             lower = pagewalk_load(page + 12, 2);
    if (at < lower || at % 2 || at + NODE_HEAD > p->page_bytes) return false;
    uint64_t n_key = pagewalk_load(page + at + 6, 2), flags = pagewalk_load(page + at + 4, 2);
    uint64_t n_value = !is_leaf ? 0 : flags & NODE_BIG ? 8 : pagewalk_load(page + at, 4);
    if (at + NODE_HEAD + n_key + n_value > p->page_bytes) return false;
    *key = (struct kv_bytes){page + at + NODE_HEAD, n_key};
    *rest = page + at;
    *n_used = (NODE_HEAD + n_key + n_value + 1) / 2 * 2;
    return true;
}

uint64_t pagewalk_overflow_pages(const struct pages *p, uint64_t n_value)
{
    return (PAGEWALK_HEAD + n_value - 1) / p->page_bytes + 1;
}

/* The value of a leaf's node, in the page or in overflow pages. false when it is beyond the file. */
static bool value_of(struct walk *w, const uint8_t *node, struct kv_bytes key,
                     struct kv_bytes *value)
{
    uint64_t n = pagewalk_load(node, 4), flags = pagewalk_load(node + 4, 2);
    *value = (struct kv_bytes){key.bytes + key.n, n};
    if (!(flags & NODE_BIG)) return true;
    uint64_t first = pagewalk_load(key.bytes + key.n, 8),
             n_pages = pagewalk_overflow_pages(w->p, n);
    const uint8_t *page = pagewalk_page(w->p, first);
    if (!page || !take(w, first, n_pages)) {
        damage(w, first, key, key, "of its value is not in the file, or is another record's");
        return false;
    }
    if (pagewalk_load(page, 8) != first ||
        pagewalk_load(page + 8, 4) != (uint64_t)PAGE_OVERFLOW << 16 ||
        pagewalk_load(page + 12, 4) != n_pages)
        damage(w, first, key, key, "of its value has a wrong head");
    w->seen.n_overflows += n_pages;
    value->bytes = page + PAGEWALK_HEAD;
    return true;
}

/* What the free table's record says: pages, the larger first. */
static void visit_free_list(struct walk *w, uint64_t page, struct kv_bytes key,
                            struct kv_bytes value)
{
    struct pages *p = w->p;
    uint64_t n = value.n >= 8 ? pagewalk_load(value.bytes, 8) : PAGEWALK_NO_PAGE,
             before = PAGEWALK_NO_PAGE;
    bool is_right = key.n == 8 && value.n % 8 == 0 && n <= value.n / 8 - 1;
    for (uint64_t i = 1; is_right && i <= n; i++) {
        uint64_t free_page = pagewalk_load(value.bytes + 8 * i, 8);
        is_right = free_page >= 2 && free_page <= p->last_page && free_page < before &&
                   free_page < p->n_pages && !pagewalk_has(p->is_free, free_page);
        if (is_right) pagewalk_add(p->is_free, free_page);
        before = free_page;
    }
    if (!is_right) damage(w, page, key, key, "holds an impossible list of free pages");
}

int pagewalk_index_of(const struct pages *p, struct kv_bytes name)
{
    for (int i = 0; i < p->n_tables; i++)
        if (name.n == strlen(p->names[i]) && !memcmp(name.bytes, p->names[i], name.n)) return i;
    return PAGES_NO_TABLE;
}

static int visit_record(struct walk *w, uint64_t page, const uint8_t *node, struct kv_bytes key)
{
    struct kv_bytes value;
    uint64_t flags = pagewalk_load(node + 4, 2);
    int table = w->table == DIRECTORY ? pagewalk_index_of(w->p, key) : 0;
    w->seen.n_records++;
    if (flags != NODE_TABLE && flags & ~(uint64_t)NODE_BIG) {
        damage(w, page, key, key, "has a record of a kind that is not used");
        if (flags & NODE_BIG) return 0;
    } else if ((flags == NODE_TABLE) != (w->table == DIRECTORY) || table < 0) {
        damage(w, page, key, key, "has a record of another kind than the table's");
    }
    if (!value_of(w, node, key, &value)) return 0;
    w->n_reached++;
    if (w->table == FREE_LISTS) visit_free_list(w, page, key, value);
    if (w->table == DIRECTORY && table >= 0 && value.n == PAGEWALK_TABLE_BYTES)
        w->p->tables[table] = pagewalk_table_at(value.bytes);
    if (w->table < 0 || !w->v || !w->v->record) return 0;
    return w->v->record(w->v->context, &(struct pages_record){w->table, key, value}, w->err);
}

/* What is wrong with a page's head, or NULL. */
const char *pagewalk_wrong_head(const struct pages *p, const uint8_t *page, uint64_t number)
{
    uint64_t flags = pagewalk_load(page + 10, 2), lower = pagewalk_load(page + 12, 2),
             upper = pagewalk_load(page + 14, 2);
    if (flags != PAGE_BRANCH && flags != PAGE_LEAF) return "is no page of records";
    if (pagewalk_load(page, 8) != number || pagewalk_load(page + 8, 2))
        return "has another page's head";
    if (lower < PAGEWALK_HEAD + (flags == PAGE_BRANCH ? 4 : 2) || lower % 2 || lower > upper ||
        upper > p->page_bytes)
        return "has an impossible size";
    return NULL;
}

static int walk_page(struct walk *w, uint64_t number, uint64_t depth, struct kv_bytes from,
                     struct kv_bytes to)
{
    const uint8_t *page = pagewalk_page(w->p, number), *node;
    struct kv_bytes key, before = {0}, next;
    uint64_t n_used, total = 0;
    if (depth > MAX_DEPTH || !take(w, number, 1)) {
        damage(w, number, from, to, "is not in the file, or is in use twice");
        return 0;
    }
    const char *why = pagewalk_wrong_head(w->p, page, number);
    if (why) damage(w, number, from, to, why);
    bool is_leaf = pagewalk_load(page + 10, 2) & PAGE_LEAF;
    uint64_t lower = pagewalk_load(page + 12, 2);
    if ((why && !(pagewalk_load(page + 10, 2) & (PAGE_LEAF | PAGE_BRANCH))) ||
        lower < PAGEWALK_HEAD || lower > w->p->page_bytes)
        return 0;
    *(is_leaf ? &w->seen.n_leaves : &w->seen.n_branches) += 1;
    if (is_leaf && depth != w->depth) damage(w, number, from, to, "lies at another depth");
    uint64_t n = (lower - PAGEWALK_HEAD) / 2;
    int rc = 0;
    for (uint64_t i = 0; i < n && rc >= 0; i++) {
        if (!pagewalk_node(w->p, page, i, is_leaf, &key, &node, &n_used)) {
            damage(w, number, from, to, "has a record that does not lie in it");
            continue;
        }
        total += n_used;
        bool has_key = is_leaf || i > 0; /* a branch's first child begins where the branch does */
        if (has_key &&
            ((before.bytes && compare(w, before, key) >= 0) ||
             (from.n && compare(w, key, from) < 0) || (to.n && compare(w, key, to) >= 0)))
            damage(w, number, from, to, "has keys out of order, or that belong elsewhere");
        if (has_key) before = key;
        if (is_leaf) {
            rc = visit_record(w, number, node, key);
        } else {
            const uint8_t *other;
            next = to;
            if (i + 1 < n && !pagewalk_node(w->p, page, i + 1, false, &next, &other, &n_used))
                next = to;
            rc = walk_page(w, pagewalk_load(node, 6), depth + 1, i ? key : from, next);
        }
    }
    if (!why && total != w->p->page_bytes - pagewalk_load(page + 14, 2))
        damage(w, number, from, to, "has records of a wrong size");
    return rc;
}

int pagewalk_run(struct pages *p, const struct pages_visitor *v, int index,
                 const struct pagewalk_table *t, uint64_t *n_reached, struct error *err)
{
    struct walk w = {.p = p, .v = v, .table = index, .depth = t->depth, .err = err};
    int rc = 0;
    if (t->root != PAGEWALK_NO_PAGE)
        rc = walk_page(&w, t->root, 1, (struct kv_bytes){0}, (struct kv_bytes){0});
    w.seen.kind = index == FREE_LISTS ? p->page_bytes | FREE_LISTS_FLAGS : 0;
    w.seen.depth = t->depth;
    w.seen.root = t->root;
    if (rc >= 0 && w.n_damages == 0 && memcmp(&w.seen, t, sizeof *t))
        damage(&w, t->root, (struct kv_bytes){0}, (struct kv_bytes){0},
               "leads to other counts of pages and records than the table's head says");
    p->n_damages += w.n_damages;
    if (n_reached) *n_reached += w.n_reached;
    if (index == FREE_LISTS) p->free_is_known = w.n_damages == 0;
    return rc < 0 ? rc : 0;
}
