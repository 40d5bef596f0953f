/* Fingerprints side by side: which components differ.
 *
 *     struct json *d = fingerprint_compare(expected, found);   // an array, one object a component
 *     fingerprint_say(d, text, sizeof text);
 *     // weights (expected "5be5a9c01f32...", found "04ab..."); preprocessing.resample (expected 3, ...)
 *     json_free(d);
 *
 * A fingerprint is a JSON object of components; where both sides have an object, its members are
 * compared one by one and named with a dot. Values are canonical JSON text, digests cut to their
 * first 12 digits; what a side does not have is "absent". Pure; any thread.
 */
#ifndef STORE_FINGERPRINT_H
#define STORE_FINGERPRINT_H

#include <stddef.h>

#include "store/json.h"

/* [{"component", "expected", "found"}, ...], empty when equal. Owned: json_free. */
struct json *fingerprint_compare(const struct json *expected, const struct json *found);
/* The same as text, cut to size. Returns text. */
const char *fingerprint_say(const struct json *differences, char *text, size_t size);
/* True when `component`, and nothing else, differs. */
bool fingerprint_only(const struct json *differences, const char *component);

#endif
