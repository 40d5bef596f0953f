/* The codec's promises: every vector within its bound, codes a pure function, halves exact. Seeds
 * are fixed. */
#include "store/codec.h"

#include "store/memory.h"
#include "tests/check.h"

#define DIM_MAX 4096

static uint64_t state = 12345;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double gauss(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

enum shape {
    GAUSS,
    HEAVY,
    SPARSE,
    OUTLIER,
    TINY,
    DENORMAL,
    HUGE_VALUES,
    ONE_HOT,
    CONSTANT,
    SHAPES
};

static void make(enum shape shape, float *x, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        double g = gauss();
        switch (shape) {
        case HEAVY: g = g * g * g * g * g; break;
        case SPARSE: g = uniform() < 0.9 ? 0 : fabs(g); break;
        case OUTLIER: g = i % 97 == 5 ? 40 + g : g; break;
        case TINY: g *= 1e-30; break;
        case DENORMAL: g *= 1e-43; break;
        case HUGE_VALUES: g *= 1e36; break;
        case ONE_HOT: g = i == dim / 2 ? -3 : 0; break;
        case CONSTANT: g = 0.25; break;
        default: break;
        }
        x[i] = (float)g;
    }
}

static double miss(const float *a, const float *b, uint32_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return 1 - ab / (sqrt(aa) * sqrt(bb));
}

static double length_of(const float *a, uint32_t n)
{
    double aa = 0;
    for (uint32_t i = 0; i < n; i++) aa += (double)a[i] * a[i];
    return sqrt(aa);
}

/* Bounds on 1 - cos: f32 2^-47 with room for the f64 sums, f16 2^-23 and what subnormal halves lose. */
static double bound_of(const struct codec *c, int kind)
{
    if (kind == CODEC_RAW || c->storage == STORAGE_F32) return 1e-13;
    if (c->storage == STORAGE_BF16)
        return 8e-6; /* half of (2^-8)^2: each value off by its relative most */
    return c->storage == STORAGE_F16 ? 2.5e-7 : (double)c->epsilon;
}

static void check_one(const struct codec *c, const float *x, uint8_t *code, float *out, int *n_raw)
{
    struct error err;
    float norm;
    int kind = codec_encode(c, x, code, &norm, &err);
    CHECK_OK(kind, &err);
    CHECK(codec_decode(c, kind, code, out));
    if (length_of(x, c->dim) == 0) {
        CHECK_EQ(kind, CODEC_ZERO);
        return;
    }
    *n_raw += kind == CODEC_RAW;
    CHECK(miss(x, out, c->dim) <= bound_of(c, kind));
    CHECK_NEAR(length_of(out, c->dim), 1, 1e-6);
    CHECK(fabs(norm - length_of(x, c->dim)) <= length_of(x, c->dim) * 1e-7 + 1e-45);
}

static const struct {
    enum codec_storage storage;
    float epsilon;
} STORAGES[] = {{STORAGE_F32, 0},   {STORAGE_F16, 0},   {STORAGE_BF16, 0},  {STORAGE_Q, 1e-7f},
                {STORAGE_Q, 1e-5f}, {STORAGE_Q, 1e-4f}, {STORAGE_Q, 1e-3f}, {STORAGE_Q, 0.1f}};

TEST(every_vector_is_within_its_bound)
{
    static const uint32_t DIMS[] = {1, 2, 7, 8, 64, 512, 1000, DIM_MAX};
    struct error err;
    float *x = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err);
    float *out = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err);
    uint8_t *code = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err);
    for (size_t s = 0; s < sizeof STORAGES / sizeof *STORAGES; s++)
        for (size_t d = 0; d < sizeof DIMS / sizeof *DIMS; d++) {
            struct codec c;
            CHECK_OK(codec_init(&c, STORAGES[s].storage, DIMS[d], STORAGES[s].epsilon, &err), &err);
            int n_raw = 0;
            for (int shape = 0; shape < SHAPES; shape++)
                for (int i = 0; i < 8; i++) {
                    make(shape, x, DIMS[d]);
                    check_one(&c, x, code, out, &n_raw);
                }
            if (DIMS[d] >= 512 && c.epsilon >= 1e-5f) CHECK_EQ(n_raw, 0);
        }
    memory_free(x);
    memory_free(out);
    memory_free(code);
}

