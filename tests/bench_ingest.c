/* Whole ingests, from files to a durable corpus, against the same in Python with Pillow and py-lmdb, on
 * two threads against Python's one: photos as they are, and 12-megapixel ones that --max-side reduces.
 * Photos: ../shared/data/clothing where it is there, else samples/corpus. Wall clock, since both wait
 * for the disk. */
#include "ingest/ingest.h"
#include "tests/bench.h"

enum { ROUNDS = 3, N_LARGE = 24, SIDE = 1024 };

struct round {
    const char *folder, *manifest;
    uint32_t max_side_px;
};

static double ours(void *context)
{
    const struct round *r = context;
    struct ingest_options o = ingest_defaults();
    struct ingest_result result;
    struct error err = {0};
    char cache[200];
    snprintf(cache, sizeof cache, "%s/cache", r->folder);
    bench_must(file_remove_folder(cache, &err) == 0, &err);
    o.sources = &r->manifest;
    o.n_sources = 1;
    o.max_side_px = r->max_side_px;
    o.n_threads = 2;
    double start = bench_wall();
    int rc = ingest_run(cache, &o, NULL, &result, &err);
    double seconds = bench_wall() - start;
    bench_must(rc == 0, &err);
    return seconds;
}

/* A manifest of the same pictures with one caption each, for the folder of `photos`. The number of
 * rows; what lies in `out` names the pictures by absolute paths. */
static double one_row_a_picture(const char *photos, const char *out)
{
    char *root, *text = NULL, last[4096] = "", *line;
    size_t n = 0;
    double rows = 0;
    struct error err = {0};
    char *folder = file_folder_of(photos, &err);
    bench_must(folder && (root = realpath(folder, NULL)), &err);
    bench_must(file_read(photos, 1 << 30, &text, &n, &err) == 0, &err);
    FILE *f = fopen(out, "w");
    bench_must(f != NULL, &err);
    fprintf(f, "image\tcaption\n");
    strtok(text, "\n");
    while ((line = strtok(NULL, "\n"))) {
        size_t k = strcspn(line, "\t");
        if (k >= sizeof last || (strlen(last) == k && !strncmp(last, line, k))) continue;
        memcpy(last, line, k);
        last[k] = '\0';
        fprintf(f, "%s/%s\tpicture %.0f\n", root, last, rows++);
    }
    fclose(f);
    free(root);
    memory_free(folder);
    memory_free(text);
    return rows;
}

int main(void)
{
    static const char *const manifests[] = {"../shared/data/clothing/pairs.tsv",
                                            "samples/corpus/public.tsv"};
    const char *photos = manifests[file_exists(manifests[0]) ? 0 : 1], *folder = bench_folder();
    char large[200], manifest[200], line[64], ask[3][500];
    struct bench_peer peer;
    bench_peer_open(&peer, "Pillow", "tests/peer_ingest.py", (const char *const[]){folder, NULL});
    snprintf(large, sizeof large, "%s/large/pairs.tsv", folder);
    snprintf(manifest, sizeof manifest, "%s/pairs.tsv", folder);
    double rows = one_row_a_picture(photos, manifest);
    snprintf(ask[0], sizeof ask[0], "ingest\t%s", manifest);
    struct round whole = {folder, manifest, 0}, small = {folder, large, SIDE};
    struct bench_entry e[] = {
        {.name = "clipstill", .work = rows, .run = ours, .ctx = &whole},
        {.work = rows, .peer = &peer, .ask = ask[0], .goal = ">= 3"},
    };
    printf("photos: %.0f of %s\n", rows, photos);
    bench_table("ingest of photos as they are, two threads", "pictures/s", e, 2, ROUNDS);
    if (!peer.to) return 0;
    snprintf(ask[0], sizeof ask[0], "make\t%s\t%s/large\t%d", manifest, folder, N_LARGE);
    bench_peer_ask(&peer, ask[0], line, sizeof line);
    snprintf(ask[1], sizeof ask[1], "reduce\t%s\t%d", large, SIDE);
    snprintf(ask[2], sizeof ask[2], "draft\t%s\t%d", large, SIDE);
    struct bench_entry big[] = {
        {.name = "clipstill", .work = N_LARGE, .run = ours, .ctx = &small},
        {.work = N_LARGE, .peer = &peer, .ask = ask[1], .goal = ">= 5"},
        {.name = "with draft()", .work = N_LARGE, .peer = &peer, .ask = ask[2]},
    };
    bench_table("12-megapixel pictures reduced to 1,024 px, two threads", "pictures/s", big, 3,
                ROUNDS);
    bench_peer_close(&peer);
    return 0;
}
