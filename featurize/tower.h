/* Towers: the networks of teachers and students alike. One forward pass, with an optional tape.
 *
 * ARCH_VIT        CLIP's vision transformer (pre-LN), Hugging Face names vision_model.* +
 *                 visual_projection.weight
 * ARCH_MOBILEVIT  MobileViT xxs/xs/s (Mehta & Rastegari 2022, arXiv 2110.02178), Hugging Face names
 *                 below vision_model.*
 * ARCH_TEXT       a text encoder in one of the forms of featurize/family.h: XLM-R (post-LN) with
 *                 AltCLIP's head, names text_model.* + text_projection.weight; BERT as Chinese-CLIP
 *                 has it; XLM-R with M-CLIP's head; CLIP's causal pre-LN transformer; optionally
 *                 with a factorised embedding
 *
 *     struct tower *t = tower_new(&config, &err);            // table and zeroed weights
 *     tower_randomise(t, seed)                               // or featurize/towerload.h
 *     tower_forward(t, e, &input, taps, n_taps, out);         // e bound to t->params
 *
 * Taps: FINAL = the projected embedding before normalisation (n, projection_dim); GRID = the output
 * of block `block` (1-based; 0 = what enters the first), tokens without class token pooled to grid
 * x grid by adaptive average (cell i covers floor(i*N/G) .. ceil((i+1)*N/G)), (n*G*G, width of that
 * block); MEAN = mean over the tokens of a sequence, class token included, (n, width); HIDDEN = all
 * tokens (rows, width). MobileViT's blocks are its five encoder layers.
 */
#ifndef FEATURIZE_TOWER_H
#define FEATURIZE_TOWER_H

#include "featurize/exec.h"
#include "featurize/op.h"
#include "store/json.h"

enum tower_arch { ARCH_VIT, ARCH_MOBILEVIT, ARCH_TEXT };
enum tower_pooling { POOL_CLS, POOL_MEAN, POOL_END }; /* END: the first row of the end token, see cliptext.c */
enum tower_text { TEXT_ALTCLIP, TEXT_CHINESE_CLIP, TEXT_MCLIP, TEXT_CLIP };

struct tower_config {
    enum tower_arch arch;
    int width, layers, heads, mlp; /* VIT, TEXT */
    enum act act;
    float eps;
    int projection_dim;
    int image_size, patch;         /* VIT; MOBILEVIT image_size */
    enum tower_text form;          /* TEXT: names of tensors and parts; featurize/family.h */
    int vocab, max_positions;      /* TEXT: ids, rows of the position table (see tower_max_tokens) */
    int n_types;                   /* TEXT: rows of the token type table, of which the first is used; 0: 1 */
    int pad_id, bos_id, eos_id;    /* TEXT; CLIP's eos_id: where POOL_END looks, 2: at the highest id */
    /* TEXT: project_dim of `transformation`; equals projection_dim in AltCLIP */
    int head_dim;
    int embed_dim;                 /* TEXT: factorised embedding width, 0 = width */
    enum tower_pooling pooling;    /* TEXT: AltCLIP CLS; students MEAN by default */
    char variant[8];               /* MOBILEVIT: "xxs", "xs", "s" */
};

enum tap_kind { TAP_FINAL, TAP_GRID, TAP_MEAN, TAP_HIDDEN };
struct tap {
    enum tap_kind kind;
    int block, grid;
};

struct tower_input {
    int n;                  /* pictures or sequences */
    const float *pixels;    // (n, S, S, 3) normalised, channels-last
    const int32_t *ids;     // concatenated token ids, bos and eos included
    const int32_t *offsets; // (n + 1)
};

struct tower {
    struct tower_config config;
    struct params params;
    /* parameter indices in the order the forward pass uses them: private to tower.c and its kin */
    int *slot;
    int n_slots;
    struct packed *packed; /* made by tower_pack; NULL while training */
    struct calibration *calibration; /* owned; NULL: cannot be packed in int8 */
};

struct tower *tower_new(const struct tower_config *config, struct error *err) MUST_CHECK;
/* The table alone: params_allocate or params_map is still to come. */
struct tower *tower_plan(const struct tower_config *config, struct error *err) MUST_CHECK;
void tower_free(struct tower *t);
/* Embeddings 0.02, linears Glorot (scaled down where they write to the residual stream),
 * convolutions He fan-out, ones, zeros; a pure function of seed and names, see towerinit.c. */
void tower_randomise(struct tower *t, uint64_t seed);
/* NUMERICS_INT8 needs a calibration: ERR_USAGE without. */
int tower_pack(struct tower *t, enum numerics numerics, struct error *err) MUST_CHECK;
/* Gives packed weights back; what is bound to them (runners) must not run again. NULL is fine. */
void tower_unpack(struct tower *t);
/* Taken. */
void tower_calibrate(struct tower *t, struct calibration *c);
/* Runs the batch on e (bound to t->params and t->packed) and puts one value a tap into out; it
 * stops after the last block that a tap asks for. EXEC_TRAIN: out[i] are the values on the tape (a
 * HIDDEN tap is the residual stream itself); EXEC_INFER: copies that live until exec_reset.
 * ERR_USAGE for a tap that this tower lacks, ERR_DATA for an id outside of the vocabulary or a text
 * longer than the position table; the exec's errors are passed on. Allocates nothing outside of
 * e. */
int tower_forward(const struct tower *t, struct exec *e, const struct tower_input *in,
                  const struct tap *taps, int n_taps, struct value **out,
                  struct error *err) MUST_CHECK;
int tower_n_blocks(const struct tower_config *c);
/* TEXT: row of the position table for a text's first token, and how many tokens a text may have. */
int tower_first_position(const struct tower_config *c);
int tower_max_tokens(const struct tower_config *c);
/* Columns of a tap, e.g. the width of MobileViT's layer 3. */
int tower_tap_width(const struct tower_config *c, const struct tap *tap);
/* "image.final", "image.block2@4x4", "text.block3.mean", "text.block3.hidden": is_text tells the
 * tower the name belongs to. ERR_USAGE with the grammar otherwise. */
int tap_parse(const char *name, struct tap *tap, bool *is_text, struct error *err) MUST_CHECK;
void tap_name(const struct tap *tap, bool is_text, char *name, size_t size);
/* Hugging Face config objects. `config` is the whole config.json; ERR_DATA names the key. Absent
 * keys take the default of the Hugging Face configuration class. */
int tower_config_image(const struct json *config, struct tower_config *out, struct error *err) MUST_CHECK;
int tower_config_text(const struct json *config, struct tower_config *out, struct error *err) MUST_CHECK;
/* The other way: a vision_config or text_config object. */
struct json *tower_config_json(const struct tower_config *c);

#endif