/* The ladder's point: of 300 vectors at the nominal step about half would miss the bound; none is
 * kept raw. */
TEST(the_ladder_saves_what_the_nominal_step_would_miss)
{
    struct error err;
    struct codec c;
    CHECK_OK(codec_init(&c, STORAGE_Q, 768, 1e-4f, &err), &err);
    float *x = memory_array(768, 4, MEMORY_MAX_SMALL, &err);
    float *out = memory_array(768, 4, MEMORY_MAX_SMALL, &err);
    uint8_t *code = memory_array(768, 4, MEMORY_MAX_SMALL, &err);
    int n_raw = 0, n_nominal_misses = 0;
    double total = 0;
    for (int i = 0; i < 300; i++) {
        make(GAUSS, x, 768);
        double length = length_of(x, 768);
        for (int j = 0; j < 768; j++) out[j] = (float)rint(x[j] / length / c.step);
        n_nominal_misses += miss(x, out, 768) > 1e-4;
        check_one(&c, x, code, out, &n_raw);
        total += miss(x, out, 768);
    }
    CHECK_EQ(n_raw, 0);
    CHECK(n_nominal_misses > 60);
    CHECK(total / 300 > 0.9e-4); /* the bound is used up: no needlessly fine codes */
    memory_free(x);
    memory_free(out);
    memory_free(code);
}

TEST(codes_that_leave_int16_are_kept_raw)
{
    struct error err;
    struct codec c;
    uint32_t dim = CODEC_MAX_DIM;
    CHECK_OK(codec_init(&c, STORAGE_Q, dim, 1e-7f, &err), &err);
    float *x = memory_array(dim, 4, MEMORY_MAX_SMALL, &err);
    float *out = memory_array(dim, 4, MEMORY_MAX_SMALL, &err);
    uint8_t *code = memory_array(dim, 4, MEMORY_MAX_SMALL, &err);
    int n_raw = 0;
    make(GAUSS, x, dim);
    x[0] = 3e4f;
    check_one(&c, x, code, out, &n_raw);
    CHECK_EQ(n_raw, 1);
    memory_free(x);
    memory_free(out);
    memory_free(code);
}

TEST(codes_are_a_pure_function)
{
    struct error err;
    struct codec c;
    CHECK_OK(codec_init(&c, STORAGE_Q, 100, 1e-4f, &err), &err);
    float x[100], y[100], other[100], norm_x, norm_y;
    uint8_t *a = memory_array(100, 4, MEMORY_MAX_SMALL, &err);
    uint8_t *b = memory_array(100, 4, MEMORY_MAX_SMALL, &err);
    make(OUTLIER, x, 100);
    make(HEAVY, other, 100);
    CHECK_EQ(codec_encode(&c, x, a, &norm_x, &err), CODEC_CODED);
    memset(b, 0xee, 400);
    CHECK_EQ(codec_encode(&c, other, b, &norm_y, &err), CODEC_CODED);
    CHECK_EQ(codec_encode(&c, x, b, &norm_y, &err), CODEC_CODED);
    CHECK(!memcmp(a, b, codec_bytes(&c, CODEC_CODED)));
    CHECK(norm_x == norm_y);
    for (int i = 0; i < 100; i++)
        y[i] = x[i] * 8; /* a power of two moves the norm and nothing else */
    CHECK_EQ(codec_encode(&c, y, b, &norm_y, &err), CODEC_CODED);
    CHECK(!memcmp(a, b, codec_bytes(&c, CODEC_CODED)));
    CHECK(norm_x * 8 == norm_y);
    memory_free(a);
    memory_free(b);
}

