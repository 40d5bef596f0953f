/* HTML character references: what is one, what is left alone. */
#include "ingest/entity.h"

#include "tests/check.h"

static void is(const char *text, uint32_t want)
{
    uint32_t c = 7;
    CHECK_EQ(entity_decode(text, strlen(text), &c), strcspn(text, ";") + 1);
    CHECK_EQ(c, want);
}

static void is_none(const char *text)
{
    uint32_t c = 7;
    CHECK_EQ(entity_decode(text, strlen(text), &c), 0);
    CHECK_EQ(c, 7);
}

TEST(names)
{
    is("&amp; and more", '&');
    is("&lt;", '<');
    is("&gt;", '>');
    is("&quot;", '"');
    is("&apos;", '\'');
    is("&nbsp;", 0xa0);
    is("&eacute;", 0xe9);
    is("&Eacute;", 0xc9); /* case counts */
    is("&hearts;", 0x2665);
    is("&frac12;", 0xbd);
    is("&thetasym;", 0x3d1); /* the longest */
}

TEST(numbers_as_the_html_standard_says)
{
    is("&#39;", '\'');
    is("&#x1F600;", 0x1f600);
    is("&#X41;", 'A');
    is("&#0000000000000000000065;", 'A');
    is("&#0;", 0xfffd);
    is("&#xD800;", 0xfffd);
    is("&#xdfff;", 0xfffd);
    is("&#x110000;", 0xfffd);
    is("&#x10FFFF;", 0x10ffff);
    is("&#99999999999999999999999999;", 0xfffd);
    is("&#x100000041;", 0xfffd); /* not 'A' by overflow */
    is("&#128;", 0x20ac);
    is("&#x92;", 0x2019);
    is("&#x9F;", 0x178);
    is("&#x81;", 0x81); /* no such in windows-1252 */
    is("&#160;", 0xa0);
    is("&#13;", '\r');
}

TEST(what_is_left_alone)
{
    const char *none[] = {"&",        "&;",     "&a",     "&amp",        "&amp ",  "&AMPERSAND;",
                          "&nosuch;", "&#;",    "&#x;",   "&#12",        "&#12 ;", "&#-1;",
                          "&#xg;",    "& amp;", "&&amp;", "&thetasyms;", "&AmP;",  "x"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) is_none(none[i]);
    uint32_t c = 7;
    CHECK_EQ(entity_decode("&amp;", 4, &c), 0); /* the semicolon lies behind the end */
    CHECK_EQ(entity_decode("&#39;", 4, &c), 0);
    CHECK_EQ(entity_decode("&\0;", 3, &c), 0);
    CHECK_EQ(c, 7);
}

TEST_MAIN
