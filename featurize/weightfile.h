/* The weights of a model's folder, whatever container holds them: tensors by name, mapped.
 *
 *     weightfile_open(dir, &w, &err);
 *     const struct tensor *t = weightfile_find(w, "text_projection.weight");
 *     tensor_f32(t, values, &err);
 *     weightfile_close(w);                       // every view of its tensors ends here
 *
 * The first of these that is there: model.safetensors; the shards of model.safetensors.index.json;
 * pytorch_model.bin; the shards of pytorch_model.bin.index.json. Files are mapped read-only and not
 * read: what is not looked at costs no memory, and what was looked at can be dropped (tensor_drop).
 * Everything about names, shapes and places is checked on opening. Threading: read-only once open;
 * any thread.
 */
#ifndef FEATURIZE_WEIGHTFILE_H
#define FEATURIZE_WEIGHTFILE_H

#include "featurize/tensor.h"

struct weightfile;
/* ERR_NOT_FOUND says what is missing, ERR_DATA names file and tensor. */
int weightfile_open(const char *folder, struct weightfile **w, struct error *err) MUST_CHECK;
void weightfile_close(struct weightfile *w);
/* ERR_DATA when a file was written to, in place, since it was opened: what was computed since may be
 * of either. A file that was replaced by another (renamed over) or removed is no matter: the map is
 * of the old one. NULL is fine. A file made shorter kills whoever reads it (SIGBUS). */
int weightfile_check(const struct weightfile *w, struct error *err) MUST_CHECK;
size_t weightfile_n(const struct weightfile *w);
/* The i-th tensor in order of name; NULL past the end. */
const struct tensor *weightfile_at(const struct weightfile *w, size_t i);
const struct tensor *weightfile_find(const struct weightfile *w, const char *name); /* NULL when absent */

#endif
