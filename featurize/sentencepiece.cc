/* The C++ side of sentencepiece.h: the only file that includes the library. Every entry catches everything. */
#include "featurize/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

struct sentencepiece_model {
    sentencepiece::SentencePieceProcessor processor;
};

extern "C" struct sentencepiece_model *sentencepiece_load(const void *bytes, size_t n, char *why,
                                                          size_t size)
{
    sentencepiece_model *m = nullptr;
    try {
        m = new sentencepiece_model;
        auto status = m->processor.LoadFromSerializedProto({static_cast<const char *>(bytes), n});
        if (status.ok()) return m;
        snprintf(why, size, "%s", status.message());
    } catch (const std::exception &e) {
        snprintf(why, size, "%s", e.what());
    } catch (...) {
        snprintf(why, size, "unknown exception");
    }
    delete m;
    return nullptr;
}

extern "C" void sentencepiece_free(struct sentencepiece_model *m)
{
    delete m;
}

extern "C" int sentencepiece_n_pieces(const struct sentencepiece_model *m)
{
    return m->processor.GetPieceSize();
}

extern "C" int sentencepiece_unknown(const struct sentencepiece_model *m)
{
    return m->processor.unk_id();
}

extern "C" const char *sentencepiece_text(const struct sentencepiece_model *m, int piece)
{
    if (piece < 0 || piece >= m->processor.GetPieceSize()) return nullptr;
    try {
        return m->processor.IdToPiece(piece).c_str();
    } catch (...) {
        return nullptr;
    }
}

extern "C" int sentencepiece_find(const struct sentencepiece_model *m, const char *text, size_t n)
{
    try {
        return m->processor.PieceToId({text, n});
    } catch (...) {
        return m->processor.unk_id();
    }
}

extern "C" int64_t sentencepiece_encode(const struct sentencepiece_model *m, const char *text,
                                        size_t n, int32_t *pieces, int64_t max, char *why,
                                        size_t size)
{
    try {
        std::vector<int> found;
        auto status = m->processor.Encode({text, n}, &found);
        if (!status.ok()) {
            snprintf(why, size, "%s", status.message());
            return -1;
        }
        int64_t n_found = static_cast<int64_t>(found.size());
        std::copy_n(found.begin(), std::min(n_found, max), pieces);
        return n_found;
    } catch (const std::exception &e) {
        snprintf(why, size, "%s", e.what());
    } catch (...) {
        snprintf(why, size, "unknown exception");
    }
    return -1;
}
