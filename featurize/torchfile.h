/* PyTorch's weight files (torch.save of a dictionary of tensors, PyTorch 1.6 and later): a zip
 * archive of stored entries, of which data.pkl says which tensor is where.
 *
 *     torchfile_read(map.bytes, map.n, "pytorch_model.bin", &t, &err);
 *     const struct tensor *w = tensor_table_find(torchfile_table(t), "text_projection.weight");
 *     torchfile_close(t);
 *
 * Nothing in the file is executed (featurize/pickle.h): the globals below, and no others, may be
 * named, and of those only tensors, parameters and storages mean anything. Refused by name: any
 * other opcode or global, compressed entries, another byte order, a storage whose entry has another
 * size than it says, a tensor that reaches beyond its storage, the formats before PyTorch 1.6.
 * Tensors are views of the bytes; one that is not contiguous is copied in order. What is in the
 * dictionary and no tensor is not looked at.
 * Threading: a handle is read-only; any thread.
 */
#ifndef FEATURIZE_TORCHFILE_H
#define FEATURIZE_TORCHFILE_H

#include "featurize/tensor.h"

struct torchfile;
/* n bytes in memory, borrowed until torchfile_close; name stands in errors. */
int torchfile_read(const void *bytes, size_t n, const char *name, struct torchfile **t,
                   struct error *err) MUST_CHECK;
void torchfile_close(struct torchfile *t);
/* Its tensors; names and table live until torchfile_close. */
const struct tensor_table *torchfile_table(const struct torchfile *t);

#endif
