/* Counter-based random numbers for training: every draw is a pure function of (seed, stream,
 * counter).
 *
 *     uint64_t bits = random_bits(seed, RANDOM_SHUFFLE + epoch, i);
 *     random_permutation(seed, RANDOM_SHUFFLE + epoch, n, order);
 *
 * So a checkpoint keeps no generator state: the step number says it all, and neither the number of
 * threads nor the order of work changes a draw. Method: two rounds of splitmix64's finaliser
 * (Steele, Lea & Flood 2014).
 */
#ifndef TRAIN_RANDOM_H
#define TRAIN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Streams are kept 2^32 apart, so that an epoch number can be added. */
#define RANDOM_SHUFFLE_IMAGE ((uint64_t)1 << 32)
#define RANDOM_SHUFFLE_TEXT ((uint64_t)2 << 32)
#define RANDOM_SHUFFLE_PAIR ((uint64_t)3 << 32)
#define RANDOM_SAMPLE_PAIR ((uint64_t)4 << 32)
#define RANDOM_AUGMENT ((uint64_t)5 << 32)
#define RANDOM_VIEW ((uint64_t)6 << 32)
#define RANDOM_TOKEN ((uint64_t)7 << 32)
#define RANDOM_SPLIT ((uint64_t)8 << 32)

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter);
/* In [0, 1), 53 bits. */
double random_uniform(uint64_t seed, uint64_t stream, uint64_t counter);
/* Fisher-Yates over 0..n-1. // order: (n) */
void random_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *order);

#endif
