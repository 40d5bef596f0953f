/* The caption rule: what is dropped, what is kept, what is refused, where it is cut; sums over
 * captions; and language tags. ICU itself is the oracle where all of Unicode is asked. */
#include "ingest/caption.h"

#include <pthread.h>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include "store/memory.h"
#include "tests/check.h"
#include "train/random.h"

#define SEED 20240517

static struct caption_rule rule; /* of the running test; each sets what it needs */

static void becomes(const char *text, size_t n, const char *want)
{
    struct caption c, again;
    struct caption_fault fault;
    struct error err = {0};
    CHECK_OK(caption_normalise(&rule, text, n, &c, &fault, &err), &err);
    CHECK_STR(c.text, want);
    CHECK_EQ(c.n, strlen(want));
    CHECK(fault.reason == NULL);
    struct caption_rule twice = rule;
    twice.entities = false;
    CHECK_OK(caption_normalise(&twice, c.text, c.n, &again, &fault, &err), &err); /* idempotent */
    CHECK_STR(again.text, want);
    CHECK(!again.is_cut);
    caption_release(&c);
    caption_release(&again);
}

#define BECOMES(text, want) becomes(text, sizeof text - 1, want)

static void refused(const char *text, size_t n, const char *want, size_t offset,
                    const char *sentence)
{
    struct caption c;
    struct caption_fault fault;
    struct error err = {0};
    CHECK_EQ(caption_normalise(&rule, text, n, &c, &fault, &err), ERR_DATA);
    CHECK_STR(fault.reason, want);
    CHECK_EQ(fault.byte_offset, offset);
    CHECK_HAS(err.text, sentence);
    CHECK(c.text == NULL && c.n == 0 && !c.is_cut);
    CHECK_EQ(caption_normalise(&rule, text, n, &c, NULL, NULL), ERR_DATA);
}

#define REFUSED(text, want, offset, sentence) refused(text, sizeof text - 1, want, offset, sentence)

TEST(spaces_collapse)
{
    BECOMES("a dog", "a dog");
    BECOMES("  a\t dog\r\n\nruns \n", "a dog runs");
    BECOMES("a\xc2\xa0"
            "b\xe3\x80\x80"
            "c\xe2\x80\xa8"
            "d\xc2\x85"
            "e\x0b\x0c"
            "f",
            "a b c d e f");
}

TEST(controls_are_dropped)
{
    BECOMES("\xef\xbb\xbf"
            "a dog",
            "a dog");
    BECOMES("a\0b\x01"
            "c\x7f"
            "d\xc2\x80"
            "e\x1b[0m",
            "abcde[0m");
    /* right-to-left mark, override, isolate, Arabic letter mark */
    BECOMES("\xe2\x80\x8f"
            "a\xe2\x80\xae"
            "b\xe2\x81\xa6"
            "c\xd8\x9c"
            "d",
            "abcd");
}

TEST(composition)
{
    BECOMES("cafe\xcc\x81", "caf\xc3\xa9");
    BECOMES("\xe2\x84\xab", "\xc3\x85");                             /* Angstrom sign */
    BECOMES("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"); /* Hangul jamo */
    BECOMES("e\xe2\x80\x8e\xcc\x81", "\xc3\xa9");                    /* over a dropped mark */
    BECOMES("\xef\xbc\xa1\xef\xbd\xb1", "\xef\xbc\xa1\xef\xbd\xb1"); /* full and half width stay */
}

TEST(joiners_and_selectors_stay)
{
    const char family[] =
        "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 x";
    const char heart[] = "\xe2\x9d\xa4\xef\xb8\x8f";
    const char devanagari[] = "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7";
    BECOMES(family, family);
    BECOMES(heart, heart);
    BECOMES(devanagari, devanagari);
}

