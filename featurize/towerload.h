/* A tower with the weights of a model's folder.
 *
 *     tower_load(&t, &config, weights, dir, true, &err);   // then tower_pack, for inference
 *
 * Every tensor of the tower's table must stand in the file with its shape; what else stands there
 * is not looked at. Mapped: the tower keeps views of the file (featurize/params.h) and `weights`
 * must stay open for its life. Not mapped: all weights are copied as f32, for training and shrink.
 */
#ifndef FEATURIZE_TOWERLOAD_H
#define FEATURIZE_TOWERLOAD_H

#include "featurize/tower.h"
#include "featurize/weightfile.h"

/* *t owned: tower_free. ERR_DATA names folder, tensor, expected and found shape. */
int tower_load(struct tower **t, const struct tower_config *config, const struct weightfile *weights,
               const char *dir, bool mapped, struct error *err) MUST_CHECK;

#endif
