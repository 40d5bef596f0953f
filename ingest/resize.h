/* Pillow 9.4's resampling, bit for bit: antialiased filters, 8 bits between the passes, horizontal
 * pass first.
 *
 *     resizer_run(r, rgb, w, h, (double[]){0, 0, w, h}, RESAMPLE_BICUBIC, out, 224, 224, &err);
 *
 * Method: PIL/src/libImaging/Resample.c (coefficients normalised in double, rounded to 22-bit fixed
 * point). Box edges are taken as float, as there. A pass that would change nothing is left out.
 * One user a resizer; scratch comes from the caller's resizer so that nothing is allocated a picture
 * once it has seen one as large.
 */
#ifndef INGEST_RESIZE_H
#define INGEST_RESIZE_H

#include <stdint.h>

#include "store/error.h"

/* PIL's numbers */
enum resample {
    RESAMPLE_NEAREST = 0,
    RESAMPLE_LANCZOS = 1,
    RESAMPLE_BILINEAR = 2,
    RESAMPLE_BICUBIC = 3,
    RESAMPLE_BOX = 4
};

#define RESIZE_MAX_SIDE (1 << 24) /* of input and output: box edges stay exact in float */

/* of the resized picture: what is computed and written; the same pixels as cropping afterwards */
struct resize_window {
    int left, top, width, height;
};

struct resizer;
struct resizer *resizer_new(struct error *err) MUST_CHECK; /* one a thread */
void resizer_free(struct resizer *r);
/* Resamples the box (left, top, right, bottom; in source pixels, may be fractional) of src to out_w
 * x out_h. // src (h, w, 3), out (out_h, out_w, 3) ERR_USAGE: a box outside the picture, an unknown
 * filter or an absurd size. */
int resizer_run(struct resizer *r, const uint8_t *src, int w, int h, const double box[4],
                enum resample how, uint8_t *out, int out_w, int out_h,
                struct error *err) MUST_CHECK;
/* The same, but only a window of the result. // out (window->height, window->width, 3) */
int resizer_window(struct resizer *r, const uint8_t *src, int w, int h, const double box[4],
                   enum resample how, int out_w, int out_h, const struct resize_window *window,
                   uint8_t *out, struct error *err) MUST_CHECK;

#endif
