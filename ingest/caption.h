/* Caption clean-up with ICU: the normalised text whose SHA-256 is the caption's key.
 *
 *     struct caption_rule rule = caption_rule_defaults();
 *     struct caption_fault fault;
 *     struct caption c;
 *     int rc = caption_normalise(&rule, text, n, &c, &fault, err);
 *     if (rc == ERR_DATA) ...                       // fault.reason, fault.byte_offset
 *     ...
 *     caption_release(&c);
 *
 * The rule: UTF-8 is validated; NFC (or NFKC); white space and line breaks of any kind collapse to
 * one space, trimmed; C0/C1 controls, BOM and bidi control characters are dropped (ZWJ, ZWNJ and
 * variation selectors stay: emoji and Indic scripts need them). Invariant: a normalised caption is
 * never empty, holds no control, no double, leading or trailing space, and normalising it again
 * under the same rule changes nothing (but for entities, which are decoded once).
 *
 * Everything here is pure and keeps no state: any thread. Library: ICU. Callers: ingest/, and what
 * takes texts from the command line or a file (embed, prune).
 */
#ifndef INGEST_CAPTION_H
#define INGEST_CAPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define CAPTION_RULE      "nfc-space-1" /* the default's name; bump when the rule changes */
#define CAPTION_MAX_BYTES 65535

struct caption_rule {
    bool nfkc;          /* NFKC: half-width kana, full-width Latin and ligatures become plain */
    bool entities;      /* first decode HTML entities, once (see ingest/entity.h) */
    uint32_t max_chars; /* keep so many whole extended grapheme clusters; 0: all of them */
};

/* NFC, no entities, no limit. */
struct caption_rule caption_rule_defaults(void);
/* What goes into fingerprints: "nfc-space-1" (CAPTION_RULE) or "nfkc-space-1". Static. Entities and
 * the limit are no part of it: they clean a source, and two sources may differ in them. */
const char *caption_rule_name(const struct caption_rule *rule);

struct caption {
    char *text;  /* owned, NUL-terminated; NULL after an error */
    size_t n;    /* bytes */
    bool is_cut; /* the limit took something away */
};

/* Why a text is no caption; reason NULL: no fault of the text. */
struct caption_fault {
    const char *reason; /* static: "bad-utf8", "empty", "too-long" */
    size_t byte_offset; /* bad-utf8: of the first bad byte within the text as given; else 0 */
};

/* n bytes of any kind into *c (owned: caption_release). fault may be NULL. ERR_DATA with the fault
 * filled; ERR_NOMEM. Too long is what has over 1 MiB before the clean-up, over CAPTION_MAX_BYTES after
 * it, or a letter with over 256 combining marks. */
int caption_normalise(const struct caption_rule *rule, const char *text, size_t n,
                      struct caption *c, struct caption_fault *fault, struct error *err) MUST_CHECK;
void caption_release(struct caption *c);

/* A BCP 47 tag in canonical form ("zh-hans-CN" and "zh_hans_CN" -> "zh-Hans-CN", "iw" -> "he", ""
 * -> "und"); ERR_DATA for what is no tag. */
#define CAPTION_MAX_LANGUAGE 64 /* enough for out */
int caption_language(const char *tag, char *out, size_t size, struct error *err) MUST_CHECK;
/* text as valid UTF-8 without controls ('?' stands for each bad byte), cut to size - 1 bytes
 * between characters: for messages and quarantine. */
void caption_printable(const char *text, char *out, size_t size);

/* Sums over captions; zeroed by the caller before the first. */
#define CAPTION_MAX_SCRIPTS 256
struct caption_measure {
    uint64_t n_code_points;
    uint64_t n_clusters;                    /* extended grapheme clusters: what a reader counts */
    uint64_t n_script[CAPTION_MAX_SCRIPTS]; /* code points by script number (ICU's UScriptCode) */
};
#define CAPTION_SCRIPT_COMMON    0 /* spaces, digits, punctuation, most emoji */
#define CAPTION_SCRIPT_INHERITED 1 /* combining marks, joiners */

/* Adds one normalised caption to m. ERR_DATA (m untouched) when it is not UTF-8; ERR_NOMEM. */
int caption_measure(const char *text, size_t n, struct caption_measure *m,
                    struct error *err) MUST_CHECK;
/* ISO 15924 name of a script number ("Latn"); NULL: there is no such. Static. */
const char *caption_script_code(int script);

#endif
