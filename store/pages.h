/* The pages of an LMDB data file, read by ourselves: what is damaged, and every record that is left.
 *
 *     pages_open(&p, folder, tables, n_tables, &err);
 *     pages_walk(p, &visitor, &err);      // every record that the newest commit leads to, every damage
 *     pages_strays(p, &visitor, &err);    // then the records of pages that nothing leads to any more
 *     pages_close(p);
 *
 * LMDB itself keeps no checksum, trusts what it reads and ends at the first page that it cannot
 * follow (or ends the process). This reader trusts nothing: every number is checked before it is
 * used, a page is entered once, and a page that is bad costs its own records and no others. It finds
 * what LMDB's own reading cannot show: keys out of order or outside what their branch says (found by
 * a walk, missed by a look-up), counts and depths that are wrong, pages that are in use and in the
 * list of free ones at once (the next write would go over them), and a head that speaks of an
 * older commit (one flipped bit in a transaction's number, and the last batch is silently gone).
 *
 * The snapshot is that of the newest head. Where the heads contradict each other, it is that of the
 * newest directory page in the file: the one that the newest lists of free pages do not call free.
 *
 * What a stray page holds is live when the list of free pages could be read: pages_free_is_known.
 * Otherwise it may be of an older commit. Records are unchecked bytes in either case: the caller
 * believes them under their own checksum alone.
 *
 * Layout: that of LMDB 0.9 on 64 bits, little-endian, no MDB_DUPSORT. The file is mapped read-only and
 * may be in use: hold a reading transaction meanwhile, so that no writer uses pages again. An I/O
 * error of the disk is a SIGBUS: call it in a child (store/sandbox.h).
 */
#ifndef STORE_PAGES_H
#define STORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"
#include "store/kv.h"

#define PAGES_NO_TABLE (-1)

struct pages_record {
    int table; /* index of the name given at opening; PAGES_NO_TABLE on a stray page */
    struct kv_bytes key, value; /* borrowed until pages_close; key.n == 0: a stray value without its key,
                                   as long as its pages are */
};

/* from, to: keys of the table between which records are touched, from included, to not; empty: the
 * table's first, or beyond its last. from and to equal: that one record. */
struct pages_damage {
    int table; /* PAGES_NO_TABLE: the file's head, its directory or its list of free pages */
    uint64_t page;
    const char *why;
    struct kv_bytes from, to;
};

struct pages_visitor {
    void *context;
    /* A negative return ends the walk. */
    int (*record)(void *context, const struct pages_record *record, struct error *err);
    void (*damage)(void *context, const struct pages_damage *damage); /* may be NULL */
};

struct pages;

/* ERR_NOT_FOUND when there is no file, ERR_CORRUPT when it has less than two pages. */
int pages_open(struct pages **p, const char *folder, const char *const *tables, int n_tables,
               struct error *err) MUST_CHECK;
void pages_close(struct pages *p);
int pages_walk(struct pages *p, const struct pages_visitor *v, struct error *err) MUST_CHECK;
/* After pages_walk. with_free: free pages as well, which hold what was once true. */
int pages_strays(struct pages *p, const struct pages_visitor *v, bool with_free,
                 struct error *err) MUST_CHECK;
bool pages_free_is_known(const struct pages *p);
/* Damages that pages_walk has met. */
uint64_t pages_n_damages(const struct pages *p);

#endif
