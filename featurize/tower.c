/* Making a tower, packing it, and sending a batch through it: what all architectures share and the
 * choice between them. The networks themselves are in vit.c, xlmr.c and mobilevit.c; their configs
 * in towerconfig.c, random weights in towerinit.c. */
#include "featurize/tower.h"

#include "featurize/calibration.h"
#include "featurize/cliptext.h"
#include "featurize/family.h"
#include "featurize/gemm.h"
#include "featurize/layout.h"
#include "featurize/mobilevit.h"
#include "featurize/pass.h"
#include "featurize/vit.h"
#include "featurize/xlmr.h"
#include "store/memory.h"

/* The rows of one batch are counted in int32. */
#define MAX_ROWS INT32_MAX

static int check_config(const struct tower_config *c, struct error *err)
{
    if (c->projection_dim < 1)
        return error_set(err, ERR_DATA, "a tower with a projection to %d values",
                         c->projection_dim);
    if (c->arch == ARCH_MOBILEVIT) {
        if (!mobilevit_find(c->variant))
            return error_set(err, ERR_DATA, "MobileViT \"%s\" is not known: expected xxs, xs or s",
                             c->variant);
        if (c->image_size < 32 || c->image_size % 32)
            return error_set(err, ERR_DATA,
                             "MobileViT takes pictures whose side is a multiple of 32, not %d",
                             c->image_size);
        return 0;
    }
    if (c->width < 1 || c->layers < 1 || c->heads < 1 || c->mlp < 1 || c->width % c->heads)
        return error_set(err, ERR_DATA,
                         "a transformer of width %d, %d layers, %d heads, mlp %d cannot be built: "
                         "all must be positive and the heads divide the width",
                         c->width, c->layers, c->heads, c->mlp);
    if (c->arch == ARCH_VIT && (c->patch < 1 || c->image_size < c->patch))
        return error_set(err, ERR_DATA, "a picture of %d pixels in patches of %d", c->image_size,
                         c->patch);
    if (c->arch == ARCH_TEXT &&
        (c->vocab < 4 || tower_max_tokens(c) < 1 || c->pad_id < 0 || c->embed_dim < 0 ||
         (family_text(c->form)->hidden && c->head_dim < 1)))
        return error_set(err, ERR_DATA,
                         "a text tower of %d ids, %d positions, head %d cannot be built", c->vocab,
                         c->max_positions, c->head_dim);
    return 0;
}

struct tower *tower_plan(const struct tower_config *config, struct error *err)
{
    if (check_config(config, err) < 0) return NULL;
    struct tower *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return NULL;
    t->config = *config;
    struct layout l = {.tower = t, .err = err};
    switch (config->arch) {
    case ARCH_VIT: vit_layout(&l); break;
    case ARCH_MOBILEVIT: mobilevit_layout(&l); break;
    case ARCH_TEXT:
        if (family_text(config->form)->is_causal)
            cliptext_layout(&l);
        else
            xlmr_layout(&l);
        break;
    }
    if (l.rc >= 0) return t;
    tower_free(t);
    return NULL;
}

struct tower *tower_new(const struct tower_config *config, struct error *err)
{
    struct tower *t = tower_plan(config, err);
    if (!t || params_allocate(&t->params, err) == 0) return t;
    tower_free(t);
    return NULL;
}

void tower_free(struct tower *t)
{
    if (!t) return;
    packed_free(t->packed);
    calibration_free(t->calibration);
    memory_free(t->slot);
    params_release(&t->params);
    memory_free(t);
}

int tower_pack(struct tower *t, enum numerics numerics, struct error *err)
{
    if (numerics == NUMERICS_INT8 && !t->calibration)
        return error_set(err, ERR_USAGE,
                         "int8 needs a calibration: give --calibration FILE, which featurize "
                         "--numerics int8 --calibration FILE writes");
    tower_unpack(t); /* first: a large tower's weights need not be in memory twice */
    struct packed *packed = numerics == NUMERICS_INT8
                                ? packed_new_int8(&t->params, t->calibration, err)
                                : packed_new(&t->params, numerics, err);
    if (!packed) return err ? err->code : ERR_NOMEM;
    t->packed = packed;
    return 0;
}

