/* Fingerprints side by side; see fingerprint.h. */
#include "store/fingerprint.h"

#include <stdio.h>
#include <string.h>

#include "store/digest.h"
#include "store/memory.h"

#define NAME_MAX_BYTES 100
#define SHOWN_BYTES    48 /* of a value */
#define DIGITS_SHOWN   12 /* of a digest */

/* Canonical text of a value, cut: `"5be5a9c01f32..."` for a digest. */
static void show(const struct json *value, char *text, size_t size)
{
    const char *digits = json_text(value, "");
    uint8_t digest[DIGEST_BYTES];
    if (strlen(digits) == DIGEST_HEX - 1 && digest_from_hex(digits, digest, NULL) == 0) {
        snprintf(text, size, "\"%.*s...\"", DIGITS_SHOWN, digits);
        return;
    }
    char *whole = value ? json_write(value, JSON_SORTED, NULL) : NULL;
    snprintf(text, size, "%.*s%s", SHOWN_BYTES, whole ? whole : "absent",
             whole && strlen(whole) > SHOWN_BYTES ? "..." : "");
    memory_free(whole);
}

static void compare(struct json *list, const char *prefix, const struct json *expected,
                    const struct json *found);

static void compare_member(struct json *list, const char *prefix, const char *key,
                           const struct json *expected, const struct json *found)
{
    char name[NAME_MAX_BYTES], text[SHOWN_BYTES + 8];
    snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
    if (json_is_object(expected) && json_is_object(found)) {
        compare(list, name, expected, found);
        return;
    }
    struct json *j = json_new_object();
    json_set_string(j, "component", name);
    show(expected, text, sizeof text);
    json_set_string(j, "expected", text);
    show(found, text, sizeof text);
    json_set_string(j, "found", text);
    json_push(list, j);
}

static void compare(struct json *list, const char *prefix, const struct json *expected,
                    const struct json *found)
{
    const char *key;
    const struct json *value;
    for (size_t i = 0; json_member(expected, i, &key, &value); i++)
        if (!json_same(value, json_get(found, key)))
            compare_member(list, prefix, key, value, json_get(found, key));
    for (size_t i = 0; json_member(found, i, &key, &value); i++)
        if (!json_get(expected, key)) compare_member(list, prefix, key, NULL, value);
}

struct json *fingerprint_compare(const struct json *expected, const struct json *found)
{
    struct json *list = json_new_array();
    compare(list, "", expected, found);
    return list;
}

const char *fingerprint_say(const struct json *differences, char *text, size_t size)
{
    size_t used = 0;
    *text = 0;
    for (size_t i = 0; i < json_size(differences) && used < size; i++) {
        const struct json *j = json_at(differences, i);
        used += (size_t)snprintf(text + used, size - used, "%s%s (expected %s, found %s)",
                                 used ? "; " : "", json_text(json_get(j, "component"), ""),
                                 json_text(json_get(j, "expected"), ""),
                                 json_text(json_get(j, "found"), ""));
    }
    return text;
}

bool fingerprint_only(const struct json *differences, const char *component)
{
    return json_size(differences) == 1 &&
           !strcmp(json_text(json_get(json_at(differences, 0), "component"), ""), component);
}
