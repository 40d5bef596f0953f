/* Replays a fuzz target over its committed seeds in the plain tests: every file of the folders
 * given, then every prefix of each at a few cuts and a few single-bit flips, so that the target is
 * run on broken input too. TAP: one test a folder. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A copy of exactly n bytes, so that the address sanitizer sees one byte past the end. */
static void run(const char *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) abort();
    memcpy(exact, bytes, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void replay(char *bytes, size_t n)
{
    run(bytes, n);
    for (size_t i = 1; i < 12; i++) run(bytes, n * i / 12);
    for (size_t i = 0; n && i < 24; i++) {
        size_t at = (i * 2654435761u) % n;
        char flip = (char)(1 << (i % 8));
        bytes[at] = (char)(bytes[at] ^ flip);
        run(bytes, n);
        bytes[at] = (char)(bytes[at] ^ flip);
    }
}

int main(int argc, char **argv)
{
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        struct error err = {0};
        char **names = NULL;
        size_t n_names = 0, n_run = 0;
        if (file_list(argv[i], &names, &n_names, &err) < 0) fprintf(stderr, "# %s\n", err.text);
        for (size_t k = 0; k < n_names; k++) {
            char *path = file_join(argv[i], names[k], &err), *bytes = NULL;
            size_t n = 0;
            if (path && file_read(path, 1 << 24, &bytes, &n, &err) == 0) {
                replay(bytes, n);
                n_run++;
            }
            memory_free(bytes);
            memory_free(path);
        }
        memory_free(names);
        printf("%s %d - %s: %zu seeds replayed\n", n_run ? "ok" : "not ok", i, argv[i], n_run);
        if (!n_run) rc = 1;
    }
    return rc;
}
