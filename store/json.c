/* JSON over jansson; see json.h. A `struct json` is a json_t seen through an opaque type: no
 * wrapper object, no second tree. The parenthesised names keep jansson's macros of the same name
 * from expanding.
 *
 * A builder call that fails for want of memory cannot say so (it returns nothing), so it is
 * remembered for the thread, and the next json_write of that thread fails: an object that lacks a
 * member is never written.
 */
#include "store/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"

static _Thread_local bool lost_a_value;

static json_t *in(struct json *j)
{
    return (json_t *)j;
}

static const json_t *in_const(const struct json *j)
{
    return (const json_t *)j;
}

static struct json *out(json_t *j)
{
    if (!j) lost_a_value = true;
    return (struct json *)j;
}

struct json *json_read(const char *bytes, size_t n, const char *name, struct error *err)
{
    json_error_t e;
    const char *nul = n ? memchr(bytes, 0, n) : NULL; /* jansson would step over it */
    if (nul) {
        error_set(err, ERR_DATA, "%s: not valid JSON: byte %zu is NUL", name,
                  (size_t)(nul - bytes));
        return NULL;
    }
    json_t *j = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!j)
        error_set(err, ERR_DATA, "%s: not valid JSON at line %d, column %d: %s", name, e.line,
                  e.column, e.text);
    return (struct json *)j;
}

struct json *json_read_part(const char *bytes, size_t n, size_t *used, const char *name,
                            struct error *err)
{
    json_error_t e;
    json_t *j = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &e);
    if (!j)
        error_set(err, ERR_DATA, "%s: not valid JSON at line %d, column %d: %s", name, e.line,
                  e.column, e.text);
    else
        *used = (size_t)e.position;
    return (struct json *)j;
}

struct json *json_read_file(const char *path, size_t limit, struct error *err)
{
    char *bytes = NULL;
    size_t n = 0;
    if (file_read(path, limit, &bytes, &n, err) < 0) return NULL;
    struct json *j = json_read(bytes, n, path, err);
    memory_free(bytes);
    return j;
}

void json_free(struct json *j)
{
    json_decref(in(j));
}

bool(json_is_object)(const struct json *j)
{
    return json_is_object(in_const(j));
}

bool(json_is_array)(const struct json *j)
{
    return json_is_array(in_const(j));
}

bool(json_is_string)(const struct json *j)
{
    return json_is_string(in_const(j));
}

bool(json_is_number)(const struct json *j)
{
    return json_is_number(in_const(j));
}

bool(json_is_null)(const struct json *j)
{
    return !j || json_is_null(in_const(j));
}

const struct json *json_get(const struct json *object, const char *key)
{
    return (const struct json *)json_object_get(in_const(object), key);
}

const struct json *json_at(const struct json *array, size_t i)
{
    return (const struct json *)json_array_get(in_const(array), i);
}

size_t json_size(const struct json *j)
{
    return json_is_object(in_const(j)) ? json_object_size(in_const(j))
                                       : json_array_size(in_const(j));
}

bool json_member(const struct json *object, size_t i, const char **key, const struct json **value)
{
    if (!json_is_object(in_const(object))) return false;
    json_t *j =
        (json_t *)(uintptr_t)object; /* jansson's iterators take no const; they change nothing */
    void *it = json_object_iter(j);
    while (it && i--) it = json_object_iter_next(j, it);
    if (!it) return false;
    *key = json_object_iter_key(it);
    *value = (const struct json *)json_object_iter_value(it);
    return true;
}

const char *json_text(const struct json *j, const char *otherwise)
{
    const char *s = json_string_value(in_const(j));
    return s ? s : otherwise;
}

int64_t json_int(const struct json *j, int64_t otherwise)
{
    if (json_is_integer(in_const(j))) return json_integer_value(in_const(j));
    if (!json_is_real(in_const(j))) return otherwise;
    double x = json_real_value(in_const(j));
    return x == floor(x) && fabs(x) < 9e15 ? (int64_t)x : otherwise;
}

double json_number(const struct json *j, double otherwise)
{
    return json_is_number(in_const(j)) ? json_number_value(in_const(j)) : otherwise;
}

bool json_bool(const struct json *j, bool otherwise)
{
    return json_is_boolean(in_const(j)) ? json_is_true(in_const(j)) : otherwise;
}

struct json *json_new_object(void)
{
    return out(json_object());
}

