/* Tensors of a teacher's weight files that no tower takes: a sign of another model than config.json says.
 *
 *     strangers_warn(model, report);
 *
 * The model is open as MODEL_MAPPED. Of a tower that was not opened nothing is said. What older
 * checkpoints carry and nobody uses (*.position_ids, *.pooler.*) is no stranger.
 */
#ifndef FEATURIZE_STRANGERS_H
#define FEATURIZE_STRANGERS_H

#include "featurize/model.h"
#include "store/report.h"

/* Warns once, with their number and the first few names, if there are any; returns the number. */
size_t strangers_warn(const struct model *m, const struct report *report);

#endif
