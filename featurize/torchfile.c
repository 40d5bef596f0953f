/* From a state dictionary's pickle to tensors; see torchfile.h. The pickle is foreign input: kinds,
 * counts, places and products are checked before use, and of a value that may contain itself only
 * fixed depths are looked at. */
#include "featurize/torchfile.h"

#include <stdio.h>
#include <string.h>

#include "featurize/pickle.h"
#include "featurize/storedzip.h"
#include "store/memory.h"

#define MAX_KEY       200
#define COPIES_BEYOND ((uint64_t)4 << 20) /* bytes of copied tensors beyond the size of the file */

enum global_kind { ORDERED_DICT, TENSOR_V2, TENSOR_V3, PARAMETER, TYPED, UNTYPED, DTYPE };

/* What the pickle may name, and what it means; GLOBALS and MEANINGS run side by side. */
static const struct pickle_global GLOBALS[] = {
    {"collections", "OrderedDict"},
    {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_tensor_v3"},
    {"torch._utils", "_rebuild_parameter"},
    {"torch.storage", "UntypedStorage"},
    {"torch", "DoubleStorage"},
    {"torch", "FloatStorage"},
    {"torch", "HalfStorage"},
    {"torch", "BFloat16Storage"},
    {"torch", "LongStorage"},
    {"torch", "IntStorage"},
    {"torch", "ShortStorage"},
    {"torch", "CharStorage"},
    {"torch", "ByteStorage"},
    {"torch", "BoolStorage"},
    {"torch", "float64"},
    {"torch", "float32"},
    {"torch", "float16"},
    {"torch", "bfloat16"},
    {"torch", "int64"},
    {"torch", "int32"},
    {"torch", "int16"},
    {"torch", "int8"},
    {"torch", "uint8"},
    {"torch", "bool"},
};
static const struct {
    enum global_kind kind;
    enum tensor_type type;
} MEANINGS[] = {
    {ORDERED_DICT, 0},    {TENSOR_V2, 0},      {TENSOR_V3, 0},       {PARAMETER, 0},
    {UNTYPED, TENSOR_U8}, {TYPED, TENSOR_F64}, {TYPED, TENSOR_F32},  {TYPED, TENSOR_F16},
    {TYPED, TENSOR_BF16}, {TYPED, TENSOR_I64}, {TYPED, TENSOR_I32},  {TYPED, TENSOR_I16},
    {TYPED, TENSOR_I8},   {TYPED, TENSOR_U8},  {TYPED, TENSOR_BOOL}, {DTYPE, TENSOR_F64},
    {DTYPE, TENSOR_F32},  {DTYPE, TENSOR_F16}, {DTYPE, TENSOR_BF16}, {DTYPE, TENSOR_I64},
    {DTYPE, TENSOR_I32},  {DTYPE, TENSOR_I16}, {DTYPE, TENSOR_I8},   {DTYPE, TENSOR_U8},
    {DTYPE, TENSOR_BOOL},
};
enum { N_GLOBALS = sizeof GLOBALS / sizeof *GLOBALS };
_Static_assert(sizeof MEANINGS / sizeof *MEANINGS == N_GLOBALS, "a meaning for each global");

struct torchfile {
    const char *file; /* in errors, while reading */
    struct storedzip *zip;
    struct pickle *pickle; /* owns the names */
    struct tensor_table table;
    void **copies; /* of tensors that are not contiguous */
    size_t n_copies, copies_capacity;
    uint64_t bytes_left; /* that copies may still take */
    const char *prefix;  /* of entries: "archive/"; n_prefix bytes */
    size_t n_prefix;
};

static const struct storedzip_entry *find_entry(const struct torchfile *t, const char *name)
{
    char path[MAX_KEY + 600];
    int n = snprintf(path, sizeof path, "%.*s%s", (int)t->n_prefix, t->prefix, name);
    return n > 0 && n < (int)sizeof path ? storedzip_find(t->zip, path, (size_t)n) : NULL;
}

static bool is_global(const struct pickle_value *v, enum global_kind kind)
{
    return v && v->kind == PICKLE_GLOBAL && MEANINGS[v->number].kind == kind;
}

static bool is_call(const struct pickle_value *v, enum global_kind kind)
{
    return v && v->kind == PICKLE_CALL && MEANINGS[v->number].kind == kind;
}

static int misfit(const struct torchfile *t, const char *name, struct error *err, const char *what)
{
    return error_set(err, ERR_DATA, "%s: tensor %.100s: %s", t->file, name, what);
}

/* The bytes of a storage: ('storage', a class, key, device, values). *type: the class's. */
static int find_storage(const struct torchfile *t, const char *name, const struct pickle_value *v,
                        enum tensor_type *type, const struct storedzip_entry **entry,
                        struct error *err)
{
    if (!v || v->kind != PICKLE_PERSISTENT) return misfit(t, name, err, "without a storage");
    const struct pickle_value *id = pickle_at(t->pickle, v->argument);
    const struct pickle_value *word = pickle_nth(t->pickle, id, 0),
                              *class = pickle_nth(t->pickle, id, 1),
                              *key = pickle_nth(t->pickle, id, 2),
                              *n = pickle_nth(t->pickle, id, 4);
    if (id->kind != PICKLE_TUPLE || id->n_items != 5 || word->kind != PICKLE_TEXT ||
        strcmp(word->text, "storage") != 0 ||
        (!is_global(class, TYPED) && !is_global(class, UNTYPED)) || key->kind != PICKLE_TEXT ||
        n->kind != PICKLE_INT)
        return misfit(t, name, err, "a storage of an unknown form");
    char path[MAX_KEY + 8];
    if (key->n_text > MAX_KEY) return misfit(t, name, err, "a storage with an absurd key");
    snprintf(path, sizeof path, "data/%s", key->text);
    *entry = find_entry(t, path);
    *type = MEANINGS[class->number].type;
    if (!*entry)
        return error_set(err, ERR_DATA, "%s: tensor %.100s: entry %s is missing from the archive",
                         t->file, name, path);
    size_t size = tensor_type_bytes(*type);
    if (n->number < 0 || (*entry)->n / size != (uint64_t)n->number || (*entry)->n % size)
        return error_set(err, ERR_DATA,
                         "%s: tensor %.100s: entry %s has %zu bytes, %lld values of %zu expected",
                         t->file, name, path, (*entry)->n, (long long)n->number, size);
    return 0;
}

/* Shape and strides; *end: values from the first to the last that is used, plus one. */
static int read_shape(const struct torchfile *t, const struct pickle_value *shape,
                      const struct pickle_value *strides, struct tensor *out,
                      int64_t stride[TENSOR_MAX_DIMS], uint64_t *end, struct error *err)
{
    if (!shape || !strides || shape->kind != PICKLE_TUPLE || strides->kind != PICKLE_TUPLE ||
        shape->n_items != strides->n_items || shape->n_items > TENSOR_MAX_DIMS)
        return misfit(t, out->name, err, "shape and strides that do not belong together");
    out->n_dims = shape->n_items;
    uint64_t n = 1, last = 0;
    int32_t at[2] = {shape->first, strides->first};
    for (int i = 0; i < out->n_dims; i++) {
        const struct pickle_value *size = pickle_item(t->pickle, at[0]),
                                  *step = pickle_item(t->pickle, at[1]);
        uint64_t reach;
        if (size->kind != PICKLE_INT || step->kind != PICKLE_INT || size->number < 0 ||
            step->number < 0 || __builtin_mul_overflow(n, (uint64_t)size->number, &n) ||
            n > (uint64_t)1 << 48 ||
            __builtin_mul_overflow((uint64_t)(size->number ? size->number - 1 : 0),
                                   (uint64_t)step->number, &reach) ||
            __builtin_add_overflow(last, reach, &last) || last > (uint64_t)1 << 48)
            return misfit(t, out->name, err, "absurd shape or strides");
        out->shape[i] = size->number;
        stride[i] = step->number;
        for (int k = 0; k < 2; k++) at[k] = pickle_next(t->pickle, at[k]);
    }
    out->n = n;
    *end = n ? last + 1 : 0;
    return 0;
}

static bool is_contiguous(const struct tensor *t, const int64_t *stride)
{
    int64_t want = 1;
    for (int i = t->n_dims - 1; i >= 0; want *= t->shape[i--])
        if (t->shape[i] != 1 && stride[i] != want && t->n > 0) return false;
    return true;
}

/* t->bytes in the order of its shape, in memory of the file's handle. */
static int make_contiguous(struct torchfile *f, struct tensor *t, const int64_t *stride,
                           struct error *err)
{
    if (t->n_bytes > f->bytes_left)
        return misfit(f, t->name, err,
                      "copies of strided tensors larger than the file itself are refused");
    int rc = memory_grow(&f->copies, &f->copies_capacity, f->n_copies + 1, sizeof *f->copies,
                         MEMORY_MAX_SMALL, err);
    if (rc < 0) return rc;
    uint8_t *copy = memory_array(t->n_bytes, 1, MEMORY_MAX_TENSOR, err);
    if (!copy) return ERR_NOMEM;
    f->copies[f->n_copies++] = copy;
    f->bytes_left -= t->n_bytes;
    size_t size = tensor_type_bytes(t->type);
    int64_t at[TENSOR_MAX_DIMS] = {0}, from = 0;
    for (size_t i = 0; i < t->n; i++) {
        memcpy(copy + i * size, t->bytes + (size_t)from * size, size);
        for (int d = t->n_dims - 1; d >= 0; d--) { /* the next place, as an odometer turns */
            from += stride[d];
            if (++at[d] < t->shape[d]) break;
            from -= stride[d] * t->shape[d];
            at[d] = 0;
        }
    }
    t->bytes = copy;
    return 0;
}

/* arguments: (storage, offset, shape, strides, needs gradient, hooks[, dtype]). */
static int read_tensor(struct torchfile *f, const char *name, const struct pickle_value *arguments,
                       bool has_dtype, struct error *err)
{
    struct tensor t = {.name = name};
    const struct storedzip_entry *entry = NULL;
    int64_t stride[TENSOR_MAX_DIMS];
    uint64_t end = 0;
    const struct pickle_value *a[7];
    for (int i = 0; i < 7; i++) a[i] = pickle_nth(f->pickle, arguments, i);
    if (!a[5] || a[1]->kind != PICKLE_INT || a[1]->number < 0 ||
        (has_dtype && !is_global(a[6], DTYPE)))
        return misfit(f, name, err, "rebuilt in an unknown way");
    int rc = find_storage(f, name, a[0], &t.type, &entry, err);
    if (rc == 0) rc = read_shape(f, a[2], a[3], &t, stride, &end, err);
    if (rc < 0) return rc;
    if (has_dtype) t.type = MEANINGS[a[6]->number].type;
    size_t size = tensor_type_bytes(t.type);
    uint64_t n_stored = entry->n / size, offset = (uint64_t)a[1]->number;
    if (offset > n_stored || end > n_stored - offset)
        return misfit(f, name, err, "it reaches beyond its storage");
    t.bytes = entry->bytes + offset * size;
    t.n_bytes = t.n * size;
    if (!is_contiguous(&t, stride)) rc = make_contiguous(f, &t, stride, err);
    return rc < 0 ? rc : tensor_table_add(&f->table, &t, err);
}

static int read_value(struct torchfile *f, const char *name, const struct pickle_value *v,
                      struct error *err)
{
    if (is_call(v, PARAMETER)) v = pickle_nth(f->pickle, pickle_at(f->pickle, v->argument), 0);
    bool v2 = is_call(v, TENSOR_V2), v3 = is_call(v, TENSOR_V3);
    return v2 || v3 ? read_tensor(f, name, pickle_at(f->pickle, v->argument), v3, err) : 0;
}

static int read_dictionary(struct torchfile *f, struct error *err)
{
    const struct pickle_value *root = pickle_root(f->pickle);
    if (root->kind != PICKLE_DICT && !is_call(root, ORDERED_DICT))
        return error_set(err, ERR_DATA, "%s: no dictionary of tensors (state_dict)", f->file);
    int rc = 0;
    for (int32_t i = root->first; i >= 0 && rc == 0; i = pickle_next(f->pickle, i)) {
        const struct pickle_value *key = pickle_item(f->pickle, i);
        i = pickle_next(f->pickle, i);
        if (key->kind == PICKLE_TEXT) rc = read_value(f, key->text, pickle_item(f->pickle, i), err);
    }
    if (rc == 0 && f->table.n == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: a dictionary without a tensor: save model.state_dict() itself",
                       f->file);
    return rc;
}

/* The folder of data.pkl inside the archive, and its byte order. */
static int find_pickle(struct torchfile *f, const struct storedzip_entry **pickle,
                       struct error *err)
{
    static const char tail[] = "data.pkl";
    const size_t n_tail = sizeof tail - 1;
    *pickle = NULL;
    const struct storedzip_entry *e;
    for (size_t i = 0; (e = storedzip_at(f->zip, i)) && !*pickle; i++) {
        size_t n = e->n_name;
        if (n < n_tail || n > 500 || memcmp(e->name + n - n_tail, tail, n_tail) != 0) continue;
        const char *slash = memchr(e->name, '/', n);
        if (slash ? slash + 1 != e->name + n - n_tail : n != n_tail) continue;
        *pickle = e;
        f->prefix = e->name;
        f->n_prefix = n - n_tail;
    }
    if (!*pickle)
        return error_set(err, ERR_DATA, "%s: a zip archive without data.pkl: not PyTorch's",
                         f->file);
    e = find_entry(f, "byteorder");
    if (e && (e->n < 6 || memcmp(e->bytes, "little", 6) != 0))
        return error_set(err, ERR_DATA,
                         "%s: byte order \"%.*s\", \"little\" expected: save it on "
                         "a little-endian machine",
                         f->file, (int)(e->n < 20 ? e->n : 20), (const char *)e->bytes);
    return 0;
}

/* What the file is, if not a zip archive. */
static int refuse_format(const char *name, const uint8_t *bytes, size_t n, struct error *err)
{
    static const uint8_t before_1_6[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9};
    bool is_old = n >= sizeof before_1_6 && !memcmp(bytes, before_1_6, sizeof before_1_6);
    bool is_tar = n >= 262 && !memcmp(bytes + 257, "ustar", 5);
    bool is_pointer = n >= 7 && !memcmp(bytes, "version", 7);
    if (is_old || is_tar)
        return error_set(err, ERR_DATA,
                         "%s: a file in PyTorch's format of before 1.6, which is not read: load it "
                         "with PyTorch and save it again (torch.save, or safetensors' save_file)",
                         name);
    return error_set(err, ERR_DATA, "%s: no PyTorch file: a zip archive expected%s", name,
                     is_pointer ? "; it looks like a git-lfs pointer: fetch the file itself" : "");
}

int torchfile_read(const void *bytes, size_t n, const char *name, struct torchfile **out,
                   struct error *err)
{
    const struct storedzip_entry *pickle;
    *out = NULL;
    if (!storedzip_is(bytes, n)) return refuse_format(name, bytes, n, err);
    struct torchfile *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return ERR_NOMEM;
    t->file = name;
    t->bytes_left = n + COPIES_BEYOND;
    int rc = storedzip_read(bytes, n, name, &t->zip, err);
    if (rc == 0) rc = find_pickle(t, &pickle, err);
    if (rc == 0)
        rc = pickle_read(pickle->bytes, pickle->n, name, GLOBALS, N_GLOBALS, &t->pickle, err);
    if (rc == 0) rc = read_dictionary(t, err);
    if (rc == 0) rc = tensor_table_finish(&t->table, name, err);
    t->file = NULL; /* the caller's, for the time of this call */
    if (rc < 0)
        torchfile_close(t);
    else
        *out = t;
    return rc;
}

void torchfile_close(struct torchfile *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n_copies; i++) memory_free(t->copies[i]);
    memory_free(t->copies);
    tensor_table_release(&t->table);
    pickle_close(t->pickle);
    storedzip_close(t->zip);
    memory_free(t);
}

const struct tensor_table *torchfile_table(const struct torchfile *t)
{
    return &t->table;
}
