/* The place of this process in a job that mpirun has started.
 *
 *     struct shard s;
 *     if (rank_of_job(&s)) ...     // process s.index of s.count
 *
 * MPI is asked for nothing else and left at once: no process ever waits for another, and one that dies takes
 * nothing with it but its batch (mpirun --enable-recovery, or mpirun itself ends the others). Only in
 * `make MPI=1`; elsewhere every process is alone. Call it once, before other threads are made.
 */
#ifndef CLI_RANK_H
#define CLI_RANK_H

#include <stdbool.h>

#include "featurize/shard.h"

/* False: not started by mpirun, or made without MPI; s is then untouched. */
bool rank_of_job(struct shard *s);

#endif
