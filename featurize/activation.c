/* Which function of vecmath.h an activation is. */
#include "featurize/activation.h"

#include <string.h>

#include "featurize/vecmath.h"

void activation_run(enum act act, size_t n, const float *x, float *y)
{
    switch (act) {
    case ACT_NONE:
        if (y != x) memcpy(y, x, n * sizeof *y);
        break;
    case ACT_GELU: vec_gelu(n, x, y); break;
    case ACT_QUICK_GELU: vec_swish(n, 1.702f, x, y); break;
    case ACT_SILU: vec_swish(n, 1.0f, x, y); break;
    case ACT_RELU: vec_relu(n, x, y); break;
    case ACT_GELU_TANH: vec_gelu_tanh(n, x, y); break;
    }
}
