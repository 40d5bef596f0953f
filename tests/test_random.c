/* Counter-based draws: pure functions, fixed for good (checkpoints rely on them), and fair enough.
 *
 * 65536 uniform draws have a mean of 0.5 with a standard deviation of 0.29 / 256 = 0.0011; the
 * tolerance is four of them.
 */
#include "train/random.h"

#include "tests/check.h"

#define N 65536

/* splitmix64's finaliser as its authors print it, on its own increment. */
static uint64_t splitmix(uint64_t x)
{
    uint64_t z = x + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

TEST(draws_are_the_published_function)
{
    CHECK(splitmix(0) == 0xe220a8397b1dcdaf); /* the first output of splitmix64 with seed 0 */
    for (uint64_t i = 0; i < 100; i++)
        CHECK(random_bits(7, RANDOM_VIEW + 3, i) ==
              splitmix(splitmix(splitmix(7) ^ (RANDOM_VIEW + 3)) ^ i));
}

TEST(uniform_draws)
{
    double sum = 0;
    int bin[16] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = random_uniform(1, RANDOM_AUGMENT, i);
        CHECK(u >= 0 && u < 1);
        sum += u;
        bin[(int)(u * 16)]++;
    }
    CHECK_NEAR(sum / N, 0.5, 0.0044);
    /* 4096 a bin, standard deviation 62 */
    for (int i = 0; i < 16; i++) CHECK_NEAR(bin[i], N / 16, 5 * 62);
}

TEST(permutations)
{
    uint32_t order[100], other[100];
    int at_zero[100] = {0};
    for (uint64_t seed = 0; seed < 2000; seed++) {
        uint8_t seen[100] = {0};
        random_permutation(seed, RANDOM_SHUFFLE_PAIR, 100, order);
        for (int i = 0; i < 100; i++) seen[order[i]]++;
        for (int i = 0; i < 100; i++) CHECK_EQ(seen[i], 1);
        at_zero[order[0]]++;
    }
    /* each value stands first 20 times, standard deviation 4.4 */
    for (int i = 0; i < 100; i++) CHECK_NEAR(at_zero[i], 20, 5 * 4.5);
    random_permutation(5, RANDOM_SHUFFLE_IMAGE, 100, order);
    random_permutation(5, RANDOM_SHUFFLE_IMAGE, 100, other);
    CHECK(!memcmp(order, other, sizeof order));
    random_permutation(5, RANDOM_SHUFFLE_IMAGE + 1, 100, other);
    CHECK(memcmp(order, other, sizeof order));
    random_permutation(5, RANDOM_SHUFFLE_IMAGE, 0, order); /* nothing to do, nothing written */
    random_permutation(5, RANDOM_SHUFFLE_IMAGE, 1, other);
    CHECK_EQ(other[0], 0);
}

TEST_MAIN
