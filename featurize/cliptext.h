/* CLIP's causal text tower: private to tower.c. See cliptext.c. */
#ifndef FEATURIZE_CLIPTEXT_H
#define FEATURIZE_CLIPTEXT_H

#include "featurize/layout.h"
#include "featurize/pass.h"

void cliptext_layout(struct layout *l);
/* Errors as xlmr_forward's. */
void cliptext_forward(struct pass *p);

#endif
