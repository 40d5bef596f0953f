/* Weight inheritance: see the header. */
#include "train/inherit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "featurize/family.h"
#include "store/memory.h"
#include "train/random.h"

#define PCA_ROUNDS 30

/* The place in the teacher of row or column i of a student's tensor. */
struct map {
    int student_head, teacher_head; /* widths of a head; 0: front slice */
    const int32_t *row;             /* or a table */
};

static int64_t place(const struct map *m, int64_t i)
{
    if (m->row) return m->row[i];
    if (m->student_head) return i / m->student_head * m->teacher_head + i % m->student_head;
    return i;
}

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

/* Attention's inner dimension: rows of q, k, v, columns of the output. */
static bool is_inner(const char *name, int dim)
{
    bool qkv = has(name, "q_proj") || has(name, "k_proj") || has(name, "v_proj") ||
               has(name, "self.query") || has(name, "self.key") || has(name, "self.value");
    bool out = has(name, "out_proj.weight") || has(name, "attention.output.dense.weight");
    return (dim == 0 && qkv) || (dim == 1 && out);
}

/* "encoder.layer.3.x" of the student is "encoder.layer.(3 * step).x" of the teacher. */
static void teacher_name(const char *name, int step, char *out, size_t size)
{
    const char *at = strstr(name, "encoder.layer");
    if (at) at = strchr(at + strlen("encoder.layer"), '.');
    int layer, used;
    if (!at || sscanf(at, ".%d%n", &layer, &used) != 1)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%.*s.%d%s", (int)(at - name), name, layer * step, at + used);
}

/* The common case: every dimension by its map. // s, t: up to (d0, d1, rest) */
static void slice(const struct param *s, const struct param *t, const struct map map[2],
                  const float *from, float *to)
{
    int64_t d0 = s->n_dims > 0 ? s->shape[0] : 1, d1 = s->n_dims > 1 ? s->shape[1] : 1;
    int64_t t1 = t->n_dims > 1 ? t->shape[1] : 1, rest = (int64_t)s->n / (d0 * d1);
    for (int64_t i = 0; i < d0; i++)
        for (int64_t j = 0; j < d1; j++)
            memcpy(to + (i * d1 + j) * rest,
                   from + (place(&map[0], i) * t1 + place(&map[1], j)) * rest,
                   (size_t)rest * sizeof *to);
}

/* Bilinear with centres aligned. // from (n, n) at stride, to (m, m) at stride */
static void resample(const float *from, int n, int64_t from_stride, float *to, int m,
                     int64_t to_stride, float scale)
{
    for (int y = 0; y < m; y++) {
        for (int x = 0; x < m; x++) {
            double sy = fmin(fmax((y + 0.5) * n / m - 0.5, 0), n - 1),
                   sx = fmin(fmax((x + 0.5) * n / m - 0.5, 0), n - 1);
            int y0 = (int)sy, x0 = (int)sx, y1 = y0 + 1 < n ? y0 + 1 : y0,
                x1 = x0 + 1 < n ? x0 + 1 : x0;
            double fy = sy - y0, fx = sx - x0;
            double top = (1 - fx) * from[((int64_t)y0 * n + x0) * from_stride] +
                         fx * from[((int64_t)y0 * n + x1) * from_stride];
            double low = (1 - fx) * from[((int64_t)y1 * n + x0) * from_stride] +
                         fx * from[((int64_t)y1 * n + x1) * from_stride];
            to[((int64_t)y * m + x) * to_stride] = (float)(scale * ((1 - fy) * top + fy * low));
        }
    }
}

/* A ViT's positions (class row, then the grid) or patch kernel at another size. */
static void resize_grid(const struct tower *student, const struct tower *teacher,
                        const struct param *s, const struct param *t, const float *from, float *to)
{
    const struct tower_config *cs = &student->config, *ct = &teacher->config;
    if (has(s->name, "position_embedding")) {
        int64_t ds = s->shape[1], dt = t->shape[1];
        memcpy(to, from, (size_t)ds * sizeof *to);
        for (int64_t c = 0; c < ds; c++)
            resample(from + dt + c, ct->image_size / ct->patch, dt, to + ds + c,
                     cs->image_size / cs->patch, ds, 1);
        return;
    }
    int ps = cs->patch, pt = ct->patch;
    for (int64_t k = 0; k < s->shape[0] * 3;
         k++) /* a picture of constant colour gives the same sum */
        resample(from + k * pt * pt, pt, 1, to + k * ps * ps, ps, 1,
                 (float)(pt * pt) / (float)(ps * ps));
}

