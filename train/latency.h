/* Latency at batch 1, peak memory and bytes on disk of a model's folder: what a small student is
 * small for.
 *
 * The model is opened in a child process, so that its peak resident memory is its own and one
 * model's cannot colour the next one's. Image: uint8 pixels at the tower's side to the unit
 * embedding; text: a string to the unit embedding, tokenising included. One thread. Rounds of
 * warm-up are not counted.
 */
#ifndef TRAIN_LATENCY_H
#define TRAIN_LATENCY_H

#include <stdint.h>

#include "featurize/exec.h"
#include "store/error.h"

struct latency_times {
    int n;                 /* runs; 0: no such tower */
    double p50_ms, p95_ms;
};

struct latency {
    struct latency_times image, text;
    uint64_t peak_bytes;   /* resident, of the process that holds the model */
    uint64_t disk_bytes;   /* of the folder without training's checkpoint and curves */
    uint64_t n_image_parameters, n_text_parameters;
};

/* texts: what is embedded, one after the other, round and round. Must be called before this process
 * has run a parallel region. */
int latency_measure(const char *dir, enum numerics numerics, int n_runs, const char *const *texts,
                    int n_texts, struct latency *l, struct error *err) MUST_CHECK;

#endif
