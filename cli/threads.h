/* How many threads this process may use: the least of affinity, the cgroup's CPU quota (rounded up)
 * and --threads. Sets OpenMP's count; a result never depends on it.
 */
#ifndef CLI_THREADS_H
#define CLI_THREADS_H

/* asked: 0 = no wish; OMP_NUM_THREADS counts as a wish. Returns the count that was set, >= 1. */
int threads_set(int asked);

#endif
