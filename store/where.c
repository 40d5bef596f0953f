/* Which pairs of a corpus are meant; see where.h. */
#include "store/where.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/memory.h"

static const char *const keys[WHERE_KEYS] = {"lang", "source", "label", "split"};
static const enum corpus_name_kind kinds[WHERE_KEYS] = {NAME_LANGUAGE, NAME_SOURCE, NAME_LABEL};

int where_split(const char *word, enum corpus_split *split)
{
    static const struct {
        const char *word;
        enum corpus_split split;
    } known[] = {{"train", SPLIT_TRAIN}, {"restval", SPLIT_TRAIN},  {"val", SPLIT_VAL},
                 {"valid", SPLIT_VAL},   {"validation", SPLIT_VAL}, {"dev", SPLIT_VAL},
                 {"test", SPLIT_TEST}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcasecmp(word, known[i].word)) continue;
        *split = known[i].split;
        return 0;
    }
    return ERR_DATA;
}

static int parse_word(struct where_word *w, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    w->is_not = n && text[n - 1] == '!';
    n -= w->is_not;
    w->key = 0;
    while (w->key < WHERE_KEYS && (strlen(keys[w->key]) != n || strncmp(keys[w->key], text, n)))
        w->key++;
    if (!equals || w->key == WHERE_KEYS)
        return error_set(err, ERR_USAGE,
                         "'%s' is no condition; expected KEY=VALUE or KEY!=VALUE with one of "
                         "source, lang, label, split",
                         text);
    w->values = memory_string(equals + 1, err);
    if (!w->values) return ERR_NOMEM;
    w->n_values = 1;
    for (char *p = w->values; *p; p++) {
        if (*p != '|') continue;
        *p = '\0';
        w->n_values++;
    }
    return 0;
}

int where_parse(struct where *w, const char *const *words, size_t n, struct error *err)
{
    *w = (struct where){.words = memory_array(n, sizeof *w->words, MEMORY_MAX_SMALL, err)};
    if (!w->words) return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int rc = parse_word(&w->words[w->n++], words[i], err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* The names of a kind that a corpus has, for a message. */
static void list_names(struct corpus *c, enum corpus_name_kind kind, char *out, size_t size)
{
    size_t n = 0;
    *out = '\0';
    for (uint16_t i = 0; i < corpus_n_names(c, kind) && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%.40s", i ? ", " : "", corpus_name(c, kind, i));
}

static int bind_value(struct where_word *w, const char *value, struct corpus *c, struct error *err)
{
    char have[300];
    enum corpus_split split;
    uint16_t *id = &w->ids[w->n_ids++];
    *id = CORPUS_NO_NAME;
    if (w->key == WHERE_SPLIT) {
        if (where_split(value, &split) < 0)
            return error_set(err, ERR_USAGE, "split=%s: expected train, val or test", value);
        *id = (uint16_t)split;
        return 0;
    }
    if (w->key == WHERE_LABEL && !*value) return 0;
    if (corpus_find_name(c, kinds[w->key], value, id, NULL) == 0) return 0;
    list_names(c, kinds[w->key], have, sizeof have);
    return error_set(err, ERR_NOT_FOUND, "%s=%s: the corpus has none; it has: %s", keys[w->key],
                     value, have);
}

int where_bind(struct where *w, struct corpus *c, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->n; i++) {
        struct where_word *word = &w->words[i];
        const char *value = word->values;
        memory_free(word->ids);
        word->n_ids = 0;
        word->ids = memory_array(word->n_values, sizeof *word->ids, MEMORY_MAX_SMALL, err);
        if (!word->ids) return ERR_NOMEM;
        for (size_t k = 0; rc == 0 && k < word->n_values; k++, value += strlen(value) + 1)
            rc = bind_value(word, value, c, err);
    }
    return rc;
}

static uint16_t value_of(enum where_key key, const struct corpus_pair *p)
{
    switch (key) {
    case WHERE_LANG: return p->language;
    case WHERE_SOURCE: return p->source;
    case WHERE_LABEL: return p->label;
    default: return p->split;
    }
}

bool where_matches(const struct where *w, const struct corpus_pair *p)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct where_word *word = &w->words[i];
        uint16_t value = value_of(word->key, p);
        bool found = false;
        for (size_t k = 0; k < word->n_ids; k++) found |= word->ids[k] == value;
        if (found == word->is_not) return false;
    }
    return true;
}

void where_release(struct where *w)
{
    for (size_t i = 0; i < w->n; i++) {
        memory_free(w->words[i].values);
        memory_free(w->words[i].ids);
    }
    memory_free(w->words);
    *w = (struct where){0};
}
