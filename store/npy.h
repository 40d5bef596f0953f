/* NumPy .npy files, format versions 1 to 3 (NEP 1): C order, little-endian, 1 or 2 dimensions.
 * Reading maps the file and converts row by row; writing streams rows and fixes the header at the end.
 */
#ifndef STORE_NPY_H
#define STORE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/file.h"

#define NPY_MAX_DIMS 4

enum npy_type { NPY_F16, NPY_F32, NPY_F64, NPY_U8, NPY_I32, NPY_I64 };

struct npy {
    struct file_map map;
    enum npy_type type;
    int n_dims;
    uint64_t shape[NPY_MAX_DIMS];
    uint64_t n_rows; /* shape[0] */
    uint64_t n_cols; /* product of the rest */
    const uint8_t *data; /* borrowed from map, C order */
};

/* Checks magic, header, dtype, order and that the file is exactly as long as its shape says. */
int npy_open(const char *path, struct npy *a, struct error *err) MUST_CHECK;
void npy_close(struct npy *a);
/* Row i as f32. // out: (n_cols) */
void npy_row_f32(const struct npy *a, uint64_t row, float *out);

struct npy_writer;
/* Writes beside it (store/outfile.h); npy_finish puts it in place atomically, npy_abandon removes it. f32; _as: NPY_F32
 * or NPY_F16. */
int npy_create(const char *path, uint64_t n_cols, struct npy_writer **w, struct error *err) MUST_CHECK;
int npy_create_as(const char *path, enum npy_type type, uint64_t n_cols, struct npy_writer **w,
                  struct error *err) MUST_CHECK;
/* ERR_DATA when a value does not fit f16. */
int npy_add_row(struct npy_writer *w, const float *row, struct error *err) MUST_CHECK;
int npy_finish(struct npy_writer *w, struct error *err) MUST_CHECK; /* frees w either way */
void npy_abandon(struct npy_writer *w);

#endif
