/* Teacher-true pictures: preprocessor_config.json -> uint8 pixels -> the tower's input.
 *
 *     preprocess_read(json, "preprocessor_config.json", &p, &err);
 *     preprocess_u8(&p, r, rgb, w, h, &box, preprocess_side(&p), out_u8, &err);   // (S, S, 3)
 *     preprocess_scale(&p, out_u8, n_pixels, out_f32); // (u8 * rescale - mean) / std
 *
 * Equals Hugging Face's CLIPImageProcessor / Pillow bit for bit: shortest edge (long edge
 * int(size*long/short)) or fixed resize, centre crop with floor. With another `side` than the
 * teacher's (a student), resize and crop scale in proportion: the same field of view at `side`
 * pixels. For a view box (not whole) the box is resampled directly to side x side, mirrored when
 * box.flip, and jittered: at another side by the same amounts in the same order.
 * Threading: pure functions; a resizer belongs to one thread.
 */
#ifndef FEATURIZE_PREPROCESS_H
#define FEATURIZE_PREPROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/resize.h"
#include "featurize/view.h"
#include "store/json.h"

#define PREPROCESS_MAX_SIDE 4096

struct preprocess {
    bool shortest_edge; /* resize the short edge to size; false: resize to size x size directly */
    int size;
    enum resample resample;
    bool do_crop;
    int crop_size;  /* square, <= size */
    double rescale; /* 1/255 */
    float mean[3], std[3];
    bool bgr;          /* MobileViT's Hugging Face processor flips channels; ours never writes it */
    bool apply_orientation; /* default true: the decoder turns pictures upright by EXIF */
};

/* Reads a Hugging Face preprocessor_config.json (old integer sizes and new objects; absent keys as
 * the CLIP or Chinese-CLIP processor that it names has them, none are needed then), or the
 * "preprocessing" object of an identity file ({"resize": "shortest_edge"|"exact", "size",
 * "resample", "crop": "center"|"none", "crop_size", "exif": "applied"|"ignored"[, "mean", "std"]}).
 * `name` stands in errors. ERR_DATA for what has no square result or is not understood: without a
 * resize, a crop larger than the resize leaves, absent constants of an unknown processor. */
int preprocess_read(const struct json *j, const char *name, struct preprocess *p,
                    struct error *err) MUST_CHECK;
/* Hugging Face form of p, plus "apply_orientation"; also what goes into fingerprints and `replay`. Owned. */
struct json *preprocess_json(const struct preprocess *p);
int preprocess_side(const struct preprocess *p); /* side of the tower's input */
/* p for another side: what preprocess_u8 does with it equals what it does with p at that side. A
 * student's own preprocessing. */
struct preprocess preprocess_at_side(const struct preprocess *p, int side);
/* // rgb (h, w, 3) -> out (side, side, 3) */
int preprocess_u8(const struct preprocess *p, struct resizer *r, const uint8_t *rgb, int w, int h,
                  const struct view_box *box, int side, uint8_t *out, struct error *err) MUST_CHECK;
/* // in, out (n_pixels, 3) */
void preprocess_scale(const struct preprocess *p, const uint8_t *in, int64_t n_pixels, float *out);

#endif
