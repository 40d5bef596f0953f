/* Caption clean-up with ICU; see caption.h. The order matters and makes the rule idempotent:
 * characters are dropped and spaces collapsed first, code point by code point, and the composition
 * comes after, so that what stood on both sides of a dropped control composes too. Canonical
 * composition makes no space and no control. Compatibility composition makes no control but may make
 * spaces (U+00A8 is a space and a mark): they are collapsed once more, and the text stays normalised,
 * because a space composes with nothing and one space of the two stays. A cut keeps a prefix.
 *
 * Most captions are plain ASCII: they skip UTF-16 altogether (normalise_ascii). */
#include "ingest/caption.h"

#include <string.h>

#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/uloc.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "ingest/entity.h"
#include "store/memory.h"

#define MAX_INPUT ((size_t)1 << 20) /* before the clean-up; a pair keeps no longer original */
#define MAX_MARKS 256 /* in a row, of a caption; four times as many before it is composed */
#define MAX_TAG   100
/* Categories of white space and of what is dropped: one look-up tells a letter. */
#define SPECIAL (U_GC_Z_MASK | U_GC_CC_MASK | U_GC_CF_MASK)

struct caption_rule caption_rule_defaults(void)
{
    return (struct caption_rule){.nfkc = false};
}

const char *caption_rule_name(const struct caption_rule *rule)
{
    return rule->nfkc ? "nfkc-space-1" : CAPTION_RULE;
}

void caption_release(struct caption *c)
{
    memory_free(c->text);
    *c = (struct caption){0};
}

static int too_long(size_t n, struct caption_fault *fault, struct error *err)
{
    fault->reason = "too-long";
    return error_set(err, ERR_DATA, "the caption has %zu bytes; at most %d can be kept", n,
                     CAPTION_MAX_BYTES);
}

static int empty(struct caption_fault *fault, struct error *err)
{
    fault->reason = "empty";
    return error_set(err, ERR_DATA, "the caption is empty");
}

static bool is_dropped(UChar32 c)
{
    return u_charType(c) == U_CONTROL_CHAR || c == 0xfeff ||
           u_hasBinaryProperty(c, UCHAR_BIDI_CONTROL);
}

/* What ICU may have to sort: the categories M, and half-width voicing marks, which NFKC makes such.
 * Its time is quadratic in the marks in a row: 1 MiB of them took minutes. */
static bool is_mark(UChar32 c, uint32_t category)
{
    return (category & U_GC_M_MASK) || c == 0xff9e || c == 0xff9f;
}

static int too_many_marks(struct caption_fault *fault, struct error *err)
{
    fault->reason = "too-long";
    return error_set(err, ERR_DATA, "a character of the caption has more than %d marks", MAX_MARKS);
}

/* UTF-8 to clean UTF-16: room for n units, for no entity is shorter than its character. */
static int clean(UChar *out, int32_t *n_clean, const char *text, int32_t n, bool entities,
                 struct caption_fault *fault, struct error *err)
{
    int32_t n_out = 0, n_marks = 0, at = 0;
    bool space = false;
    while (at < n) {
        int32_t start = at;
        uint32_t named;
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, n, c);
        if (c < 0) {
            *fault = (struct caption_fault){"bad-utf8", (size_t)start};
            return error_set(err, ERR_DATA,
                             "the caption is not UTF-8: byte 0x%02x at offset %d of it",
                             (uint8_t)text[start], (int)start);
        }
        if (c == '&' && entities) {
            size_t n_entity = entity_decode(text + start, (size_t)(n - start), &named);
            if (n_entity > 0) {
                c = (UChar32)named;
                at = start + (int32_t)n_entity;
            }
        }
        uint32_t category = c < 0x7f ? 0 : U_GET_GC_MASK(c);
        bool special = c <= ' ' || (category & SPECIAL);
        if (special && u_isUWhiteSpace(c)) {
            space = n_out > 0;
        } else if (!special || !is_dropped(c)) {
            if (space) out[n_out++] = ' ';
            n_marks = is_mark(c, category) && !space ? n_marks + 1 : 0;
            space = false;
            U16_APPEND_UNSAFE(out, n_out, c);
        }
        if (n_marks > 4 * MAX_MARKS) return too_many_marks(fault, err);
    }
    *n_clean = n_out;
    return 0;
}

/* Collapses and trims spaces in place. */
static int32_t collapse(UChar *text, int32_t n)
{
    int32_t n_out = 0;
    for (int32_t i = 0; i < n; i++)
        if (text[i] != ' ' || (n_out > 0 && text[n_out - 1] != ' ')) text[n_out++] = text[i];
    return n_out > 0 && text[n_out - 1] == ' ' ? n_out - 1 : n_out;
}

