/* The search of near-duplicates: against a scan of all pairs at 20,000 pictures, and what a million
 * cost, on one thread and on two. Two kinds of pictures: drawn at random with one in ten a near copy
 * of another, and skewed besides: a hundred thousand copies of one, twenty thousand different ones
 * that agree in a whole band, ten thousand flat ones. */
#include "tests/bench.h"

#include <sys/resource.h>

#include "ingest/twins.h"

enum { FEW = 20000, MANY = 1000000 };

static struct likeness *pictures;
static uint32_t *group;
static uint64_t state;
static uint64_t pairs_of_scan, pairs_of_search;

static uint64_t draw(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void make(uint32_t n, bool skewed)
{
    state = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct likeness *l = &pictures[i];
        l->hash = draw();
        for (int k = 0; k < 8; k++) l->colour[k] = (uint8_t)(112 + draw() % 32);
        if (i > 0 && i % 10 == 0) {
            *l = pictures[draw() % i];
            for (int k = 0; k < 5; k++) l->hash ^= (uint64_t)1 << draw() % 64;
        }
        if (!skewed) continue;
        if (i % 10 == 1) *l = pictures[0];
        if (i % 50 == 2) l->hash = l->hash << 16 | 0x5a5a;
        if (i % 100 == 3) l->hash = ((uint64_t)1 << l->hash % 64) - 1;
    }
}

static void search(uint32_t n, int n_threads, struct twins_counts *c)
{
    struct error err = {0};
    struct twins_options o = twins_defaults();
    o.n_threads = n_threads;
    bench_must(twins_find(pictures, NULL, n, &o, group, c, NULL, NULL, &err) == 0, &err);
}

static double ours(void *ctx)
{
    (void)ctx;
    struct twins_counts c;
    double start = bench_cpu();
    search(FEW, 1, &c);
    pairs_of_search = c.n_pairs;
    return bench_cpu() - start;
}

static double scan(void *ctx)
{
    const struct twins_options *o = ctx;
    double start = bench_cpu();
    pairs_of_scan = 0;
    for (uint32_t i = 0; i < FEW; i++)
        for (uint32_t j = i + 1; j < FEW; j++) {
            if (2 * __builtin_popcountll(pictures[i].hash ^ pictures[j].hash) > o->max_distance)
                continue;
            pairs_of_scan += likeness_distance(&pictures[i], &pictures[j]) <= o->max_distance;
        }
    return bench_cpu() - start;
}

static void million(const char *name, bool skewed)
{
    struct twins_counts c;
    struct rusage use;
    make(MANY, skewed);
    for (int t = 1; t <= 2; t++) {
        double wall = bench_wall(), cpu = bench_cpu();
        search(MANY, t, &c);
        printf("  %-40s %d thread%s %6.2f s (processor %.2f s)\n", name, t, t > 1 ? "s" : " ",
               bench_wall() - wall, bench_cpu() - cpu);
    }
    getrusage(RUSAGE_SELF, &use);
    printf("    %llu different, %llu pairs, %llu groups, largest %llu; %ld MB at most so far\n",
           (unsigned long long)c.n_distinct, (unsigned long long)c.n_pairs,
           (unsigned long long)c.n_groups, (unsigned long long)c.n_largest, use.ru_maxrss / 1024);
}

int main(void)
{
    struct error err = {0};
    struct twins_options o = twins_defaults();
    pictures = memory_array(MANY, sizeof *pictures, MEMORY_MAX_TENSOR, &err);
    group = memory_array(MANY, sizeof *group, MEMORY_MAX_TENSOR, &err);
    bench_must(pictures && group, &err);
    make(FEW, false);
    struct bench_entry e[] = {
        {.name = "clipstill", .work = FEW, .run = ours},
        {.name = "all pairs, popcount", .work = FEW, .run = scan, .ctx = &o, .goal = ">= 5"}};
    bench_table("twins among 20,000 pictures, one thread", "pictures/s", e, 2, 5);
    printf("  pairs of both: %s   goal equal\n",
           pairs_of_scan == pairs_of_search ? "equal" : "DIFFERENT");
    bench_load("twins among 1,000,000 pictures (their signatures and groups alone are 20 MB)");
    million("random, one in ten a near copy", false);
    million("skewed besides", true);
    memory_free(pictures);
    memory_free(group);
    return 0;
}
