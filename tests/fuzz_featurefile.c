/* Fuzz target: any bytes as a safetensors file of features. Reads every row and key, so that a bound that is not checked is seen. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/featurefile.h"
#include "store/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int take(void *context, uint64_t row, const uint8_t *key, char *text, struct error *err)
{
    unsigned *sum = context;
    (void)row, (void)text, (void)err;
    for (int i = 0; key && i < DIGEST_BYTES; i++) *sum += key[i];
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct error err = {0};
    struct transfer_source from;
    struct intake in;
    char path[64];
    static volatile unsigned keep;
    unsigned sum = 0;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) __builtin_trap();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    transfer_source_defaults(&from);
    from.safetensors = path;
    if (intake_open(&in, &from, &err) == 0 && intake_keys(&in, take, &sum, &err) == 0) {
        float *row = memory_array(in.n_cols, sizeof *row, MEMORY_MAX_SMALL, NULL);
        for (uint64_t i = 0; row && i < in.n_rows; i++) {
            intake_row(&in, i, row);
            sum += row[in.n_cols - 1] > 0;
        }
        memory_free(row);
    }
    intake_close(&in);
    close(fd);
    keep = sum;
    (void)keep;
    return 0;
}
