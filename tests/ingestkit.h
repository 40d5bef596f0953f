/* Sources with real pictures, ingested in a folder of the running test.
 *
 *     struct scratch s; scratch_make(&s); kit_picture(&s, "photo_03.jpg", "a.jpg");
 *     kit_ingest(&s, "cache", "m.tsv", ingest_defaults());     // counts in kit_result, errors in kit_error
 */
#ifndef TESTS_INGESTKIT_H
#define TESTS_INGESTKIT_H

#include "ingest/ingest.h"
#include "tests/rowskit.h"

#define KIT_GOLDEN "tests/golden/preprocess/inputs/"

static struct ingest_result kit_result;
static struct error kit_error;

/* A golden picture's file; owned by p. */
UNUSED static void kit_read(const char *golden, struct pack *p)
{
    char path[300];
    snprintf(path, sizeof path, KIT_GOLDEN "%s", golden);
    if (file_read(path, 1 << 24, &p->bytes, &p->n, &kit_error) < 0)
        CHECK_FAIL("%s", kit_error.text);
    p->capacity = p->n + 1;
}

UNUSED static void kit_picture(struct scratch *s, const char *golden, const char *name)
{
    struct pack p = {0};
    kit_read(golden, &p);
    scratch_bytes(s, name, p.bytes, p.n);
    pack_free(&p);
}

UNUSED static int kit_ingest(struct scratch *s, const char *cache, const char *source,
                             struct ingest_options o)
{
    const char *sources[] = {scratch_path(s, source)};
    o.sources = sources;
    o.n_sources = 1;
    kit_error = (struct error){0};
    return ingest_run(scratch_path(s, cache), &o, NULL, &kit_result, &kit_error);
}

UNUSED static uint64_t kit_n(const char *reason)
{
    for (size_t i = 0; i < kit_result.n_reasons; i++)
        if (!strcmp(kit_result.reasons[i].word, reason)) return kit_result.reasons[i].n;
    return 0;
}

/* Images and pairs new, pairs old, rejects: "3 5 0 1". */
UNUSED static const char *kit_counts(void)
{
    static char text[100];
    const struct ingest_result *r = &kit_result;
    snprintf(text, sizeof text, "%d %d %d %d", (int)r->n_images_new, (int)r->n_pairs_new,
             (int)r->n_pairs_old, (int)r->n_rejects);
    return text;
}

static int kit_add_line(void *context, const char *line)
{
    pack_add(context, line, strlen(line));
    pack_add(context, "\n", 1);
    return 0;
}

/* The corpus as canonical text; owned. */
UNUSED static char *kit_dump(struct scratch *s, const char *cache)
{
    struct corpus *c = NULL;
    struct pack p = {0};
    pack_add(&p, "", 0);
    if (corpus_open(&c, scratch_path(s, cache), CORPUS_READ, &kit_error) < 0 ||
        corpus_dump(c, kit_add_line, &p, &kit_error) < 0 ||
        corpus_verify(c, NULL, NULL, NULL, &kit_error) != 0)
        CHECK_FAIL("%s", kit_error.text);
    corpus_close(c);
    if (!p.bytes) abort();
    return p.bytes;
}

static int kit_add_reject(void *context, uint64_t number, const char *json)
{
    (void)number;
    return kit_add_line(context, json);
}

/* The quarantine, one reject a line; owned. */
UNUSED static char *kit_rejects(struct scratch *s, const char *cache)
{
    struct corpus *c = NULL;
    struct pack p = {0};
    pack_add(&p, "", 0);
    if (corpus_open(&c, scratch_path(s, cache), CORPUS_READ, &kit_error) < 0 ||
        corpus_each_reject(c, kit_add_reject, &p, &kit_error) < 0)
        CHECK_FAIL("%s", kit_error.text);
    corpus_close(c);
    if (!p.bytes) abort();
    return p.bytes;
}

UNUSED static int kit_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

#endif
