/* Column scales of int8 layers: seen, chosen, written and read; see calibration.h. */
#include "featurize/calibration.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "featurize/int8.h"
#include "store/memory.h"

#define ZERO_LETTER ('0' + INT8_SHIFT_MAX)
/* A column that hardly moves counts as this part of the layer's largest: its scale hardly matters,
 * and must not be a thousand times another's. */
#define LEAST 0x1p-10f

struct observed {
    int n;
    float **largest; // by parameter: (k) largest |x| of each column; NULL: not covered
};

struct calibration {
    int n;
    int8_t **shift; // by parameter: (k); NULL: not covered
};

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

/* Whether a parameter is a product of int8. */
static bool is_covered(const struct param *p)
{
    return p->kind != PARAM_BUFFER && p->n_dims == 2 && strstr(p->name, "encoder.layer") &&
           ends_with(p->name, ".weight") && p->shape[1] <= INT8_MAX_COLUMNS;
}

/* NaN when one is. */
static float larger(float a, float b)
{
    return b <= a || a != a ? a : b;
}

struct observed *observed_new(const struct params *p, struct error *err)
{
    struct observed *o = memory_array(1, sizeof *o, MEMORY_MAX_SMALL, err);
    if (!o) return NULL;
    o->largest = memory_array((uint64_t)p->n, sizeof *o->largest, MEMORY_MAX_FILE, err);
    if (!o->largest) goto fail;
    o->n = p->n;
    for (int i = 0; i < p->n; i++) {
        if (!is_covered(&p->table[i])) continue;
        o->largest[i] = memory_array((uint64_t)p->table[i].shape[1], sizeof **o->largest,
                                     MEMORY_MAX_FILE, err);
        if (!o->largest[i]) goto fail;
    }
    return o;
fail:
    observed_free(o);
    return NULL;
}

void observed_free(struct observed *o)
{
    if (!o) return;
    for (int i = 0; i < o->n; i++) memory_free(o->largest[i]);
    memory_free(o->largest);
    memory_free(o);
}

void observed_add(struct observed *o, int weight, int64_t m, int64_t k, const float *x)
{
    if (weight < 0 || weight >= o->n || !o->largest[weight]) return;
    float *largest = o->largest[weight];
#pragma omp critical(observed)
    for (int64_t i = 0; i < m; i++, x += k)
        for (int64_t j = 0; j < k; j++) {
            largest[j] = larger(largest[j], fabsf(x[j]));
        }
}

static struct calibration *new_empty(const struct params *p, struct error *err)
{
    struct calibration *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    if (!c) return NULL;
    c->shift = memory_array((uint64_t)p->n, sizeof *c->shift, MEMORY_MAX_FILE, err);
    if (!c->shift) goto fail;
    c->n = p->n;
    for (int i = 0; i < p->n; i++) {
        if (!is_covered(&p->table[i])) continue;
        c->shift[i] = memory_array((uint64_t)p->table[i].shape[1], 1, MEMORY_MAX_FILE, err);
        if (!c->shift[i]) goto fail;
    }
    return c;
fail:
    calibration_free(c);
    return NULL;
}

void calibration_free(struct calibration *c)
{
    if (!c) return;
    for (int i = 0; i < c->n; i++) memory_free(c->shift[i]);
    memory_free(c->shift);
    memory_free(c);
}

static float most(int64_t k, const float *x)
{
    float m = 0;
    for (int64_t j = 0; j < k; j++) m = larger(m, x[j]);
    return m;
}

/* // w [n, k], seen (k), columns (k) scratch: largest |w| of each column */
static int choose_shifts(const struct param *t, const float *w, const float *seen, float *columns,
                         int8_t *shift, struct error *err)
{
    int64_t n = t->shape[0], k = t->shape[1];
    memset(columns, 0, (size_t)k * sizeof *columns);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) columns[j] = fmaxf(columns[j], fabsf(w[i * k + j]));
    float most_x = most(k, seen), most_w = most(k, columns);
    if (!(most_x > 0 && most_x < INFINITY && most_w < INFINITY))
        return error_set(err, ERR_DATA,
                         "%s cannot be calibrated: over the sample the largest of its inputs is "
                         "%g, the largest of its weights %g",
                         t->name, (double)most_x, (double)most_w);
    for (int64_t j = 0; j < k && most_w > 0; j++) {
        float x = fmaxf(seen[j], most_x * LEAST), v = fmaxf(columns[j], most_w * LEAST);
        float power = roundf(0.5f * (log2f(x) - log2f(v)));
        shift[j] = (int8_t)fminf(fmaxf(power, -INT8_SHIFT_MAX), INT8_SHIFT_MAX);
    }
    return 0;
}

