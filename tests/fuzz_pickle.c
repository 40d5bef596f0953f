/* Any bytes as a PyTorch file; then as the pickle inside of one, beside a storage of 64 bytes, so
 * that what a pickle says of tensors is reached without a whole archive. Every value of every
 * tensor is looked at. */
#include <stdlib.h>

#include "featurize/torchfile.h"
#include "tests/zipkit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void look(const void *bytes, size_t n)
{
    struct error err = {0};
    struct torchfile *t;
    if (torchfile_read(bytes, n, "fuzz", &t, &err) < 0) {
        if (!*err.text) abort();
        return;
    }
    unsigned sum = 0;
    const struct tensor_table *table = torchfile_table(t);
    for (size_t i = 0; i < table->n; i++)
        for (size_t k = 0; k < table->list[i].n_bytes; k++) sum += table->list[i].bytes[k];
    volatile unsigned sink = sum;
    (void)sink;
    torchfile_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t storage[64];
    look(data, n);
    struct zipkit_entry e[] = {{.name = "m/data.pkl", .bytes = data, .n = n},
                               {.name = "m/data/0", .bytes = storage, .n = sizeof storage},
                               {.name = "m/data/1", .bytes = storage, .n = sizeof storage / 2}};
    uint8_t *file = malloc(n + 1000);
    if (!file) abort();
    size_t n_file = zipkit_build(file, e, 3, n % 2);
    uint8_t *exact = malloc(n_file);
    if (!exact) abort();
    memcpy(exact, file, n_file);
    look(exact, n_file);
    free(exact);
    free(file);
    return 0;
}
