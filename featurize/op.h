/* Forward operations on values; each records a node when its exec trains. The equations stand here, the gradients in train/backward.c.
 *
 * All take and return values owned by the exec (until exec_reset/exec_release). A NULL input gives NULL. `weight`, `bias`, ... are
 * parameter indices of the bound params; -1 = absent. Index arrays are copied.
 */
#ifndef FEATURIZE_OP_H
#define FEATURIZE_OP_H

#include "featurize/activation.h"
#include "featurize/exec.h"

/* By the names of Hugging Face's ACT2FN that are of these kinds; a negative ERR_DATA for others. */
int act_of_name(const char *name, struct error *err);
const char *act_names(void); /* all of them, for messages. Static. */
const char *act_name(enum act act);

/* y = x W^T + b. // x (M, in), W [out, in], b [out], y (M, out) */
struct value *op_linear(struct exec *e, struct value *x, int weight, int bias);
/* act(x W^T + b) for what only products (linears, attention) will read: see exec_operand. */
struct value *op_linear_act(struct exec *e, struct value *x, int weight, int bias, enum act act);
/* onto + x W^T + b. EXEC_INFER: `onto` itself, which is changed. */
struct value *op_linear_add(struct exec *e, struct value *x, int weight, int bias, struct value *onto);
/* y = (x - mean) / sqrt(var + eps) * gamma + beta over columns (biased variance). */
struct value *op_layer_norm(struct exec *e, struct value *x, int gamma, int beta, float eps);
/* Over rows. EXEC_TRAIN: statistics of this micro-batch (biased variance normalises); they are left in node->saved (mean, then
 * variance; 2*C floats) for the running averages, which train/ updates in micro-batch order. EXEC_INFER: running statistics. */
struct value *op_batch_norm(struct exec *e, struct value *x, int gamma, int beta, int running_mean, int running_var, float eps);
struct value *op_act(struct exec *e, struct value *x, enum act act);
struct value *op_add(struct exec *e, struct value *a, struct value *b);
/* Multi-head attention inside each of n sequences; sequence s is rows offsets[s]..offsets[s+1]. q, k, v: (rows, D), heads divides D.
 * With operands in bf16 the products round the softmax to bf16, too, and y is for products alone. */
struct value *op_attention(struct exec *e, struct value *q, struct value *k, struct value *v, int n, const int32_t *offsets, int heads);
/* The same with each row looking at itself and the rows before it in its sequence; f32 products. */
struct value *op_causal_attention(struct exec *e, struct value *q, struct value *k, struct value *v, int n, const int32_t *offsets,
                                  int heads);
/* y[i] = W[index[i]]. */
struct value *op_embed(struct exec *e, int weight, int64_t n, const int32_t *index);
/* y[i] = x[i] + W[index[i]]. n = x->rows */
struct value *op_add_embed(struct exec *e, struct value *x, int weight, const int32_t *index);
/* y[i] = x[index[i]], a zero row for -1. */
struct value *op_gather(struct exec *e, struct value *x, int64_t n, const int32_t *index);
/* y[i] = mean over j in offsets[i]..offsets[i+1] of x[index[j]]. */
struct value *op_pool(struct exec *e, struct value *x, int64_t n, const int32_t *offsets, const int32_t *index);
struct value *op_concat(struct exec *e, struct value *a, struct value *b);
/* y = for each of n groups: the parameter row, then the group's rows. // x (n*N, D) -> (n*(N+1), D) */
struct value *op_prepend(struct exec *e, struct value *x, int weight, int64_t n);
/* Channels-last convolution with zero padding (k-1)/2, no bias (batch norm follows). // x (B*H*W, Cin), W [Cout, Cin, k, k], y (B*H'*W', Cout); H' = (H + 2p - k)/stride + 1 */
struct value *op_conv(struct exec *e, struct value *x, int weight, int batch, int height, int width, int stride);
/* 3 x 3 depthwise, zero padding 1. // W [C, 1, 3, 3] */
struct value *op_depthwise(struct exec *e, struct value *x, int weight, int batch, int height, int width, int stride);

#endif
