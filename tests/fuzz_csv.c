/* Fuzz target: any bytes as comma-separated values. Every field is read to its NUL, and lies in the text. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct error err = {0};
    struct csv t;
    char path[64];
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) __builtin_trap();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = csv_open(&t, path, &err);
    uint64_t line = 0;
    while (rc == 0 && csv_next(&t, &err) > 0) {
        if (t.line <= line || t.n_fields == 0) __builtin_trap();
        line = t.line;
        for (size_t i = 0; i < t.n_fields; i++)
            if (t.fields[i] < t.text || t.fields[i] + strlen(t.fields[i]) > t.text + n)
                __builtin_trap();
    }
    csv_close(&t);
    close(fd);
    return 0;
}
