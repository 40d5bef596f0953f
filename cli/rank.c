/* Rank and size; see rank.h. Compiled twice: with CLIPSTILL_MPI for `make MPI=1` alone. */
#include "cli/rank.h"

#ifdef CLIPSTILL_MPI

#include <mpi.h>
#include <stdlib.h>

/* Without a launcher MPI_Init would start a daemon of its own. */
static bool is_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE") || getenv("PMIX_RANK");
}

bool rank_of_job(struct shard *s)
{
    int rank, size;
    if (!is_launched() || MPI_Init(NULL, NULL) != MPI_SUCCESS) return false;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Finalize();
    *s = (struct shard){(uint32_t)rank, (uint32_t)size};
    return true;
}

#else

bool rank_of_job(struct shard *s)
{
    (void)s;
    return false;
}

#endif
