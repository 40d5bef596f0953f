/* What a disk may hold after the power has failed: made out of a log of tests/faultio.c.
 *
 *     powerloss LOG FOLDER INTO ops            how many operations the log has
 *     powerloss LOG FOLDER INTO heads N        how many heads were written (commits) and names changed before operation N
 *     powerloss LOG FOLDER INTO N SEED         the files below FOLDER, as they may be, into INTO
 *
 * Operations before N happened. Those on a file before its last sync before N are on the disk; of later
 * ones any subset may be (SEED 0: all), in pieces of a disk's page, 4096 bytes. Writes through O_DSYNC,
 * LMDB's head, are on the disk at once. Names (renames, removals) are journalled in order, by the
 * file system, up to any point behind the last sync: SEED 0: all. A log's record: kind, u32 lengths of
 * path and data, u64 offset, path, data.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_OPS 100000
#define PIECE   4096

struct op {
    char kind;
    uint32_t n_path, n;
    uint64_t offset;
    const char *path, *data;
};

static struct op ops[MAX_OPS];
static int n_ops;

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) exit(2);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n + 1);
    if (!bytes || fread(bytes, 1, *n, f) != *n) exit(2);
    fclose(f);
    return bytes;
}

static void parse(const char *p, size_t n)
{
    for (const char *end = p + n; p < end; n_ops++) {
        struct op *o = &ops[n_ops];
        if (n_ops == MAX_OPS) exit(2);
        o->kind = *p;
        memcpy(&o->n_path, p + 1, 4);
        memcpy(&o->n, p + 5, 4);
        memcpy(&o->offset, p + 9, 8);
        o->path = p + 17;
        o->data = o->path + o->n_path;
        p = o->data + o->n;
    }
}

static int same_path(const struct op *a, const struct op *b)
{
    return a->n_path == b->n_path && !memcmp(a->path, b->path, a->n_path);
}

/* Whether operation i is behind the last sync of its file before `last`. */
static int is_loose(int i, int last)
{
    if (ops[i].kind == 'W') return 0;
    for (int k = i + 1; k < last; k++)
        if (ops[k].kind == 's' && same_path(&ops[k], &ops[i])) return 0;
    return 1;
}

static uint64_t state;

static int coin(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 63;
}

/* INTO + what stands behind FOLDER in a path. */
static void place(const char *path, size_t n_path, const char *folder, const char *into,
                  char out[4096])
{
    snprintf(out, 4096, "%s%.*s", into, (int)(n_path - strlen(folder)), path + strlen(folder));
    for (char *p = out + strlen(into) + 1; (p = strchr(p, '/')); p++) { /* folders are there */
        *p = 0;
        mkdir(out, 0777);
        *p = '/';
    }
}

static void apply(const struct op *o, int loose, const char *folder, const char *into)
{
    char path[4096], to[4096];
    place(o->path, o->n_path, folder, into, path);
    if (o->kind == 'r') {
        place(o->data, strlen(o->data), folder, into, to);
        rename(path, to);
        return;
    }
    if (o->kind == 'u') unlink(path);
    if (o->kind != 'w' && o->kind != 'W' && o->kind != 'c') return;
    int fd = open(path, O_RDWR | O_CREAT, 0666);
    if (fd < 0) exit(2);
    if (o->kind == 'c' && (!loose || coin()) && ftruncate(fd, (off_t)o->offset) < 0) exit(2);
    for (uint32_t at = 0; o->kind != 'c' && at < o->n; at += PIECE) {
        uint32_t n = o->n - at < PIECE ? o->n - at : PIECE;
        if (loose && coin()) continue;
        if (pwrite(fd, o->data + at, n, (off_t)(o->offset + at)) != (ssize_t)n) exit(2);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    size_t n;
    if (argc < 5) return 2;
    char *log = read_file(argv[1], &n);
    parse(log, n);
    if (!strcmp(argv[4], "ops")) {
        printf("%d\n", n_ops);
        return 0;
    }
    int is_heads = !strcmp(argv[4], "heads");
    int last = atoi(argv[is_heads ? 5 : 4]), n_heads = 0;
    if (last > n_ops) last = n_ops;
    for (int i = 0; i < last; i++) n_heads += ops[i].kind == 'W' || ops[i].kind == 'r';
    if (is_heads) {
        printf("%d\n", n_heads);
        return 0;
    }
    uint64_t seed = strtoull(argv[5], NULL, 10);
    state = seed * 2654435761u + (uint64_t)last;
    for (int i = 0; i < last; i++) apply(&ops[i], seed && is_loose(i, last), argv[2], argv[3]);
    return 0;
}