void tower_unpack(struct tower *t)
{
    if (!t) return;
    packed_free(t->packed);
    t->packed = NULL;
}

void tower_calibrate(struct tower *t, struct calibration *c)
{
    calibration_free(t->calibration);
    t->calibration = c;
}

int tower_n_blocks(const struct tower_config *c)
{
    return c->arch == ARCH_MOBILEVIT ? MOBILEVIT_BLOCKS : c->layers;
}

int tower_first_position(const struct tower_config *c)
{
    return family_text(c->form)->pad_shifts ? c->pad_id + 1 : 0;
}

int tower_max_tokens(const struct tower_config *c)
{
    return c->max_positions - tower_first_position(c);
}

int tower_tap_width(const struct tower_config *c, const struct tap *tap)
{
    if (tap->kind == TAP_FINAL) return c->projection_dim;
    if (c->arch == ARCH_MOBILEVIT) return mobilevit_find(c->variant)->neck[tap->block];
    return c->width;
}

static int check_tap(const struct tower_config *c, const struct tap *tap, struct error *err)
{
    if (tap->kind == TAP_FINAL) return 0;
    char name[64];
    tap_name(tap, c->arch == ARCH_TEXT, name, sizeof name);
    if (tap->block < 0 || tap->block > tower_n_blocks(c))
        return error_set(err, ERR_USAGE, "tap %s: this tower has blocks 0 to %d", name,
                         tower_n_blocks(c));
    if (tap->kind == TAP_GRID && (c->arch == ARCH_TEXT || tap->grid < 1))
        return error_set(err, ERR_USAGE,
                         "tap %s: only picture towers have a grid, of 1 x 1 or more", name);
    return 0;
}

static int check_input(const struct tower *t, const struct exec *e, const struct tower_input *in,
                       struct error *err)
{
    const struct tower_config *c = &t->config;
    if (e->params != &t->params)
        return error_set(err, ERR_USAGE, "a pass on an exec that is bound to another network");
    if (in->n < 1) return error_set(err, ERR_USAGE, "a pass over %d inputs", in->n);
    if (c->arch == ARCH_TEXT ? !in->ids || !in->offsets : !in->pixels)
        return error_set(err, ERR_USAGE, "a pass of a %s tower without its input",
                         c->arch == ARCH_TEXT ? "text" : "picture");
    if (c->arch != ARCH_TEXT && (int64_t)in->n * c->image_size * c->image_size > MAX_ROWS)
        return error_set(err, ERR_NOMEM, "%d pictures of %d pixels are too many for one pass",
                         in->n, c->image_size);
    return 0;
}

int tower_forward(const struct tower *t, struct exec *e, const struct tower_input *in,
                  const struct tap *taps, int n_taps, struct value **out, struct error *err)
{
    int rc = check_input(t, e, in, err);
    struct pass p = {.tower = t, .e = e, .in = in, .taps = taps, .n_taps = n_taps, .out = out};
    for (int i = 0; i < n_taps && rc == 0; i++) {
        rc = check_tap(&t->config, &taps[i], err);
        out[i] = NULL;
        if (taps[i].kind == TAP_FINAL)
            p.final = true;
        else if (taps[i].block > p.last_block)
            p.last_block = taps[i].block;
    }
    if (rc < 0) return rc;
    if (p.final) p.last_block = tower_n_blocks(&t->config);
    switch (t->config.arch) {
    case ARCH_VIT: vit_forward(&p); break;
    case ARCH_MOBILEVIT: mobilevit_forward(&p); break;
    case ARCH_TEXT:
        if (family_text(t->config.form)->is_causal)
            cliptext_forward(&p);
        else
            xlmr_forward(&p);
        break;
    }
    return exec_failed(e, err);
}