/* Values of the largest covered layer. */
static size_t largest_layer(const struct params *p)
{
    size_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (is_covered(&p->table[i]) && p->table[i].n > n) n = p->table[i].n;
    return n;
}

struct calibration *calibration_new(const struct params *p, const struct observed *o,
                                    struct error *err)
{
    struct calibration *c = new_empty(p, err);
    float *columns = memory_array(INT8_MAX_COLUMNS, sizeof *columns, MEMORY_MAX_SMALL, err);
    float *scratch = memory_array(largest_layer(p), sizeof *scratch, MEMORY_MAX_TENSOR, err);
    int rc = c && columns && scratch ? 0 : ERR_NOMEM;
    for (int i = 0; rc == 0 && i < p->n; i++) {
        if (!c->shift[i]) continue;
        rc = choose_shifts(&p->table[i], params_values(p, i, scratch), o->largest[i], columns,
                           c->shift[i], err);
        params_drop(p, i);
    }
    memory_free(scratch);
    memory_free(columns);
    if (rc == 0) return c;
    calibration_free(c);
    return NULL;
}

struct calibration *calibration_plain(const struct params *p, struct error *err)
{
    return new_empty(p, err);
}

struct json *calibration_json(const struct calibration *c, const struct params *p)
{
    char *text = memory_array(INT8_MAX_COLUMNS + 1, 1, MEMORY_MAX_SMALL, NULL);
    if (!text) return NULL;
    struct json *j = json_new_object();
    for (int i = 0; i < c->n; i++) {
        if (!c->shift[i]) continue;
        int64_t k = p->table[i].shape[1];
        for (int64_t x = 0; x < k; x++) text[x] = (char)(ZERO_LETTER + c->shift[i][x]);
        text[k] = 0;
        json_set_string(j, p->table[i].name, text);
    }
    memory_free(text);
    return j;
}

static int read_layer(const struct param *t, const char *text, int8_t *shift, const char *where,
                      struct error *err)
{
    int64_t k = t->shape[1];
    if (!text)
        return error_set(err, ERR_DATA, "%s: calibrated for another tower: it lacks %s", where,
                         t->name);
    if ((int64_t)strlen(text) != k)
        return error_set(err, ERR_DATA,
                         "%s: calibrated for another tower: %s has %zu columns, expected %lld",
                         where, t->name, strlen(text), (long long)k);
    for (int64_t j = 0; j < k; j++) {
        int value = text[j] - ZERO_LETTER;
        if (value < -INT8_SHIFT_MAX || value > INT8_SHIFT_MAX)
            return error_set(err, ERR_DATA,
                             "%s: column %lld of %s is no letter from '0' to 'Z': damaged", where,
                             (long long)j, t->name);
        shift[j] = (int8_t)value;
    }
    return 0;
}

struct calibration *calibration_read(const struct params *p, const struct json *layers,
                                     const char *where, struct error *err)
{
    struct calibration *c = new_empty(p, err);
    int rc = c ? 0 : ERR_NOMEM;
    size_t n = 0;
    for (int i = 0; rc == 0 && i < p->n; i++) {
        if (!c->shift[i]) continue;
        rc = read_layer(&p->table[i], json_text(json_get(layers, p->table[i].name), NULL),
                        c->shift[i], where, err);
        n++;
    }
    if (rc == 0 && json_size(layers) != n)
        rc = error_set(err, ERR_DATA,
                       "%s: calibrated for another tower: it has %zu layers, expected %zu", where,
                       json_size(layers), n);
    if (rc == 0) return c;
    calibration_free(c);
    return NULL;
}

void calibration_digest(const struct calibration *c, const struct params *p,
                        uint8_t digest[DIGEST_BYTES])
{
    uint8_t parts[3][DIGEST_BYTES] = {{0}}; /* what came before, a name, its shifts */
    for (int i = 0; i < c->n; i++) {
        if (!c->shift[i]) continue;
        digest_of(p->table[i].name, strlen(p->table[i].name), parts[1]);
        digest_of(c->shift[i], (size_t)p->table[i].shape[1], parts[2]);
        digest_of(parts, sizeof parts, parts[0]);
    }
    memcpy(digest, parts[0], DIGEST_BYTES);
}

const char *calibration_name(const struct calibration *c, const struct params *p,
                             char name[CALIBRATION_NAME])
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    calibration_digest(c, p, digest);
    digest_to_hex(digest, hex);
    snprintf(name, CALIBRATION_NAME, "int8:%.32s", hex);
    return name;
}

const int8_t *calibration_shift(const struct calibration *c, int weight)
{
    return weight >= 0 && weight < c->n ? c->shift[weight] : NULL;
}
