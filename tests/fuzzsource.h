/* Any bytes as a source of one format, for fuzz targets: the reader comes to the end, and a row is good
 * or has a reason.
 */
#ifndef TESTS_FUZZSOURCE_H
#define TESTS_FUZZSOURCE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ingest/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_row(const struct row *r)
{
    if (r->reason) {
        if (!r->message || !r->record || strlen(r->record) > ROW_SHOWN) abort();
        return;
    }
    if (r->caption && r->caption[r->n_caption]) abort();
    if (!(r->weight > 0)) abort();
    if (!r->image && !r->id && !r->picture && !r->caption) abort();
}

static void fuzz_source(const uint8_t *data, size_t n, enum source_format format)
{
    struct source_options o = source_defaults();
    struct source *s = NULL;
    struct row row;
    char path[40];
    o.format = format;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (source_open(&s, path, &o, NULL, NULL) == 0) {
        while (source_next(s, &row, NULL) > 0) check_row(&row);
        source_close(s);
    }
    close(fd);
}

#endif
