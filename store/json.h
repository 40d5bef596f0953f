/* JSON: reading with line and column in every error, and building. Library: jansson.
 *
 *     struct json *j = json_read_file(path, 1 << 20, &err);
 *     const struct json *v = json_get(j, "vision_config");
 *     int width = (int)json_int(json_get(v, "hidden_size"), 768);   // default when absent
 *     json_free(j);
 *
 * A `struct json *` is a value of any kind. Values returned by json_get and json_at are borrowed
 * from their root; the json_set* and json_push* functions take ownership of the value they are
 * given. NULL is accepted everywhere as "absent". Building functions return NULL (or ERR_NOMEM)
 * only when memory is out; that is passed on by json_write. Duplicate keys and NUL characters are
 * refused on reading. Text that is no UTF-8 (a file's name) is written with '?' for its foreign
 * bytes. Names that jansson exports itself (json_object, json_array, json_string, json_copy,
 * json_equal) must not be used here, or the linker would mix the two: hence json_new_object,
 * json_new_array, json_text, json_clone, json_same.
 */
#ifndef STORE_JSON_H
#define STORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct json;

/* Parses n bytes; `name` stands in error messages ("captions.jsonl:17"). Owned: json_free. NULL +
 * ERR_DATA. */
struct json *json_read(const char *bytes, size_t n, const char *name, struct error *err) MUST_CHECK;
/* Parses the value, an object or an array, that begins at bytes, and says in *used how many bytes it
 * has; what stands behind it is not looked at. Owned; NULL + ERR_DATA. */
struct json *json_read_part(const char *bytes, size_t n, size_t *used, const char *name,
                            struct error *err) MUST_CHECK;
/* Reads a file of at most limit bytes. */
struct json *json_read_file(const char *path, size_t limit, struct error *err) MUST_CHECK;
void json_free(struct json *j);

bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_number(const struct json *j);
bool json_is_null(const struct json *j); /* true for absent as well */

const struct json *json_get(const struct json *object, const char *key); /* borrowed; NULL when absent */
const struct json *json_at(const struct json *array, size_t i);          /* borrowed */
size_t json_size(const struct json *array_or_object);
/* The i-th member of an object in the order of the file; 0 or 1 when i is past the end. */
bool json_member(const struct json *object, size_t i, const char **key, const struct json **value);

const char *json_text(const struct json *j, const char *otherwise); /* borrowed */
int64_t json_int(const struct json *j, int64_t otherwise);
double json_number(const struct json *j, double otherwise);
bool json_bool(const struct json *j, bool otherwise);

struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_clone(const struct json *j); /* deep */
void json_set(struct json *object, const char *key, struct json *value); /* value taken */
void json_set_string(struct json *object, const char *key, const char *value);
void json_set_int(struct json *object, const char *key, int64_t value);
void json_set_number(struct json *object, const char *key, double value); /* NaN and infinities become null */
void json_set_bool(struct json *object, const char *key, bool value);
void json_push(struct json *array, struct json *value); /* value taken */
void json_push_string(struct json *array, const char *value);
void json_push_int(struct json *array, int64_t value);
void json_push_number(struct json *array, double value);

enum json_style { JSON_LINE, JSON_PRETTY, JSON_SORTED }; /* JSON_SORTED: one line, keys sorted: canonical */
/* The text, NUL-terminated; owned: memory_free. Reals are written with 17 digits where needed
 * (round trip). */
char *json_write(const struct json *j, enum json_style style, struct error *err) MUST_CHECK;
/* JSON_PRETTY into a file, or into folder/name, as file_write does it. */
int json_write_file(const char *path, const struct json *j, struct error *err) MUST_CHECK;
int json_write_in(const char *folder, const char *name, const struct json *j, struct error *err) MUST_CHECK;
bool json_same(const struct json *a, const struct json *b);

#endif
