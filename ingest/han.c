/* Simplified or traditional characters; see han.h. */
#include "ingest/han.h"

#include <unicode/uchar.h>
#include <unicode/ucnv.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

static UConverter *open_table(const char *name)
{
    UErrorCode code = U_ZERO_ERROR;
    UConverter *table = ucnv_open(name, &code);
    if (U_SUCCESS(code))
        ucnv_setFromUCallBack(table, UCNV_FROM_U_CALLBACK_STOP, NULL, NULL, NULL, &code);
    if (U_SUCCESS(code)) return table;
    ucnv_close(table);
    return NULL;
}

static bool has(UConverter *table, UChar32 c)
{
    UErrorCode code = U_ZERO_ERROR;
    UChar wide[2];
    char bytes[8];
    int32_t n = 0;
    U16_APPEND_UNSAFE(wide, n, c);
    ucnv_fromUChars(table, bytes, sizeof bytes, wide, n, &code);
    return U_SUCCESS(code);
}

bool han_is_traditional(const char *text, size_t n)
{
    UConverter *simplified = open_table("GB2312"), *traditional = open_table("Big5");
    bool is_simplified = false, is_traditional = false;
    int32_t at = 0;
    while (simplified && traditional && at < (int32_t)n) {
        UChar32 c;
        U8_NEXT((const uint8_t *)text, at, (int32_t)n, c);
        if (c < 0 || !u_hasBinaryProperty(c, UCHAR_IDEOGRAPHIC)) continue;
        bool in_gb2312 = has(simplified, c), in_big5 = has(traditional, c);
        is_simplified = is_simplified || (in_gb2312 && !in_big5);
        is_traditional = is_traditional || (in_big5 && !in_gb2312);
    }
    ucnv_close(simplified);
    ucnv_close(traditional);
    return is_traditional && !is_simplified;
}
