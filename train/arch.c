/* The words that name an architecture: see the header. */
#include "train/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/op.h"
#include "featurize/tokenizer.h"

#define GRAMMAR                                                                                    \
    "expected vit-nano, vit-tiny, vit-small, mobilevit-xxs, mobilevit-xs, mobilevit-s, "           \
    "text-nano, text-tiny, text-small, vit or text, then optionally :key=value,... "               \
    "(width, layers, heads, mlp, patch, size, act for pictures; "                                  \
    "width, layers, heads, mlp, embed, tokens, pooling, act for text)"

struct preset {
    const char *name;
    bool is_text;
    int width, layers, heads, patch, size, embed, tokens;
};

static const struct preset presets[] = {
    {"vit-nano", false, 96, 4, 3, 16, 96, 0, 0},    {"vit-tiny", false, 192, 6, 3, 16, 160, 0, 0},
    {"vit-small", false, 256, 8, 4, 16, 224, 0, 0}, {"text-nano", true, 96, 2, 3, 0, 0, 0, 64},
    {"text-tiny", true, 192, 4, 3, 0, 0, 96, 64},   {"text-small", true, 256, 6, 4, 0, 0, 128, 64},
};

static void apply_preset(const struct preset *p, struct tower_config *c)
{
    c->arch = p->is_text ? ARCH_TEXT : ARCH_VIT;
    c->width = p->width;
    c->layers = p->layers;
    c->heads = p->heads;
    c->mlp = 4 * p->width;
    if (p->is_text) {
        c->embed_dim = p->embed;
        c->max_positions = p->tokens + tower_first_position(c);
    } else {
        c->patch = p->patch;
        c->image_size = p->size;
    }
}

struct tower_config arch_image_default(void)
{
    struct tower_config c = {.act = ACT_GELU, .eps = 1e-5F};
    apply_preset(&presets[1], &c);
    return c;
}

struct tower_config arch_text_default(void)
{
    struct tower_config c = {.act = ACT_GELU,
                             .eps = 1e-5F,
                             .pad_id = TOKEN_PAD,
                             .bos_id = TOKEN_BOS,
                             .eos_id = TOKEN_EOS,
                             .pooling = POOL_MEAN};
    apply_preset(&presets[4], &c);
    return c;
}

static int read_int(const char *spec, const char *key, const char *value, int low, int high,
                    int *out, struct error *err)
{
    char *end;
    long v = strtol(value, &end, 10);
    if (end == value || *end || v < low || v > high)
        return error_set(err, ERR_USAGE, "\"%s\": %s=%s is not a number from %d to %d", spec, key,
                         value, low, high);
    *out = (int)v;
    return 0;
}

struct key {
    const char *name;
    int *at;
    int low, high;
};

/* key=value of one architecture word. */
static int read_key(const char *spec, const char *key, const char *value, bool is_text,
                    struct tower_config *c, struct error *err)
{
    int tokens = tower_max_tokens(c);
    const struct key image[] = {{"width", &c->width, 8, 8192}, {"layers", &c->layers, 1, 96},
                                {"heads", &c->heads, 1, 128},  {"mlp", &c->mlp, 8, 32768},
                                {"patch", &c->patch, 1, 64},   {"size", &c->image_size, 16, 1024}};
    const struct key text[] = {{"width", &c->width, 8, 8192},     {"layers", &c->layers, 1, 96},
                               {"heads", &c->heads, 1, 128},      {"mlp", &c->mlp, 8, 32768},
                               {"embed", &c->embed_dim, 0, 8192}, {"tokens", &tokens, 2, 4096}};
    if (!strcmp(key, "act")) {
        int act = act_of_name(value, err);
        if (act < 0) return act;
        c->act = (enum act)act;
        return 0;
    }
    if (is_text && !strcmp(key, "pooling")) {
        if (strcmp(value, "mean") && strcmp(value, "cls"))
            return error_set(err, ERR_USAGE, "\"%s\": pooling=%s is neither mean nor cls", spec,
                             value);
        if (c->pooling == POOL_END)
            return error_set(err, ERR_USAGE,
                             "\"%s\": a causal text tower pools its end token, pooling cannot be "
                             "chosen",
                             spec);
        c->pooling = strcmp(value, "cls") ? POOL_MEAN : POOL_CLS;
        return 0;
    }
    for (size_t i = 0; i < sizeof image / sizeof *image; i++) {
        const struct key *k = is_text ? &text[i] : &image[i];
        if (strcmp(k->name, key) || (c->arch == ARCH_MOBILEVIT && strcmp(key, "size"))) continue;
        int rc = read_int(spec, key, value, k->low, k->high, k->at, err);
        if (rc == 0 && is_text) c->max_positions = tokens + tower_first_position(c);
        return rc;
    }
    return error_set(err, ERR_USAGE, "\"%s\": unknown key \"%s\"; " GRAMMAR, spec, key);
}

