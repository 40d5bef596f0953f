/* The rows of a feature set that comes from elsewhere, whatever files it lies in; `transfer_import` reads them.
 *
 *     intake_open(&in, from, &err);                  // maps the files, reads the identity
 *     intake_row(&in, i, row);                       // row i of in.n_rows as f32
 *     intake_keys(&in, take, context, &err);         // take() gets the key of each row, in order
 *     intake_close(&in);
 *
 * Three layouts, told by which path of struct transfer_source is set:
 *   npy             one .npy, a keys file and an identity (store/transfer.h)
 *   safetensors     one file (store/featurefile.h)
 *   clip_retrieval  a folder of partitions (store/clipfolder.h); they are read as one matrix
 *
 * Invariants: once open, the rows, their number and width are known and agree with each other; that
 * there is one key a row is known when intake_keys has returned. One thread.
 */
#ifndef STORE_INTAKE_H
#define STORE_INTAKE_H

#include "store/json.h"
#include "store/npy.h"
#include "store/transfer.h"

struct intake_part {
    char *name;           /* of the file; owned */
    char *metadata;       /* its keys' file, of clip_retrieval; owned */
    struct npy npy;       /* owned; a safetensors' tensor is one as well */
    const uint8_t *norms; // (npy.n_rows) f32 of any alignment, or NULL: factors of the rows
    uint64_t first;       /* row of the whole */
};

struct intake {
    const struct transfer_source *from; /* borrowed */
    struct intake_part *parts;
    size_t n_parts, capacity;
    uint64_t n_rows, n_cols;
    struct json *identity;           /* an object; owned */
    char *identity_name, *keys_name; /* owned */
    const char *unit;                /* what holds a key: "line", "row", "record" */
    const uint8_t *keys;             // (n_rows, 32), or NULL: they are text
};

/* key: 32 bytes, or NULL and text: what stands for one. A negative return stops. */
typedef int intake_take(void *context, uint64_t row, const uint8_t *key, char *text, struct error *err);

/* ERR_DATA, ERR_NOT_FOUND, ...: name the file. To be closed also after an error. */
int intake_open(struct intake *in, const struct transfer_source *from, struct error *err) MUST_CHECK;
void intake_row(const struct intake *in, uint64_t row, float *out);
/* The file that a row lies in, and its row there. */
const char *intake_place(const struct intake *in, uint64_t row, uint64_t *there);
/* ERR_DATA when there is not one key a row. */
int intake_keys(struct intake *in, intake_take *take, void *context, struct error *err) MUST_CHECK;
void intake_close(struct intake *in);

/* For the layouts: another part, zeroed but for its name; and its place once its matrix is open. */
struct intake_part *intake_add(struct intake *in, const char *name, struct error *err) MUST_CHECK;
int intake_count(struct intake *in, struct intake_part *part, struct error *err) MUST_CHECK;
/* Reads the identity from a file, once: an identity that is there already stays. */
int intake_identity(struct intake *in, const char *path, struct error *err) MUST_CHECK;

#endif
