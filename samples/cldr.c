/* Names of emoji in many languages, and lists of names.
 *
 * CLDR's annotation files (Debian unicode-cldr-core) hold one line an annotation:
 *     <annotation cp="X" type="tts">name</annotation>
 * which is found as text: the files are trusted, generated and regular, and an absent name stops the program. Lists are
 * joined by ICU's list formatter, whose patterns come from CLDR too ("a, b, and c"; "a, b und c").
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/ulistformatter.h>
#include <unicode/ustring.h>

#include "samples/make_corpus.h"

#define ANNOTATIONS  "/usr/share/unicode/cldr/common/annotations/%s.xml"
#define MAX_LANGUAGE 16
#define LIST_UNITS   512

static const char *annotations(const char *language)
{
    static struct {
        char language[8];
        char *text;
    } seen[MAX_LANGUAGE];
    int i = 0;
    while (i < MAX_LANGUAGE && seen[i].text && strcmp(seen[i].language, language) != 0) i++;
    if (i == MAX_LANGUAGE) die("more than %d languages", MAX_LANGUAGE);
    if (!seen[i].text) {
        char path[256];
        snprintf(path, sizeof path, ANNOTATIONS, language);
        snprintf(seen[i].language, sizeof seen[i].language, "%s", language);
        size_t n;
        seen[i].text = file_read(path, &n);
    }
    return seen[i].text;
}

static void utf8_of(uint32_t c, char out[5])
{
    UChar units[2];
    int32_t n_units = 0, n = 0;
    UErrorCode status = U_ZERO_ERROR;
    U16_APPEND_UNSAFE(units, n_units, c);
    u_strToUTF8(out, 5, &n, units, n_units, &status);
    if (U_FAILURE(status)) die("U+%04X is no character", c);
}

void cldr_name(const char *language, uint32_t code_point, char name[CLDR_NAME_BYTES])
{
    char character[5], tag[64];
    utf8_of(code_point, character);
    int n_tag = snprintf(tag, sizeof tag, "<annotation cp=\"%s\" type=\"tts\">", character);
    const char *found = strstr(annotations(language), tag);
    if (!found) die("CLDR has no name for U+%04X in %s", code_point, language);
    found += n_tag;
    size_t n = strcspn(found, "<,");
    if (n == 0 || n >= CLDR_NAME_BYTES || memchr(found, '&', n))
        die("CLDR's name for U+%04X in %s is not usable as it stands", code_point, language);
    memcpy(name, found, n);
    name[n] = 0;
}

void cldr_list(const char *language, const char *const *items, int n, char *out, size_t size)
{
    UErrorCode status = U_ZERO_ERROR;
    UChar text[SCENE_OBJECTS][CLDR_NAME_BYTES], joined[LIST_UNITS];
    const UChar *strings[SCENE_OBJECTS];
    int32_t lengths[SCENE_OBJECTS], n_out;
    for (int i = 0; i < n; i++) {
        u_strFromUTF8(text[i], CLDR_NAME_BYTES, &lengths[i], items[i], -1, &status);
        strings[i] = text[i];
    }
    UListFormatter *f = ulistfmt_open(language, &status);
    int32_t n_joined = ulistfmt_format(f, strings, lengths, n, joined, LIST_UNITS, &status);
    u_strToUTF8(out, (int32_t)size, &n_out, joined, n_joined, &status);
    if (U_FAILURE(status) || (size_t)n_out >= size)
        die("cannot join a list in %s: %s", language, u_errorName(status));
    ulistfmt_close(f);
}
