/* Fuzz target: any bytes as a weight file. Reads every value of every tensor, so that a bound that
 * is not checked is seen. */
#include "featurize/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct safetensors *s;
    struct error err = {0};
    if (safetensors_read(bytes, n, "fuzz", &s, &err) < 0) return 0;
    unsigned sum = 0;
    for (size_t i = 0; i < safetensors_table(s)->n; i++) {
        const struct tensor *t = &safetensors_table(s)->list[i];
        for (size_t k = 0; k < t->n_bytes; k++) sum += t->bytes[k];
    }
    safetensors_close(s);
    static volatile unsigned keep;
    keep = sum;
    (void)keep;
    return 0;
}
