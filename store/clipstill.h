/* clipstill.h: reading a clipstill cache from C. Installed with libclipstill-read; stands alone.
 *
 *     cc mine.c $(pkg-config --cflags --libs clipstill)
 *
 *     struct clipstill *c = NULL;
 *     struct clipstill_set *s = NULL;
 *     struct clipstill_error err;
 *     uint8_t key[CLIPSTILL_KEY_BYTES];
 *     int rc = clipstill_open(&c, "CACHE", &err);
 *     if (rc == 0) rc = clipstill_set_open(c, "image.final", &s, &err);
 *     float *v = rc == 0 ? malloc(clipstill_set_info(s)->dim * sizeof *v) : NULL, norm;
 *     for (uint32_t i = 0; v && (rc = clipstill_next(s, 0, &i, key, v, &norm, &err)) > 0; i++)
 *         use(key, v, norm);
 *     if (rc < 0) fprintf(stderr, "%s\n", err.text);
 *     clipstill_set_close(s);
 *     clipstill_close(c);
 *
 * What is read: images and captions have a key (32 bytes: the SHA-256 of the picture's file as it came, or
 * of the caption's text) and a number (dense from 0, in order of arrival, private to this cache).
 * Pairs join them. A feature set holds, for each view, vectors of images or of captions.
 *
 * Errors: every int is 0 or more when it worked (1 where that is said), else a CLIPSTILL_ERR_...; then
 * *err (which may be NULL) has that code and one sentence: what, where, what to do. *err is untouched on
 * success. All checksums are verified as records are read: a damaged record is
 * CLIPSTILL_ERR_CORRUPT, never a wrong vector. After an error the handle goes on being usable.
 *
 * Ownership: handles are closed by their _close, which takes NULL. Memory that is "borrowed" lies in the
 * cache's map and lives until clipstill_close. Sets are closed before the cache they were opened on.
 *
 * Threads: a struct clipstill may be used by several threads at once; a struct clipstill_set by one at
 * a time: open the set once for each thread. Nothing is printed and no signal is handled.
 *
 * Other processes: reading never waits and locks nobody out. What a struct clipstill shows of images,
 * captions and pairs is the cache at the time of its opening; sets show the newest batch. Do not
 * fork and go on using a handle in the child; open it again there.
 *
 * The bytes on disk are specified in FORMAT.md. Names here keep their meaning within one soname.
 */
#ifndef CLIPSTILL_H
#define CLIPSTILL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLIPSTILL_API __attribute__((visibility("default")))
#define CLIPSTILL_KEY_BYTES 32

enum {
    CLIPSTILL_ERR_USAGE = -1,        /* the call makes no sense */
    CLIPSTILL_ERR_NOT_FOUND = -2,    /* no such cache, set, record or vector */
    CLIPSTILL_ERR_IO = -3,           /* the machine failed to read */
    CLIPSTILL_ERR_DATA = -4,
    CLIPSTILL_ERR_INCOMPATIBLE = -5, /* a cache of another format version */
    CLIPSTILL_ERR_CORRUPT = -6,      /* a record fails its checksum: run clipstill verify */
    CLIPSTILL_ERR_NOMEM = -9
};

struct clipstill_error {
    int code;        /* CLIPSTILL_ERR_... */
    char text[1000]; /* one sentence, UTF-8, no newline */
};

struct clipstill;
struct clipstill_set;

/* cache: the folder that `clipstill ingest` made. *c NULL after an error. */
CLIPSTILL_API int clipstill_open(struct clipstill **c, const char *cache, struct clipstill_error *err);
CLIPSTILL_API void clipstill_close(struct clipstill *c);

/* Numbers run from 0 to these, less one. One that `clipstill forget` has taken out is NOT_FOUND to every
 * call, and clipstill_next passes it over. */
CLIPSTILL_API uint32_t clipstill_n_images(const struct clipstill *c);
CLIPSTILL_API uint32_t clipstill_n_captions(const struct clipstill *c);

/* Number to key and back. */
CLIPSTILL_API int clipstill_image_key(struct clipstill *c, uint32_t number, uint8_t key[CLIPSTILL_KEY_BYTES],
                                      struct clipstill_error *err);
