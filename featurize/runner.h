/* A tower run over many inputs: fixed micro-batches, one exec a thread.
 *
 *     runner_open(&r, tower, NUMERICS_F32, 0, &err); // packed weights are used when the tower has them
 *     runner_pictures(r, &preprocess, n, pixels_u8, taps, n_taps, out, &err);
 *     runner_texts(r, n, ids, offsets, taps, n_taps, out, &err);
 *     runner_close(r);
 *
 * Micro-batches are RUNNER_PICTURES pictures, or texts in the order given up to RUNNER_TOKENS
 * tokens (at least one text), shared out to the threads; what is left over is cut anew, evenly, and
 * a picture alone is done by all threads together. A row's values depend on its own input alone,
 * never on that. All taps come from one forward pass. out[k] holds tap k of all inputs in their
 * order: (n, runner_width(tower, &taps[k])); for a GRID tap a row is (grid * grid, width of the
 * block). TAP_HIDDEN has no fixed width and is refused.
 * Threading: one caller; parallel inside.
 */
#ifndef FEATURIZE_RUNNER_H
#define FEATURIZE_RUNNER_H

#include "featurize/preprocess.h"
#include "featurize/tower.h"

#define RUNNER_PICTURES 4
#define RUNNER_TOKENS 256
#define RUNNER_MAX_TAPS 64
/* Weights from which a stage commits four times as often: seconds, not minutes, are lost by a kill. */
#define RUNNER_LARGE 50000000

struct runner;
/* n_threads 0: as OpenMP has it. The tower is borrowed and must not change while the runner lives. */
int runner_open(struct runner **r, const struct tower *t, enum numerics numerics, int n_threads,
                struct error *err) MUST_CHECK;
void runner_close(struct runner *r);
/* Values a row of a tap; 0 for TAP_HIDDEN. */
int64_t runner_width(const struct tower *t, const struct tap *tap);
/* // pixels (n, S, S, 3) with the tower's S */
int runner_pictures(struct runner *r, const struct preprocess *p, int n, const uint8_t *pixels,
                    const struct tap *taps, int n_taps, float *const *out,
                    struct error *err) MUST_CHECK;
/* // ids concatenated, bos and eos included; offsets (n + 1) */
int runner_texts(struct runner *r, int n, const int32_t *ids, const int32_t *offsets,
                 const struct tap *taps, int n_taps, float *const *out,
                 struct error *err) MUST_CHECK;

#endif
