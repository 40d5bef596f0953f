/* Joining bytes to tokens; see bytepair.h. A word of n bytes takes O(n log n): pairs wait in a heap
 * by (rank, place), and a pair that was joined away meanwhile is passed over. */
#include "featurize/bytepair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/words.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_IDS    (1 << 22)
#define MAX_MERGES (49152 - 256 - 2)
#define MAX_TOKEN  1024 /* bytes of a token's text */
#define WORD_END   "</w>"

void bytepair_free(struct bytepair *b)
{
    if (!b) return;
    memory_free(b->merges);
    memory_free(b);
}

/* OpenAI's bytes_to_unicode: printable Latin-1 stands for itself, the others for U+0100 and up. */
static int byte_character(int byte)
{
    int others = 0;
    for (int i = 0; i <= byte; i++) {
        bool prints = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (i == byte) return prints ? i : 256 + others;
        others += !prints;
    }
    return 0;
}

static void byte_text(int byte, bool last, char out[16])
{
    int c = byte_character(byte);
    if (c < 0x80)
        snprintf(out, 16, "%c%s", c, last ? WORD_END : "");
    else
        snprintf(out, 16, "%c%c%s", 0xc0 | c >> 6, 0x80 | (c & 0x3f), last ? WORD_END : "");
}

static int find(struct bytepair *b, const struct json *vocab, const char *text, const char *name,
                int32_t *id, struct error *err)
{
    int64_t found = json_int(json_get(vocab, text), -1);
    if (found < 0 || found >= MAX_IDS)
        return error_set(err, ERR_DATA,
                         "%s/vocab.json: the token \"%.60s\" is %s; expected a number below %d",
                         name, text, json_get(vocab, text) ? "no id" : "missing", MAX_IDS);
    *id = (int32_t)found;
    if (*id >= b->n_ids) b->n_ids = *id + 1;
    return 0;
}

static int read_bytes(struct bytepair *b, const struct json *vocab, const char *name,
                      struct error *err)
{
    int rc = 0;
    for (int i = 0; i < 512 && rc == 0; i++) {
        char text[16];
        byte_text(i & 255, i > 255, text);
        rc = find(b, vocab, text, name, &b->byte[i > 255][i & 255], err);
    }
    if (rc == 0) rc = find(b, vocab, "<|startoftext|>", name, &b->bos, err);
    if (rc == 0) rc = find(b, vocab, "<|endoftext|>", name, &b->eos, err);
    return rc;
}

/* "left right"; line counts from 1. */
static int read_merge(struct bytepair *b, const struct json *vocab, const char *text, size_t n,
                      size_t line, const char *name, struct error *err)
{
    char left[MAX_TOKEN], right[MAX_TOKEN], joined[2 * MAX_TOKEN];
    const char *space = memchr(text, ' ', n);
    size_t n_left = space ? (size_t)(space - text) : 0, n_right = space ? n - n_left - 1 : 0;
    if (!n_left || !n_right || n_left >= MAX_TOKEN || n_right >= MAX_TOKEN ||
        memchr(space + 1, ' ', n_right) || memchr(text, 0, n))
        return error_set(err, ERR_DATA,
                         "%s/merges.txt:%zu: expected two tokens and a space between", name, line);
    snprintf(left, sizeof left, "%.*s", (int)n_left, text);
    snprintf(right, sizeof right, "%.*s", (int)n_right, space + 1);
    snprintf(joined, sizeof joined, "%s%s", left, right);
    struct bytepair_merge *m = &b->merges[b->n];
    m->rank = (int32_t)b->n;
    int rc = find(b, vocab, left, name, &m->left, err);
    if (rc == 0) rc = find(b, vocab, right, name, &m->right, err);
    if (rc == 0) rc = find(b, vocab, joined, name, &m->joined, err);
    if (rc < 0) error_prefix(err, "%s/merges.txt:%zu: ", name, line);
    b->n += rc == 0;
    return rc;
}

static int64_t pair_order(int32_t left, int32_t right)
{
    return (int64_t)left << 32 | right;
}

static int by_pair(const void *x, const void *y)
{
    const struct bytepair_merge *a = x, *b = y;
    int64_t p = pair_order(a->left, a->right), q = pair_order(b->left, b->right);
    return p != q ? (p > q) - (p < q) : (a->rank > b->rank) - (a->rank < b->rank);
}

static int read_merges(struct bytepair *b, const struct json *vocab, const char *text, size_t n,
                       const char *name, struct error *err)
{
    size_t n_lines = 1, line = 1, at = 0;
    for (size_t i = 0; i < n; i++) n_lines += text[i] == '\n';
    if (n_lines > MAX_MERGES) n_lines = MAX_MERGES;
    b->merges = memory_array(n_lines, sizeof *b->merges, MEMORY_MAX_TENSOR, err);
    if (!b->merges) return ERR_NOMEM;
    for (; at < n && b->n < n_lines; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - (text + at)) : n - at, next = at + length + 1;
        if (length && text[at + length - 1] == '\r') length--;
        if (line > 1 && length) {
            int rc = read_merge(b, vocab, text + at, length, line, name, err);
            if (rc < 0) return rc;
        }
        at = next;
    }
    qsort(b->merges, b->n, sizeof *b->merges, by_pair);
    return 0;
}

