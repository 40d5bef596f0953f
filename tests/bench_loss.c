/* Symmetric InfoNCE over a batch, forward and backward, against PyTorch's autograd. One thread. */
#include "tests/bench.h"

#include <omp.h>

#include "store/memory.h"
#include "train/contrast.h"
#include "train/loss.h"

enum { B = 1024, D = 256 };

struct batch {
    float *image, *text, *d_image, *d_text; // (B, D)
    uint8_t *cells;                         // (B, B)
};

static double ours(void *ctx)
{
    struct batch *b = ctx;
    struct error err = {0};
    struct contrast_result r;
    double start = bench_cpu();
    int rc = contrast_infonce(B, D, b->image, b->text, b->cells, NULL, 2.6592, 1.0, &r, b->d_image,
                              b->d_text, &err);
    bench_must(rc == 0, &err);
    return bench_cpu() - start;
}

int main(void)
{
    struct error err = {0};
    struct bench_peer torch;
    omp_set_num_threads(1);
    struct batch b = {.image = bench_floats(B * D),
                      .text = bench_floats(2 * B * D),
                      .d_image = bench_floats(B * D),
                      .d_text = bench_floats(B * D)};
    b.cells = memory_array(B, B, MEMORY_MAX_FILE, &err);
    bench_must(b.cells, &err);
    for (int i = 0; i < B; i++) b.cells[i * B + i] = CELL_POSITIVE;
    float *text = b.text + B * D; /* other noise than the pictures' */
    loss_normalise(B, D, b.image, b.image, NULL);
    loss_normalise(B, D, text, b.text, NULL);
    bench_peer_open(&torch, "PyTorch", "tests/peer_tower.py", NULL);
    struct bench_entry e[] = {{.name = "clipstill f32", .work = B, .run = ours, .ctx = &b},
                              {.name = "f32", .work = B, .peer = &torch, .ask = "infonce f32"}};
    bench_table("InfoNCE forward + backward, 1024 pairs of 256 values, one thread "
                "(a goal is set for 16384 pairs: >= 20)",
                "pairs/s", e, 2, 9);
    bench_peer_close(&torch);
    memory_free(b.image);
    memory_free(b.text);
    memory_free(b.d_image);
    memory_free(b.d_text);
    memory_free(b.cells);
    return 0;
}
