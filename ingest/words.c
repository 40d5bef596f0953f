/* Cutting a text into words; see words.h. */
#include "ingest/words.h"

#include <string.h>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "store/memory.h"

#define MAX_TEXT   ((size_t)16 << 20)
#define LOWER_GROW 3 /* UTF-16 units a unit may become: SpecialCasing, NFD */
#define NFD_GROW   4

void words_release(struct words *w)
{
    memory_free(w->text);
    memory_free(w->end);
    *w = (struct words){0};
}

size_t words_begin(const struct words *w, size_t i)
{
    return i ? w->end[i - 1] : 0;
}

static int icu_failed(UErrorCode code, struct error *err)
{
    if (code == U_MEMORY_ALLOCATION_ERROR) return error_set(err, ERR_NOMEM, "out of memory");
    return error_set(err, ERR_DATA, "ICU cannot convert a text: %s", u_errorName(code));
}

/* Ends the word that is being written, if it has any letter. */
static int end_word(struct words *w, struct error *err)
{
    if (w->n_text == words_begin(w, w->n)) return 0;
    int rc = memory_grow(&w->end, &w->end_capacity, (uint64_t)w->n + 1, sizeof *w->end,
                         MEMORY_MAX_TENSOR, err);
    if (rc == 0) w->end[w->n++] = (uint32_t)w->n_text;
    return rc < 0 ? rc : 0;
}

static void put(struct words *w, UChar32 c)
{
    size_t at = w->n_text;
    U8_APPEND_UNSAFE((uint8_t *)w->text, at, c);
    w->n_text = at;
}

/* The ideographs that BERT's code calls Chinese: no kana, no Hangul. */
static bool is_han(UChar32 c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Categories C* (and U+FFFD), but for what separates. */
static bool is_control(UChar32 c)
{
    return c == 0xfffd || (U_GET_GC_MASK(c) & U_GC_C_MASK);
}

/* All of ASCII's signs, and categories P*. */
static bool is_punctuation(UChar32 c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
               (c >= 123 && c <= 126);
    return U_GET_GC_MASK(c) & U_GC_P_MASK;
}

static bool is_space(UChar32 c)
{
    return c == '\t' || c == '\n' || c == '\r' || u_isUWhiteSpace(c);
}

/* UTF-8 to UTF-16 without controls, one space for each white space, spaces around ideographs.
 * No character gets more units than it had bytes. Returns how many. */
static int32_t bert_clean(const char *text, int32_t n, bool han, UChar *out)
{
    int32_t n_out = 0, at = 0;
    while (at < n) {
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, n, c);
        bool separates = c == '\t' || c == '\n' || c == '\r';
        if (c <= 0 || (!separates && is_control(c))) continue;
        if (is_space(c)) c = ' ';
        bool alone = han && is_han(c);
        if (alone) out[n_out++] = ' ';
        U16_APPEND_UNSAFE(out, n_out, c);
        if (alone) out[n_out++] = ' ';
    }
    return n_out;
}

static int32_t plain_decode(const char *text, int32_t n, UChar *out)
{
    int32_t n_out = 0, at = 0;
    while (at < n) {
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, n, c);
        if (c > 0) U16_APPEND_UNSAFE(out, n_out, c);
    }
    return n_out;
}

/* Replaces *x (n units, owned) by its lower case or NFD. */
static int convert(UChar **x, int32_t *n, bool lower, struct error *err)
{
    int32_t room = *n * (lower ? LOWER_GROW : NFD_GROW) + 1;
    UErrorCode code = U_ZERO_ERROR;
    UChar *to = memory_array((uint64_t)room, sizeof *to, MEMORY_MAX_TENSOR, err);
    if (!to) return ERR_NOMEM;
    int32_t n_to = 0;
    if (lower) {
        n_to = u_strToLower(to, room, *x, *n, "", &code);
    } else {
        const UNormalizer2 *nfd = unorm2_getNFDInstance(&code);
        if (U_SUCCESS(code)) n_to = unorm2_normalize(nfd, *x, *n, to, room, &code);
    }
    if (U_FAILURE(code)) {
        memory_free(to);
        return icu_failed(code, err);
    }
    memory_free(*x);
    *x = to;
    *n = n_to;
    return 0;
}

