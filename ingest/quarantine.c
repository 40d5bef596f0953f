/* Earlier rejects of a run's sources; see quarantine.h. One sorted array, by source and place; names
 * and places are kept as hashes: a record that shares its hash with another would be tried once more
 * than needed, which does no harm. */
#include "ingest/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "store/corpus.h"
#include "store/digest.h"
#include "store/json.h"
#include "store/memory.h"

struct known {
    uint64_t source, place, number;
    bool is_met;
};

struct quarantine {
    struct known *known; // (n) by source, place, number
    size_t n, capacity;
    size_t begin, end; /* of the running source */
    bool is_cut;       /* it broke off */
};

static uint64_t hash_of(const char *text)
{
    return digest_short(text, strlen(text));
}

static uint64_t place_of(uint64_t line, uint64_t byte_offset, const char *member)
{
    char text[ROW_SHOWN + 60], shown[ROW_SHOWN]; /* as the corpus keeps it */
    caption_printable(member ? member : "", shown, sizeof shown);
    snprintf(text, sizeof text, "%llu:%llu:%s", (unsigned long long)line,
             (unsigned long long)byte_offset, shown);
    return hash_of(text);
}

static int by_place(const void *a, const void *b)
{
    const struct known *p = a, *q = b;
    if (p->source != q->source) return p->source < q->source ? -1 : 1;
    if (p->place != q->place) return p->place < q->place ? -1 : 1;
    return (p->number > q->number) - (p->number < q->number);
}

struct filling {
    struct quarantine *q;
    struct error *err;
};

static int add(void *context, uint64_t number, const char *text)
{
    struct filling *f = context;
    struct quarantine *q = f->q;
    if (memory_grow(&q->known, &q->capacity, q->n + 1, sizeof *q->known, MEMORY_MAX_TENSOR,
                    f->err) < 0)
        return ERR_NOMEM;
    struct json *j = json_read(text, strlen(text), "reject", f->err);
    if (!j) return ERR_CORRUPT;
    q->known[q->n++] = (struct known){
        .source = hash_of(json_text(json_get(j, "source"), "")),
        .place = place_of((uint64_t)json_int(json_get(j, "line"), 0),
                          (uint64_t)json_int(json_get(j, "byte_offset"), 0),
                          json_text(json_get(j, "member"), NULL)),
        .number = number};
    json_free(j);
    return 0;
}

int quarantine_open(struct quarantine **out, struct corpus *corpus, struct error *err)
{
    struct quarantine *q = memory_array(1, sizeof *q, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!q) return ERR_NOMEM;
    int rc = corpus_each_reject(corpus, add, &(struct filling){q, err}, err);
    if (rc < 0) {
        quarantine_close(q);
        return rc;
    }
    if (q->n) qsort(q->known, q->n, sizeof *q->known, by_place);
    *out = q;
    return 0;
}

void quarantine_close(struct quarantine *q)
{
    if (!q) return;
    memory_free(q->known);
    memory_free(q);
}

/* The first that is not before (source, place). */
static size_t seek(const struct quarantine *q, uint64_t source, uint64_t place)
{
    size_t low = 0, high = q->n;
    struct known key = {.source = source, .place = place};
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_place(&q->known[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void quarantine_begin(struct quarantine *q, const char *source)
{
    uint64_t hash = hash_of(source);
    q->is_cut = false;
    q->begin = q->end = seek(q, hash, 0);
    while (q->end < q->n && q->known[q->end].source == hash) q->known[q->end++].is_met = false;
}

bool quarantine_holds(const struct quarantine *q, const struct row *row)
{
    if (q->begin == q->end) return false;
    uint64_t place = place_of(row->line, row->byte_offset, row->member);
    size_t i = seek(q, q->known[q->begin].source, place);
    return i < q->end && q->known[i].place == place;
}

void quarantine_meet(struct quarantine *q, const struct row *row, uint64_t number)
{
    q->is_cut |= row->reason && !strcmp(row->reason, ROW_BROKEN);
    if (q->begin == q->end) return;
    uint64_t source = q->known[q->begin].source,
             place = place_of(row->line, row->byte_offset, row->member);
    for (size_t i = seek(q, source, place); i < q->end && q->known[i].place == place; i++)
        if (q->known[i].number == number) q->known[i].is_met = true;
}

int quarantine_end(struct quarantine *q, struct corpus *corpus, uint64_t *n_gone, struct error *err)
{
    int rc = 0;
    for (size_t i = q->begin; rc == 0 && i < q->end; i++) {
        if (q->known[i].is_met || q->is_cut) continue;
        struct error why = {0};
        rc = corpus_remove_reject(corpus, q->known[i].number, &why);
        *n_gone += rc == 0;
        if (rc == ERR_NOT_FOUND) rc = 0; /* the same source twice in one run */
        if (rc < 0) error_set(err, rc, "%s", why.text);
    }
    q->end = q->begin;
    return rc;
}
