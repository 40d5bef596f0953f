/* Rows out of large sources, format by format, against reading the same bytes in blocks; and the memory
 * that a reader takes over the whole of it, which must not grow with the source. */
#include "tests/bench.h"

#include <malloc.h>

#include "ingest/source.h"
#include "tests/packkit.h"

struct job {
    char path[200];
    size_t n_rows, n_bytes;
    long grown_kib; /* RssAnon, the most while reading over before */
};

static long rss_anon_kib(void)
{
    char line[200];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1) break;
    if (f) fclose(f);
    return kib;
}

static double rows(void *context)
{
    struct job *j = context;
    struct error err = {0};
    struct source_options o = source_defaults();
    struct source *source = NULL;
    struct row row;
    size_t n = 0;
    malloc_trim(0);
    long before = rss_anon_kib();
    double start = bench_cpu();
    int rc = source_open(&source, j->path, &o, NULL, &err);
    while (rc >= 0 && (rc = source_next(source, &row, &err)) > 0) {
        if (row.reason) rc = error_set(&err, ERR_DATA, "%s: %s", row.reason, row.message);
        if (n++ % 65536) continue;
        long grown = rss_anon_kib() - before;
        if (grown > j->grown_kib) j->grown_kib = grown;
    }
    double seconds = bench_cpu() - start;
    source_close(source);
    bench_must(rc == 0 && n == j->n_rows, &err);
    return seconds;
}

static double blocks(void *context)
{
    static char block[1 << 16];
    const struct job *j = context;
    size_t n, sum = 0;
    double start = bench_cpu();
    FILE *f = fopen(j->path, "rb");
    while (f && (n = fread(block, 1, sizeof block, f)) > 0) sum += n;
    if (f) fclose(f);
    double seconds = bench_cpu() - start;
    if (sum != j->n_bytes) exit(1);
    return seconds > 1e-6 ? seconds : 1e-6;
}

static const char caption[] = "two people on bicycles wait at a crossing while a tram goes by";

static void make_tsv(struct pack *p, size_t n)
{
    pack_text(p, "image\tcaption\tlang\n");
    for (size_t i = 0; i < n; i++) pack_text(p, "images/%09zu.jpg\t%s %zu\ten\n", i, caption, i);
}

static void make_csv(struct pack *p, size_t n)
{
    pack_text(p, "image,caption,lang\n");
    for (size_t i = 0; i < n; i++)
        pack_text(p, "images/%09zu.jpg,\"%s, \"\"%zu\"\"\",en\n", i, caption, i);
}

static void make_jsonl(struct pack *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pack_text(p,
                  "{\"image\": \"images/%09zu.jpg\", \"caption\": \"%s %zu\", \"lang\": \"en\"}\n",
                  i, caption, i);
}

/* Five captions an image, the images in another order than the captions. */
static void make_coco(struct pack *p, size_t n)
{
    size_t n_images = n / 5;
    pack_text(p, "{\"info\": {\"year\": 2014}, \"images\": [");
    for (size_t i = 0; i < n_images; i++)
        pack_text(p,
                  "%s{\"license\": 5, \"file_name\": \"COCO_%012zu.jpg\", \"coco_url\": "
                  "\"http://images.cocodataset.org/%012zu.jpg\", \"height\": 360, \"width\": 640, "
                  "\"date_captured\": \"2013-11-14 11:18:45\", \"id\": %zu}",
                  i ? ", " : "", i, i, i);
    pack_text(p, "], \"annotations\": [");
    for (size_t i = 0; i < n; i++)
        pack_text(p, "%s{\"image_id\": %zu, \"id\": %zu, \"caption\": \"%s %zu\"}", i ? ", " : "",
                  i * 7919 % n_images, i, caption, i);
    pack_text(p, "]}");
}

static void make_karpathy(struct pack *p, size_t n)
{
    pack_text(p, "{\"images\": [");
    for (size_t i = 0; i < n; i++)
        pack_text(
            p,
            "%s{\"filepath\": \"val2014\", \"sentids\": [%zu], \"filename\": \"%012zu.jpg\", "
            "\"imgid\": %zu, \"split\": \"train\", \"sentences\": [{\"tokens\": [\"two\", "
            "\"people\", \"on\", \"bicycles\"], \"raw\": \"%s\", \"sentid\": %zu}], \"cocoid\": "
            "%zu}",
            i ? ", " : "", i, i, i, caption, i, i);
    pack_text(p, "], \"dataset\": \"coco\"}");
}

static void make_flickr(struct pack *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pack_text(p, "%09zu.jpg#%zu\t%s %zu\n", i / 5, i % 5, caption, i);
}

/* A line of 16 KB a picture. */
static void make_cnclip(struct pack *p, size_t n)
{
    static char digits[16385];
    memset(digits, 'A', 16384);
    for (size_t i = 0; i < n; i++) {
        pack_text(p, "%zu\t/9j/", i);
        pack_add(p, digits, 16384);
        pack_text(p, "\n");
    }
}

/* Pictures of 2 KB, each with its caption. */
static void make_tar(struct pack *p, size_t n)
{
    static char picture[2048];
    char name[40];
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%09zu.jpg", i);
        pack_member(p, name, '0', picture, sizeof picture);
        snprintf(name, sizeof name, "%09zu.txt", i);
        pack_member(p, name, '0', caption, sizeof caption - 1);
    }
    pack_end(p);
}

/* All pictures, then all captions, which wait in a file. */
static void make_apart(struct pack *p, size_t n)
{
    static char picture[2048];
    char name[40];
    for (size_t i = 0; i < 2 * n; i++) {
        snprintf(name, sizeof name, "%09zu.%s", i % n, i < n ? "jpg" : "txt");
        pack_member(p, name, '0', i < n ? picture : caption,
                    i < n ? sizeof picture : sizeof caption - 1);
    }
    pack_end(p);
}

static void bench(const char *name, void (*make)(struct pack *, size_t), size_t n_made,
                  size_t n_rows)
{
    struct job j = {.n_rows = n_rows};
    struct pack p = {0};
    struct error err = {0};
    char title[100];
    snprintf(j.path, sizeof j.path, "%s/%s", bench_folder_path(), name);
    make(&p, n_made);
    j.n_bytes = p.n;
    bench_must(file_write(j.path, p.bytes, p.n, &err) == 0, &err);
    pack_free(&p);
    snprintf(title, sizeof title, "%s: %zu rows, %zu MB", name, n_rows, j.n_bytes / 1000000);
    struct bench_entry e[] = {
        {.name = "clipstill", .work = (double)n_rows, .run = rows, .ctx = &j},
        {.name = "blocks alone", .work = (double)n_rows, .run = blocks, .ctx = &j}};
    bench_table(title, "rows/s", e, 2, 3);
    printf("  RssAnon grows by %ld KiB while reading\n", j.grown_kib);
    unlink(j.path);
}

/* bench_source [THOUSANDS OF ROWS] */
int main(int argc, char **argv)
{
    size_t n = (argc > 1 ? strtoul(argv[1], NULL, 10) : 100) * 1000;
    bench_folder();
    bench("m.tsv", make_tsv, n, n);
    bench("m.csv", make_csv, n, n);
    bench("m.jsonl", make_jsonl, n, n);
    bench("captions.json", make_coco, n, n);
    bench("dataset.json", make_karpathy, n, n);
    bench("results.token", make_flickr, n, n);
    bench("x_imgs.tsv", make_cnclip, n / 50, n / 50);
    bench("side_by_side.tar", make_tar, n / 50, n / 50);
    bench("apart.tar", make_apart, n / 50, n / 25);
    return 0;
}
