/* The caption rule: what is dropped, what is kept, what is refused; and language tags. */
#include "ingest/caption.h"

#include "store/memory.h"
#include "tests/check.h"

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