CLIPSTILL_API int clipstill_caption_key(struct clipstill *c, uint32_t number,
                                        uint8_t key[CLIPSTILL_KEY_BYTES], struct clipstill_error *err);
CLIPSTILL_API int clipstill_image_number(struct clipstill *c, const uint8_t key[CLIPSTILL_KEY_BYTES],
                                         uint32_t *number, struct clipstill_error *err);
CLIPSTILL_API int clipstill_caption_number(struct clipstill *c, const uint8_t key[CLIPSTILL_KEY_BYTES],
                                           uint32_t *number, struct clipstill_error *err);

/* The stored file (JPEG, PNG or WebP); *bytes borrowed. *n is 0 for an image registered without one. */
CLIPSTILL_API int clipstill_image_bytes(struct clipstill *c, uint32_t number, const uint8_t **bytes,
                                        size_t *n, struct clipstill_error *err);
/* The normalised text: *n bytes of UTF-8, borrowed, without a NUL behind them. */
CLIPSTILL_API int clipstill_caption_text(struct clipstill *c, uint32_t number, const char **text,
                                         size_t *n, struct clipstill_error *err);

struct clipstill_pair {
    uint32_t image, caption;       /* numbers */
    const char *language, *source; /* borrowed; "en", "captions.tsv" */
    const char *label;             /* borrowed; NULL when the pair has none */
    const char *split;             /* static: "train", "val", "test" */
    float weight;                  /* above 0 */
};
/* Every pair, in order of image and caption. *pairs owned: clipstill_free. */
CLIPSTILL_API int clipstill_pairs(struct clipstill *c, struct clipstill_pair **pairs, size_t *n,
                                  struct clipstill_error *err);
CLIPSTILL_API void clipstill_free(void *memory); /* NULL is fine */

/* name: a folder of CACHE/features. An unknown one: NOT_FOUND, naming those that are there. */
CLIPSTILL_API int clipstill_set_open(struct clipstill *c, const char *name, struct clipstill_set **s,
                                     struct clipstill_error *err);
CLIPSTILL_API void clipstill_set_close(struct clipstill_set *s);

struct clipstill_set_info {
    const char *name, *tap;  /* "image.final" */
    int is_text;             /* numbers and keys are captions', else images' */
    uint32_t dim;            /* values of a vector */
    uint32_t grid;           /* G of a tap that ends in @GxG: (G*G, dim/(G*G)) row-major; 0: none */
    uint32_t n_views;        /* of which some vector was there at opening */
    const char *storage;     /* "f32", "f16", "bf16", "q1e-4": 1 - cos of every vector at most that */
    const char *fingerprint; /* JSON: what the vectors depend on */
};
/* Borrowed until clipstill_set_close. */
CLIPSTILL_API const struct clipstill_set_info *clipstill_set_info(const struct clipstill_set *s);
/* Vectors of a view now. */
CLIPSTILL_API uint64_t clipstill_set_count(struct clipstill_set *s, uint32_t view);

/* The vector of a record: dim values of unit length (all 0 for the zero vector) into out, and the norm
 * they are to be multiplied with, unless NULL. NOT_FOUND when the set has none. */
CLIPSTILL_API int clipstill_get(struct clipstill_set *s, uint32_t view, uint32_t number, float *out,
                                float *norm, struct clipstill_error *err);
CLIPSTILL_API int clipstill_get_key(struct clipstill_set *s, uint32_t view,
                                    const uint8_t key[CLIPSTILL_KEY_BYTES], float *out, float *norm,
                                    struct clipstill_error *err);
/* The first record from *number on that has a vector: 1 with *number, its key and vector (each but
 * number may be NULL), 0 when there is none. In order of numbers a block is unpacked once. */
CLIPSTILL_API int clipstill_next(struct clipstill_set *s, uint32_t view, uint32_t *number,
                                 uint8_t key[CLIPSTILL_KEY_BYTES], float *out, float *norm,
                                 struct clipstill_error *err);

#ifdef __cplusplus
}
#endif

#endif
