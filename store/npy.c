/* NumPy arrays; see npy.h. The header is a Python literal of three known keys; what NumPy itself
 * writes is read by a small strict parser, and anything else is refused. Every product of a shape
 * is checked in 64 bits against the file's length before it is used.
 */
#include "store/npy.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "store/codec.h"
#include "store/memory.h"
#include "store/outfile.h"

#define MAGIC          "\x93NUMPY"
#define WRITTEN_HEADER 128 /* bytes before the data in files of ours */

static const struct {
    const char *descr;
    uint32_t size;
} types[] = {
    [NPY_F16] = {"<f2", 2}, [NPY_F32] = {"<f4", 4}, [NPY_F64] = {"<f8", 8},
    [NPY_U8] = {"|u1", 1},  [NPY_I32] = {"<i4", 4}, [NPY_I64] = {"<i8", 8},
};
#define N_TYPES (int)(sizeof types / sizeof *types)

/* A cursor over the header's text; `end` is one past its last byte. */
struct literal {
    const char *p, *end;
};

static void skip_space(struct literal *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n')) t->p++;
}

static bool take(struct literal *t, char c)
{
    skip_space(t);
    if (t->p >= t->end || *t->p != c) return false;
    t->p++;
    return true;
}

/* A quoted string without escapes into out; false when there is none or it is too long. */
static bool take_string(struct literal *t, char *out, size_t size)
{
    skip_space(t);
    if (t->p >= t->end || (*t->p != '\'' && *t->p != '"')) return false;
    char quote = *t->p++;
    size_t n = 0;
    while (t->p < t->end && *t->p != quote) {
        if (*t->p == '\\' || n + 1 >= size) return false;
        out[n++] = *t->p++;
    }
    out[n] = 0;
    return take(t, quote);
}

static bool take_word(struct literal *t, const char *word)
{
    skip_space(t);
    size_t n = strlen(word);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n)) return false;
    t->p += n;
    return true;
}

static bool take_size(struct literal *t, uint64_t *out)
{
    skip_space(t);
    const char *first = t->p;
    uint64_t x = 0;
    for (; t->p < t->end && isdigit((unsigned char)*t->p); t->p++)
        if (__builtin_mul_overflow(x, 10u, &x) || __builtin_add_overflow(x, *t->p - '0', &x))
            return false;
    *out = x;
    return t->p > first;
}

/* "(3,)" or "(2, 3)". */
static bool take_shape(struct literal *t, struct npy *a)
{
    if (!take(t, '(')) return false;
    a->n_dims = 0;
    while (!take(t, ')')) {
        if (a->n_dims == NPY_MAX_DIMS || !take_size(t, &a->shape[a->n_dims++])) return false;
        if (take(t, ',')) continue;
        return a->n_dims > 1 && take(t, ')');
    }
    return true;
}

/* The three keys of the header, each exactly once; returns what is wrong, or NULL. */
static const char *parse_header(struct literal t, struct npy *a)
{
    char key[32], descr[32] = "";
    bool has_order = false, has_shape = false;
    if (!take(&t, '{')) return "the header is no dictionary";
    while (!take(&t, '}')) {
        if (!take_string(&t, key, sizeof key) || !take(&t, ':')) return "the header is malformed";
        if (!strcmp(key, "descr") && !descr[0]) {
            if (!take_string(&t, descr, sizeof descr)) return "descr is no simple type";
        } else if (!strcmp(key, "fortran_order") && !has_order) {
            if (take_word(&t, "True")) return "the array is in Fortran order; save it in C order";
            if (!take_word(&t, "False")) return "fortran_order is neither True nor False";
            has_order = true;
        } else if (!strcmp(key, "shape") && !has_shape) {
            if (!take_shape(&t, a)) return "the shape is malformed or has more than 4 dimensions";
            has_shape = true;
        } else {
            return "the header has an unknown or repeated key";
        }
        if (take(&t, ',')) continue;
        if (!take(&t, '}')) return "the header is malformed";
        break;
    }
    skip_space(&t);
    if (t.p != t.end) return "the header has bytes after its dictionary";
    if (!descr[0] || !has_order || !has_shape)
        return "the header lacks descr, fortran_order or shape";
    if (a->n_dims == 0) return "the array has no dimension";
    int type = 0;
    while (type < N_TYPES && strcmp(descr, types[type].descr)) type++;
    if (type == N_TYPES) return "the type is not one of <f2 <f4 <f8 |u1 <i4 <i8";
    a->type = (enum npy_type)type;
    return NULL;
}

/* Rows, columns and bytes of the data in 64 bits; false when a product overflows. */
static bool shape_bytes(struct npy *a, uint64_t *n_bytes)
{
    a->n_rows = a->shape[0];
    a->n_cols = 1;
    for (int i = 1; i < a->n_dims; i++)
        if (__builtin_mul_overflow(a->n_cols, a->shape[i], &a->n_cols)) return false;
    return !__builtin_mul_overflow(a->n_rows, a->n_cols, n_bytes) &&
           !__builtin_mul_overflow(*n_bytes, types[a->type].size, n_bytes);
}

