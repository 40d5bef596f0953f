/* One forward pass through a tower: private to tower.c and the architectures.
 *
 *     x = pass_linear(p, pass_norm(p, x), true); // takes the next slots, in the order of the layout
 *     x = pass_keep(p, mark, into, x); // gives back what a block needed inside (EXEC_INFER)
 *     pass_taps(p, block, x, &grid);                            // delivers the taps of this block
 *     x = pass_blocks(p, mark, embed(p), &grid, block);         // all of that for a transformer
 *
 * `x` between blocks is the residual stream. In EXEC_INFER pass_keep copies it down to where the
 * block began, so that a pass needs the memory of one block, whatever its depth; a tap is therefore
 * always a copy there. In EXEC_TRAIN everything stays for the backward pass. Nothing here allocates
 * outside the arena: a pass runs inside a parallel region.
 */
#ifndef FEATURIZE_PASS_H
#define FEATURIZE_PASS_H

#include <stdbool.h>

#include "featurize/tower.h"

struct pass {
    const struct tower *tower;
    struct exec *e;
    const struct tower_input *in;
    const struct tap *taps;
    int n_taps;
    struct value **out; /* one a tap */
    int next;           /* slot the next op takes */
    int last_block;     /* the pass ends after it unless `final` */
    bool final;         /* some tap wants the projected embedding */
};

/* Where a block's rows lie: sequences by offset; pictures: `side` x `side` tokens behind `skip`
 * class tokens. side 0: text. */
struct pass_grid {
    const int32_t *offsets; // (n + 1)
    int side, skip;
};

int pass_next(struct pass *p); /* the next parameter index */
struct value *pass_linear(struct pass *p, struct value *x, bool bias);
struct value *pass_norm(struct pass *p, struct value *x); /* layer norm with the tower's eps */
/* onto + softmax(q k^T) v with the projections q, k, v of x and out, all with bias. EXEC_INFER:
 * `onto` itself, changed; it may be x. */
struct value *pass_attention(struct pass *p, struct value *x, int n, const int32_t *offsets, int heads,
                             struct value *onto);
/* onto + two linears of x with bias and the activation between them; `onto` as above. */
struct value *pass_mlp(struct pass *p, struct value *x, enum act act, struct value *onto);

/* EXEC_INFER: releases everything since mark but y, which moves into `into` (same shape, made
 * before mark) or, when that is NULL, down to the mark. EXEC_TRAIN: y. */
struct value *pass_keep(struct pass *p, size_t mark, struct value *into, struct value *y);
/* Fills out[] for every tap of `block`; MEAN counts class tokens, GRID does not. */
void pass_taps(struct pass *p, int block, struct value *x, const struct pass_grid *g);
/* What a block makes of x, whose rows lie as g says. */
typedef struct value *pass_block(struct pass *p, struct value *x, const struct pass_grid *g);
/* A transformer's residual stream: x, which was embedded since `mark`, through the blocks 1 to
 * last_block, with the taps of each and of block 0. */
struct value *pass_blocks(struct pass *p, size_t mark, struct value *x, const struct pass_grid *g,
                          pass_block *block);
/* Fills out[] of every FINAL tap. */
void pass_final(struct pass *p, struct value *y);

/* ERR_DATA (and the exec fails) for an empty text or one longer than the position table. */
int pass_check_texts(struct pass *p);

/* Index arrays in the arena; NULL after a failure. */
int32_t *pass_uniform(struct pass *p, int n, int64_t rows); /* 0, rows, 2 rows, ... // (n + 1) */
int32_t *pass_sequence(struct pass *p, int64_t n);          /* 0, 1, 2, ... // (n) */

#endif
