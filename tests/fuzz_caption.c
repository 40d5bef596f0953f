/* Any bytes as a caption and as a language tag: what is accepted is stable under the rule, and
 * never too long. */
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "store/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_caption(const char *text, size_t n)
{
    char *out = NULL, *again = NULL;
    size_t n_out = 0, n_again = 0;
    const char *reason = NULL;
    int rc = caption_normalise(text, n, &out, &n_out, &reason, NULL);
    if (rc < 0 && (out || !reason)) abort();
    if (rc < 0) return;
    if (n_out == 0 || n_out > CAPTION_MAX_BYTES || strlen(out) != n_out) abort();
    if (caption_normalise(out, n_out, &again, &n_again, &reason, NULL) < 0) abort();
    if (n_again != n_out || memcmp(out, again, n_out)) abort();
    memory_free(out);
    memory_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    check_caption((const char *)data, n);
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
