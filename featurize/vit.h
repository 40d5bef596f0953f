/* CLIP's vision transformer: private to tower.c. See vit.c. */
#ifndef FEATURIZE_VIT_H
#define FEATURIZE_VIT_H

#include "featurize/layout.h"
#include "featurize/pass.h"

void vit_layout(struct layout *l);
void vit_forward(struct pass *p);

#endif
