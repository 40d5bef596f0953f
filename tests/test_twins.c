/* The search of twins against the comparison of all pairs; skew, threads, order, failures.
 * covers: forest
 */
#include "tests/check.h"

#include "ingest/forest.h"
#include "ingest/twins.h"
#include "store/memory.h"

enum { MAX_N = 30000, MAX_EDGES = 30000 };

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct edges {
    uint32_t a[MAX_EDGES], b[MAX_EDGES];
    int distance[MAX_EDGES];
    int n, stop_at;
};

static int keep(void *ctx, uint32_t a, uint32_t b, int distance)
{
    struct edges *e = ctx;
    if (e->stop_at && e->n == e->stop_at) return ERR_STOPPED;
    if (e->n < MAX_EDGES) e->a[e->n] = a, e->b[e->n] = b, e->distance[e->n] = distance;
    e->n++;
    return 0;
}

static struct likeness sets[2][MAX_N];
static uint8_t known[MAX_N];
static uint32_t group[2][MAX_N], brute[MAX_N];
static struct edges edges[2];

static uint32_t top(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i) i = parent[i];
    return i;
}

/* All pairs; groups by smallest number; returns how many pairs are twins. */
static uint64_t brute_force(const struct likeness *l, const uint8_t *has, uint32_t n, int max)
{
    uint64_t n_pairs = 0;
    for (uint32_t i = 0; i < n; i++) brute[i] = i;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++) {
            if (has && (!has[i] || !has[j])) continue;
            if (likeness_distance(&l[i], &l[j]) > max) continue;
            n_pairs++;
            uint32_t a = top(brute, i), b = top(brute, j);
            if (a < b)
                brute[b] = a;
            else
                brute[a] = b;
        }
    for (uint32_t i = 0; i < n; i++) brute[i] = top(brute, i);
    return n_pairs;
}

/* Families of near signatures among unrelated ones. spread: bits and colour levels moved at most. */
static void families(struct likeness *l, uint32_t n, uint32_t n_families, uint32_t spread)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t keep_state = state;
        bool member = draw() % 2;
        if (member) state = 1000 + draw() % n_families;
        l[i].hash = draw();
        for (int k = 0; k < 8; k++) l[i].colour[k] = (uint8_t)(100 + draw() % 50);
        if (!member) continue;
        state = keep_state + 77;
        for (uint32_t k = draw() % (spread + 1); k > 0; k--) {
            l[i].hash ^= (uint64_t)1 << draw() % 64;
            l[i].colour[draw() % 8]++;
        }
    }
}

static void compare_with_brute_force(const struct likeness *l, const uint8_t *has, uint32_t n,
                                     int max)
{
    struct error err = {0};
    struct twins_options o = {.max_distance = max, .n_threads = 2};
    struct twins_counts c;
    struct edges *e = &edges[0];
    *e = (struct edges){0};
    CHECK_OK(twins_find(l, has, n, &o, group[0], &c, keep, e, &err), &err);
    CHECK_EQ(c.n_pairs, brute_force(l, has, n, max));
    CHECK(!memcmp(group[0], brute, n * sizeof *brute));
    uint64_t n_grouped = 0, n_groups = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t size = 0;
        if (brute[i] != i) continue;
        for (uint32_t j = i; j < n; j++) size += brute[j] == i;
        n_groups += size > 1;
        n_grouped += size > 1 ? size : 0;
    }
    CHECK_EQ(c.n_groups, n_groups);
    CHECK_EQ(c.n_grouped, n_grouped);
    CHECK_EQ(e->n, n_grouped - n_groups);
    for (uint32_t i = 0; i < n; i++) brute[i] = i;
    for (int k = 0; k < e->n; k++) {
        CHECK(e->a[k] < e->b[k]);
        CHECK_EQ(e->distance[k], likeness_distance(&l[e->a[k]], &l[e->b[k]]));
        CHECK(e->distance[k] <= max);
        CHECK(k == 0 || e->a[k] > e->a[k - 1] || (e->a[k] == e->a[k - 1] && e->b[k] > e->b[k - 1]));
        uint32_t a = top(brute, e->a[k]), b = top(brute, e->b[k]);
        CHECK(a != b); /* no circle */
        brute[a > b ? a : b] = a < b ? a : b;
    }
    for (uint32_t i = 0; i < n; i++) CHECK_EQ(top(brute, i), group[0][i]);
}

TEST(the_search_finds_what_all_pairs_find)
{
    for (int max = 0; max <= TWINS_MAX_DISTANCE; max += max < 4 ? 1 : 3) {
        state = (uint64_t)max;
        families(sets[0], 1500, 60, 8);
        compare_with_brute_force(sets[0], NULL, 1500, max);
    }
}

