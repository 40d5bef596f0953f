/* Losses of single records: naive twins in double, and central differences.
 *
 * Tolerance: the functions work in f32 with double sums, so a twin in double agrees within 1e-5 of
 * the loss; a central difference with step 1e-3 of a smooth f32 function is good to about 1e-4.
 */
#include "tests/check.h"
#include "train/loss.h"
#include "train/random.h"

enum { N = 5, DIM = 19 };

static float x[N * DIM], target[N * DIM], grad[N * DIM];

static void fill(uint64_t seed)
{
    for (int i = 0; i < N * DIM; i++) {
        x[i] = (float)(4 * random_uniform(seed, 0, (uint64_t)i) - 2);
        target[i] = (float)(2 * random_uniform(seed, 1, (uint64_t)i) - 1);
    }
    loss_normalise(N, DIM, target, target, NULL);
    memset(grad, 0, sizeof grad);
}

TEST(embedding_equals_one_minus_cosine)
{
    fill(1);
    double want = 0;
    for (int i = 0; i < N; i++) {
        double xx = 0, xt = 0;
        for (int j = 0; j < DIM; j++) {
            xx += (double)x[i * DIM + j] * x[i * DIM + j];
            xt += (double)x[i * DIM + j] * target[i * DIM + j];
        }
        want += 1 - xt / sqrt(xx);
    }
    CHECK_NEAR(loss_embedding(N, DIM, x, target, 0.5, NULL), 0.5 * want, 1e-5);
}

TEST(embedding_gradient)
{
    fill(2);
    loss_embedding(N, DIM, x, target, 0.7, grad);
    for (int k = 0; k < N * DIM; k++) {
        float kept = x[k], h = 1e-2F;
        x[k] = kept + h;
        double up = loss_embedding(N, DIM, x, target, 0.7, NULL);
        x[k] = kept - h;
        double down = loss_embedding(N, DIM, x, target, 0.7, NULL);
        x[k] = kept;
        CHECK_NEAR(grad[k], (up - down) / (2 * (double)h), 2e-4);
    }
}

TEST(embedding_adds_and_survives_zero)
{
    fill(3);
    memset(x, 0, DIM * sizeof *x);
    for (int k = 0; k < N * DIM; k++) grad[k] = 1;
    double loss = loss_embedding(1, DIM, x, target, 1, grad);
    CHECK_NEAR(loss, 1, 0);
    for (int k = 0; k < DIM; k++) CHECK_NEAR(grad[k], 1, 0);
    x[0] = NAN;
    CHECK(isnan(loss_embedding(1, DIM, x, target, 1, NULL)));
}

TEST(a_record_without_target_counts_nothing)
{
    const float y[6] = {1, 2, 2, 3, 0, 4}, want[6] = {0, 0, 0, 0.6F, 0, 0.8F};
    float d[6] = {0};
    CHECK(!loss_is_taught(3, want) && loss_is_taught(3, want + 3));
    CHECK_NEAR(loss_embedding(2, 3, y, want, 1, d), 0, 1e-6);
    CHECK_NEAR(loss_smooth_l1(2, 3, y, want, 1, 1, 3, d),
               loss_smooth_l1(1, 3, y + 3, want + 3, 1, 1, 3, NULL), 1e-12);
    for (int j = 0; j < 3; j++) CHECK(d[j] == 0);
    CHECK(d[3] != 0);
}

TEST(smooth_l1_twin_and_gradient)
{
    fill(4);
    double scale = sqrt(DIM), beta = 0.8, want = 0;
    bool square = false, straight = false;
    for (int k = 0; k < N * DIM; k++) {
        double d = fabs(x[k] - scale * target[k]);
        want += d < beta ? d * d / (2 * beta) : d - beta / 2;
        square |= d < beta;
        straight |= d > beta;
    }
    CHECK(square && straight);
    CHECK_NEAR(loss_smooth_l1(N, DIM, x, target, scale, beta, 1, grad), want / DIM, 1e-5);
    for (int k = 0; k < N * DIM; k++) {
        float kept = x[k], h = 1e-2F;
        double d = fabs(x[k] - scale * target[k]);
        if (fabs(d - beta) < 0.02 || d < 0.02) continue; /* bends within the step */
        x[k] = kept + h;
        double up = loss_smooth_l1(N, DIM, x, target, scale, beta, 1, NULL);
        x[k] = kept - h;
        double down = loss_smooth_l1(N, DIM, x, target, scale, beta, 1, NULL);
        x[k] = kept;
        CHECK_NEAR(grad[k], (up - down) / (2 * (double)h), 2e-4);
    }
}

TEST(label_twin_and_gradient)
{
    fill(5);
    int32_t label[N] = {3, -1, 0, 18, 7};
    double want = 0;
    for (int i = 0; i < N; i++) {
        if (label[i] < 0) continue;
        double total = 0;
        for (int j = 0; j < DIM; j++) total += exp(x[i * DIM + j]);
        want -= log(exp(x[i * DIM + label[i]]) / total);
    }
    CHECK_NEAR(loss_label(N, DIM, x, label, 2, grad, NULL), 2 * want, 1e-5);
    for (int k = 0; k < N * DIM; k++) {
        float kept = x[k], h = 1e-2F;
        x[k] = kept + h;
        double up = loss_label(N, DIM, x, label, 2, NULL, NULL);
        x[k] = kept - h;
        double down = loss_label(N, DIM, x, label, 2, NULL, NULL);
        x[k] = kept;
        CHECK_NEAR(grad[k], (up - down) / (2 * (double)h), 2e-4);
    }
    for (int j = 0; j < DIM; j++) CHECK_NEAR(grad[DIM + j], 0, 0);
    int64_t right = 0;
    float z[4] = {0, 5, 9, 1};
    int32_t one[2] = {1, 0};
    loss_label(2, 2, z, one, 1, NULL, &right);
    CHECK_EQ(right, 2);
}

TEST(normalise_backward)
{
    fill(6);
    float unit[N * DIM], norm[N];
    loss_normalise(N, DIM, x, unit, norm);
    loss_normalise_backward(N, DIM, unit, norm, target, grad); /* of sum u . target */
    for (int k = 0; k < N * DIM; k++) {
        float kept = x[k], h = 1e-2F;
        double side[2];
        for (int s = 0; s < 2; s++) {
            x[k] = s ? kept - h : kept + h;
            loss_normalise(N, DIM, x, unit, NULL);
            side[s] = 0;
            for (int j = 0; j < N * DIM; j++) side[s] += (double)unit[j] * target[j];
        }
        x[k] = kept;
        CHECK_NEAR(grad[k], (side[0] - side[1]) / (2 * (double)h), 2e-4);
    }
}

TEST_MAIN
