/* What records are called. */
#include "store/recordname.h"

#include "tests/check.h"

static char text[RECORDNAME_TEXT];

static struct kv_bytes bytes(const char *s, size_t n)
{
    return (struct kv_bytes){(const uint8_t *)s, n};
}

TEST(records_have_names)
{
    recordname_of(TABLE_IMAGES, bytes("\0\0\1\2", 4), text);
    CHECK_STR(text, "record 258");
    recordname_of(TABLE_PAIRS, bytes("\0\0\0\7\0\0\0\11\0\1\0\2", 12), text);
    CHECK_STR(text, "the pair of image 7 and caption 9");
    recordname_of(TABLE_NAMES, bytes("\1\0\5", 3), text);
    CHECK_STR(text, "source 5");
    recordname_of(TABLE_NAMES, bytes("\377\0\5", 3), text);
    CHECK_STR(text, "unknown name 5");
    recordname_of(TABLE_META, bytes("format", 6), text);
    CHECK_STR(text, "\"format\"");
    recordname_of(TABLE_REJECTS, bytes("\0\0\0\0\0\0\0\3", 8), text);
    CHECK_STR(text, "reject 3");
    recordname_of(TABLE_IMAGE_KEYS, bytes("\253\315", 2), text);
    CHECK_STR(text, "key abcd");
    char longest[511] = "";
    recordname_of(TABLE_IDS, bytes(longest, sizeof longest), text);
    CHECK_EQ(strlen(text), 4 + 2 * 40);
    recordname_of(TABLE_IMAGES, bytes("\0\0\1", 3), text);
    CHECK_STR(text, "key 000001");
}

TEST(ranges_have_names)
{
    struct kv_bytes none = {0}, a = bytes("\0\0\0\12", 4), b = bytes("\0\0\0\24", 4);
    recordname_between(TABLE_CAPTIONS, a, b, text);
    CHECK_STR(text, "from record 10 to before record 20");
    recordname_between(TABLE_CAPTIONS, a, a, text);
    CHECK_STR(text, "record 10");
    recordname_between(TABLE_CAPTIONS, none, b, text);
    CHECK_STR(text, "all records before record 20");
    recordname_between(TABLE_CAPTIONS, a, none, text);
    CHECK_STR(text, "from record 10 on");
    recordname_between(TABLE_CAPTIONS, none, none, text);
    CHECK_STR(text, "all records");
    recordname_blocks(bytes("\0\0\0\1\0\0\0\2", 8), none, 256, text);
    CHECK_STR(text, "from view 1, records 512 to 767 on");
    recordname_blocks(bytes("\0\0\0\1\0\0\0\2", 8), bytes("\0\0\0\1\0\0\0\2", 8), 256, text);
    CHECK_STR(text, "view 1, records 512 to 767");
    recordname_block(bytes("\0\0\0\1\0\1\0\2", 8), 0, text);
    CHECK_STR(text, "view 1, block 65538");
    recordname_block(bytes("\0\0\0\1\0\0\0", 7), 256, text);
    CHECK_STR(text, "key 00000001000000");
}

TEST_MAIN