struct json *json_new_array(void)
{
    return out(json_array());
}

struct json *json_clone(const struct json *j)
{
    return j ? out(json_deep_copy(in_const(j))) : NULL;
}

/* A string value; bytes that jansson does not take for UTF-8 become '?'. */
static json_t *new_string(const char *s)
{
    json_t *j = json_string(s);
    if (j || !s) return j;
    char *ascii = memory_string(s, NULL);
    if (!ascii) return NULL;
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    j = json_string(ascii);
    memory_free(ascii);
    return j;
}

static json_t *new_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

void json_set(struct json *object, const char *key, struct json *value)
{
    if (json_object_set_new(in(object), key, in(value)) < 0) lost_a_value = true;
}

void json_set_string(struct json *object, const char *key, const char *value)
{
    json_set(object, key, out(value ? new_string(value) : json_null()));
}

void json_set_int(struct json *object, const char *key, int64_t value)
{
    json_set(object, key, out(json_integer(value)));
}

void json_set_number(struct json *object, const char *key, double value)
{
    json_set(object, key, out(new_number(value)));
}

void json_set_bool(struct json *object, const char *key, bool value)
{
    json_set(object, key, out(json_boolean(value)));
}

void json_push(struct json *array, struct json *value)
{
    if (json_array_append_new(in(array), in(value)) < 0) lost_a_value = true;
}

void json_push_string(struct json *array, const char *value)
{
    json_push(array, out(value ? new_string(value) : json_null()));
}

void json_push_int(struct json *array, int64_t value)
{
    json_push(array, out(json_integer(value)));
}

void json_push_number(struct json *array, double value)
{
    json_push(array, out(new_number(value)));
}

/* Puts the number at [from, from + n) to `to` as the shortest text that reads back as the same
 * double (or as it is, when jansson's spelling is shorter); the length of that, at most n. */
static size_t shorten(const char *from, size_t n, char *to)
{
    char text[40];
    double x = strtod(from, NULL);
    int digits = 15;
    do snprintf(text, sizeof text - 2, "%.*g", digits, x);
    while (strtod(text, NULL) != x && digits++ < 17);
    if (!strpbrk(text, ".e")) strcat(text, ".0"); /* a real stays a real */
    size_t m = strlen(text);
    if (m > n) {
        memmove(to, from, n);
        return n;
    }
    memcpy(to, text, m);
    return m;
}

/* jansson writes 17 digits always (0.1 as 0.10000000000000001): shortens the reals of a JSON text
 * in place. */
static void shorten_reals(char *text)
{
    char *to = text;
    bool in_string = false;
    for (const char *p = text; *p;) {
        size_t n = in_string ? 0 : strspn(p, "+-0123456789.eE");
        if (n && (*p == '-' || (*p >= '0' && *p <= '9')) && strcspn(p, ".eE") < n) {
            to += shorten(p, n, to);
            p += n;
            continue;
        }
        if (*p == '"') in_string = !in_string;
        n = n                         ? n
            : in_string && *p == '\\' ? 2
                                      : 1; /* an integer; an escaped character; any other */
        memmove(to, p, n);
        to += n;
        p += n;
    }
    *to = 0;
}

char *json_write(const struct json *j, enum json_style style, struct error *err)
{
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    flags |= style == JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT;
    if (style == JSON_SORTED) flags |= JSON_SORT_KEYS;
    char *text = lost_a_value || !j ? NULL : json_dumps(in_const(j), flags);
    lost_a_value = false;
    if (!text) {
        error_set(err, ERR_NOMEM, "out of memory while building or writing JSON");
        return NULL;
    }
    shorten_reals(text);
    char *copy = memory_string(text, err);
    free(text);
    return copy;
}

int json_write_file(const char *path, const struct json *j, struct error *err)
{
    char *text = json_write(j, JSON_PRETTY, err);
    int rc = text ? file_write(path, text, strlen(text), err) : ERR_NOMEM;
    memory_free(text);
    return rc;
}

int json_write_in(const char *folder, const char *name, const struct json *j, struct error *err)
{
    char *text = json_write(j, JSON_PRETTY, err);
    int rc = text ? file_write_in(folder, name, text, strlen(text), err) : ERR_NOMEM;
    memory_free(text);
    return rc;
}

bool json_same(const struct json *a, const struct json *b)
{
    return a == b || json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
}
