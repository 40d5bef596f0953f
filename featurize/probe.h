/* How fast a tower of this form runs on this machine: one block of it, with made-up weights, given what the
 * tower would be given. Its products are the tower's, in the same numerics, on as many threads, over the
 * same micro-batches, so that what surrounds the products counts as well; a teacher of 24 blocks is
 * foreseen for the price of one.
 *
 *     struct probe p = {.config = &tower->config, .numerics = NUMERICS_BF16, .n_tokens = 17};
 *     if (probe_flop(&p) < 0.02 * flop_of_the_run) rc = probe_run(&p, &flop_per_s, &err);
 *
 * Once for the kernels to be made, and once for the clock, or a few times where that is no twentieth of a
 * second. featurize/survey.c uses this.
 */
#ifndef FEATURIZE_PROBE_H
#define FEATURIZE_PROBE_H

#include "featurize/tower.h"

struct probe {
    const struct tower_config *config; /* borrowed */
    enum numerics numerics;            /* int8: as without smoothing, which takes the same time */
    int n_threads;                     /* 0: as OpenMP has it */
    int n_tokens;                      /* of a text; of pictures it follows */
};

/* Operations of these two times, as effort_flop counts; 0 where there is no probe (MobileViT). */
double probe_flop(const struct probe *p);
/* Operations a second, all threads together. */
int probe_run(const struct probe *p, double *flop_per_s, struct error *err) MUST_CHECK;

#endif