/* Gram-Schmidt over the columns of q. // q (d, e) */
static void orthonormalise(int64_t d, int64_t e, double *q)
{
    for (int64_t j = 0; j < e; j++) {
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t k = 0; k < j; k++) {
                double dot = 0;
                for (int64_t i = 0; i < d; i++) dot += q[i * e + j] * q[i * e + k];
                for (int64_t i = 0; i < d; i++) q[i * e + j] -= dot * q[i * e + k];
            }
        }
        double norm = 0;
        for (int64_t i = 0; i < d; i++) norm += q[i * e + j] * q[i * e + j];
        norm = norm > 0 ? 1 / sqrt(norm) : 0;
        for (int64_t i = 0; i < d; i++) q[i * e + j] *= norm;
    }
}

/* The e principal axes of rows x by subspace iteration on their covariance. // x (n, d) centred, q (d, e) */
static int principal_axes(int64_t n, int64_t d, int64_t e, const float *x, uint64_t seed, double *q,
                          struct error *err)
{
    double *cov = memory_array((uint64_t)(d * d), sizeof *cov, MEMORY_MAX_TENSOR, err);
    double *next = memory_array((uint64_t)(d * e), sizeof *next, MEMORY_MAX_TENSOR, err);
    int rc = cov && next ? 0 : ERR_NOMEM;
    if (rc < 0) goto done;
#pragma omp parallel for default(none) shared(n, d, x, cov) schedule(static)
    for (int64_t a = 0; a < d; a++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t b = 0; b < d; b++)
                cov[a * d + b] += (double)x[i * d + a] * (double)x[i * d + b];
    for (int64_t i = 0; i < d * e; i++) q[i] = random_uniform(seed, 0, (uint64_t)i) - 0.5;
    orthonormalise(d, e, q);
    for (int round = 0; round < PCA_ROUNDS; round++) {
        memset(next, 0, (size_t)(d * e) * sizeof *next);
#pragma omp parallel for default(none) shared(d, e, cov, q, next) schedule(static)
        for (int64_t a = 0; a < d; a++)
            for (int64_t b = 0; b < d; b++)
                for (int64_t j = 0; j < e; j++) next[a * e + j] += cov[a * d + b] * q[b * e + j];
        memcpy(q, next, (size_t)(d * e) * sizeof *q);
        orthonormalise(d, e, q);
    }
done:
    memory_free(next);
    memory_free(cov);
    return rc;
}

/* Word rows W (vocab, width) as code (vocab, e) times mapping (width, e)^T plus bias. */
static int factorise(struct tower *student, const struct tower *teacher, const int32_t *old_of_new,
                     uint64_t seed, struct error *err)
{
    const struct tower_config *c = &student->config;
    const struct family_text *f = family_text(c->form);
    char word[PARAM_NAME_MAX + 1], mapping[PARAM_NAME_MAX + 1], bias[PARAM_NAME_MAX + 1];
    snprintf(word, sizeof word, "%s%s", f->prefix, f->word);
    snprintf(mapping, sizeof mapping, "%sembeddings.embedding_hidden_mapping_in.weight", f->prefix);
    snprintf(bias, sizeof bias, "%sembeddings.embedding_hidden_mapping_in.bias", f->prefix);
    int64_t n = c->vocab, d = c->width, e = c->embed_dim, dt = teacher->config.width;
    const float *from = params_at(&teacher->params, params_find(&teacher->params, word));
    float *code = params_at(&student->params, params_find(&student->params, word));
    float *map = params_at(&student->params, params_find(&student->params, mapping));
    float *mean = params_at(&student->params, params_find(&student->params, bias));
    float *rows = memory_array((uint64_t)(n * d), sizeof *rows, MEMORY_MAX_TENSOR, err);
    double *q = memory_array((uint64_t)(d * e), sizeof *q, MEMORY_MAX_TENSOR, err);
    double *total = memory_array((uint64_t)d, sizeof *total, MEMORY_MAX_TENSOR, err);
    int rc = rows && q && total ? 0 : ERR_NOMEM;
    if (rc < 0) goto done;
    for (int64_t i = 0; i < n; i++) {
        memcpy(rows + i * d, from + (old_of_new ? old_of_new[i] : i) * dt,
               (size_t)d * sizeof *rows);
        for (int64_t j = 0; j < d; j++) total[j] += rows[i * d + j];
    }
    for (int64_t j = 0; j < d; j++) mean[j] = (float)(total[j] / (double)n);
    for (int64_t i = 0; i < n * d; i++) rows[i] -= mean[i % d];
    rc = principal_axes(n, d, e, rows, seed, q, err);
    if (rc < 0) goto done;
    for (int64_t i = 0; i < d * e; i++) map[i] = (float)q[i];
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < e; k++) {
            double sum = 0;
            for (int64_t j = 0; j < d; j++) sum += rows[i * d + j] * q[j * e + k];
            code[i * e + k] = (float)sum;
        }
    }
