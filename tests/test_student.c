/* Gradients of a student end to end: every loss, adapters, the outer gradient, against central
 * differences of the judged loss; slots; batch norm's averages.
 *
 * Tolerance: f32 networks of a few layers; the loss is good to 1e-6, so a central difference with
 * step 2e-3 is good to 5e-4 absolute.
 *
 * covers: micro backnorm
 */
#include <omp.h>

#include "tests/check.h"
#include "train/arch.h"
#include "train/contrast.h"
#include "train/loss.h"
#include "train/random.h"
#include "train/student.h"
#include "store/memory.h"

enum { SIDE = 32, DIM = 10, HIDDEN = 6, N = 19 };

/* A batch of N made-up records of either tower. */
static void make_batch(struct loader_batch *b, bool is_text)
{
    struct error err;
    *b = (struct loader_batch){.n = N};
    b->pixels = memory_array(N * SIDE * SIDE, 3, MEMORY_MAX_TENSOR, &err);
    for (int i = 0; i < N * SIDE * SIDE * 3; i++)
        b->pixels[i] = (uint8_t)random_bits(1, 0, (uint64_t)i);
    b->ids = memory_array(N * 8, sizeof *b->ids, MEMORY_MAX_TENSOR, &err);
    b->offsets = memory_array(N + 1, sizeof *b->offsets, MEMORY_MAX_TENSOR, &err);
    b->label = memory_array(N, sizeof *b->label, MEMORY_MAX_TENSOR, &err);
    for (int i = 0; i < N; i++) {
        b->offsets[i + 1] = b->offsets[i] + 3 + i % 5;
        for (int k = b->offsets[i]; k < b->offsets[i + 1]; k++)
            b->ids[k] = (int32_t)(random_bits(2, 0, (uint64_t)k) % 30) + 2;
        b->label[i] = i % 4 - 1;
    }
    float **target = is_text ? b->text_target : b->image_target;
    const int dims[2] = {DIM, is_text ? HIDDEN : 4 * HIDDEN};
    for (int s = 0; s < 2; s++) {
        target[s] = memory_array((uint64_t)N * (uint64_t)dims[s], sizeof(float), MEMORY_MAX_TENSOR,
                                 &err);
        for (int i = 0; i < N * dims[s]; i++)
            target[s][i] = (float)random_uniform(3, (uint64_t)s, (uint64_t)i) - 0.5F;
        loss_normalise(N, dims[s], target[s], target[s], NULL);
    }
}

static int make_student(struct student **s, bool is_text, const char *arch, struct error *err)
{
    struct tower_config c = is_text ? arch_text_default() : arch_image_default();
    int rc = arch_parse(arch, is_text, &c, err);
    if (rc < 0) return rc;
    c.projection_dim = DIM;
    c.head_dim = DIM;
    c.vocab = 40;
    rc = student_new(s, is_text ? NULL : &c, is_text ? &c : NULL, NUMERICS_F32, err);
    if (rc < 0) return rc;
    struct student_part *p = is_text ? &(*s)->text : &(*s)->image;
    tower_randomise(p->tower, 4);
    (*s)->model->preprocess = (struct preprocess){
        .rescale = 1 / 255.0, .mean = {0.5F, 0.5F, 0.5F}, .std = {0.3F, 0.3F, 0.3F}};
    struct target t[3] = {{.kind = TARGET_EMBEDDING,
                           .name = "final",
                           .tap = {.kind = TAP_FINAL},
                           .cells = 1,
                           .dim = DIM,
                           .weight = 1.3},
                          {.kind = TARGET_FEATURE,
                           .name = "block",
                           .tap = {.kind = is_text ? TAP_MEAN : TAP_GRID, .block = 1, .grid = 2},
                           .set = 1,
                           .cells = is_text ? 1 : 4,
                           .dim = HIDDEN,
                           .adapted = true,
                           .weight = 0.7,
                           .beta = 0.5},
                          {.kind = TARGET_LABEL,
                           .name = "label",
                           .tap = {.kind = TAP_FINAL},
                           .set = -1,
                           .cells = 1,
                           .dim = 3,
                           .adapted = true,
                           .weight = 0.4}};
    for (int k = 0; k < 3 && rc == 0; k++) rc = student_add_target(*s, p, &t[k], err);
    struct optimiser_config config = optimiser_config_default();
    return rc == 0 ? student_prepare(*s, &config, false, 5, err) : rc;
}

/* The loss whose gradient student_gradients takes: its targets, and the sum of outer * unit. */
static double total_loss(struct student *s, struct student_part *p, const struct loader_batch *b,
                         const float *outer)
{
    struct error err;
    struct micro_sums sums;
    float unit[N * DIM];
    if (student_judge(s, p, b, &sums, &err) < 0 || student_embed(s, p, b, true, unit, &err) < 0)
        abort();
    double loss = sums.loss[0] + sums.loss[1] + sums.loss[2];
    for (int i = 0; i < N * DIM; i++) loss += (double)outer[i] * unit[i];
    return loss;
}

