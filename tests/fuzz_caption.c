/* Any bytes as a caption and as a language tag: what is accepted is stable under the rule and never
 * too long, and its language has a canonical tag. The first byte chooses the rule: bit 0 NFKC, bit 1
 * entities, the rest the limit. */
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "ingest/langid.h"
#include "store/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_size(const struct caption *c, uint32_t max_chars)
{
    struct caption_measure m = {0};
    if (c->n == 0 || c->n > CAPTION_MAX_BYTES || strlen(c->text) != c->n) abort();
    if (c->text[0] == ' ' || c->text[c->n - 1] == ' ' || strstr(c->text, "  ")) abort();
    if (caption_measure(c->text, c->n, &m, NULL) < 0) abort(); /* no UTF-8 */
    if (m.n_clusters == 0 || m.n_clusters > m.n_code_points || m.n_code_points > c->n) abort();
    if (max_chars > 0 && m.n_clusters > max_chars) abort();
    if (max_chars > 0 && c->is_cut && m.n_clusters + 1 < max_chars) abort();
}

static void check_language(const struct caption *c)
{
    char tag[CAPTION_MAX_LANGUAGE], canonical[CAPTION_MAX_LANGUAGE];
    bool named = langid_detect(c->text, c->n, tag, sizeof tag);
    if (named != (strcmp(tag, "und") != 0)) abort();
    if (caption_language(tag, canonical, sizeof canonical, NULL) < 0 || strcmp(tag, canonical))
        abort();
}

static void check_caption(struct caption_rule rule, const char *text, size_t n)
{
    struct caption c, again;
    struct caption_fault fault;
    int rc = caption_normalise(&rule, text, n, &c, &fault, NULL);
    if (rc < 0 && (c.text || !fault.reason || fault.byte_offset > n)) abort();
    if (rc < 0) return;
    check_size(&c, rule.max_chars);
    rule.entities = false; /* they are decoded once */
    if (caption_normalise(&rule, c.text, c.n, &again, &fault, NULL) < 0) abort();
    if (again.is_cut || again.n != c.n || memcmp(c.text, again.text, c.n)) abort();
    check_language(&c);
    caption_release(&c);
    caption_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 0)
        check_caption((struct caption_rule){.nfkc = data[0] & 1,
                                            .entities = data[0] >> 1 & 1,
                                            .max_chars = data[0] >> 2},
                      (const char *)data + 1, n - 1);
    char *text = memory_copy(data, n, NULL), tag[CAPTION_MAX_LANGUAGE], twice[CAPTION_MAX_LANGUAGE],
         shown[40];
    if (!text) return 0;
    if (caption_language(text, tag, sizeof tag, NULL) == 0 &&
        (caption_language(tag, twice, sizeof twice, NULL) < 0 || strcmp(tag, twice)))
        abort();
    caption_printable(text, shown, sizeof shown);
    if (strlen(shown) >= sizeof shown || strchr(shown, '\n')) abort();
    memory_free(text);
    return 0;
}
