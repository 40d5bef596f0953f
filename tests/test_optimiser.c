/* AdamW: against a scalar twin in double over several steps; schedule, clipping, decay, divergence. */
#include <omp.h>

#include "tests/check.h"
#include "train/optimiser.h"
#include "train/random.h"

static void net(struct params *p)
{
    struct error err;
    *p = (struct params){0};
    if (params_add(p, "layer.weight", PARAM_DECAY, 2, (int64_t[]){7, 5}, &err) < 0 ||
        params_add(p, "layer.bias", PARAM_NO_DECAY, 1, (int64_t[]){7}, &err) < 0 ||
        params_add(p, "norm.running_mean", PARAM_BUFFER, 1, (int64_t[]){3}, &err) < 0 ||
        params_allocate(p, &err) < 0)
        abort();
    for (size_t i = 0; i < p->n_floats; i++) p->w[i] = (float)random_uniform(3, 0, i);
}

TEST(adamw_twin)
{
    struct error err;
    struct params p;
    net(&p);
    struct optimiser o = {.config = optimiser_config_default()};
    o.config.n_steps = 20;
    o.config.weight_decay = 0.1;
    o.config.clip = 0;
    CHECK_OK(optimiser_add(&o, "image", &p, &err), &err);
    double w = p.w[p.table[0].offset + 4], b = p.w[p.table[1].offset + 2],
           buffer = p.w[p.table[2].offset];
    double m[2] = {0}, v[2] = {0};
    for (int step = 0; step < 10; step++) {
        optimiser_zero_grad(&o);
        for (size_t i = 0; i < p.n_floats; i++)
            o.block[0].grad[i] = (float)(random_uniform(4, (uint64_t)step, i) - 0.3);
        double g[2] = {o.block[0].grad[p.table[0].offset + 4],
                       o.block[0].grad[p.table[1].offset + 2]};
        double *at[2] = {&w, &b}, lr = optimiser_lr(&o.config, o.step);
        for (int k = 0; k < 2; k++) {
            m[k] = 0.9 * m[k] + 0.1 * g[k];
            v[k] = 0.98 * v[k] + 0.02 * g[k] * g[k];
            double mh = m[k] / (1 - pow(0.9, step + 1)), vh = v[k] / (1 - pow(0.98, step + 1));
            *at[k] -= lr * (mh / (sqrt(vh) + 1e-6) + (k == 0 ? 0.1 * *at[k] : 0));
        }
        CHECK_OK(optimiser_step(&o, NULL, &err), &err);
    }
    CHECK_NEAR(p.w[p.table[0].offset + 4], w, 1e-6);
    CHECK_NEAR(p.w[p.table[1].offset + 2], b, 1e-6);
    CHECK_NEAR(p.w[p.table[2].offset], buffer, 0);
    optimiser_release(&o);
    params_release(&p);
}

TEST(schedule_warms_up_and_cools)
{
    struct optimiser_config c = optimiser_config_default();
    c.lr = 1;
    c.lr_end = 0.1;
    c.warmup = 0.1;
    c.n_steps = 100;
    CHECK_NEAR(optimiser_lr(&c, 0), 0.1, 1e-12);
    CHECK_NEAR(optimiser_lr(&c, 9), 1, 1e-12);
    CHECK_NEAR(optimiser_lr(&c, 10), 1, 1e-12);
    CHECK_NEAR(optimiser_lr(&c, 99), 0.1, 1e-12);
    for (uint64_t s = 10; s < 99; s++) CHECK(optimiser_lr(&c, s + 1) < optimiser_lr(&c, s));
}

TEST(clipping_bounds_the_global_norm)
{
    struct error err;
    struct params p, q;
    net(&p);
    net(&q);
    struct optimiser o = {.config = optimiser_config_default()}, big = o;
    CHECK_OK(optimiser_add(&o, "a", &p, &err), &err);
    CHECK_OK(optimiser_add(&big, "a", &q, &err), &err);
    double norm = 0, want = 0;
    for (size_t i = 0; i < p.n_floats; i++) {
        double g = random_uniform(5, 0, i) - 0.5;
        o.block[0].grad[i] = (float)(0.01 * g);
        big.block[0].grad[i] = (float)(1000 * g);
    }
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < p.table[k].n; i++)
            want += pow(big.block[0].grad[p.table[k].offset + i], 2);
    CHECK_OK(optimiser_step(&big, &norm, &err), &err);
    CHECK_NEAR(norm, sqrt(want), 1e-3);
    double moment = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < p.table[k].n; i++)
            moment += pow(big.block[0].m[p.table[k].offset + i], 2);
    CHECK_NEAR(sqrt(moment), 0.1 * big.config.clip, 1e-5); /* m = (1 - beta1) * clipped gradient */
    optimiser_release(&o);
    optimiser_release(&big);
    params_release(&p);
    params_release(&q);
}

TEST(a_nan_stops_the_run_by_name)
{
    struct error err = {0};
    struct params p;
    net(&p);
    struct optimiser o = {.config = optimiser_config_default(), .step = 41};
    CHECK_OK(optimiser_add(&o, "text", &p, &err), &err);
    float before = p.w[0];
    o.block[0].grad[0] = 1;
    o.block[0].grad[p.table[1].offset + 3] = NAN;
    CHECK_EQ(optimiser_step(&o, NULL, &err), ERR_DIVERGED);
    CHECK_HAS(err.text, "step 42");
    CHECK_HAS(err.text, "layer.bias");
    CHECK_HAS(err.text, "text");
    CHECK_NEAR(p.w[0], before, 0);
    o.block[0].grad[p.table[1].offset + 3] = INFINITY;
    CHECK_EQ(optimiser_step(&o, NULL, &err), ERR_DIVERGED);
    optimiser_release(&o);
    params_release(&p);
}

TEST_MAIN
