/* Golden pictures in a corpus without a source, for tests of what featurize makes of it.
 *
 *     kit_add_golden(corpus, 0);      // tests/golden/altclip-tiny/inputs/0.jpg, up to 5.jpg
 */
#ifndef TESTS_CORPUSKIT_H
#define TESTS_CORPUSKIT_H

#include "ingest/picture.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"

static inline void kit_add_golden(struct corpus *c, int i)
{
    struct error err = {0};
    struct picture pic = {0};
    struct picture_limits limits = picture_limits_default();
    char path[60], *bytes = NULL;
    size_t n = 0;
    uint32_t number;
    bool is_new;
    snprintf(path, sizeof path, "tests/golden/altclip-tiny/inputs/%d.jpg", i);
    check_must(file_read(path, 1 << 28, &bytes, &n, &err), &err);
    check_must(picture_decode(bytes, n, &limits, true, &pic, &err), &err);
    struct corpus_image image = {.width_px = pic.width_px,
                                 .height_px = pic.height_px,
                                 .format = pic.format,
                                 .orientation = pic.orientation};
    check_must(corpus_add_image(c, &image, bytes, n, &number, &is_new, &err), &err);
    picture_release(&pic);
    memory_free(bytes);
}

#endif