TEST(bad_text_is_refused_with_its_offset)
{
    REFUSED("", "empty", 0, "empty");
    REFUSED("   ", "empty", 0, "empty");
    REFUSED(" \t\n\xef\xbb\xbf", "empty", 0, "empty");
    REFUSED("abc\xff", "bad-utf8", 3, "byte 0xff at offset 3");
    REFUSED("\xc3", "bad-utf8", 0, "offset 0");
    REFUSED("ab\xed\xa0\x80", "bad-utf8", 2, "offset 2"); /* a surrogate */
    REFUSED("ab\xc0\xaf", "bad-utf8", 2, "offset 2");     /* overlong */
    REFUSED("\xf4\x90\x80\x80", "bad-utf8", 0, "offset 0");
}

TEST(length_is_limited_after_the_clean_up)
{
    struct error err = {0};
    char *text = memory_array(10000000, 1, MEMORY_MAX_SMALL, &err);
    struct caption c;
    memset(text, 'a', 10000000);
    refused(text, CAPTION_MAX_BYTES + 1, "too-long", 0, "65536 bytes");
    refused(text, 10000000, "too-long", 0, "10000000 bytes");
    memset(text + CAPTION_MAX_BYTES, ' ', 100);
    CHECK_OK(caption_normalise(&rule, text, CAPTION_MAX_BYTES + 100, &c, NULL, &err), &err);
    CHECK_EQ(c.n, CAPTION_MAX_BYTES);
    caption_release(&c);
    memory_free(text);
}

/* n times the unit. */
static char *repeated(const char *unit, size_t n)
{
    struct error err = {0};
    size_t size = strlen(unit);
    char *text = memory_array(n * size + 1, 1, MEMORY_MAX_SMALL, &err);
    for (size_t i = 0; text && i < n; i++) memcpy(text + i * size, unit, size);
    return text;
}

static void marks(bool nfkc, const char *unit, size_t n_kept, size_t n_refused)
{
    struct caption_rule any = {.nfkc = nfkc};
    struct error err = {0};
    struct caption c, again;
    char *text = repeated(unit, n_refused);
    CHECK_OK(caption_normalise(&any, text, n_kept * strlen(unit), &c, NULL, &err), &err);
    CHECK_OK(caption_normalise(&any, c.text, c.n, &again, NULL, &err), &err);
    CHECK_STR(again.text, c.text);
    rule = any;
    refused(text, strlen(text), "too-long", 0, "more than 256 marks");
    rule = caption_rule_defaults();
    caption_release(&c);
    caption_release(&again);
    memory_free(text);
}

/* ICU would sort them, in quadratic time. */
TEST(marks_in_a_row_are_limited)
{
    marks(false, "\u0323\u0301", 128, 129);
    marks(false, "\u0344", 128, 129); /* becomes two */
    marks(false, "\u0323\u0301", 128, 1 << 18);
    marks(true, "\uff9e\u0301", 128, 1 << 17); /* half-width voicing marks become marks */
    marks(true, "\uff9e\u0301", 128, 129);
    char *text = repeated("e\u0323\u0301 ", 10000);
    struct error err = {0};
    struct caption c;
    CHECK_OK(caption_normalise(&rule, text, strlen(text), &c, NULL, &err), &err);
    caption_release(&c);
    memory_free(text);
}

TEST(a_text_that_grows_when_composed)
{
    char text[3 * 400]; /* U+1D160 is excluded from composition: one code point becomes three */
    struct error err = {0};
    struct caption c;
    for (int i = 0; i < 300; i++) memcpy(text + 4 * i, "\xf0\x9d\x85\xa0", 4);
    CHECK_OK(caption_normalise(&rule, text, sizeof text, &c, NULL, &err), &err);
    CHECK_EQ(c.n, 300 * 12);
    caption_release(&c);
}

