/* Fuzz target: any bytes as the layers of an int8 calibration, for a tower of two. What is taken has
 * every shift within int8's range, and comes back the same when it is written and read again. */
#include <stdlib.h>
#include <string.h>

#include "featurize/calibration.h"
#include "featurize/int8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct params *tower(void)
{
    static struct params p;
    if (!p.n && (params_add(&p, "a.encoder.layer.0.q.weight", PARAM_DECAY, 2, (int64_t[]){2, 6},
                            NULL) != 0 ||
                 params_add(&p, "a.encoder.layer.1.q.weight", PARAM_DECAY, 2, (int64_t[]){6, 2},
                            NULL) != 1))
        abort();
    return &p;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct error err = {0};
    const struct params *p = tower();
    struct json *j = json_read((const char *)bytes, n, "fuzz", &err);
    struct calibration *c = j ? calibration_read(p, j, "fuzz", &err) : NULL;
    if (!c && !*err.text) abort();
    json_free(j);
    if (!c) return 0;
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->table[i].shape[1]; k++)
            if (abs(calibration_shift(c, i)[k]) > INT8_SHIFT_MAX) abort();
    char a[CALIBRATION_NAME], b[CALIBRATION_NAME];
    j = calibration_json(c, p);
    struct calibration *back = calibration_read(p, j, "fuzz", &err);
    if (!back || strcmp(calibration_name(c, p, a), calibration_name(back, p, b)) != 0) abort();
    calibration_free(back);
    calibration_free(c);
    json_free(j);
    return 0;
}
