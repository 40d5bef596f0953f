/* Numbers and keys, a stretch at a time; see roll.h. */
#include "featurize/roll.h"

#include <string.h>

#include "featurize/route.h"
#include "store/memory.h"

static int refuse_without_bytes(const struct roll *r, struct error *err)
{
    uint64_t n_without = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct corpus_image image;
        int rc = corpus_get_image(r->corpus, shard_number(&r->shard, i), &image, err);
        if (rc < 0 && rc != ERR_NOT_FOUND) return rc;
        n_without += rc == 0 && image.n_bytes == 0;
    }
    if (n_without == 0) return 0;
    return error_set(err, ERR_USAGE,
                     "%llu of %u images were registered without their files (--no-images), so that "
                     "the teacher cannot see them: "
                     "import their features, or ask for text taps only",
                     (unsigned long long)n_without, r->n);
}

int roll_open(struct roll *r, struct corpus *c, const struct featurize_options *o, bool is_text,
              struct error *err)
{
    *r = (struct roll){.corpus = c, .shard = o->shard, .is_text = is_text};
    r->n = shard_n(&r->shard, is_text ? corpus_n_captions(c) : corpus_n_images(c));
    if (!is_text) return refuse_without_bytes(r, err);
    return o->n_languages ? route_captions(c, o->languages, o->n_languages, &r->wanted, err) : 0;
}

void roll_release(struct roll *r)
{
    memory_free(r->wanted);
    *r = (struct roll){0};
}

static int key_of(const struct roll *r, uint32_t number, uint8_t key[DIGEST_BYTES],
                  struct error *err)
{
    struct corpus_image image;
    const char *text;
    size_t n_text;
    if (r->is_text) return corpus_caption_text(r->corpus, number, &text, &n_text, key, err);
    int rc = corpus_get_image(r->corpus, number, &image, err);
    if (rc == 0) memcpy(key, image.key, DIGEST_BYTES);
    return rc;
}

int roll_list(const struct roll *r, uint32_t first, uint32_t end, uint32_t *number,
              uint8_t (*key)[DIGEST_BYTES], struct error *err)
{
    int n = 0;
    for (uint32_t i = first; i < end && i < r->n; i++) {
        number[n] = shard_number(&r->shard, i);
        if (r->wanted && !r->wanted[number[n]]) continue;
        int rc = key_of(r, number[n], key[n], err);
        if (rc < 0 && rc != ERR_NOT_FOUND) return rc;
        n += rc == 0;
    }
    return n;
}
