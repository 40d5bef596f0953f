/* Encoded pictures to embeddings; see embed.h. */
#include "featurize/embed.h"

#include <omp.h>
#include <string.h>

#include "ingest/picture.h"
#include "store/memory.h"

int embed_decode(const struct model *m, struct resizer *r, const void *bytes, size_t n,
                 uint8_t *out, struct error *err)
{
    struct picture p = {0};
    struct picture_limits limits = picture_limits_default();
    struct view_box whole = {.whole = true};
    int rc = picture_decode(bytes, n, &limits, m->preprocess.apply_orientation, &p, err);
    if (rc == 0)
        rc = preprocess_u8(&m->preprocess, r, p.rgb, (int)p.width_px, (int)p.height_px, &whole,
                           preprocess_side(&m->preprocess), out, err);
    picture_release(&p);
    return rc;
}

/* One round of at most EMBED_BATCH pictures. */
static int embed_round(struct model *m, enum numerics numerics, int n, const void *const *bytes,
                       const size_t *n_bytes, struct resizer **resizers, uint8_t *pixels,
                       float *out, float *norms, int *bad, struct error *err)
{
    struct error *errs = memory_array((uint64_t)n, sizeof *errs, MEMORY_MAX_SMALL, err);
    if (!errs) return ERR_NOMEM;
    int side = preprocess_side(&m->preprocess), rc = 0;
    size_t stride = (size_t)side * (size_t)side * 3;
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(m, n, bytes, n_bytes, resizers, pixels, errs, stride)
    for (int i = 0; i < n; i++)
        errs[i].code = embed_decode(m, resizers[omp_get_thread_num()], bytes[i], n_bytes[i],
                                    pixels + (size_t)i * stride, &errs[i]);
    for (int i = 0; i < n && rc == 0; i++) {
        if (errs[i].code == 0) continue;
        rc = error_set(err, errs[i].code, "%s", errs[i].text);
        if (bad) *bad = i;
    }
    if (rc == 0) rc = model_embed_pixels(m, numerics, n, pixels, out, norms, err);
    memory_free(errs);
    return rc;
}

int embed_pictures(struct model *m, enum numerics numerics, int n, const void *const *bytes,
                   const size_t *n_bytes, float *out, float *norms, int *bad, struct error *err)
{
    int n_threads = omp_get_max_threads(), rc = ERR_NOMEM, side = preprocess_side(&m->preprocess);
    struct resizer **resizers = memory_array((uint64_t)n_threads, sizeof *resizers,
                                             MEMORY_MAX_SMALL, err);
    uint8_t *pixels = memory_array(EMBED_BATCH * 3, (uint64_t)side * (uint64_t)side,
                                   MEMORY_MAX_TENSOR, err);
    if (!resizers || !pixels) goto done;
    for (int t = 0; t < n_threads; t++)
        if (!(resizers[t] = resizer_new(err))) goto done;
    rc = 0;
    for (int i = 0; i < n && rc == 0; i += EMBED_BATCH) {
        int k = n - i < EMBED_BATCH ? n - i : EMBED_BATCH;
        rc = embed_round(m, numerics, k, bytes + i, n_bytes + i, resizers, pixels,
                         out + (size_t)i * (size_t)m->projection_dim, norms ? norms + i : NULL, bad,
                         err);
        if (rc < 0 && bad) *bad += i;
    }
done:
    for (int t = 0; resizers && t < n_threads; t++) resizer_free(resizers[t]);
    memory_free(resizers);
    memory_free(pixels);
    return rc;
}