static int check_length(size_t n, struct error *err)
{
    if (n <= MAX_TEXT) return 0;
    return error_set(err, ERR_DATA, "a text of %zu bytes; at most %zu can be tokenized", n,
                     MAX_TEXT);
}

static int bert_cut(const UChar *x, int32_t n, bool accents, struct words *w, struct error *err)
{
    int rc = 0;
    for (int32_t at = 0; at < n && rc == 0;) {
        UChar32 c;
        U16_NEXT(x, at, n, c);
        bool mark = is_punctuation(c);
        if (mark || is_space(c)) rc = end_word(w, err);
        if (is_space(c) || (accents && u_charType(c) == U_NON_SPACING_MARK)) continue;
        put(w, c);
        if (mark && rc == 0) rc = end_word(w, err);
    }
    return rc < 0 ? rc : end_word(w, err);
}

int words_bert(const char *text, size_t n, const struct words_rule *rule, struct words *w,
               struct error *err)
{
    int rc = check_length(n, err);
    if (rc < 0) return rc;
    UChar *x = memory_array((uint64_t)n + 1, sizeof *x, MEMORY_MAX_TENSOR, err);
    if (!x) return ERR_NOMEM;
    int32_t n_x = bert_clean(text, (int32_t)n, rule->han, x);
    if (rule->lower) rc = convert(&x, &n_x, true, err);
    if (rc == 0 && rule->accents) rc = convert(&x, &n_x, false, err);
    if (rc == 0) {
        w->text = memory_array((uint64_t)n_x + 1, 3, MEMORY_MAX_TENSOR, err);
        rc = w->text ? bert_cut(x, n_x, rule->accents, w, err) : ERR_NOMEM;
    }
    memory_free(x);
    return rc;
}

/* Units of a contraction at x, 0 for none. */
static int32_t contraction(const UChar *x, int32_t n)
{
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (n < 2 || x[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        int32_t length = (int32_t)strlen(tails[i]), same = 0;
        while (same < length && same + 1 < n && x[same + 1] == (UChar)tails[i][same]) same++;
        if (same == length) return length + 1;
    }
    return 0;
}

enum kind { KIND_SPACE, KIND_LETTER, KIND_NUMBER, KIND_OTHER };

static enum kind kind_of(UChar32 c)
{
    if (is_space(c)) return KIND_SPACE;
    uint32_t mask = U_GET_GC_MASK(c);
    return mask & U_GC_L_MASK ? KIND_LETTER : mask & U_GC_N_MASK ? KIND_NUMBER : KIND_OTHER;
}

static int clip_cut(const UChar *x, int32_t n, struct words *w, struct error *err)
{
    enum kind before = KIND_SPACE;
    int rc = 0;
    for (int32_t at = 0; at < n && rc == 0;) {
        /* inside of a run of signs an apostrophe is one of them */
        int32_t k = before == KIND_OTHER ? 0 : contraction(x + at, n - at);
        if (k > 0) {
            rc = end_word(w, err);
            while (k-- > 0) put(w, x[at++]);
            if (rc == 0) rc = end_word(w, err);
            before = KIND_SPACE;
            continue;
        }
        UChar32 c;
        U16_NEXT(x, at, n, c);
        enum kind now = kind_of(c);
        if (now != before || now == KIND_NUMBER) rc = end_word(w, err);
        if (now != KIND_SPACE) put(w, c);
        before = now;
    }
    return rc < 0 ? rc : end_word(w, err);
}

int words_clip(const char *text, size_t n, struct words *w, struct error *err)
{
    int rc = check_length(n, err);
    if (rc < 0) return rc;
    UChar *x = memory_array((uint64_t)n + 1, sizeof *x, MEMORY_MAX_TENSOR, err);
    if (!x) return ERR_NOMEM;
    int32_t n_x = plain_decode(text, (int32_t)n, x);
    rc = convert(&x, &n_x, true, err);
    if (rc == 0) {
        w->text = memory_array((uint64_t)n_x + 1, 3, MEMORY_MAX_TENSOR, err);
        rc = w->text ? clip_cut(x, n_x, w, err) : ERR_NOMEM;
    }
    memory_free(x);
    return rc;
}
