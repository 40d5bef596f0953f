/* A folder of one test under $TMPDIR or /tmp, paths in it, and files written into it from text.
 *
 *     static struct scratch scratch;
 *     scratch_make(&scratch);
 *     const char *path = scratch_text(&scratch, "m.tsv", "image\tcaption\n"); ...
 *     scratch_remove(&scratch);
 *
 *     const char *path = scratch_here("model.safetensors");    // in a folder of the whole program, gone at its end
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <unistd.h>

#include "store/file.h"
#include "tests/check.h"

struct scratch {
    char folder[64];
    char path[24][300]; /* the last names asked for */
    int turn;
};

static inline void scratch_make(struct scratch *s)
{
    const char *base = getenv("TMPDIR");
    *s = (struct scratch){.turn = 0};
    snprintf(s->folder, sizeof s->folder, "%.40s/clipstill-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(s->folder)) abort();
}

/* Borrowed until 24 more were asked for. */
static inline const char *scratch_path(struct scratch *s, const char *name)
{
    s->turn = (s->turn + 1) % 24;
    char *path = s->path[s->turn];
    size_t n = strlen(s->folder), m = strlen(name) + 1;
    if (n + 1 + m > sizeof s->path[0]) abort();
    memcpy(path, s->folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m);
    return path;
}

/* Not by file_write, whose sync would be most of the time of a test that writes a thousand files. */
static inline const char *scratch_bytes(struct scratch *s, const char *name, const void *bytes, size_t n)
{
    const char *path = scratch_path(s, name);
    unlink(path); /* ext4 syncs a file that is cut and written anew */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) abort();
    return path;
}

#define scratch_text(s, name, text) scratch_bytes(s, name, text, sizeof text - 1)

static inline void scratch_remove(struct scratch *s)
{
    struct error err = {0};
    if (file_remove_folder(s->folder, &err) < 0) CHECK_FAIL("%s", err.text);
}

static struct scratch scratch_program;
static pid_t scratch_owner; /* a forked child leaves the folder alone */

static inline const char *scratch_here(const char *name)
{
    if (!scratch_owner) {
        scratch_make(&scratch_program);
        scratch_owner = getpid();
    }
    return scratch_path(&scratch_program, name);
}

__attribute__((destructor)) static inline void scratch_end(void)
{
    if (scratch_owner == getpid()) scratch_remove(&scratch_program);
}

#endif