done:
    memory_free(total);
    memory_free(q);
    memory_free(rows);
    return rc;
}

static int check_sizes(const struct tower_config *s, const struct tower_config *t,
                       struct error *err)
{
    const struct {
        const char *name;
        int student, teacher;
    } size[] = {{"width", s->width, t->width},
                {"layers", s->layers, t->layers},
                {"mlp", s->mlp, t->mlp},
                {"heads", s->heads, t->heads},
                {"width of a head", s->width / s->heads, t->width / t->heads},
                {"projection", s->projection_dim, t->projection_dim},
                {"tokens", s->arch == ARCH_TEXT ? tower_max_tokens(s) : 0,
                 t->arch == ARCH_TEXT ? tower_max_tokens(t) : 0}};
    if (s->arch != t->arch)
        return error_set(err, ERR_USAGE, "the student's architecture is not its teacher's");
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].student > size[i].teacher)
            return error_set(err, ERR_USAGE,
                             "the student's %s is %d, the teacher's only %d; a shrunken student "
                             "cannot be larger",
                             size[i].name, size[i].student, size[i].teacher);
    if (s->embed_dim != t->embed_dim && (t->embed_dim || s->embed_dim > s->width))
        return error_set(err, ERR_USAGE,
                         "the student's word embedding has %d columns, the teacher's %d",
                         s->embed_dim, t->embed_dim);
    return 0;
}

int inherit_tower(struct tower *student, const struct tower *teacher, const int32_t *old_of_new,
                  uint64_t seed, struct error *err)
{
    const struct tower_config *cs = &student->config, *ct = &teacher->config;
    int rc = check_sizes(cs, ct, err);
    if (rc < 0) return rc;
    bool factor = cs->arch == ARCH_TEXT && cs->embed_dim && !ct->embed_dim;
    bool regrid = cs->arch == ARCH_VIT && cs->image_size / cs->patch != ct->image_size / ct->patch;
    bool repatch = cs->arch == ARCH_VIT && cs->patch != ct->patch;
    const struct map heads = {.student_head = cs->width / cs->heads,
                              .teacher_head = ct->width / ct->heads};
    for (int k = 0; k < student->params.n; k++) {
        const struct param *s = &student->params.table[k];
        if (factor && (has(s->name, "word_embeddings") || has(s->name, "token_embedding.weight") ||
                       has(s->name, "embedding_hidden_mapping_in")))
            continue;
        char name[PARAM_NAME_MAX + 1];
        teacher_name(s->name, ct->layers / cs->layers, name, sizeof name);
        int from = params_find(&teacher->params, name);
        if (from < 0)
            return error_set(err, ERR_DATA, "the teacher has no tensor \"%s\" to inherit", name);
        const struct param *t = &teacher->params.table[from];
        const float *source = params_at(&teacher->params, from);
        float *to = params_at(&student->params, k);
        if ((regrid && has(s->name, "position_embedding")) ||
            (repatch && has(s->name, "patch_embedding"))) {
            resize_grid(student, teacher, s, t, source, to);
            continue;
        }
        struct map map[2] = {{0}};
        for (int d = 0; d < 2; d++)
            if (is_inner(s->name, d)) map[d] = heads;
        if (has(s->name, "word_embeddings")) map[0].row = old_of_new;
        slice(s, t, map, source, to);
    }
    return factor ? factorise(student, teacher, old_of_new, seed, err) : 0;
}
