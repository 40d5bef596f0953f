/* Pillow 9.4's resampling, bit for bit: antialiased bicubic (a = -0.5), bilinear, box; 8 bits between the passes, horizontal pass first.
 *
 * Method: PIL/src/libImaging/Resample.c (coefficients normalised in double, rounded to 22-bit fixed point). Pure; any thread; scratch
 * comes from the caller's resizer so that nothing is allocated a picture.
 */
#ifndef FEATURIZE_RESIZE_H
#define FEATURIZE_RESIZE_H

#include <stdint.h>

#include "store/error.h"

enum resample { RESAMPLE_NEAREST = 0, RESAMPLE_LANCZOS = 1, RESAMPLE_BILINEAR = 2, RESAMPLE_BICUBIC = 3, RESAMPLE_BOX = 4 }; /* PIL's numbers */

struct resizer;
struct resizer *resizer_new(struct error *err) MUST_CHECK; /* one a thread */
void resizer_free(struct resizer *r);
/* Resamples the box (left, top, right, bottom; in source pixels, may be fractional) of src to out_w x out_h. // src (h, w, 3), out (out_h, out_w, 3) */
int resizer_run(struct resizer *r, const uint8_t *src, int w, int h, const double box[4], enum resample how, uint8_t *out, int out_w, int out_h, struct error *err) MUST_CHECK;

#endif
