/* The text tower, XLM-R with AltCLIP's head: private to tower.c. See xlmr.c. */
#ifndef FEATURIZE_XLMR_H
#define FEATURIZE_XLMR_H

#include "featurize/layout.h"
#include "featurize/pass.h"

void xlmr_layout(struct layout *l);
/* ERR_DATA for an id outside of the vocabulary, an empty sequence or one longer than the position table. */
void xlmr_forward(struct pass *p);

#endif