static int check(const char *spec, const struct tower_config *c, struct error *err)
{
    if (c->arch == ARCH_MOBILEVIT) {
        if (c->image_size % 32)
            return error_set(err, ERR_USAGE,
                             "\"%s\": size %d is no multiple of 32, as MobileViT needs", spec,
                             c->image_size);
        return 0;
    }
    if (c->width % c->heads)
        return error_set(err, ERR_USAGE, "\"%s\": %d heads do not divide the width %d", spec,
                         c->heads, c->width);
    if (c->arch == ARCH_VIT && c->image_size % c->patch)
        return error_set(err, ERR_USAGE, "\"%s\": size %d is no multiple of the patch %d", spec,
                         c->image_size, c->patch);
    return 0;
}

/* The word before the colon. */
static int read_head(const char *spec, const char *head, bool is_text, struct tower_config *c,
                     struct error *err)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, head) || presets[i].is_text != is_text) continue;
        apply_preset(&presets[i], c);
        return 0;
    }
    if (!is_text && !strncmp(head, "mobilevit-", 10)) {
        const char *variant = head + 10;
        if (!strcmp(variant, "xxs") || !strcmp(variant, "xs") || !strcmp(variant, "s")) {
            struct tower_config fresh = {.arch = ARCH_MOBILEVIT,
                                         .act = ACT_SILU,
                                         .eps = 1e-5F,
                                         .image_size = 256,
                                         .projection_dim = c->projection_dim};
            strcpy(fresh.variant, variant); /* at most "xxs" */
            *c = fresh;
            return 0;
        }
    }
    if (!strcmp(head, is_text ? "text" : "vit")) {
        enum tower_arch arch = is_text ? ARCH_TEXT : ARCH_VIT;
        if (c->arch == arch) return 0;
    }
    return error_set(err, ERR_USAGE, "no %s architecture \"%s\"; " GRAMMAR,
                     is_text ? "text" : "image", spec);
}

int arch_parse(const char *spec, bool is_text, struct tower_config *c, struct error *err)
{
    char copy[256];
    if (strlen(spec) >= sizeof copy)
        return error_set(err, ERR_USAGE, "architecture \"%.40s...\" is too long", spec);
    snprintf(copy, sizeof copy, "%s", spec);
    char *rest = strchr(copy, ':');
    if (rest) *rest++ = 0;
    struct tower_config read = *c;
    int rc = read_head(spec, copy, is_text, &read, err);
    if (rc < 0) return rc;
    const struct tower_config before = read;
    bool width = false, mlp = false;
    char *save = NULL;
    for (char *word = rest ? strtok_r(rest, ",", &save) : NULL; word;
         word = strtok_r(NULL, ",", &save)) {
        char *value = strchr(word, '=');
        if (!value)
            return error_set(err, ERR_USAGE, "\"%s\": \"%s\" is no key=value; " GRAMMAR, spec,
                             word);
        *value++ = 0;
        rc = read_key(spec, word, value, is_text, &read, err);
        if (rc < 0) return rc;
        width |= !strcmp(word, "width");
        mlp |= !strcmp(word, "mlp");
    }
    if (width && !mlp && before.width)
        read.mlp = (int)((int64_t)before.mlp * read.width / before.width);
    if (read.embed_dim == read.width) read.embed_dim = 0; /* nothing to factorise */
    rc = check(spec, &read, err);
    if (rc == 0) *c = read;
    return rc;
}

void arch_name(const struct tower_config *c, char *text, size_t size)
{
    if (c->arch == ARCH_MOBILEVIT)
        snprintf(text, size, "mobilevit-%s:size=%d", c->variant, c->image_size);
    else if (c->arch == ARCH_VIT)
        snprintf(text, size, "vit:width=%d,layers=%d,heads=%d,mlp=%d,patch=%d,size=%d,act=%s",
                 c->width, c->layers, c->heads, c->mlp, c->patch, c->image_size, act_name(c->act));
    else
        snprintf(text, size,
                 "text:width=%d,layers=%d,heads=%d,mlp=%d,embed=%d,tokens=%d,pooling=%s,act=%s",
                 c->width, c->layers, c->heads, c->mlp, c->embed_dim, tower_max_tokens(c),
                 c->pooling == POOL_CLS   ? "cls"
                 : c->pooling == POOL_END ? "end"
                                          : "mean",
                 act_name(c->act));
}
