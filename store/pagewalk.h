/* The walk through one table of an LMDB data file; see pages.h. pages.c, pagehead.c and pagewalk.c alone
 * include this: pages.c chooses the snapshot and the tables, by what pagehead.c finds of the heads, and pagewalk.c goes through one of them. The layout
 * is read through offsets, since a damaged file keeps no alignment and no promise:
 *
 *     page    0 u64 its number, 10 u16 flags (1 branch, 2 leaf, 4 overflow, 8 head), 12 u16 lower,
 *             14 u16 upper (overflow: 12 u32 pages), 16 u16 offsets of nodes...
 *     node    0 u32 size of value (leaf), u48 page (branch); 4 u16 flags (1: the value is the number
 *             of its first overflow page, 2: of a table), 6 u16 size of key, 8 key, value
 *     table   0 u32 (free lists: page size), 4 u16 flags, 6 u16 depth, 8 u64 branches, 16 leaves,
 *             24 overflow pages, 32 records, 40 root page
 *     head    (pages 0 and 1, the newer by txnid; a commit writes the one of its parity)
 *             16 u32 magic, 20 u32 version, 32 u64 map's bytes, 40 table of free lists, 88 table of
 *             tables, 136 u64 last page, 144 txnid
 */
#ifndef STORE_PAGEWALK_H
#define STORE_PAGEWALK_H

#include "store/file.h"
#include "store/pages.h"

#define PAGEWALK_NO_PAGE UINT64_MAX
#define PAGEWALK_MAX_TABLES 16
#define PAGEWALK_HEAD 16
#define PAGEWALK_TABLE_BYTES 48
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_HEAD = 8 };
enum { NODE_BIG = 1, NODE_TABLE = 2 };
enum { FREE_LISTS = -2, DIRECTORY = -3 }; /* beside the indices of tables */

/* kind: the first 6 bytes. */
struct pagewalk_table {
    uint64_t kind, depth, n_branches, n_leaves, n_overflows, n_records, root;
};

struct pages {
    struct file_map map;
    const char *const *names;
    int n_tables;
    uint64_t page_bytes, n_pages; /* that are whole in the file */
    uint64_t last_page, txnid;
    struct pagewalk_table free, directory, tables[PAGEWALK_MAX_TABLES];
    bool heads_agree, free_is_known;
    uint8_t *used, *is_free; /* bitmaps of n_pages */
    uint64_t n_damages;
};

/* Little-endian, of 1 to 8 bytes. */
uint64_t pagewalk_load(const uint8_t *at, int n_bytes);
bool pagewalk_has(const uint8_t *bits, uint64_t i);
void pagewalk_add(uint8_t *bits, uint64_t i);
/* NULL beyond the file. */
const uint8_t *pagewalk_page(const struct pages *p, uint64_t number);
struct pagewalk_table pagewalk_table_at(const uint8_t *bytes);
/* Index of a table's name, or PAGES_NO_TABLE. */
int pagewalk_index_of(const struct pages *p, struct kv_bytes name);
/* What is wrong with the head of a page of records, or NULL. */
const char *pagewalk_wrong_head(const struct pages *p, const uint8_t *page, uint64_t number);
/* Node i of a page: its key, its start and its size, or false when it does not lie in the page. */
bool pagewalk_node(const struct pages *p, const uint8_t *page, uint64_t i, bool is_leaf, struct kv_bytes *key,
                   const uint8_t **node, uint64_t *n_used);
uint64_t pagewalk_overflow_pages(const struct pages *p, uint64_t n_value);
/* Tells a damage that belongs to no table; counts it. */
void pagewalk_damage(struct pages *p, const struct pages_visitor *v, uint64_t page, const char *why);

/* Walks a table, FREE_LISTS or DIRECTORY, whose head is t; v may be NULL. Marks pages as used and free,
 * counts damages, adds the records reached to *n_reached, fills p->tables from the directory. */
int pagewalk_run(struct pages *p, const struct pages_visitor *v, int index, const struct pagewalk_table *t,
                 uint64_t *n_reached, struct error *err) MUST_CHECK;

#endif
