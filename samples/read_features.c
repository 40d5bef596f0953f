/* Reads a clipstill cache through the installed library: what <clipstill.h> is for, from outside the tree.
 *
 *     cc -o read_features read_features.c $(pkg-config --cflags --libs clipstill)
 *     ./read_features CACHE                  # what the corpus holds: pairs with the digests' first digits
 *     ./read_features CACHE SET [VIEW]       # a line a vector: key, norm, values
 *
 * Exit code 0, or 1 with one sentence on stderr.
 */
#include <clipstill.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_key(const uint8_t key[CLIPSTILL_KEY_BYTES], int n)
{
    for (int i = 0; i < n; i++) printf("%02x", key[i]);
}

static int print_pair(struct clipstill *c, const struct clipstill_pair *p,
                      struct clipstill_error *err)
{
    uint8_t key[CLIPSTILL_KEY_BYTES];
    const uint8_t *bytes;
    const char *text;
    size_t n_bytes, n_text;
    int rc = clipstill_image_key(c, p->image, key, err);
    if (rc == 0) rc = clipstill_image_bytes(c, p->image, &bytes, &n_bytes, err);
    if (rc == 0) rc = clipstill_caption_text(c, p->caption, &text, &n_text, err);
    if (rc < 0) return rc;
    print_key(key, CLIPSTILL_KEY_BYTES);
    printf("\t%zu\t%s\t%s\t%s\t%s\t%g\t%.*s\n", n_bytes, p->language, p->source, p->split,
           p->label ? p->label : "", (double)p->weight, (int)n_text, text);
    return 0;
}

static int print_pairs(struct clipstill *c, struct clipstill_error *err)
{
    struct clipstill_pair *pairs = NULL;
    size_t n = 0;
    int rc = clipstill_pairs(c, &pairs, &n, err);
    if (rc == 0)
        printf("%" PRIu32 " images, %" PRIu32 " captions, %zu pairs\n", clipstill_n_images(c),
               clipstill_n_captions(c), n);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = print_pair(c, &pairs[i], err);
    clipstill_free(pairs);
    return rc;
}

static int print_set(struct clipstill *c, const char *name, uint32_t view,
                     struct clipstill_error *err)
{
    struct clipstill_set *s = NULL;
    uint8_t key[CLIPSTILL_KEY_BYTES];
    float norm, *v = NULL;
    int rc = clipstill_set_open(c, name, &s, err);
    if (rc < 0) return rc;
    const struct clipstill_set_info *info = clipstill_set_info(s);
    printf("%s: %" PRIu64 " vectors of %" PRIu32 " values, storage %s\n", info->name,
           clipstill_set_count(s, view), info->dim, info->storage);
    v = malloc(info->dim * sizeof *v);
    if (!v) abort();
    for (uint32_t i = 0; (rc = clipstill_next(s, view, &i, key, v, &norm, err)) > 0; i++) {
        print_key(key, CLIPSTILL_KEY_BYTES);
        printf(" %a", (double)norm);
        for (uint32_t j = 0; j < info->dim; j++) printf(" %a", (double)v[j]);
        printf("\n");
    }
    free(v);
    clipstill_set_close(s);
    return rc;
}

int main(int argc, char **argv)
{
    struct clipstill *c = NULL;
    struct clipstill_error err;
    if (argc < 2) {
        fprintf(stderr, "usage: read_features CACHE [SET [VIEW]]\n");
        return 2;
    }
    int rc = clipstill_open(&c, argv[1], &err);
    if (rc == 0 && argc == 2) rc = print_pairs(c, &err);
    if (rc == 0 && argc > 2)
        rc = print_set(c, argv[2], argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0, &err);
    if (rc < 0) fprintf(stderr, "read_features: %s\n", err.text);
    clipstill_close(c);
    return rc < 0;
}
