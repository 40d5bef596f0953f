/* The texts, profiles and EXIF blocks of a PNG, judged as Pillow 9.4's Python code judges them.
 *
 *     struct pngtext t = {0};
 *     pngtext_read(&t, PNGTEXT_LATIN, body, n, &pose, &err);    // tEXt; also zTXt and iTXt
 *     pngtext_orientation(&t, &err);                            // 1..8, by EXIF or XMP
 *     pngtext_release(&t);
 *
 * Called by pngchunk.c alone. Broken compression is no error, a text that inflates to more than 1 MiB
 * is one, and so are more than 64 MiB of texts. Beyond Pillow, all that is inflated is bounded as well.
 * On ERR_DATA t->why is a static sentence part and err untouched; else ERR_NOMEM.
 * Threading: one user. Format: PNG (third edition) tEXt, zTXt, iTXt, iCCP, eXIf.
 */
#ifndef INGEST_PNGTEXT_H
#define INGEST_PNGTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct zstream;

enum pngtext_kind { PNGTEXT_LATIN, PNGTEXT_DEFLATED, PNGTEXT_UNICODE };

/* In Pillow a text stands under its key among the properties of the picture, also where a property of
 * that name has a meaning. */
enum pngtext_pose {
    PNGTEXT_PLAIN,
    PNGTEXT_INTERLACE,
    PNGTEXT_NO_INTERLACE,
    PNGTEXT_TRANSPARENCY,
    PNGTEXT_BOX
};

struct pngtext_value {
    const uint8_t *at; /* in the file, or owned below; NULL: none */
    size_t n;
    uint8_t *owned;
};

struct pngtext {
    const char *why; /* see above */
    enum { PNGTEXT_NO_EXIF, PNGTEXT_EXIF, PNGTEXT_EXIF_BARE, PNGTEXT_EXIF_IS_TEXT } exif_kind;
    /* inside */
    struct pngtext_value exif, raw_exif, xmp;
    uint64_t n_texts;  /* characters */
    uint64_t n_spent;  /* bytes inflated */
    struct zstream *z; /* made when needed, as scratch is */
    uint8_t *scratch;  // (1 MiB)
};

void pngtext_release(struct pngtext *t);

/* body: of the chunk; borrowed as long as t lives. */
int pngtext_read(struct pngtext *t, enum pngtext_kind kind, const uint8_t *body, size_t n,
                 enum pngtext_pose *pose, struct error *err) MUST_CHECK;
int pngtext_read_profile(struct pngtext *t, const uint8_t *body, size_t n,
                         struct error *err) MUST_CHECK;
int pngtext_read_exif(struct pngtext *t, const uint8_t *body, size_t n,
                      struct error *err) MUST_CHECK;

/* Of what has been read so far. */
int pngtext_orientation(struct pngtext *t, struct error *err) MUST_CHECK;

#endif