TEST(bits_at_every_place_are_found)
{
    /* one pair each: two, four, ... bits of one band, or spread evenly over the bands */
    state = 5;
    for (int max = 0; max <= TWINS_MAX_DISTANCE; max++)
        for (int bits = 0; bits <= 16; bits++)
            for (int spread = 0; spread < 5; spread++) {
                struct error err = {0};
                struct twins_options o = {.max_distance = max, .n_threads = 1};
                struct likeness l[2] = {{.hash = draw()}};
                l[1] = l[0];
                for (int k = 0; k < bits; k++)
                    l[1].hash ^= (uint64_t)1 << (spread < 4 ? 16 * spread + k : 17 * k % 64);
                CHECK_OK(twins_find(l, NULL, 2, &o, group[0], NULL, NULL, NULL, &err), &err);
                CHECK_EQ(group[0][1], 2 * bits <= max ? 0 : 1);
            }
}

TEST(skewed_bands_are_searched_exactly)
{
    /* a thousand and a half signatures that agree in three bands, and differ in few bits at that: more
     * edges than the workers' buffers hold, so that they stop and go on */
    state = 7;
    for (uint32_t i = 0; i < 3000; i++) {
        sets[0][i] = (struct likeness){.hash = 0x123456789abc0000u | (i % 2 ? draw() & 0x3ff : 0)};
        if (i % 2 == 0) sets[0][i].hash = draw() << 16 | 0x4242;
        sets[0][i].colour[3] = (uint8_t)(draw() % 4);
    }
    compare_with_brute_force(sets[0], NULL, 3000, 20);
}

TEST(the_tree_has_the_least_distances)
{
    /* a row 0 - 1 - 2 - 3 with a short way round from 0 to 3: the long edge is not needed */
    struct error err = {0};
    struct twins_options o = twins_defaults();
    struct likeness l[4] = {{.colour = {0}}, {.colour = {9}}, {.colour = {20}}, {.colour = {2}}};
    edges[0] = (struct edges){0};
    CHECK_OK(twins_find(l, NULL, 4, &o, group[0], NULL, keep, &edges[0], &err), &err);
    CHECK_EQ(edges[0].n, 3);
    int want[3][3] = {{0, 3, 2}, {1, 2, 11}, {1, 3, 7}};
    for (int k = 0; k < 3; k++) {
        CHECK_EQ(edges[0].a[k], want[k][0]);
        CHECK_EQ(edges[0].b[k], want[k][1]);
        CHECK_EQ(edges[0].distance[k], want[k][2]);
    }
}

TEST(many_copies_are_one_node)
{
    /* a quarter of a thousand million pairs, of which none is compared */
    struct error err = {0};
    struct twins_options o = twins_defaults();
    struct twins_counts c;
    for (uint32_t i = 0; i < MAX_N; i++)
        sets[0][i] = (struct likeness){.hash = i % 3 ? 0 : 0xffff0000ffff0000u};
    edges[0] = (struct edges){0};
    CHECK_OK(twins_find(sets[0], NULL, MAX_N, &o, group[0], &c, keep, &edges[0], &err), &err);
    CHECK_EQ(c.n_distinct, 2);
    CHECK_EQ(c.n_pairs, 10000ull * 9999 / 2 + 20000ull * 19999 / 2);
    CHECK_EQ(c.n_groups, 2);
    CHECK_EQ(c.n_grouped, MAX_N);
    CHECK_EQ(c.n_largest, 20000);
    CHECK_EQ(edges[0].n, MAX_N - 2);
    for (uint32_t i = 0; i < MAX_N; i++) CHECK_EQ(group[0][i], i % 3 ? 1 : 0);
}

TEST(threads_change_nothing)
{
    state = 11;
    families(sets[0], 20000, 300, 9);
    for (int t = 0; t < 2; t++) {
        struct error err = {0};
        struct twins_options o = {.max_distance = 24, .n_threads = t ? 7 : 1};
        edges[t] = (struct edges){0};
        CHECK_OK(twins_find(sets[0], NULL, 20000, &o, group[t], NULL, keep, &edges[t], &err), &err);
    }
    CHECK(edges[0].n > 5000);
    CHECK(!memcmp(group[0], group[1], sizeof *group[0] * 20000));
    CHECK(!memcmp(&edges[0], &edges[1], sizeof edges[0]));
}

TEST(order_changes_the_numbers_only)
{
    enum { N = 8000 };
    struct error err = {0};
    struct twins_options o = twins_defaults();
    struct twins_counts c[2];
    static uint32_t at[N]; /* where picture i of the first set stands in the second */
    state = 13;
    families(sets[0], N, 100, 9);
    for (uint32_t i = 0; i < N; i++) at[i] = i;
    for (uint32_t i = N - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(draw() % (i + 1)), x = at[i];
        at[i] = at[j], at[j] = x;
    }
    for (uint32_t i = 0; i < N; i++) sets[1][at[i]] = sets[0][i];
    for (int k = 0; k < 2; k++)
        CHECK_OK(twins_find(sets[k], NULL, N, &o, group[k], &c[k], NULL, NULL, &err), &err);
    CHECK(!memcmp(&c[0], &c[1], sizeof c[0]));
    CHECK(c[0].n_groups > 50);
    for (uint32_t i = 0; i < N; i++) CHECK_EQ(group[1][at[i]], group[1][at[group[0][i]]]);
    for (uint32_t i = 0; i < N; i++) CHECK(group[0][i] <= i && group[1][i] <= i);
}

