/* Reading and writing a folder's tokenizer; see tokenizerfile.h. */
#include "featurize/tokenizerfile.h"

#include <stdio.h>
#include <string.h>

#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)
#define MAX_FILE_BYTES   ((uint64_t)256 << 20)

static bool is_there(const char *dir, const char *name)
{
    char *path = file_join(dir, name, NULL);
    bool is = path && file_exists(path);
    memory_free(path);
    return is;
}

static int read_file(const char *dir, const char *name, char **bytes, size_t *n, struct error *err)
{
    if (!is_there(dir, name) && is_there(dir, "tokenizer.json"))
        return error_set(err, ERR_NOT_FOUND,
                         "%s: %s is missing; tokenizer.json alone is not read: put %s of the model "
                         "that this one was made from beside it",
                         dir, name, name);
    char *path = file_join(dir, name, err);
    if (!path) return ERR_NOMEM;
    int rc = file_read(path, MAX_FILE_BYTES, bytes, n, err);
    memory_free(path);
    return rc;
}

enum tokenizer_kind tokenizerfile_kind(const char *dir)
{
    if (is_there(dir, "sentencepiece.bpe.model")) return TOKENIZER_SENTENCEPIECE;
    if (is_there(dir, "vocab.txt")) return TOKENIZER_WORDPIECE;
    return is_there(dir, "merges.txt") ? TOKENIZER_BYTEPAIR : TOKENIZER_SENTENCEPIECE;
}

/* tokenizer_config.json; *j stays NULL when there is none. */
static int read_config(const char *dir, struct json **j, struct error *err)
{
    char *path = file_join(dir, "tokenizer_config.json", err);
    if (!path) return ERR_NOMEM;
    int rc = 0;
    if (file_exists(path) && !(*j = json_read_file(path, MAX_CONFIG_BYTES, err)))
        rc = err && err->code < 0 ? err->code : ERR_DATA;
    memory_free(path);
    return rc;
}

static int read_wordpiece(const char *dir, const struct json *config, char **block, size_t *n,
                          struct error *err)
{
    char *vocab = NULL;
    size_t n_vocab;
    struct words_rule rule = {.lower = json_bool(json_get(config, "do_lower_case"), true),
                              .han = json_bool(json_get(config, "tokenize_chinese_chars"), true)};
    rule.accents = json_bool(json_get(config, "strip_accents"), rule.lower);
    int rc = read_file(dir, "vocab.txt", &vocab, &n_vocab, err);
    if (rc == 0) rc = tokenizer_pack_wordpiece(&rule, vocab, n_vocab, block, n, err);
    memory_free(vocab);
    return rc;
}

static int read_bytepair(const char *dir, char **block, size_t *n, struct error *err)
{
    char *vocab = NULL, *merges = NULL;
    size_t n_vocab, n_merges;
    int rc = read_file(dir, "vocab.json", &vocab, &n_vocab, err);
    if (rc == 0) rc = read_file(dir, "merges.txt", &merges, &n_merges, err);
    if (rc == 0) rc = tokenizer_pack_bytepair(vocab, n_vocab, merges, n_merges, block, n, err);
    memory_free(vocab);
    memory_free(merges);
    return rc;
}

int tokenizerfile_read(const char *dir, enum tokenizer_kind kind, struct tokenizer **t,
                       int *max_tokens, struct error *err)
{
    struct json *config = NULL;
    char *block = NULL, *name = NULL;
    size_t n = 0;
    int rc = read_config(dir, &config, err);
    if (rc < 0) goto done;
    switch (kind) {
    case TOKENIZER_SENTENCEPIECE:
        rc = read_file(dir, "sentencepiece.bpe.model", &block, &n, err);
        name = file_join(dir, "sentencepiece.bpe.model", err);
        break;
    case TOKENIZER_WORDPIECE:
        rc = read_wordpiece(dir, config, &block, &n, err);
        name = file_join(dir, "vocab.txt", err);
        break;
    case TOKENIZER_BYTEPAIR:
        rc = read_bytepair(dir, &block, &n, err);
        name = memory_string(dir, err);
        break;
    }
    if (rc == 0 && !name) rc = ERR_NOMEM;
    if (rc == 0) rc = tokenizer_new(block, n, name, t, err);
    double most = json_number(json_get(config, "model_max_length"), *max_tokens);
    if (rc == 0 && most >= 2 && most < *max_tokens) *max_tokens = (int)most;
done:
    json_free(config);
    memory_free(block);
    memory_free(name);
    return rc;
}

static struct json *config_of(const struct tokenizer *t, int max_tokens)
{
    static const struct {
        const char *name;
        const char *of[3];
    } control[] = {{"tokenizer_class", {"XLMRobertaTokenizer", "BertTokenizer", "CLIPTokenizer"}},
                   {"bos_token", {"<s>", NULL, "<|startoftext|>"}},
                   {"eos_token", {"</s>", NULL, "<|endoftext|>"}},
                   {"cls_token", {"<s>", "[CLS]", NULL}},
                   {"sep_token", {"</s>", "[SEP]", NULL}},
                   {"pad_token", {"<pad>", "[PAD]", "<|endoftext|>"}},
                   {"unk_token", {"<unk>", "[UNK]", "<|endoftext|>"}},
                   {"mask_token", {"<mask>", "[MASK]", NULL}}};
    struct json *j = json_new_object();
    json_set_string(j, control[0].name, control[0].of[tokenizer_kind(t)]);
    json_set_int(j, "model_max_length", max_tokens);
    for (size_t i = 1; i < sizeof control / sizeof *control; i++)
        if (control[i].of[tokenizer_kind(t)])
            json_set_string(j, control[i].name, control[i].of[tokenizer_kind(t)]);
    const struct words_rule *rule = tokenizer_rule(t);
    if (!rule) return j;
    json_set_bool(j, "do_lower_case", rule->lower);
    json_set_bool(j, "strip_accents", rule->accents);
    json_set_bool(j, "tokenize_chinese_chars", rule->han);
    return j;
}

int tokenizerfile_write(const char *dir, const struct tokenizer *t, int max_tokens,
                        struct error *err)
{
    const void *bytes;
    size_t n;
    const char *name;
    int rc = 0;
    for (int i = 0; rc == 0 && (name = tokenizer_file(t, i, &bytes, &n)); i++)
        rc = file_write_in(dir, name, bytes, n, err);
    if (rc < 0) return rc;
    struct json *j = config_of(t, max_tokens);
    rc = json_write_in(dir, "tokenizer_config.json", j, err);
    json_free(j);
    return rc;
}
