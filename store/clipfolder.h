/* The folder that `clip-retrieval inference` writes and its index and back end read.
 *
 *   img_emb/img_emb_0.npy        unit vectors of pictures, f16 as clip-retrieval writes them, or f32
 *   text_emb/text_emb_0.npy      unit vectors of captions; row i of both and of the metadata are one sample
 *   metadata/metadata_0.csv      image_path,caption,image_key,caption_key
 *   image.identity.json, text.identity.json    ours (store/transfer.h)
 *
 * clip-retrieval's own metadata is Parquet, which no kept C library of Debian 12 reads or writes: ours
 * is CSV of the same columns, and a Parquet file is refused with the line of Python that converts it.
 * image_path is the member's name in `export --webdataset`; the keys are SHA-256 in hex.
 *
 * Reading: partitions 0, 1, .. in order of their names (img_emb_07.npy goes with metadata_07.csv). Of a row
 * of pictures image_key stands for the record, else image_path as a source's id; of captions
 * caption_key, else caption. Which tower: the identity's.
 *
 *     clipfolder_open(&in, "dir", "image", &err);     // into an intake
 *     clipfolder_create("dir", &what, &w, &err);
 *     clipfolder_add(w, &row, &err);                  // a sample; then _finish or _abandon
 */
#ifndef STORE_CLIPFOLDER_H
#define STORE_CLIPFOLDER_H

#include <stdbool.h>

#include "store/intake.h"

struct clipfolder;

struct clipfolder_layout {
    uint32_t image_dim, text_dim; /* 0: without that tower; not both */
    enum npy_type type;           /* NPY_F16 or NPY_F32 */
};

struct clipfolder_row {
    const float *image, *text;              /* unit vectors; unused without that tower */
    const uint8_t *image_key, *caption_key; /* likewise */
    const char *image_path;                 /* likewise */
    const char *caption;
    size_t n_caption;
};

/* ERR_EXISTS: the folder holds partitions that are not replaced by these, and would be read with them. */
int clipfolder_create(const char *folder, const struct clipfolder_layout *layout, struct clipfolder **w,
                      struct error *err) MUST_CHECK;
int clipfolder_add(struct clipfolder *w, const struct clipfolder_row *row, struct error *err) MUST_CHECK;
/* The old vectors go, the metadata comes, then the new vectors: rows of two exports never stand beside
 * each other. Frees w either way. */
int clipfolder_finish(struct clipfolder *w, struct error *err) MUST_CHECK;
void clipfolder_abandon(struct clipfolder *w);

/* tower, "image" or "text", is asked for its identity file when the intake has no identity. */
int clipfolder_open(struct intake *in, const char *folder, const char *tower, struct error *err) MUST_CHECK;
int clipfolder_keys(struct intake *in, intake_take *take, void *context, struct error *err) MUST_CHECK;
/* Owned. FOLDER/image.identity.json. */
char *clipfolder_identity(const char *folder, const char *tower, struct error *err) MUST_CHECK;

#endif