TEST(pictures_without_a_likeness_stay_alone)
{
    state = 17;
    families(sets[0], 1000, 20, 5);
    for (int i = 0; i < 1000; i++) known[i] = draw() % 4 != 0;
    memset(&sets[0][10], 0, 20 * sizeof sets[0][0]);
    memset(&known[10], 0, 20);
    compare_with_brute_force(sets[0], known, 1000, 20);
    for (uint32_t i = 10; i < 30; i++) CHECK_EQ(group[0][i], i);
}

TEST(none_and_one)
{
    struct error err = {0};
    struct twins_options o = twins_defaults();
    struct twins_counts c;
    uint8_t none[3] = {0};
    struct likeness l[3] = {{0}};
    CHECK_OK(twins_find(NULL, NULL, 0, &o, group[0], &c, keep, &edges[0], &err), &err);
    CHECK_EQ(c.n_largest, 0);
    CHECK_OK(twins_find(l, NULL, 1, &o, group[0], &c, NULL, NULL, &err), &err);
    CHECK_EQ(group[0][0], 0);
    CHECK_EQ(c.n_known, 1);
    CHECK_EQ(c.n_grouped, 0);
    CHECK_OK(twins_find(l, none, 3, &o, group[0], &c, NULL, NULL, &err), &err);
    CHECK_EQ(c.n_known, 0);
    CHECK_EQ(group[0][2], 2);
}

TEST(a_visitor_can_stop_the_search)
{
    struct error err = {0};
    struct twins_options o = twins_defaults();
    memset(sets[0], 0, 100 * sizeof sets[0][0]);
    edges[0] = (struct edges){.stop_at = 5};
    CHECK_EQ(twins_find(sets[0], NULL, 100, &o, group[0], NULL, keep, &edges[0], &err),
             ERR_STOPPED);
    CHECK_EQ(edges[0].n, 5);
}

TEST(nonsense_is_refused)
{
    struct error err = {0};
    struct twins_options o = {.max_distance = TWINS_MAX_DISTANCE + 1};
    CHECK_EQ(twins_find(sets[0], NULL, 3, &o, group[0], NULL, NULL, NULL, &err), ERR_USAGE);
    CHECK_HAS(err.text, "a distance of twins of at most 32 makes no sense; 0 to 31 do");
    o.max_distance = -1;
    CHECK_EQ(twins_find(sets[0], NULL, 3, &o, group[0], NULL, NULL, NULL, &err), ERR_USAGE);
    o.max_distance = 20;
    CHECK_EQ(twins_find(sets[0], NULL, UINT32_MAX, &o, group[0], NULL, NULL, NULL, &err),
             ERR_USAGE);
}

TEST(memory_running_out_is_said)
{
    struct error err = {0};
    struct twins_options o = twins_defaults();
    state = 19;
    families(sets[0], 500, 10, 5);
    int n_failed = 0, rc = ERR_NOMEM;
    for (int nth = 1; rc < 0; nth++) {
        edges[0] = (struct edges){0};
        memory_fail_at(nth);
        rc = twins_find(sets[0], NULL, 500, &o, group[0], NULL, keep, &edges[0], &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
        n_failed += rc < 0;
        if (rc < 0) CHECK_EQ(edges[0].n, 0);
    }
    CHECK(n_failed >= 12);
}

TEST(a_forest_forgets_only_what_it_does_not_need)
{
    /* all edges of 600 nodes, two and a half times what it holds at once; the distance of i and j
     * is that of their highest differing bit, so that the least tree is known: each node i > 0 hangs
     * on a smaller one by its lowest set bit's */
    struct error err = {0};
    struct forest f = {0};
    uint64_t total = 0, want = 0;
    CHECK_OK(forest_init(&f, 600, &err), &err);
    for (uint32_t i = 0; i < 600; i++)
        for (uint32_t j = i + 1; j < 600; j++) {
            int bit = 31 - __builtin_clz(i ^ j);
            forest_add(&f, (struct forest_edge){j, i, (uint8_t)(bit * 20)});
        }
    forest_settle(&f);
    CHECK_EQ(f.n_edges, 599);
    for (size_t k = 0; k < f.n_edges; k++) {
        total += f.edges[k].distance;
        CHECK(k == 0 || f.edges[k].distance >= f.edges[k - 1].distance);
    }
    for (uint32_t i = 1; i < 600; i++) want += (uint64_t)__builtin_ctz(i) * 20;
    CHECK_EQ(total, want);
    for (uint32_t i = 0; i < 600; i++) CHECK_EQ(forest_root(&f, i), 0);
    forest_release(&f);
}

TEST_MAIN