/* NFC or NFKC of *text in a new array, when it is not in that form yet. */
static int compose(bool nfkc, UChar **text, int32_t *n, struct error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    const UNormalizer2 *form = nfkc ? unorm2_getNFKCInstance(&code) : unorm2_getNFCInstance(&code);
    if (U_SUCCESS(code) && unorm2_isNormalized(form, *text, *n, &code) && U_SUCCESS(code)) return 0;
    /* NFC grows UTF-16 by three at most, NFKC by eighteen, but hardly any text grows at all */
    UChar *out = NULL;
    int32_t n_out = *n + *n / 4 + 16, room;
    do {
        memory_free(out);
        room = n_out;
        out = memory_array((uint64_t)room, sizeof *out, MEMORY_MAX_FILE, err);
        if (!out) return ERR_NOMEM;
        if (code == U_BUFFER_OVERFLOW_ERROR) code = U_ZERO_ERROR;
        n_out = unorm2_normalize(form, *text, *n, out, room, &code);
    } while (code == U_BUFFER_OVERFLOW_ERROR && n_out > room);
    memory_free(*text);
    *text = out;
    *n = nfkc ? collapse(out, n_out) : n_out;
    if (U_FAILURE(code))
        return error_set(err, ERR_NOMEM, "ICU could not normalise: %s", u_errorName(code));
    return 0;
}

/* Keeps max whole clusters. Breaks are looked for only where there can be enough of them; opening an
 * iterator takes 3 us, about as long as walking over the captions it is opened for. */
static int cut(uint32_t max, const UChar *text, int32_t *n, bool *is_cut, struct error *err)
{
    if ((uint32_t)*n <= max) return 0;
    UErrorCode code = U_ZERO_ERROR;
    UBreakIterator *breaks = ubrk_open(UBRK_CHARACTER, "", text, *n, &code);
    if (U_FAILURE(code))
        return error_set(err, ERR_NOMEM, "ICU could not find characters: %s", u_errorName(code));
    int32_t end = 0;
    for (uint32_t i = 0; i < max && end != UBRK_DONE; i++) end = ubrk_next(breaks);
    ubrk_close(breaks);
    if (end == UBRK_DONE || end == *n) return 0;
    *is_cut = true;
    *n = end > 0 && text[end - 1] == ' ' ? end - 1 : end;
    return 0;
}

static int encode(const UChar *text, int32_t n, struct caption *c, struct caption_fault *fault,
                  struct error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    int32_t n_bytes = 0, room = n < CAPTION_MAX_BYTES / 3 ? 3 * n : CAPTION_MAX_BYTES;
    char *utf8 = memory_array((uint64_t)room + 1, 1, MEMORY_MAX_SMALL, err);
    if (!utf8) return ERR_NOMEM;
    u_strToUTF8(utf8, room + 1, &n_bytes, text, n, &code);
    if (n_bytes > room) {
        memory_free(utf8);
        return too_long((size_t)n_bytes, fault, err);
    }
    c->text = utf8;
    c->n = (size_t)n_bytes;
    return 0;
}

/* Text that is the same in every form: printable ASCII without entities. */
static bool is_plain(const struct caption_rule *rule, const char *text, size_t n)
{
    if (n > CAPTION_MAX_BYTES || (rule->entities && memchr(text, '&', n))) return false;
    size_t i = 0;
    while (i < n && text[i] >= ' ' && text[i] < 0x7f) i++;
    return i == n;
}

/* The twin of normalise_any for plain text, in which every byte is a cluster. */
static int normalise_plain(uint32_t max, const char *text, size_t n, struct caption *c,
                           struct caption_fault *fault, struct error *err)
{
    size_t n_out = 0;
    char *out = memory_array((uint64_t)n + 1, 1, MEMORY_MAX_SMALL, err);
    if (!out) return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' || (n_out > 0 && out[n_out - 1] != ' ')) out[n_out++] = text[i];
    if (n_out > 0 && out[n_out - 1] == ' ') n_out--;
    if (max > 0 && n_out > max) {
        n_out = max;
        if (out[n_out - 1] == ' ') n_out--;
        c->is_cut = true;
    }
    out[n_out] = '\0';
    c->text = out;
    c->n = n_out;
    if (n_out > 0) return 0;
    caption_release(c);
    return empty(fault, err);
}

