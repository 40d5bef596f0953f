/* The C++ side of cld2.h: the only file that includes the library. */
#include "ingest/cld2.h"

#include <cstdio>

#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>

extern "C" const char *cld2_name(const char *text, size_t n, int *percent)
{
    const CLD2::CLDHints none = {nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
    const bool is_plain_text = true;
    CLD2::Language found[3];
    double scores[3];
    int percents[3], n_text, n_valid;
    bool is_reliable = false;
    try {
        CLD2::Language l = CLD2::ExtDetectLanguageSummaryCheckUTF8(
            text, static_cast<int>(n), is_plain_text, &none, 0, found, percents, scores, nullptr,
            &n_text, &is_reliable, &n_valid);
        if (!is_reliable || l == CLD2::UNKNOWN_LANGUAGE || l != found[0]) return nullptr;
        *percent = percents[0];
        return CLD2::LanguageCode(l);
    } catch (...) {
        return nullptr;
    }
}