TEST(bad_vectors_and_codes_are_refused)
{
    struct error err;
    struct codec c;
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8], norm;
    float *code = memory_array(8, 4, MEMORY_MAX_SMALL, &err);
    CHECK_OK(codec_init(&c, STORAGE_Q, 8, 1e-4f, &err), &err);
    x[3] = NAN;
    CHECK_EQ(codec_encode(&c, x, (uint8_t *)code, &norm, &err), ERR_DATA);
    CHECK_HAS(err.text, "value 3");
    x[3] = -INFINITY;
    CHECK_EQ(codec_encode(&c, x, (uint8_t *)code, &norm, &err), ERR_DATA);
    x[3] = x[4] = 3e38f;
    CHECK_EQ(codec_encode(&c, x, (uint8_t *)code, &norm, &err), ERR_DATA);
    CHECK_HAS(err.text, "length");
    memset(code, 0, 32);
    CHECK(!codec_decode(&c, CODEC_CODED, (uint8_t *)code, out));
    code[2] = NAN;
    CHECK(!codec_decode(&c, CODEC_RAW, (uint8_t *)code, out));
    CHECK_OK(codec_init(&c, STORAGE_F16, 8, 0, &err), &err);
    memset(code, 0x7c, 32);
    CHECK(!codec_decode(&c, CODEC_CODED, (uint8_t *)code, out));
    CHECK_EQ(codec_init(&c, STORAGE_F32, 0, 0, &err), ERR_USAGE);
    CHECK_EQ(codec_init(&c, STORAGE_F32, CODEC_MAX_DIM + 1, 0, &err), ERR_USAGE);
    CHECK_EQ(codec_init(&c, STORAGE_Q, 8, 0, &err), ERR_USAGE);
    CHECK_EQ(codec_init(&c, STORAGE_Q, 8, NAN, &err), ERR_USAGE);
    memory_free(code);
}

TEST(storage_is_spelled_as_it_is_parsed)
{
    static const char *const GOOD[] = {"f32",     "f16",   "bf16",  "q1e-4",
                                       "q2.5e-5", "q1e-1", "q1e-7", "q1.234568e-3"};
    static const char *const BAD[] = {"",      "q",      "f64",  "bf",     "q0",    "q1",
                                      "q1e-8", "q-1e-4", "qnan", "q1e-4x", "q 1e-4"};
    struct error err;
    enum codec_storage storage;
    float epsilon;
    char text[CODEC_TEXT];
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        CHECK_OK(codec_parse(GOOD[i], &storage, &epsilon, &err), &err);
        codec_spell(storage, epsilon, text);
        CHECK_STR(text, GOOD[i]);
    }
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        CHECK_EQ(codec_parse(BAD[i], &storage, &epsilon, &err), ERR_USAGE);
    CHECK_OK(codec_parse("q0.0001", &storage, &epsilon, &err), &err);
    codec_spell(storage, epsilon, text);
    CHECK_STR(text, "q1e-4");
}

/* The ladder by its definition: exact sums at every rung, from the coarsest. */
static double twin_scale(const struct codec *c, const float *u)
{
    float top = 0;
    double uu = 0;
    for (uint32_t i = 0; i < c->dim; i++) {
        top = fmaxf(top, fabsf(u[i]));
        uu += (double)u[i] * (double)u[i];
    }
    for (int k = -16; k <= 8; k++) {
        float scale = (float)(exp2(k / 32.0) / sqrt(24.0 * (double)c->epsilon / c->dim));
        double dot = 0, square = 0;
        if (top * scale > 32767) return 0;
        for (uint32_t i = 0; i < c->dim; i++) {
            double code = (double)rintf(u[i] * scale);
            dot += code * (double)u[i];
            square += code * code;
        }
        if (square > 0 && 1 - dot / sqrt(square * uu) <= (double)c->epsilon * 0.999)
            return (double)scale;
    }
    return 0;
}