TEST(every_code_point_between_letters)
{
    struct error err = {0};
    int n_bad = 0;
    for (UChar32 c = 1; c <= 0x10ffff; c++) {
        if (U_IS_SURROGATE(c)) continue;
        char text[8] = "a", want[8] = "a";
        int32_t n = 1, n_want = 1;
        U8_APPEND_UNSAFE(text, n, c);
        text[n++] = 'b';
        if (u_isUWhiteSpace(c))
            want[n_want++] = ' ';
        else if (u_charType(c) != U_CONTROL_CHAR && c != 0xfeff &&
                 !u_hasBinaryProperty(c, UCHAR_BIDI_CONTROL)) {
            if (u_getIntPropertyValue(c, UCHAR_NFC_QUICK_CHECK) != UNORM_YES) continue;
            U8_APPEND_UNSAFE(want, n_want, c);
        }
        want[n_want++] = 'b';
        struct caption k;
        CHECK_OK(caption_normalise(&rule, text, (size_t)n, &k, NULL, &err), &err);
        n_bad += k.n != (size_t)n_want || memcmp(k.text, want, k.n) != 0;
        caption_release(&k);
    }
    CHECK_EQ(n_bad, 0);
}

TEST(compatibility_forms)
{
    rule = (struct caption_rule){.nfkc = true};
    CHECK_STR(caption_rule_name(&rule), "nfkc-space-1");
    BECOMES("\uff21\uff22\uff11", "AB1");          /* full width */
    BECOMES("\uff76\uff9e\uff70", "\u30ac\u30fc"); /* half-width kana with its voicing mark */
    BECOMES("\ufb01sh", "fish");                   /* a ligature */
    BECOMES("\u00a8", "\u0308");                   /* a space and a mark, trimmed */
    BECOMES("a \u00a8 b", "a \u0308 b");           /* never two spaces */
    BECOMES("a\u00a8b", "a \u0308b");
    BECOMES("\u203e\u203e", "\u0305 \u0305");
    BECOMES("\ufdfa", "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 "
                      "\u0639\u0644\u064a\u0647 \u0648\u0633\u0644\u0645");
    rule = caption_rule_defaults();
    CHECK_STR(caption_rule_name(&rule), "nfc-space-1");
    BECOMES("\ufb01sh \u00a8", "\ufb01sh \u00a8");
}

TEST(entities)
{
    BECOMES("a &amp; b", "a &amp; b"); /* not asked for */
    rule = (struct caption_rule){.entities = true};
    CHECK_STR(caption_rule_name(&rule), "nfc-space-1");
    BECOMES("caf&eacute; &amp; bar", "caf\u00e9 & bar");
    BECOMES("&amp;amp;", "&amp;"); /* once */
    BECOMES("&#38;lt;", "&lt;");
    BECOMES("a&nbsp;&nbsp;b&nbsp;", "a b"); /* before white space is looked at */
    BECOMES("e&#x301;", "\u00e9");          /* before composition */
    BECOMES("a&#0;b&#xd800;", "a\ufffdb\ufffd");
    BECOMES("a&#1;b&#x202e;c&#x81;", "abc");
    BECOMES("&#x1F600;", "\U0001f600");
    BECOMES("AT&T, R&D &c; &amp", "AT&T, R&D &c; &amp");
    BECOMES("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>");
    REFUSED("&nbsp;&#32;", "empty", 0, "empty");
    REFUSED("&amp;&amp;\xff", "bad-utf8", 10, "offset 10"); /* of the text as given */
    rule = caption_rule_defaults();
}

static void cut_to(uint32_t max_chars, const char *text, const char *want)
{
    struct caption_rule limit = {.max_chars = max_chars};
    struct error err = {0};
    struct caption c;
    CHECK_OK(caption_normalise(&limit, text, strlen(text), &c, NULL, &err), &err);
    CHECK_STR(c.text, want);
    CHECK_EQ(c.n, strlen(want));
    CHECK_EQ(c.is_cut, strcmp(text, want) != 0);
    caption_release(&c);
}