static void check_block(struct student *s, struct student_part *p, const struct loader_batch *b,
                        const float *outer, struct params *params, const float *grad)
{
    for (int k = 0; k < params->n; k++) {
        const struct param *t = &params->table[k];
        if (t->kind == PARAM_BUFFER) continue;
        for (int probe = 0; probe < 3; probe++) {
            size_t i = t->offset + random_bits(6, (uint64_t)k, (uint64_t)probe) % t->n;
            float kept = params->w[i], h = 2e-3F;
            params->w[i] = kept + h;
            double up = total_loss(s, p, b, outer);
            params->w[i] = kept - h;
            double down = total_loss(s, p, b, outer);
            params->w[i] = kept;
            double want = (up - down) / (2 * (double)h);
            if (!(fabs(grad[i] - want) <= 5e-4 + 0.02 * fabs(want)))
                CHECK_FAIL("%s [%zu]: gradient %g, difference %g", t->name, i - t->offset,
                           (double)grad[i], want);
        }
    }
}

static void check_gradients(bool is_text, const char *arch)
{
    struct error err = {0};
    struct student *s;
    struct loader_batch b;
    struct micro_sums sums;
    float outer[N * DIM];
    for (int i = 0; i < N * DIM; i++)
        outer[i] = 0.1F * ((float)random_uniform(7, 0, (uint64_t)i) - 0.5F);
    CHECK_OK(make_student(&s, is_text, arch, &err), &err);
    make_batch(&b, is_text);
    struct student_part *p = is_text ? &s->text : &s->image;
    CHECK_OK(student_gradients(s, p, &b, outer, &sums, &err), &err);
    check_block(s, p, &b, outer, &p->tower->params, s->optimiser.block[p->tower_block].grad);
    check_block(s, p, &b, outer, &p->heads, s->optimiser.block[p->heads_block].grad);
    loader_batch_release(&b);
    student_free(s);
}

TEST(image_gradients)
{
    check_gradients(false, "vit:width=16,layers=2,heads=2,mlp=24,patch=16,size=32");
}

TEST(text_gradients)
{
    check_gradients(true, "text:width=16,layers=2,heads=2,mlp=24,embed=8,tokens=12");
}

/* The same bits whatever the threads, and with the batch in one piece or, summed, in two. */
TEST(slots_are_summed_in_order)
{
    struct error err = {0};
    struct loader_batch b;
    make_batch(&b, false);
    float *first = NULL;
    size_t n = 0;
    for (int threads = 1; threads <= 3; threads++) {
        struct student *s;
        struct micro_sums sums;
        omp_set_num_threads(threads);
        CHECK_OK(make_student(&s, false, "mobilevit-xxs:size=32", &err), &err);
        CHECK_OK(student_gradients(s, &s->image, &b, NULL, &sums, &err), &err);
        n = s->image.tower->params.n_floats;
        const float *grad = s->optimiser.block[s->image.tower_block].grad,
                    *w = s->image.tower->params.w;
        if (!first) {
            first = memory_array(2 * n, sizeof *first, MEMORY_MAX_TENSOR, &err);
            memcpy(first, grad, n * sizeof *first);
            memcpy(first + n, w, n * sizeof *first);
        }
        CHECK(!memcmp(first, grad, n * sizeof *first));
        CHECK(!memcmp(first + n, w, n * sizeof *first)); /* running averages */
        student_free(s);
    }
    memory_free(first);
    loader_batch_release(&b);
}

/* One micro-batch moves the running averages by a tenth of the way, a tower without one not at all. */
TEST(batch_norm_averages_move)
{
    struct error err = {0};
    struct loader_batch b;
    struct student *s;
    struct micro_sums sums;
    make_batch(&b, false);
    b.n = STUDENT_PICTURES;
    CHECK_OK(make_student(&s, false, "mobilevit-xxs:size=32", &err), &err);
    struct params *p = &s->image.tower->params;
    int mean = -1;
    for (int k = 0; k < p->n && mean < 0; k++)
        if (p->table[k].kind == PARAM_BUFFER && strstr(p->table[k].name, "running_mean")) mean = k;
    CHECK(mean >= 0);
    CHECK_OK(student_gradients(s, &s->image, &b, NULL, &sums, &err), &err);
    double once = params_at(p, mean)[0];
    CHECK_OK(student_gradients(s, &s->image, &b, NULL, &sums, &err), &err);
    CHECK(once != 0);
    CHECK_NEAR(params_at(p, mean)[0], 1.9 * once,
               1e-5); /* m, then 0.9 m + m with m a tenth of the statistic */
    loader_batch_release(&b);
    student_free(s);
}

TEST_MAIN