TEST(a_rung_is_passed_over_only_where_it_misses)
{
    static const uint32_t DIMS[] = {1, 2, 3, 15, 16, 17, 96, 512, 1000, DIM_MAX};
    static const float EPSILONS[] = {1e-7f, 1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 0.1f};
    struct error err;
    float *x = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err), norm;
    float *u = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err);
    uint8_t *code = memory_array(DIM_MAX, 4, MEMORY_MAX_SMALL, &err);
    int n_differ = 0, n_coded = 0;
    for (size_t d = 0; d < sizeof DIMS / sizeof *DIMS; d++)
        for (size_t e = 0; e < sizeof EPSILONS / sizeof *EPSILONS; e++)
            for (int i = 0; i < 8 * SHAPES; i++) {
                struct codec c;
                make((enum shape)(i % SHAPES), x, DIMS[d]);
                double length = length_of(x, DIMS[d]);
                if (length == 0) continue;
                CHECK_OK(codec_init(&c, STORAGE_Q, DIMS[d], EPSILONS[e], &err), &err);
                for (uint32_t j = 0; j < DIMS[d]; j++) u[j] = (float)((double)x[j] * (1 / length));
                double scale = twin_scale(&c, u);
                int kind = codec_encode(&c, x, code, &norm, &err);
                bool same = (kind == CODEC_RAW) == (scale == 0);
                for (uint32_t j = 0; j < DIMS[d] && same && kind == CODEC_CODED; j++) {
                    int16_t v;
                    memcpy(&v, code + 2 * (size_t)j, 2);
                    same = (float)v == rintf(u[j] * (float)scale);
                }
                n_coded += kind == CODEC_CODED;
                n_differ += !same;
            }
    CHECK_EQ(n_differ, 0);
    CHECK(n_coded > 4000);
    memory_free(x);
    memory_free(u);
    memory_free(code);
}

/* By definition: eight bits behind the leading one, ties to even. */
TEST(bfloats_round_to_nearest_even)
{
    struct error err;
    struct codec c;
    uint32_t n_ties = 0;
    CHECK_OK(codec_init(&c, STORAGE_BF16, 2, 0, &err), &err);
    CHECK_EQ(codec_bytes(&c, CODEC_CODED), 4);
    for (int i = 0; i < 20000; i++) {
        /* the second value stands at the middle of two bfloats; at 2^-40 of the first it leaves the
         * length alone */
        float x[2] = {1, (float)ldexp(128 + (double)(i % 128) + (i % 3 ? 0.5 : uniform()), -48)};
        float norm, out[2];
        uint32_t code[2]; /* codec_capacity */
        int e;
        double m = frexp((double)x[1], &e) * 256, want = ldexp(rint(m), e - 8);
        n_ties += m - floor(m) == 0.5;
        CHECK_EQ(codec_encode(&c, x, (uint8_t *)code, &norm, &err), CODEC_CODED);
        CHECK(codec_decode(&c, CODEC_CODED, (uint8_t *)code, out));
        CHECK((double)out[1] == want && out[0] == 1);
    }
    CHECK(n_ties > 10000);
}

/* Value of a finite half by definition. */
static double half_value(unsigned h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

TEST(all_65536_halves)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = codec_float_of((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            CHECK(isnan(f) && isnan(codec_float_of(codec_half_of(f))));
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            CHECK(isinf(f) && (f < 0) == (h >> 15));
        else
            CHECK((double)f == half_value(h));
        CHECK_EQ(codec_half_of(f), h);
    }
}

/* Between each two neighbours: the midpoint goes to the even one, and what is just beside it to the
 * nearer. */
TEST(halves_round_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7bff; h++) {
        float middle = (float)((half_value(h) + half_value(h + 1)) / 2); /* exact: one bit more */
        CHECK_EQ(codec_half_of(middle), h & 1 ? h + 1 : h);
        CHECK_EQ(codec_half_of(nextafterf(middle, 0)), h);
        CHECK_EQ(codec_half_of(nextafterf(middle, INFINITY)), h + 1);
        CHECK_EQ(codec_half_of(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    CHECK_EQ(codec_half_of(65519.9f), 0x7bff);
    CHECK_EQ(codec_half_of(65520.0f), 0x7c00);
    CHECK_EQ(codec_half_of(1e-40f), 0);
}

TEST_MAIN