int npy_open(const char *path, struct npy *a, struct error *err)
{
    *a = (struct npy){0};
    int rc = file_map(path, &a->map, err);
    if (rc < 0) return rc;
    const uint8_t *b = a->map.bytes;
    const char *bad = NULL;
    uint64_t n = a->map.n, start = 0, n_header = 0, n_bytes = 0;
    if (n < 10 || memcmp(b, MAGIC, 6)) {
        bad = "is not a NumPy .npy file";
    } else if (b[6] < 1 || b[6] > 3 || b[7] != 0) {
        bad = "is of an unknown .npy version (1.0, 2.0 and 3.0 are known)";
    } else {
        start = b[6] == 1 ? 10 : 12;
        n_header = b[8] | (uint64_t)b[9] << 8;
        if (start == 12 && n >= 12) n_header |= (uint64_t)b[10] << 16 | (uint64_t)b[11] << 24;
        if (n < start || n_header > n - start) bad = "is cut off inside its header";
    }
    if (!bad) {
        struct literal t = {(const char *)b + start, (const char *)b + start + n_header};
        bad = parse_header(t, a);
    }
    if (!bad && !shape_bytes(a, &n_bytes)) bad = "the shape is too large";
    if (bad) {
        rc = error_set(err, ERR_DATA, "%s: %s", path, bad);
    } else if (n - start - n_header != n_bytes) {
        rc = error_set(err, ERR_DATA,
                       "%s: its shape needs %" PRIu64 " bytes of data, %" PRIu64 " are there", path,
                       n_bytes, n - start - n_header);
    } else {
        a->data = b + start + n_header;
        return 0;
    }
    npy_close(a);
    return rc;
}

void npy_close(struct npy *a)
{
    file_unmap(&a->map);
    *a = (struct npy){0};
}

/* out[i] = value: an expression of x, the i-th number of the row at src. */
#define CONVERT(ctype, value)                                                                      \
    for (uint64_t i = 0; i < n; i++) {                                                             \
        ctype x;                                                                                   \
        memcpy(&x, src + i * sizeof x, sizeof x);                                                  \
        out[i] = value;                                                                            \
    }

void npy_row_f32(const struct npy *a, uint64_t row, float *out)
{
    uint64_t n = a->n_cols;
    const uint8_t *src = a->data + row * n * types[a->type].size;
    switch (a->type) {
    case NPY_F16: CONVERT(uint16_t, codec_float_of(x)) break;
    case NPY_F32: memcpy(out, src, n * sizeof *out); break;
    case NPY_F64: CONVERT(double, (float)x) break;
    case NPY_U8: CONVERT(uint8_t, (float)x) break;
    case NPY_I32: CONVERT(int32_t, (float)x) break;
    case NPY_I64: CONVERT(int64_t, (float)x) break;
    }
}

struct npy_writer {
    struct outfile *file;
    char *path;
    uint16_t *half; // (n_cols) of a row on its way to f16, else NULL
    uint64_t n_cols, n_rows;
};

/* The 128 bytes before the data, for the rows written so far. */
static void format_header(const struct npy_writer *w, char header[WRITTEN_HEADER])
{
    memset(header, ' ', WRITTEN_HEADER);
    memcpy(header, MAGIC "\x01\x00", 8);
    header[8] = WRITTEN_HEADER - 10;
    header[9] = 0;
    char text[WRITTEN_HEADER];
    int n = snprintf(text, sizeof text,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu64
                     "), }",
                     types[w->half ? NPY_F16 : NPY_F32].descr, w->n_rows, w->n_cols);
    memcpy(header + 10, text, (size_t)n); /* at most 97 bytes: two numbers of 20 digits */
    header[WRITTEN_HEADER - 1] = '\n';
}

void npy_abandon(struct npy_writer *w)
{
    if (!w) return;
    outfile_abandon(w->file);
    memory_free(w->path);
    memory_free(w->half);
    memory_free(w);
}

int npy_create(const char *path, uint64_t n_cols, struct npy_writer **out, struct error *err)
{
    return npy_create_as(path, NPY_F32, n_cols, out, err);
}

int npy_create_as(const char *path, enum npy_type type, uint64_t n_cols, struct npy_writer **out,
                  struct error *err)
{
    char header[WRITTEN_HEADER];
    int rc = ERR_NOMEM;
    struct npy_writer *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    if (!w) goto fail;
    w->n_cols = n_cols;
    if (type == NPY_F16 && !(w->half = memory_array(n_cols, sizeof *w->half, MEMORY_MAX_FILE, err)))
        goto fail;
    if (!(w->path = memory_string(path, err))) goto fail;
    rc = outfile_create(path, &w->file, err);
    format_header(w, header);
    if (rc == 0) rc = outfile_add(w->file, header, sizeof header, err);
    if (rc < 0) goto fail;
    *out = w;
    return 0;
fail:
    npy_abandon(w);
    return rc;
}

int npy_add_row(struct npy_writer *w, const float *row, struct error *err)
{
    const void *bytes = w->half ? (const void *)w->half : row;
    for (uint64_t i = 0; w->half && i < w->n_cols; i++) {
        w->half[i] = codec_half_of(row[i]);
        if (!isfinite(codec_float_of(w->half[i])) && isfinite(row[i]))
            return error_set(err, ERR_DATA, "%s: %g does not fit f16: write f32", w->path,
                             (double)row[i]);
    }
    int rc = outfile_add(w->file, bytes, w->n_cols * (w->half ? 2 : 4), err);
    w->n_rows += rc == 0;
    return rc;
}

int npy_finish(struct npy_writer *w, struct error *err)
{
    char header[WRITTEN_HEADER];
    format_header(w, header);
    int rc = outfile_patch(w->file, 0, header, sizeof header, err);
    if (rc == 0) {
        rc = outfile_finish(w->file, err);
        w->file = NULL;
    }
    npy_abandon(w);
    return rc;
}
