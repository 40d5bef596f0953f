/* The generator of samples/corpus: three nouns behind make_corpus.c, which plans pictures and writes manifests.
 *
 *     cldr_load(&names, "hi");                        // cldr.c: names of emoji and lists of them, from CLDR and ICU
 *     glyphs_load(g, font, code_points, n);           // scene.c: glyph bitmaps, backgrounds, composed pictures
 *     scene_draw(&scene, g, rgb);
 *     imagefile_write(path, &options, rgb, w, h);     // imagefile.c: JPEG, PNG and WebP in the variants readers meet
 *
 * A program run by hand when the sample corpus changes, not part of clipstill: what fails prints one sentence and exits (die).
 * Everything is a pure function of font, CLDR, library versions and a seed: the random numbers are SplitMix64, angles come from
 * a series, not libm, and arithmetic is plain IEEE double without contraction.
 */
#ifndef SAMPLES_MAKE_CORPUS_H
#define SAMPLES_MAKE_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *must_alloc(size_t n_bytes); /* zeroed */

/* Random numbers: SplitMix64 (Steele, Lea, Flood 2014). */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *r);
int rng_int(struct rng *r, int low, int high); /* low..high, both included */
double rng_unit(struct rng *r);                /* [0, 1) */

/* cldr.c */
#define CLDR_NAME_BYTES 128
/* The name (type="tts") of a character in a language, up to its first comma: some Hindi names list keywords after one. */
void cldr_name(const char *language, uint32_t code_point, char name[CLDR_NAME_BYTES]);
/* ICU's "and" list of the language, UTF-8. */
void cldr_list(const char *language, const char *const *items, int n, char *out, size_t size);

/* scene.c */
struct glyph {
    int width, height;
    uint8_t *bgra; // (height, width, 4) premultiplied
};
void glyphs_load(struct glyph *glyphs, const char *font, const uint32_t *code_points, int n);

#define SCENE_OBJECTS 3
struct scene {
    int width, height, n_objects;
    int object[SCENE_OBJECTS]; /* index into the glyphs */
    bool field;                /* the look of field photographs: dim, tinted, blurred, noisy */
    uint64_t seed;             /* of everything left: background, places, sizes, angles */
};
void scene_draw(const struct scene *s, const struct glyph *glyphs, uint8_t *rgb); // (height, width, 3)

/* imagefile.c */
enum imagefile_kind {
    FILE_JPEG,
    FILE_JPEG_PROGRESSIVE,
    FILE_JPEG_CMYK, /* Adobe, inverted */
    FILE_JPEG_YCCK,
    FILE_JPEG_GREY,
    FILE_PNG,
    FILE_PNG_PALETTE,
    FILE_PNG_ALPHA,
    FILE_PNG_16,
    FILE_WEBP,
    FILE_WEBP_LOSSLESS,
    FILE_WEBP_ALPHA
};
struct imagefile_options {
    enum imagefile_kind kind;
    int quality;     /* JPEG and WebP */
    int orientation; /* JPEG: 1 writes no EXIF; 2..8 store the picture turned so that applying it gives rgb */
};
void imagefile_write(const char *path, const struct imagefile_options *o, const uint8_t *rgb, int width, int height);
const char *imagefile_extension(enum imagefile_kind kind);
void file_write(const char *path, const void *bytes, size_t n);
void *file_read(const char *path, size_t *n); /* NUL-terminated; free() */

#endif