int bytepair_new(const char *vocab, size_t n_vocab, const char *merges, size_t n_merges,
                 const char *name, struct bytepair **out, struct error *err)
{
    int rc = ERR_NOMEM;
    char file[300];
    struct json *j = NULL;
    struct bytepair *b = memory_array(1, sizeof *b, MEMORY_MAX_SMALL, err);
    if (!b) goto done;
    snprintf(file, sizeof file, "%.280s/vocab.json", name);
    j = json_read(vocab, n_vocab, file, err);
    if (!j) {
        rc = err && err->code < 0 ? err->code : ERR_DATA;
        goto done;
    }
    rc = read_bytes(b, j, name, err);
    if (rc == 0) rc = read_merges(b, j, merges, n_merges, name, err);
    if (rc == 0 && json_size(j) > (size_t)b->n_ids && json_size(j) < MAX_IDS)
        b->n_ids = (int)json_size(j);
done:
    json_free(j);
    if (rc < 0) bytepair_free(b), b = NULL;
    *out = b;
    return rc;
}

static const struct bytepair_merge *find_merge(const struct bytepair *b, int32_t left,
                                               int32_t right)
{
    int64_t wanted = pair_order(left, right);
    size_t low = 0, high = b->n; /* the first that is not smaller */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct bytepair_merge *m = &b->merges[middle];
        if (pair_order(m->left, m->right) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    const struct bytepair_merge *m = &b->merges[low];
    return low < b->n && pair_order(m->left, m->right) == wanted ? m : NULL;
}

/* A token of the word, in a list; next -1: the last, id -1: joined to the one before. */
struct symbol {
    int32_t id, before, next;
};

/* A pair that may be joined: of the symbols at `at` and behind it, as they were. */
struct pair {
    int32_t rank, at, left, right, joined;
};

struct word {
    struct symbol *symbols;
    struct pair *heap;
    int n_heap;
};

static bool sooner(const struct pair *a, const struct pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(const struct bytepair *b, struct word *w, int32_t at)
{
    if (at < 0 || w->symbols[at].next < 0) return;
    int32_t left = w->symbols[at].id, right = w->symbols[w->symbols[at].next].id;
    const struct bytepair_merge *m = find_merge(b, left, right);
    if (!m) return;
    struct pair p = {m->rank, at, left, right, m->joined};
    int i = w->n_heap++;
    for (; i > 0 && sooner(&p, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static struct pair pop(struct word *w)
{
    struct pair first = w->heap[0], last = w->heap[--w->n_heap];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && sooner(&w->heap[child + 1], &w->heap[child])) child++;
        if (!sooner(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return first;
}

/* Each join takes a symbol away and adds two pairs at most: 3 n pairs in all. */
static void join(const struct bytepair *b, struct word *w, const char *text, int n)
{
    w->n_heap = 0;
    for (int i = 0; i < n; i++)
        w->symbols[i] = (struct symbol){b->byte[i == n - 1][(uint8_t)text[i]], i - 1,
                                        i == n - 1 ? -1 : i + 1};
    for (int i = 0; i < n; i++) push(b, w, i);
    while (w->n_heap > 0) {
        struct pair p = pop(w);
        struct symbol *left = &w->symbols[p.at];
        if (left->id != p.left || left->next < 0 || w->symbols[left->next].id != p.right) continue;
        struct symbol *right = &w->symbols[left->next];
        left->id = p.joined;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0) w->symbols[left->next].before = p.at;
        push(b, w, left->before);
        push(b, w, p.at);
    }
}

int64_t bytepair_encode(const struct bytepair *b, const char *text, size_t n, int32_t *ids,
                        int room, struct error *err)
{
    struct words words = {0};
    struct word w = {0};
    int64_t total = 0;
    int rc = words_clip(text, n, &words, err);
    if (rc < 0) goto done;
    rc = ERR_NOMEM;
    w.symbols = memory_array(words.n_text + 1, sizeof *w.symbols, MEMORY_MAX_TENSOR, err);
    w.heap = memory_array(3 * words.n_text + 1, sizeof *w.heap, MEMORY_MAX_TENSOR, err);
    if (!w.symbols || !w.heap) goto done;
    rc = 0;
    for (size_t i = 0; i < words.n; i++) {
        size_t begin = words_begin(&words, i);
        join(b, &w, words.text + begin, (int)(words.end[i] - begin));
        for (int32_t at = 0; at >= 0; at = w.symbols[at].next, total++)
            if (total < room) ids[total] = w.symbols[at].id;
    }
done:
    memory_free(w.symbols);
    memory_free(w.heap);
    words_release(&words);
    return rc < 0 ? rc : total;
}
