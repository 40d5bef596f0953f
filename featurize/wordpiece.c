/* Cutting words into pieces; see wordpiece.h. */
#include "featurize/wordpiece.h"

#include <string.h>

#include "store/memory.h"

#define MAX_WORD       200 /* characters */
#define MAX_WORD_BYTES (4 * MAX_WORD)

void wordpiece_free(struct wordpiece *w)
{
    if (!w) return;
    lexicon_free(w->lexicon);
    memory_free(w);
}

static int read_lines(struct lexicon *l, const char *bytes, size_t n, struct error *err)
{
    int32_t id = 0;
    for (size_t at = 0; at < n; id++) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t length = end ? (size_t)(end - (bytes + at)) : n - at, next = at + length + 1;
        if (length && bytes[at + length - 1] == '\r') length--;
        int rc = lexicon_add(l, bytes + at, length, id, err);
        if (rc < 0) return rc;
        at = next;
    }
    lexicon_finish(l);
    return 0;
}

static int find_control(const struct wordpiece *w, const char *text, const char *name, int32_t *id,
                        struct error *err)
{
    *id = lexicon_find(w->lexicon, text, strlen(text));
    if (*id >= 0) return 0;
    return error_set(err, ERR_DATA, "%s: no line \"%s\": this is no vocabulary of BERT's kind",
                     name, text);
}

int wordpiece_new(const char *bytes, size_t n, const char *name, const struct words_rule *rule,
                  struct wordpiece **out, struct error *err)
{
    int rc = ERR_NOMEM;
    struct wordpiece *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    if (!w) goto done;
    w->rule = *rule;
    w->lexicon = lexicon_new(err);
    if (!w->lexicon) goto done;
    rc = read_lines(w->lexicon, bytes, n, err);
    if (rc < 0) error_prefix(err, "%s: ", name);
    if (rc == 0) rc = find_control(w, "[CLS]", name, &w->bos, err);
    if (rc == 0) rc = find_control(w, "[SEP]", name, &w->eos, err);
    if (rc == 0) rc = find_control(w, "[UNK]", name, &w->unk, err);
    if (rc == 0) rc = find_control(w, "[PAD]", name, &w->pad, err);
done:
    if (rc < 0) wordpiece_free(w), w = NULL;
    *out = w;
    return rc;
}

/* The longest piece at the head of word, whose bytes stand behind room for "##"; 0: none. */
static size_t longest_piece(const struct wordpiece *w, const char *word, size_t n, bool first,
                            int32_t *id)
{
    size_t most = lexicon_longest(w->lexicon);
    for (size_t k = n < most ? n : most; k > 0; k--) {
        if (k < n && (word[k] & 0xc0) == 0x80) continue; /* inside of a character */
        *id = first ? lexicon_find(w->lexicon, word, k) : lexicon_find(w->lexicon, word - 2, k + 2);
        if (*id >= 0) return k;
    }
    return 0;
}

static int n_characters(const char *word, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) count += (word[i] & 0xc0) != 0x80;
    return count;
}

/* The pieces of one word, at most one a byte; returns how many. // pieces (MAX_WORD_BYTES) */
static int cut_word(const struct wordpiece *w, const char *word, size_t n, int32_t *pieces)
{
    char room[MAX_WORD_BYTES + 2], kept[2];
    char *x = room + 2;
    int count = 0;
    pieces[0] = w->unk;
    if (n > MAX_WORD_BYTES || n_characters(word, n) > MAX_WORD) return 1;
    memcpy(x, word, n);
    for (size_t at = 0, k; at < n; at += k) {
        memcpy(kept, x + at - 2, 2); /* "##" stands where the last piece ended */
        memcpy(x + at - 2, "##", 2);
        k = longest_piece(w, x + at, n - at, at == 0, &pieces[count]);
        memcpy(x + at - 2, kept, 2);
        if (k == 0) {
            pieces[0] = w->unk;
            return 1;
        }
        count++;
    }
    return count;
}

int64_t wordpiece_encode(const struct wordpiece *w, const char *text, size_t n, int32_t *ids,
                         int room, int *n_unknown, struct error *err)
{
    struct words words = {0};
    int32_t pieces[MAX_WORD_BYTES];
    int64_t total = 0;
    *n_unknown = 0;
    int rc = words_bert(text, n, &w->rule, &words, err);
    for (size_t i = 0; rc == 0 && i < words.n; i++) {
        size_t begin = words_begin(&words, i);
        int count = cut_word(w, words.text + begin, words.end[i] - begin, pieces);
        for (int k = 0; k < count; k++, total++) {
            if (total >= room) continue;
            ids[total] = pieces[k];
            *n_unknown += pieces[k] == w->unk;
        }
    }
    words_release(&words);
    return rc < 0 ? rc : total;
}
