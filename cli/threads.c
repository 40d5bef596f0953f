/* Threads within quota and affinity; see threads.h. A container with two CPUs of quota on a 64-core
 * host must not start 64 threads. */
#include "cli/threads.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

/* CPUs of a cgroup v2 or v1 quota, 0 when there is none. */
static int quota_cpus(void)
{
    long quota = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%ld %ld", &quota, &period) != 2) quota = 0; /* "max 100000" */
        fclose(f);
    } else {
        FILE *q = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
        FILE *p = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (!q || !p || fscanf(q, "%ld", &quota) != 1 || fscanf(p, "%ld", &period) != 1) quota = 0;
        if (q) fclose(q);
        if (p) fclose(p);
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int threads_set(int asked)
{
    int n = omp_get_num_procs(), quota = quota_cpus();
    if (quota > 0 && quota < n) n = quota;
    const char *wish = getenv("OMP_NUM_THREADS");
    if (asked <= 0 && wish) asked = atoi(wish);
    if (asked > 0) n = asked; /* an explicit wish may exceed the machine: slower, equal results */
    if (n < 1) n = 1;
    omp_set_dynamic(0);
    omp_set_num_threads(n);
    return n;
}
