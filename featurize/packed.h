/* The inside of struct packed, for gemm.c; packed_new and packed_free are declared in gemm.h. */
#ifndef FEATURIZE_PACKED_H
#define FEATURIZE_PACKED_H

#include "featurize/blocks.h"
#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/int8.h"
#include "featurize/onednn.h"

/* Rows of the tile that chooses the layout. */
#define PACKED_TILE_ROWS 192

/* For products of bf16 where the CPU has fast ones. */
struct packed_weight {
    void *data; /* owned; NULL when not packed so */
    dnnl_memory_desc_t desc;
};

struct packed {
    enum numerics numerics;
    int n;
    struct packed_weight *weights; /* by parameter index; NULL where blocks serve */
    struct block_weight *blocks;   /* likewise: f32, and bf16 without fast products; or NULL */
    struct int8_weight *int8;      /* likewise, of the layers that a calibration covers, or NULL */
    const struct calibration *calibration; /* borrowed while packing */
    struct observed *observed;     /* borrowed; NULL: nobody looks at the inputs */
};

#endif
