/* MobileViT: private to tower.c and towerconfig.c. See mobilevit.c. */
#ifndef FEATURIZE_MOBILEVIT_H
#define FEATURIZE_MOBILEVIT_H

#include "featurize/layout.h"
#include "featurize/pass.h"

#define MOBILEVIT_BLOCKS 5

struct mobilevit_variant {
    char name[8];
    int neck[7];   /* channels after the stem, after each of the five encoder layers, after conv_1x1_exp */
    int hidden[3]; /* widths of the three transformers */
    int depth[3];  /* and their layers */
    int expand;    /* of the inverted residuals */
};

enum { MOBILEVIT_HEADS = 4, MOBILEVIT_MLP_RATIO = 2, MOBILEVIT_PATCH = 2 };

/* By name, or NULL. */
const struct mobilevit_variant *mobilevit_find(const char *name);
/* By widths (as in a config.json), or NULL. */
const struct mobilevit_variant *mobilevit_match(const int hidden[3], const int neck[7]);
void mobilevit_layout(struct layout *l);
void mobilevit_forward(struct pass *p);

#endif
