/* Which pairs of a corpus are meant: conditions on source, language, label, split.
 *
 *     const char *words[] = {"source=coco", "lang=en|de"};
 *     where_parse(&w, words, 2, &err);
 *     where_bind(&w, corpus, &err);                       // names become numbers
 *     for (...) if (where_matches(&w, &pairs[i])) ...
 *     where_release(&w);
 *
 * Words are KEY=VALUE, KEY one of source, lang, label, split; values may be several, with | between
 * them, and KEY!=VALUE is the opposite. A pair is meant when every word holds; without words all are.
 * "label=" means pairs without a label. Plain data; where_matches from any thread.
 */
#ifndef STORE_WHERE_H
#define STORE_WHERE_H

#include "store/corpus.h"

enum where_key { WHERE_LANG, WHERE_SOURCE, WHERE_LABEL, WHERE_SPLIT, WHERE_KEYS };

struct where_word {
    enum where_key key;
    bool is_not;
    char *values;   /* owned: NUL-terminated values, one after the other */
    size_t n_values;
    uint16_t *ids; // (n_values) of the corpus; owned; CORPUS_NO_NAME for ""
    size_t n_ids;
};

struct where {
    struct where_word *words; // (n)
    size_t n;
};

/* ERR_USAGE quotes the bad word. To be released also after an error. */
int where_parse(struct where *w, const char *const *words, size_t n, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND when a value names nothing in the corpus, with what it has. */
int where_bind(struct where *w, struct corpus *c, struct error *err) MUST_CHECK;
bool where_matches(const struct where *w, const struct corpus_pair *p);
void where_release(struct where *w);

/* "train", "val", "test" -> *split; also "valid", "validation", "dev", "restval". ERR_DATA otherwise. */
int where_split(const char *word, enum corpus_split *split);

#endif
