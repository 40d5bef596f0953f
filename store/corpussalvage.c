/* Salvaging a corpus; see salvage.h. What is found is added to a new corpus with the calls that any
 * ingest uses, in the old order, so that the new one is whole by construction; key tables, counts
 * and digests are made anew and not looked for. */
#include "store/corpusrescue.h"

#include <string.h>

#include "store/bytes.h"
#include "store/file.h"
#include "store/format.h"
#include "store/memory.h"

static bool is_sound(enum corpus_table table, struct kv_bytes key, struct kv_bytes value)
{
    if (table == TABLE_IMAGE_BYTES) return key.n == 4; /* known by their digest, later */
    if (value.n < RECORD_SUM_BYTES) return false;
    struct bytes_reader r = bytes_reader(value.bytes + value.n - RECORD_SUM_BYTES,
                                         RECORD_SUM_BYTES);
    return record_sum(table, key, value.bytes, value.n - RECORD_SUM_BYTES) == bytes_u64(&r);
}

static int take(struct rescue *r, enum corpus_table table, const struct pages_record *record,
                struct error *err)
{
    if (!is_sound(table, record->key, record->value)) return 0;
    struct kv_bytes body = record->value;
    if (table != TABLE_IMAGE_BYTES) body.n -= RECORD_SUM_BYTES;
    return found_add(&r->found[table], record->key, body, err);
}

/* A table's length of key, 0 for any; whether a stray record of it may be an old one. */
static const struct {
    size_t n_key;
    bool changes;
} kinds[TABLE_N] = {
    [TABLE_META] = {0, true},
    [TABLE_IMAGES] = {4, false},
    [TABLE_IMAGE_BYTES] = {4, false},
    [TABLE_IMAGE_KEYS] = {DIGEST_BYTES, false},
    [TABLE_CAPTIONS] = {4, false},
    [TABLE_CAPTION_KEYS] = {DIGEST_BYTES, false},
    [TABLE_PAIRS] = {RECORD_PAIR_KEY, true},
    [TABLE_NAMES] = {3, false},
    [TABLE_IDS] = {2 + DIGEST_BYTES, false},
    [TABLE_REJECTS] = {8, true},
    [TABLE_REJECT_KEYS] = {DIGEST_BYTES, true},
};

static int collect(void *context, const struct pages_record *record, struct error *err)
{
    struct rescue *r = context;
    int rc = 0;
    if (record->table != PAGES_NO_TABLE)
        return take(r, (enum corpus_table)record->table, record, err);
    if (record->key.n == 0) return found_add(&r->loose, record->key, record->value, err);
    for (enum corpus_table table = 0; table < TABLE_N && rc == 0; table++)
        if ((!kinds[table].n_key || kinds[table].n_key == record->key.n) &&
            (!kinds[table].changes || r->takes_old))
            rc = take(r, table, record, err);
    return rc;
}

/* The caption rule never changes: any page may tell it. */
static int collect_rule(void *context, const struct pages_record *record, struct error *err)
{
    if (record->key.n != 12 || memcmp(record->key.bytes, "caption_rule", 12)) return 0;
    return take(context, TABLE_META, record, err);
}

const struct found *rescue_meta(const struct rescue *r, const char *key)
{
    const struct found_list *l = &r->found[TABLE_META];
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].key.n == strlen(key) && !memcmp(l->at[i].key.bytes, key, l->at[i].key.n))
            return &l->at[i];
    return NULL;
}

bool rescue_number(const struct found *f, uint32_t *number)
{
    struct bytes_reader r = bytes_reader(f->key.bytes, f->key.n);
    *number = bytes_key_u32(&r);
    return bytes_at_end(&r) && *number != RESCUE_NO_NUMBER;
}

uint64_t rescue_count(const struct rescue *r, const char *key)
{
    const struct found *meta = rescue_meta(r, key);
    if (!meta || meta->value.n != 24) return 0;
    struct bytes_reader body = bytes_reader(meta->value.bytes, meta->value.n);
    return bytes_u64(&body);
}

/* How many there were: what meta says, or the largest number that is left. */
static uint64_t n_before(const struct rescue *r, enum corpus_table table, const char *meta_key)
{
    const struct found_list *l = &r->found[table];
    uint32_t number;
    uint64_t n = l->n && rescue_number(&l->at[l->n - 1], &number) ? (uint64_t)number + 1 : 0;
    uint64_t said = rescue_count(r, meta_key);
    return said > n && said < RESCUE_NO_NUMBER ? said : n;
}

/* A corpus of a later version is not damaged. */
static int refuse_later_version(const struct rescue *r, struct error *err)
{
    const struct found *f = rescue_meta(r, "format");
    if (!f) return 0;
    struct bytes_reader body = bytes_reader(f->value.bytes, f->value.n);
    const uint8_t *magic = bytes_take(&body, 16);
    uint32_t version = bytes_u32(&body);
    if (!magic || version <= FORMAT_CORPUS_VERSION) return 0;
    return error_set(err, ERR_INCOMPATIBLE,
                     "%s: a corpus of format version %u is repaired by the clipstill that made it",
                     r->folder, version);
}

/* Reads what is there; a file without two pages has nothing. */
static int find_all(struct rescue *r, struct pages **pages, struct error *err)
{
    struct pages_visitor all = {r, collect, NULL}, rule = {r, collect_rule, NULL};
    struct pages *p = NULL;
    int rc = pages_open(&p, r->folder, record_tables, TABLE_N, err);
    if (rc < 0) return rc == ERR_CORRUPT || rc == ERR_NOT_FOUND ? 0 : rc;
    *pages = p;
    rc = pages_walk(p, &all, err);
    if (rc < 0) return rc;
    r->takes_old = pages_free_is_known(p);
    rc = pages_strays(p, &all, false, err);
    if (rc == 0 && !rescue_meta(r, "caption_rule")) rc = pages_strays(p, &rule, true, err);
    return rc;
}

/* In the child. */
static int rescue(void *context, struct salvage_result *result, struct sandbox *box,
                  struct error *err)
{
    struct rescue *r = context;
    struct pages *p = NULL;
    r->result = result;
    r->box = box;
    char *repair = file_join(r->cache, SALVAGE_FOLDER, err);
    int rc = repair ? find_all(r, &p, err) : ERR_NOMEM;
    if (rc == 0) rc = refuse_later_version(r, err);
    if (rc == 0) rc = corpus_open(&r->c, repair, CORPUS_WRITE, err);
    if (rc == 0) {
        for (enum corpus_table table = 0; table < TABLE_N; table++) found_sort(&r->found[table]);
        r->n_old[RESCUE_IMAGES] = n_before(r, TABLE_IMAGES, "table:images");
        r->n_old[RESCUE_CAPTIONS] = n_before(r, TABLE_CAPTIONS, "table:captions");
        rc = rescue_put_all(r, err);
    }
    corpus_close(r->c);
    pages_close(p);
    memory_free(repair);
    return rc; /* the process ends: its lists with it */
}

int salvage_corpus(const struct salvage *how, struct salvage_result *result, struct error *err)
{
    struct rescue *r = memory_array(1, sizeof *r, MEMORY_MAX_SMALL, err);
    char *folder = file_join(how->cache, "corpus", err);
    char *made = file_join(how->cache, SALVAGE_FOLDER "/corpus", err);
    int rc = r && folder && made ? 0 : ERR_NOMEM;
    if (rc == 0) {
        r->cache = how->cache;
        r->folder = folder;
        rc = salvage_run(how, folder, made, "corpus", rescue, r, result, err);
    }
    memory_free(r);
    memory_free(folder);
    memory_free(made);
    return rc;
}