/* Composition may part marks that were one character (U+0344), so they are counted once more. */
static int check_marks(const UChar *text, int32_t n, struct caption_fault *fault, struct error *err)
{
    int32_t n_marks = 0;
    if (n <= MAX_MARKS) return 0;
    for (int32_t at = 0; at < n;) {
        UChar32 c;
        U16_NEXT(text, at, n, c);
        n_marks = c > 0x7f && is_mark(c, U_GET_GC_MASK(c)) ? n_marks + 1 : 0;
        if (n_marks > MAX_MARKS) return too_many_marks(fault, err);
    }
    return 0;
}

static int normalise_any(const struct caption_rule *rule, const char *text, size_t n,
                         struct caption *c, struct caption_fault *fault, struct error *err)
{
    UChar *wide = memory_array(n + 1, sizeof *wide, MEMORY_MAX_FILE, err);
    if (!wide) return ERR_NOMEM;
    int32_t n_wide = 0;
    int rc = clean(wide, &n_wide, text, (int32_t)n, rule->entities, fault, err);
    if (rc == 0) rc = compose(rule->nfkc, &wide, &n_wide, err);
    if (rc == 0 && n_wide == 0) rc = empty(fault, err);
    if (rc == 0) rc = check_marks(wide, n_wide, fault, err);
    if (rc == 0 && rule->max_chars > 0) rc = cut(rule->max_chars, wide, &n_wide, &c->is_cut, err);
    if (rc == 0) rc = encode(wide, n_wide, c, fault, err);
    if (rc < 0) c->is_cut = false;
    memory_free(wide);
    return rc;
}

int caption_normalise(const struct caption_rule *rule, const char *text, size_t n,
                      struct caption *c, struct caption_fault *fault, struct error *err)
{
    struct caption_fault unasked;
    if (!fault) fault = &unasked;
    *fault = (struct caption_fault){0};
    *c = (struct caption){0};
    if (n > MAX_INPUT) return too_long(n, fault, err);
    return is_plain(rule, text, n) ? normalise_plain(rule->max_chars, text, n, c, fault, err)
                                   : normalise_any(rule, text, n, c, fault, err);
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

/* Whether no rule joins c to a neighbour: then it is a cluster by itself between its like. */
static bool stands_alone(UChar32 c)
{
    return c < 0x80 || u_getIntPropertyValue(c, UCHAR_GRAPHEME_CLUSTER_BREAK) == U_GCB_OTHER;
}

static int count_clusters(const char *text, size_t n, uint64_t *n_clusters, struct error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    UText view = UTEXT_INITIALIZER;
    utext_openUTF8(&view, text, (int64_t)n, &code);
    UBreakIterator *breaks = ubrk_open(UBRK_CHARACTER, "", NULL, 0, &code);
    ubrk_setUText(breaks, &view, &code);
    if (U_SUCCESS(code))
        while (ubrk_next(breaks) != UBRK_DONE) ++*n_clusters;
    ubrk_close(breaks);
    utext_close(&view);
    return U_SUCCESS(code)
               ? 0
               : error_set(err, ERR_NOMEM, "ICU could not find characters: %s", u_errorName(code));
}

int caption_measure(const char *text, size_t n, struct caption_measure *m, struct error *err)
{
    uint64_t n_code_points = 0, n_clusters = 0;
    bool alone = true;
    int32_t at = 0;
    UChar32 c;
    if (n > MAX_INPUT) return error_set(err, ERR_DATA, "a caption of %zu bytes", n);
    while (at < (int32_t)n) {
        U8_NEXT((const uint8_t *)text, at, (int32_t)n, c);
        if (c < 0) return error_set(err, ERR_DATA, "the caption is not UTF-8");
        alone = alone && stands_alone(c);
        n_code_points++;
    }
    n_clusters = n_code_points;
    if (!alone) {
        n_clusters = 0;
        int rc = count_clusters(text, n, &n_clusters, err);
        if (rc < 0) return rc;
    }
    for (at = 0; at < (int32_t)n;) {
        UErrorCode code = U_ZERO_ERROR;
        U8_NEXT((const uint8_t *)text, at, (int32_t)n, c);
        UScriptCode script = uscript_getScript(c, &code);
        if (U_FAILURE(code) || script < 0 || script >= CAPTION_MAX_SCRIPTS)
            script = USCRIPT_UNKNOWN;
        m->n_script[script]++;
    }
    m->n_code_points += n_code_points;
    m->n_clusters += n_clusters;
    return 0;
}

const char *caption_script_code(int script)
{
    return script < 0 ? NULL : uscript_getShortName((UScriptCode)script);
}
