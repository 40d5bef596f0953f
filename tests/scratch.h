/* A folder of one test under /tmp, and files written into it from text; for tests of readers.
 *
 *     struct scratch s; scratch_make(&s); const char *path = scratch_text(&s, "m.tsv", "image\tcaption\n"); ... scratch_remove(&s);
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "store/file.h"
#include "tests/check.h"

struct scratch {
    char folder[64];
    char path[8][300]; /* the last eight names asked for */
    int turn;
};

static void scratch_make(struct scratch *s)
{
    *s = (struct scratch){.folder = "/tmp/clipstill-test-XXXXXX"};
    if (!mkdtemp(s->folder)) abort();
}

static const char *scratch_path(struct scratch *s, const char *name)
{
    s->turn = (s->turn + 1) % 8;
    char *path = s->path[s->turn];
    size_t n = strlen(s->folder);
    memcpy(path, s->folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, strlen(name) + 1);
    return path;
}

static const char *scratch_bytes(struct scratch *s, const char *name, const void *bytes, size_t n)
{
    struct error err = {0};
    const char *path = scratch_path(s, name);
    if (file_write(path, bytes, n, &err) < 0) CHECK_FAIL("%s", err.text);
    return path;
}

#define scratch_text(s, name, text) scratch_bytes(s, name, text, sizeof text - 1)

static void scratch_remove(struct scratch *s)
{
    struct error err = {0};
    if (file_remove_folder(s->folder, &err) < 0) CHECK_FAIL("%s", err.text);
}

#endif