TEST(a_cut_keeps_whole_clusters)
{
    const char family[] = "\U0001f468\u200d\U0001f469\u200d\U0001f467";
    const char flags[] = "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7";
    char text[100], want[100];
    snprintf(text, sizeof text, "a%sb", family);
    snprintf(want, sizeof want, "a%s", family);
    cut_to(1, text, "a");
    cut_to(2, text, want);
    cut_to(3, text, text);
    cut_to(1, flags, "\U0001f1e9\U0001f1ea");
    cut_to(2, flags, flags);
    /* a conjunct is one cluster (ICU 72 and Unicode 15.1 on) */
    cut_to(1, "\u0915\u094d\u200d\u0937\u093f x", "\u0915\u094d\u200d\u0937\u093f");
    cut_to(2, "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e");
    cut_to(1, "\u0915\u093f\u0915\u093f", "\u0915\u093f"); /* a vowel sign stays with its letter */
    cut_to(1, "\u1112\u1161\u11ab\u11ab\uae00", "\ud55c\u11ab"); /* jamo that do not compose */
    cut_to(1, "x\u0323\u0302\u0301y", "x\u0323\u0302\u0301");
    cut_to(1, "\u2764\ufe0f\u2764\ufe0f", "\u2764\ufe0f");
    cut_to(1, "\U0001f44d\U0001f3fd\U0001f44d", "\U0001f44d\U0001f3fd");
    cut_to(3, "ab \u00e9", "ab"); /* the space goes */
    cut_to(3, "ab cd", "ab");
    cut_to(4, "ab cd", "ab c");
    cut_to(5, "ab cd", "ab cd");
    cut_to(UINT32_MAX, family, family);
}

TEST(a_limit_lets_long_texts_pass)
{
    struct error err = {0};
    struct caption_rule limit = {.max_chars = 100};
    char *text = memory_array(200000, 1, MEMORY_MAX_SMALL, &err);
    struct caption c;
    for (int is_ascii = 0; is_ascii < 2; is_ascii++) {
        memset(text, 'a', 200000);
        if (!is_ascii) memcpy(text, "\u00e9", 2);
        CHECK_OK(caption_normalise(&limit, text, 200000, &c, NULL, &err), &err);
        CHECK_EQ(c.n, is_ascii ? 100 : 101);
        CHECK(c.is_cut);
        caption_release(&c);
    }
    memory_free(text);
}

struct draws {
    uint64_t stream, n;
};

static uint64_t below(struct draws *d, uint64_t n)
{
    return random_bits(SEED, d->stream, d->n++) % n;
}

/* Characters that join, decompose, vanish or make spaces, and any other. */
static UChar32 some_character(struct draws *r)
{
    static const UChar32 odd[] = {' ',    ' ',    'a',    'e',    0x301,  0x308,   0x323,   0xa8,
                                  0xa0,   0xb4,   0x203e, 0xfdfa, 0xfc5e, 0x1160,  0x11ab,  0x1112,
                                  0xac00, 0x200d, 0x200e, 0xfeff, 0xfe0f, 0x1f468, 0x1f1e9, 0x94d,
                                  0x915,  0x3099, 0xff9e, 0xff76, 0x2000, 0x1d160, 0xfb2c,  0x0};
    uint64_t kind = below(r, 4);
    if (kind < 2) return odd[below(r, sizeof odd / sizeof *odd)];
    UChar32 c = (UChar32)below(r, kind == 2 ? 0x3100 : 0x110000);
    return U_IS_SURROGATE(c) ? 'x' : c;
}

TEST(normalising_twice_is_normalising_once)
{
    struct draws r = {.stream = 1};
    for (int round = 0; round < 60000; round++) {
        struct caption_rule any = {.nfkc = round & 1, .max_chars = round % 3 ? 0 : 1 + round % 7};
        char text[80];
        int32_t n = 0;
        for (uint64_t k = 1 + below(&r, 16); k > 0; k--)
            U8_APPEND_UNSAFE(text, n, some_character(&r));
        struct caption c, again;
        struct caption_fault fault;
        if (caption_normalise(&any, text, (size_t)n, &c, &fault, NULL) < 0) {
            CHECK_STR(fault.reason, "empty");
            continue;
        }
        int rc = caption_normalise(&any, c.text, c.n, &again, &fault, NULL);
        if (rc < 0 || again.is_cut || again.n != c.n || memcmp(again.text, c.text, c.n))
            CHECK_FAIL("round %d: \"%s\" becomes \"%s\"", round, c.text, again.text);
        if (c.text[0] == ' ' || c.text[c.n - 1] == ' ' || strstr(c.text, "  "))
            CHECK_FAIL("round %d: spaces in \"%s\"", round, c.text);
        caption_release(&c);
        caption_release(&again);
    }
}

