/* Caption clean-up with ICU; see caption.h. The order matters and makes the rule idempotent:
 * characters are dropped and spaces collapsed first, code point by code point, and the canonical
 * composition comes last, so that what stood on both sides of a dropped control composes too.
 * Composition makes no space and no control. */
#include "ingest/caption.h"

#include <stdbool.h>
#include <string.h>

#include <unicode/uchar.h>
#include <unicode/uloc.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "store/memory.h"

#define MAX_INPUT ((size_t)1 << 20) /* before the clean-up; a pair keeps no longer original */
#define MAX_TAG   100

static int refuse(const char **reason, const char *word)
{
    if (reason) *reason = word;
    return ERR_DATA;
}

static bool is_dropped(UChar32 c)
{
    return u_charType(c) == U_CONTROL_CHAR || c == 0xfeff ||
           u_hasBinaryProperty(c, UCHAR_BIDI_CONTROL);
}

/* UTF-8 to clean UTF-16: at most n units. The number of units, or -1 - (offset of the first bad byte). */
static int32_t clean(UChar *out, const uint8_t *text, int32_t n)
{
    int32_t n_out = 0, at = 0;
    bool space = false;
    while (at < n) {
        int32_t start = at;
        UChar32 c;
        U8_NEXT(text, at, n, c);
        if (c < 0) return -1 - start;
        if (u_isUWhiteSpace(c)) {
            space = n_out > 0;
        } else if (!is_dropped(c)) {
            if (space) out[n_out++] = ' ';
            space = false;
            U16_APPEND_UNSAFE(out, n_out, c);
        }
    }
    return n_out;
}

static int compose(UChar **text, int32_t *n, struct error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&code);
    if (U_SUCCESS(code) && unorm2_isNormalized(nfc, *text, *n, &code) && U_SUCCESS(code)) return 0;
    /* NFC can grow UTF-16 by three at most */
    UChar *out = memory_array((uint64_t)*n * 3 + 1, sizeof *out, MEMORY_MAX_FILE, err);
    if (!out) return ERR_NOMEM;
    if (U_SUCCESS(code)) *n = unorm2_normalize(nfc, *text, *n, out, *n * 3, &code);
    memory_free(*text);
    *text = out;
    if (U_FAILURE(code))
        return error_set(err, ERR_NOMEM, "ICU could not normalise: %s", u_errorName(code));
    return 0;
}

static int encode(const UChar *text, int32_t n, char **out, size_t *n_out, const char **reason,
                  struct error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t n_bytes = 0;
    u_strToUTF8(NULL, 0, &n_bytes, text, n, &code);
    if (n_bytes > CAPTION_MAX_BYTES) {
        error_set(err, ERR_DATA, "the caption has %d bytes; at most %d can be kept", n_bytes,
                  CAPTION_MAX_BYTES);
        return refuse(reason, "too-long");
    }
    char *utf8 = memory_array((uint64_t)n_bytes + 1, 1, MEMORY_MAX_SMALL, err);
    if (!utf8) return ERR_NOMEM;
    code = U_ZERO_ERROR;
    u_strToUTF8(utf8, n_bytes + 1, &n_bytes, text, n, &code);
    *out = utf8;
    *n_out = (size_t)n_bytes;
    return 0;
}

int caption_normalise(const char *text, size_t n, char **out, size_t *n_out, const char **reason,
                      struct error *err)
{
    *out = NULL;
    *n_out = 0;
    if (n > MAX_INPUT) {
        error_set(err, ERR_DATA, "the caption has %zu bytes; at most %d can be kept", n,
                  CAPTION_MAX_BYTES);
        return refuse(reason, "too-long");
    }
    UChar *wide = memory_array(n + 1, sizeof *wide, MEMORY_MAX_FILE, err);
    if (!wide) return ERR_NOMEM;
    int rc;
    int32_t n_wide = clean(wide, (const uint8_t *)text, (int32_t)n);
    if (n_wide < 0) {
        error_set(err, ERR_DATA, "the caption is not UTF-8: byte 0x%02x at offset %d of it",
                  (uint8_t)text[-1 - n_wide], -1 - n_wide);
        rc = refuse(reason, "bad-utf8");
    } else if (n_wide == 0) {
        error_set(err, ERR_DATA, "the caption is empty");
        rc = refuse(reason, "empty");
    } else {
        rc = compose(&wide, &n_wide, err);
        if (rc == 0) rc = encode(wide, n_wide, out, n_out, reason, err);
    }
    memory_free(wide);
    return rc;
}

int caption_language(const char *tag, char *out, size_t size, struct error *err)
{
    char dashed[MAX_TAG + 1] = "und", locale[2 * MAX_TAG], canonical[2 * MAX_TAG];
    size_t n = strlen(tag);
    if (n > MAX_TAG) return error_set(err, ERR_DATA, "'%.20s...' is no language tag", tag);
    if (n > 0) memcpy(dashed, tag, n + 1);
    for (char *p = dashed; *p; p++)
        if (*p == '_') *p = '-';
    UErrorCode code = U_ZERO_ERROR;
    int32_t parsed = 0;
    uloc_forLanguageTag(dashed, locale, sizeof locale, &parsed, &code);
    if (U_SUCCESS(code)) uloc_toLanguageTag(locale, canonical, sizeof canonical, true, &code);
    /* ICU takes any five to eight letters for a language; none is registered, and "english" is a mistake */
    if (U_FAILURE(code) || code == U_STRING_NOT_TERMINATED_WARNING ||
        (size_t)parsed != strlen(dashed) || strcspn(canonical, "-") > 3)
        return error_set(err, ERR_DATA,
                         "'%s' is no language tag; expected something like en, zh or pt-BR", tag);
    if (strlen(canonical) >= size)
        return error_set(err, ERR_DATA, "the language tag '%s' is too long: at most %zu bytes", tag,
                         size - 1);
    memcpy(out, canonical, strlen(canonical) + 1);
    return 0;
}

void caption_printable(const char *text, char *out, size_t size)
{
    int32_t at = 0, n_out = 0, n = (int32_t)strnlen(text, size - 1),
            whole = (int32_t)strnlen(text, size + 4);
    while (at < n) {
        int32_t start = at;
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, whole, c);
        if (at >= (int32_t)size) break; /* not half a character */
        if (c < 0 || u_charType(c) == U_CONTROL_CHAR)
            out[n_out++] = '?';
        else
            while (start < at) out[n_out++] = text[start++];
    }
    out[n_out] = '\0';
}
