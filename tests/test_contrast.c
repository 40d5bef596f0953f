/* InfoNCE and similarity distillation: naive twins in double, central differences, masks, threads. */
#include <omp.h>

#include "tests/check.h"
#include "train/contrast.h"
#include "train/loss.h"
#include "train/random.h"

enum { N = 6, DIM = 11, TDIM = 7 };

static float image[N * DIM], text[N * DIM], t_image[N * TDIM], t_text[N * TDIM];
static uint8_t cells[N * N];
static const float weights[N] = {1, 2, 0.5F, 1, 1, 3};

static void draw(float *x, int dim, uint64_t stream)
{
    for (int i = 0; i < N * dim; i++) x[i] = (float)(random_uniform(7, stream, (uint64_t)i) - 0.4);
    loss_normalise(N, dim, x, x, NULL);
}

static void fill(void)
{
    draw(image, DIM, 1);
    draw(text, DIM, 2);
    draw(t_image, TDIM, 3);
    draw(t_text, TDIM, 4);
    memset(cells, CELL_NEGATIVE, sizeof cells);
    cells[1 * N + 3] = CELL_MASKED;
    cells[4 * N + 0] = CELL_MASKED;
    cells[2 * N + 5] = CELL_POSITIVE;
}

static double similarity(const float *a, const float *b, int dim)
{
    double s = 0;
    for (int k = 0; k < dim; k++) s += (double)a[k] * b[k];
    return s;
}

/* The definition, written down without any thought of speed. */
static double naive_infonce(double log_scale)
{
    double loss = 0, sum_w = 0;
    for (int i = 0; i < N; i++) sum_w += weights[i];
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < N; i++) {
            double total = 0, positives = 0, mean = 0;
            for (int j = 0; j < N; j++) {
                int r = side ? j : i, c = side ? i : j;
                int cell = r == c ? CELL_POSITIVE : cells[r * N + c];
                if (cell == CELL_MASKED) continue;
                double z = exp(log_scale) * similarity(image + r * DIM, text + c * DIM, DIM);
                total += exp(z);
                if (cell == CELL_POSITIVE) positives += 1, mean += z;
            }
            loss += 0.5 * weights[i] / sum_w * (log(total) - mean / positives);
        }
    }
    return loss;
}

static double infonce(double log_scale, struct contrast_result *r, float *d_image, float *d_text)
{
    struct error err;
    struct contrast_result own;
    if (!r) r = &own;
    if (contrast_infonce(N, DIM, image, text, cells, weights, log_scale, 1, r, d_image, d_text,
                         &err) < 0)
        return NAN;
    return r->loss;
}

static double similarity_loss(float *d_image, float *d_text)
{
    struct error err;
    double loss;
    if (contrast_similarity(N, DIM, image, text, TDIM, t_image, t_text, 5, 1, &loss, d_image,
                            d_text, &err) < 0)
        return NAN;
    return loss;
}

TEST(infonce_twin)
{
    fill();
    CHECK_NEAR(infonce(2, NULL, NULL, NULL), naive_infonce(2), 1e-5);
}

static void check_gradient(float *x, const float *grad, double (*loss)(void))
{
    for (int k = 0; k < N * DIM; k++) {
        float kept = x[k], h = 2e-3F;
        x[k] = kept + h;
        double up = loss();
        x[k] = kept - h;
        double down = loss();
        x[k] = kept;
        CHECK_NEAR(grad[k], (up - down) / (2 * (double)h), 5e-4);
    }
}

static double infonce_at_two(void)
{
    return infonce(2, NULL, NULL, NULL);
}

static double similarity_alone(void)
{
    return similarity_loss(NULL, NULL);
}

TEST(infonce_gradients)
{
    fill();
    float d_image[N * DIM] = {0}, d_text[N * DIM] = {0};
    struct contrast_result r;
    infonce(2, &r, d_image, d_text);
    check_gradient(image, d_image, infonce_at_two);
    check_gradient(text, d_text, infonce_at_two);
    double h = 1e-3;
    CHECK_NEAR(r.d_log_scale,
               (infonce(2 + h, NULL, NULL, NULL) - infonce(2 - h, NULL, NULL, NULL)) / (2 * h),
               1e-4);
}

TEST(temperature_is_clamped_at_ln_100)
{
    fill();
    struct contrast_result at, above;
    double want = infonce(CONTRAST_MAX_LOG_SCALE, &at, NULL, NULL);
    CHECK_NEAR(infonce(9, &above, NULL, NULL), want, 0);
    memset(cells, CELL_NEGATIVE, sizeof cells);
    for (int i = 0; i < N * DIM; i++)
        text[i] = image[i]; /* perfect: a higher scale would be better still */
    infonce(CONTRAST_MAX_LOG_SCALE, &at, NULL, NULL);
    CHECK_NEAR(at.d_log_scale, 0, 0);
}

/* A false negative: image 1's twin is image 3. Masked, its caption must not be pushed away. */
TEST(mask_takes_a_cell_out)
{
    fill();
    float with[N * DIM] = {0}, without[N * DIM] = {0};
    double masked = infonce(2, NULL, NULL, with);
    cells[1 * N + 3] = CELL_NEGATIVE;
    double open = infonce(2, NULL, NULL, without);
    CHECK(open > masked + 1e-4);
    CHECK(memcmp(with, without, sizeof with) != 0);
    memset(cells, CELL_MASKED, sizeof cells); /* nothing to tell apart: loss 0 */
    CHECK_NEAR(infonce(2, NULL, NULL, NULL), 0, 1e-9);
}

TEST(top_one_counts_ties_against)
{
    fill();
    memset(cells, CELL_NEGATIVE, sizeof cells);
    for (int i = 0; i < N * DIM; i++) text[i] = image[i % DIM];
    for (int i = 0; i < N * DIM; i++) image[i] = image[i % DIM];
    struct contrast_result r;
    infonce(2, &r, NULL, NULL);
    CHECK_EQ(r.n_right, 0);
}

TEST(similarity_twin_and_gradients)
{
    fill();
    double want = 0;
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < N; i++) {
            double s[N], t[N], total_s = 0, total_t = 0;
            for (int j = 0; j < N; j++) {
                int r = side ? j : i, c = side ? i : j;
                s[j] = 5 * similarity(image + r * DIM, text + c * DIM, DIM);
                t[j] = 5 * similarity(t_image + r * TDIM, t_text + c * TDIM, TDIM);
                total_s += exp(s[j]);
                total_t += exp(t[j]);
            }
            for (int j = 0; j < N; j++) {
                double p = exp(t[j]) / total_t;
                want += 0.5 / N * p * (log(p) - log(exp(s[j]) / total_s));
            }
        }
    }
    float d_image[N * DIM] = {0}, d_text[N * DIM] = {0};
    CHECK_NEAR(similarity_loss(d_image, d_text), want, 1e-5);
    check_gradient(image, d_image, similarity_alone);
    check_gradient(text, d_text, similarity_alone);
}

TEST(same_bits_for_any_number_of_threads)
{
    fill();
    float first[N * DIM];
    for (int threads = 1; threads <= 3; threads++) {
        float d_image[N * DIM] = {0}, d_text[N * DIM] = {0};
        omp_set_num_threads(threads);
        infonce(2, NULL, d_image, d_text);
        if (threads == 1) memcpy(first, d_text, sizeof first);
        CHECK(memcmp(first, d_text, sizeof first) == 0);
    }
}

TEST_MAIN