/* A byte order mark is dropped, and forbids the short way for plain ASCII. */
TEST(plain_ascii_is_treated_as_any_text)
{
    struct draws r = {.stream = 2};
    struct error err = {0};
    for (int round = 0; round < 20000; round++) {
        struct caption_rule any = {
            .nfkc = round & 1, .entities = round >> 1 & 1, .max_chars = (uint32_t)round % 9};
        char text[43] = "\ufeff";
        size_t n = 3 + below(&r, 40);
        for (size_t i = 3; i < n; i++) text[i] = (char)(below(&r, 3) ? ' ' + below(&r, 95) : ' ');
        struct caption a, b;
        struct caption_fault fault_a, fault_b;
        int rc_a = caption_normalise(&any, text + 3, n - 3, &a, &fault_a, &err);
        int rc_b = caption_normalise(&any, text, n, &b, &fault_b, &err);
        CHECK_EQ(rc_a, rc_b);
        CHECK_EQ(a.n, b.n);
        CHECK_EQ(a.is_cut, b.is_cut);
        if (rc_a == 0 && rc_b == 0) CHECK_STR(a.text, b.text);
        if (rc_a < 0 && rc_b < 0) CHECK_STR(fault_a.reason, fault_b.reason);
        caption_release(&a);
        caption_release(&b);
    }
}

TEST(an_allocation_that_fails)
{
    const char *texts[] = {"plain  text", "caf\u00e9", "cafe\u0301 \ufdfa"};
    struct caption_rule limit = {.nfkc = true, .max_chars = 3};
    for (size_t i = 0; i < 3; i++)
        for (long nth = 1; nth < 10; nth++) {
            struct caption c;
            struct caption_fault fault;
            memory_fail_at(nth);
            int rc = caption_normalise(&limit, texts[i], strlen(texts[i]), &c, &fault, NULL);
            memory_fail_at(0);
            if (rc < 0) CHECK_EQ(rc, ERR_NOMEM);
            if (rc < 0) CHECK(fault.reason == NULL && c.text == NULL);
            CHECK(nth > 1 || rc < 0);
            caption_release(&c);
        }
}

static void measure(const char *text, uint64_t n_code_points, uint64_t n_clusters)
{
    struct caption_measure m = {0};
    struct error err = {0};
    uint64_t sum = 0;
    CHECK_OK(caption_measure(text, strlen(text), &m, &err), &err);
    CHECK_EQ(m.n_code_points, n_code_points);
    CHECK_EQ(m.n_clusters, n_clusters);
    for (int i = 0; i < CAPTION_MAX_SCRIPTS; i++) sum += m.n_script[i];
    CHECK_EQ(sum, n_code_points);
}

static int script(const char *code)
{
    for (int i = 0; i < CAPTION_MAX_SCRIPTS; i++)
        if (caption_script_code(i) && !strcmp(caption_script_code(i), code)) return i;
    return 0;
}

