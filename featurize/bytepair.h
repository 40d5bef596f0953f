/* Byte-level byte pair encoding as CLIP has it: vocab.json and merges.txt, "</w>" at the end of a
 * word (Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2021, arXiv 2103.00020).
 *
 *     bytepair_new(vocab, n_vocab, merges, n_merges, "DIR", &b, &err);
 *     int64_t n_found = bytepair_encode(b, text, n, ids, room, &err);
 *
 * A word of ingest/words.h is its bytes, each written as one printable character, the last one with
 * "</w>"; the pair that stands first in merges.txt is joined, until none is left. All bytes have
 * tokens, so that nothing is unknown. As in Hugging Face's reader the first line of merges.txt is a
 * heading and 48,894 merges count. Control tokens never come from a text. Read-only once made: any
 * thread.
 */
#ifndef FEATURIZE_BYTEPAIR_H
#define FEATURIZE_BYTEPAIR_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct bytepair_merge {
    int32_t left, right, rank, joined;
};

struct bytepair {
    int32_t byte[2][256];         /* id of a byte: inside of a word, at its end */
    struct bytepair_merge *merges; // sorted by left, right
    size_t n;
    int32_t bos, eos; /* <|startoftext|> <|endoftext|> */
    int n_ids;        /* the largest id + 1 */
};

/* ERR_DATA names the file, the line and what is missing: a byte's token, a control token, a merge of
 * tokens that vocab.json does not have. name: the folder, for errors. *b owned: bytepair_free. */
int bytepair_new(const char *vocab, size_t n_vocab, const char *merges, size_t n_merges,
                 const char *name, struct bytepair **b, struct error *err) MUST_CHECK;
void bytepair_free(struct bytepair *b);
/* As wordpiece_encode, without an unknown. // ids (room) */
int64_t bytepair_encode(const struct bytepair *b, const char *text, size_t n, int32_t *ids,
                        int room, struct error *err) MUST_CHECK;

#endif
