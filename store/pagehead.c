/* Two heads, held against each other; see pagehead.h. */
#include "store/pagehead.h"

#include <string.h>

#include "store/pagewalk.h"

#define MAGIC    0xBEEFC0DEu
#define MOST_MAP ((uint64_t)1 << 46)

static uint64_t txnid_of(const uint8_t *head)
{
    return pagewalk_load(head + 144, 8);
}

static uint64_t last_page_of(const uint8_t *head)
{
    return pagewalk_load(head + 136, 8);
}

static bool is_head(const struct pages *p, const uint8_t *head, uint64_t i)
{
    uint64_t map = pagewalk_load(head + 32, 8), txnid = txnid_of(head);
    return pagewalk_load(head, 8) == i && pagewalk_load(head + 8, 4) == (uint64_t)PAGE_HEAD << 16 &&
           pagewalk_load(head + 16, 4) == MAGIC && pagewalk_load(head + 20, 4) == 1 &&
           pagewalk_load(head + 40, 4) == p->page_bytes && txnid % 2 == (txnid ? i : 0) &&
           map < MOST_MAP && (last_page_of(head) + 1) * p->page_bytes <= map;
}

/* The last list of free pages, down the right edge of their tree, is that of the head's commit. */
static bool is_of_its_commit(const struct pages *p, const uint8_t *head)
{
    struct pagewalk_table t = pagewalk_table_at(head + 40);
    uint64_t txnid = txnid_of(head), n_used, number = t.root;
    if (number == PAGEWALK_NO_PAGE) return txnid < 2;
    for (uint64_t depth = 0; depth < t.depth; depth++) {
        struct kv_bytes key;
        const uint8_t *node, *page = pagewalk_page(p, number);
        if (!page || pagewalk_wrong_head(p, page, number)) return true;
        bool is_leaf = pagewalk_load(page + 10, 2) == PAGE_LEAF;
        uint64_t n = (pagewalk_load(page + 12, 2) - PAGEWALK_HEAD) / 2;
        if (n == 0 || !pagewalk_node(p, page, n - 1, is_leaf, &key, &node, &n_used)) return true;
        if (is_leaf) return key.n != 8 || pagewalk_load(key.bytes, 8) == txnid;
        number = pagewalk_load(node, 6);
    }
    return true;
}

bool pagehead_agree(const struct pages *p, const uint8_t *a, const uint8_t *b)
{
    if (!is_head(p, a, 0) || !is_head(p, b, 1)) return false;
    const uint8_t *newer = txnid_of(a) > txnid_of(b) ? a : b, *older = newer == a ? b : a;
    return txnid_of(newer) - txnid_of(older) <= 1 && last_page_of(newer) >= last_page_of(older) &&
           is_of_its_commit(p, a) && is_of_its_commit(p, b);
}

static void copy_heads(const struct pages *p, uint8_t heads[2][PAGEHEAD_BYTES])
{
    for (uint64_t i = 0; i < 2; i++) memcpy(heads[i], pagewalk_page(p, i), PAGEHEAD_BYTES);
}

int pagehead_check(const char *data_path, const char *folder, struct error *err)
{
    uint8_t heads[2][PAGEHEAD_BYTES], again[2][PAGEHEAD_BYTES];
    struct pages p = {0};
    bool agree = true, is_still = false;
    /* where there is no address space to spare (ulimit -v), LMDB is believed */
    if (file_map(data_path, &p.map, NULL) < 0) return 0;
    p.page_bytes = p.map.n > 44 ? pagewalk_load(p.map.bytes + 40, 4) : 0;
    p.n_pages = p.page_bytes >= 512 ? p.map.n / p.page_bytes : 0;
    if (p.n_pages >= 2) copy_heads(&p, again);
    /* a head that is being written is read again */
    while (p.n_pages >= 2 && !is_still) {
        memcpy(heads, again, sizeof heads);
        agree = pagehead_agree(&p, heads[0], heads[1]);
        copy_heads(&p, again);
        is_still = agree || !memcmp(heads, again, sizeof heads);
    }
    file_unmap(&p.map);
    if (agree && p.n_pages >= 2) return 0;
    return error_set(err, ERR_CORRUPT,
                     "%s/data.mdb: its two heads contradict each other, so that the last commit "
                     "cannot be told; clipstill verify --repair looks for it in the whole file",
                     folder);
}