TEST(measures)
{
    measure("a dog", 5, 5);
    measure("caf\u00e9 \u4e00\u4e01", 7, 7);
    measure("x\u0301", 2, 1);
    measure("\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea", 8, 3);
    measure("\ud55c\uae00", 2, 2);
    measure("\u0928\u092e\u0938\u094d\u0924\u0947", 6, 3);
    measure("", 0, 0);
    struct caption_measure m = {0};
    struct error err = {0};
    const char *texts[] = {"ab, \u0431", "\u30a2 \u3042\u4e00", "e\u0327\u0301"};
    for (int i = 0; i < 3; i++)
        CHECK_OK(caption_measure(texts[i], strlen(texts[i]), &m, &err), &err); /* adds up */
    CHECK_EQ(m.n_code_points, 12);
    CHECK_EQ(m.n_clusters, 10);
    CHECK_EQ(m.n_script[script("Latn")], 3);
    CHECK_EQ(m.n_script[script("Cyrl")], 1);
    CHECK_EQ(m.n_script[script("Kana")], 1);
    CHECK_EQ(m.n_script[script("Hira")], 1);
    CHECK_EQ(m.n_script[script("Hani")], 1);
    CHECK_EQ(m.n_script[CAPTION_SCRIPT_COMMON], 3);
    CHECK_EQ(m.n_script[CAPTION_SCRIPT_INHERITED], 2);
    struct caption_measure before = m;
    CHECK_EQ(caption_measure("a\xff", 2, &m, &err), ERR_DATA);
    CHECK(!memcmp(&before, &m, sizeof m));
}

TEST(scripts_have_names)
{
    CHECK_STR(caption_script_code(CAPTION_SCRIPT_COMMON), "Zyyy");
    CHECK_STR(caption_script_code(CAPTION_SCRIPT_INHERITED), "Zinh");
    CHECK_STR(caption_script_code(script("Hang")), "Hang");
    CHECK(caption_script_code(-1) == NULL && caption_script_code(100000) == NULL);
    /* every code point of Unicode has its place */
    int n_beyond = 0;
    for (UChar32 c = 0; c <= 0x10ffff; c++) {
        UErrorCode code = U_ZERO_ERROR;
        n_beyond += uscript_getScript(c, &code) >= CAPTION_MAX_SCRIPTS;
    }
    CHECK_EQ(n_beyond, 0);
}

/* Several threads, each with its own texts: the same answers as alone. */
static void *many(void *argument)
{
    (void)argument;
    const char text[] = "\u0928\u092e\u0938\u094d\u0924\u0947 \uff76\uff9e cafe\u0301 &hearts; x";
    struct caption_rule any = {.nfkc = true, .entities = true, .max_chars = 9};
    long n_bad = 0;
    for (int i = 0; i < 2000; i++) {
        struct caption c;
        struct caption_measure m = {0};
        if (caption_normalise(&any, text, strlen(text), &c, NULL, NULL) < 0) return (void *)1;
        n_bad += caption_measure(c.text, c.n, &m, NULL) < 0 || m.n_clusters != 9 || !c.is_cut ||
                 strcmp(c.text, "\u0928\u092e\u0938\u094d\u0924\u0947 \u30ac caf");
        caption_release(&c);
    }
    return (void *)n_bad;
}

TEST(several_threads)
{
    pthread_t thread[4];
    void *n_bad;
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&thread[i], NULL, many, NULL), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(thread[i], &n_bad), 0);
        CHECK_EQ((long)n_bad, 0);
    }
}

static void language(const char *tag, const char *want)
{
    char out[CAPTION_MAX_LANGUAGE];
    struct error err = {0};
    CHECK_OK(caption_language(tag, out, sizeof out, &err), &err);
    CHECK_STR(out, want);
}

TEST(language_tags)
{
    language("en", "en");
    language("EN", "en");
    language("", "und");
    language("zh-hans-CN", "zh-Hans-CN");
    language("zh_CN", "zh-CN");
    language("iw", "he");
    language("sr-latn", "sr-Latn");
    language("und", "und");
    const char *bad[] = {"english", "a", "123", "en-", "en--us", "pt_BR.UTF-8", "e n", "\xff", "-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char out[CAPTION_MAX_LANGUAGE] = "untouched";
        struct error err = {0};
        CHECK_EQ(caption_language(bad[i], out, sizeof out, &err), ERR_DATA);
        CHECK_STR(out, "untouched");
        CHECK_HAS(err.text, "language tag");
    }
    char small[4];
    struct error err = {0};
    CHECK_EQ(caption_language("zh-Hant", small, sizeof small, &err), ERR_DATA);
}

TEST_MAIN
