/* The C++ side of vocabtrain.h: the only file that includes the trainer. */
#include "featurize/vocabtrain.h"

#include <sentencepiece_trainer.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <unordered_map>

namespace
{

/* The caller's texts, one after the other. */
class Texts : public sentencepiece::SentenceIterator
{
public:
    Texts(size_t n, const char *const *texts, const size_t *n_bytes) : n_(n), texts_(texts), n_bytes_(n_bytes)
    {
        read();
    }
    bool done() const override
    {
        return at_ >= n_;
    }
    void Next() override
    {
        at_++;
        read();
    }
    const std::string &value() const override
    {
        return value_;
    }
    sentencepiece::util::Status status() const override
    {
        return {};
    }

private:
    void read()
    {
        if (at_ < n_) value_.assign(texts_[at_], n_bytes_[at_]);
    }
    size_t n_, at_ = 0;
    const char *const *texts_;
    const size_t *n_bytes_;
    std::string value_;
};

} // namespace

extern "C" char *vocabtrain_run(size_t n, const char *const *texts, const size_t *n_bytes, int n_pieces,
                                size_t *n_model, char *why, size_t size)
{
    try {
        Texts all(n, texts, n_bytes);
        std::string model;
        const std::unordered_map<std::string, std::string> options = {
            {"model_type", "unigram"},      {"vocab_size", std::to_string(n_pieces)},
            {"hard_vocab_limit", "false"},  {"character_coverage", "1.0"},
            {"byte_fallback", "false"},     {"normalization_rule_name", "nmt_nfkc"},
            {"num_threads", "1"},           {"shuffle_input_sentence", "false"},
            {"max_sentence_length", "65536"}, {"minloglevel", "2"}};
        auto status = sentencepiece::SentencePieceTrainer::Train(options, &all, &model);
        if (!status.ok()) {
            snprintf(why, size, "%s", status.message());
            return nullptr;
        }
        char *copy = static_cast<char *>(malloc(model.size()));
        if (!copy) {
            snprintf(why, size, "out of memory");
            return nullptr;
        }
        memcpy(copy, model.data(), model.size());
        *n_model = model.size();
        return copy;
    } catch (const std::exception &e) {
        snprintf(why, size, "%s", e.what());
    } catch (...) {
        snprintf(why, size, "unknown exception");
    }
    return nullptr;
}

extern "C" void vocabtrain_free(char *model)
{
    free(model);
}
