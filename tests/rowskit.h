/* A source read to its end as one line a row, for tests of readers.
 *
 *     char *rows = rows_of(path, SOURCE_AUTO, NULL);       // "image|id|lang|caption\n", "!reason\n"
 *     ROWS(path, SOURCE_TSV, "a.jpg|||a dog\n");
 */
#ifndef TESTS_ROWSKIT_H
#define TESTS_ROWSKIT_H

#include "ingest/source.h"
#include "tests/packkit.h"
#include "tests/scratch.h"

UNUSED static void row_line(struct pack *out, const struct row *r)
{
    if (r->reason) {
        if (!r->message || !*r->message) CHECK_FAIL("a reject %s without a sentence", r->reason);
        pack_text(out, "!%s\n", r->reason);
        return;
    }
    pack_text(out, "%.300s|%.300s|%s|", r->image ? r->image : "", r->id ? r->id : "",
              r->lang ? r->lang : "");
    if (r->caption) pack_add(out, r->caption, r->n_caption);
    pack_text(out, r->caption ? "\n" : "-\n"); /* "-": none */
    if (r->caption && r->caption[r->n_caption]) CHECK_FAIL("no NUL behind the caption");
}

/* All rows of a source, one line each; "=code\n" when it cannot be opened, or fails. Owned. */
UNUSED static char *rows_of(const char *path, enum source_format format, struct source_options *o)
{
    struct source_options all = source_defaults();
    struct source *s = NULL;
    struct error err = {0};
    struct row row;
    struct pack out = {0};
    if (o) all = *o;
    all.format = format;
    pack_add(&out, "", 0);
    int rc = source_open(&s, path, &all, NULL, &err);
    while (rc == 0 && (rc = source_next(s, &row, &err)) > 0) {
        row_line(&out, &row);
        rc = 0;
    }
    if (rc < 0) pack_text(&out, "=%s\n", error_word(rc));
    if (rc < 0 && !*err.text) CHECK_FAIL("an error without a sentence");
    source_close(s);
    if (!out.bytes) abort();
    return out.bytes;
}

#define ROWS(path, format, want)                                                                   \
    do {                                                                                           \
        char *rows_found = rows_of(path, format, NULL);                                            \
        CHECK_STR(rows_found, want);                                                               \
        memory_free(rows_found);                                                                   \
    } while (0)

#endif
