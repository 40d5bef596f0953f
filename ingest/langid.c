/* The language of a caption; see langid.h. What CLD2 says is weighed here. */
#include "ingest/langid.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ingest/caption.h"
#include "ingest/cld2.h"
#include "ingest/han.h"

/* Scripts that one language of any size writes: so many letters of them, being most of the text, name
 * it. Japanese is told from Chinese by its kana. */
#define MIN_OWN 2
#define NEVER   UINT32_MAX
static const struct own {
    const char *script, *tag, *cousin; /* cousin: CLD2's code of another that it may be sure of */
} own_script[] = {{"Hang", "ko", NULL}, {"Grek", "el", NULL}, {"Thai", "th", NULL},
                  {"Hebr", "he", "yi"}, {"Armn", "hy", NULL}, {"Geor", "ka", NULL},
                  {"Taml", "ta", NULL}, {"Telu", "te", NULL}, {"Knda", "kn", NULL},
                  {"Mlym", "ml", NULL}, {"Gujr", "gu", NULL}, {"Guru", "pa", NULL},
                  {"Orya", "or", NULL}, {"Sinh", "si", NULL}, {"Laoo", "lo", NULL},
                  {"Khmr", "km", NULL}, {"Mymr", "my", NULL}};
static const struct own japanese = {"Kana", "ja", NULL};

/* Letters from which on CLD2 is believed, by the most frequent script and CLD2's code: few where there
 * are many captions in the world, more where a larger cousin is mistaken for the language or the two
 * are hardly told apart. own: one of these letters must be there (two bytes each). */
static const struct need {
    const char *code; /* NULL: any other of the script */
    const char *script;
    unsigned n;
    const char *own;
} needs[] = {
    {"zh", "Hani", 4, NULL},
    {"zh-Hant", "Hani", 4, NULL},
    {"ja", "Hani", NEVER, NULL}, /* without kana */
    {"en", "Latn", 20, NULL},
    {"de", "Latn", 20, NULL},
    {"fr", "Latn", 20, NULL},
    {"es", "Latn", 20, NULL},
    {"cs", "Latn", 20, NULL},
    {"vi", "Latn", 20, NULL},
    {"it", "Latn", 24, NULL},
    {"nl", "Latn", 24, NULL},
    {"pl", "Latn", 24, NULL},
    {"tr", "Latn", 24, NULL},
    {"sv", "Latn", 24, "\u00e5\u00c5\u00e4\u00c4\u00f6\u00d6"},
    {"pt", "Latn", 30, NULL},
    {"no", "Latn", 60, "\u00e6\u00c6\u00f8\u00d8\u00e5\u00c5"}, /* or Danish */
    {"da", "Latn", 60, "\u00e6\u00c6\u00f8\u00d8\u00e5\u00c5"}, /* or Norwegian */
    {"id", "Latn", 60, NULL},                                   /* or Malay */
    {"ms", "Latn", 60, NULL},                                   /* or Indonesian */
    {"hr", "Latn", 60, NULL},                                   /* or Bosnian, Serbian */
    {"bs", "Latn", NEVER, NULL},
    {"sr", "Latn", NEVER, NULL},
    {NULL, "Latn", 40, NULL},
    {"ru", "Cyrl", 16, NULL},
    {"uk", "Cyrl", 16, "\u0456\u0406\u0457\u0407\u0454\u0404\u0491\u0490"},
    {"be", "Cyrl", 16, "\u0456\u0406\u045e\u040e"},
    {"sr", "Cyrl", 24, "\u0452\u0402\u045b\u040b"}, /* Macedonian has the other ones too */
    {"mk", "Cyrl", 24, "\u0458\u0408\u0459\u0409\u045a\u040a\u0453\u0403\u045c\u040c\u0455\u0405"},
    {"bg", "Cyrl", 30, "\u044a\u042a"},
    {"kk", "Cyrl", 20, "\u04d9\u04d8\u0493\u0492\u049b\u049a\u04b1\u04b0\u04bb\u04ba\u0456\u0406"},
    {"ky", "Cyrl", 20, "\u04a3\u04a2\u04e9\u04e8\u04af\u04ae"},
    {"tg", "Cyrl", 20, "\u04e3\u04e2\u04ef\u04ee\u04b3\u04b2\u04b7\u04b6"},
    {NULL, "Cyrl", 40, NULL},
    {"ar", "Arab", 8, NULL},
    {"fa", "Arab", 16, "\u067e\u0686\u0698\u06af\u06a9\u06cc"},
    {"ur", "Arab", 16, "\u0679\u0688\u0691\u06ba\u06d2\u06c1\u06be"},
    {NULL, "Arab", 40, NULL},
    {"hi", "Deva", 16, NULL},
    {NULL, "Deva", 24, NULL},
    {NULL, NULL, 20, NULL}, /* the last fits all */
};

#define MIN_PERCENT 80 /* of the text in the language that is named */

struct shape {
    uint64_t n_letters, n_kana, n_han, n_main;
    char main[8]; /* the most frequent script */
};

static int look(const char *text, size_t n, struct shape *s)
{
    struct caption_measure m = {0};
    int rc = caption_measure(text, n, &m, NULL);
    for (int i = CAPTION_SCRIPT_INHERITED + 1; rc == 0 && i < CAPTION_MAX_SCRIPTS; i++) {
        if (m.n_script[i] == 0) continue;
        const char *code = caption_script_code(i);
        s->n_letters += m.n_script[i];
        if (!strcmp(code, "Hira") || !strcmp(code, "Kana")) s->n_kana += m.n_script[i];
        if (!strcmp(code, "Hani")) s->n_han = m.n_script[i];
        if (m.n_script[i] <= s->n_main) continue;
        s->n_main = m.n_script[i];
        snprintf(s->main, sizeof s->main, "%s", code);
    }
    return rc;
}

/* What the script alone decides, or NULL. */
static const struct own *by_script(const struct shape *s)
{
    /* product names: a fifth of the letters will do; Chinese has no kana but の now and then */
    if (s->n_kana >= MIN_OWN && 10 * s->n_kana >= s->n_han &&
        5 * (s->n_kana + s->n_han) >= s->n_letters)
        return &japanese;
    if (s->n_main < MIN_OWN || 2 * s->n_main < s->n_letters) return NULL;
    for (size_t i = 0; i < sizeof own_script / sizeof *own_script; i++)
        if (!strcmp(own_script[i].script, s->main)) return &own_script[i];
    return NULL;
}

static bool has_one(const char *text, size_t n, const char *letters)
{
    for (; *letters; letters += 2)
        if (memmem(text, n, letters, 2)) return true;
    return false;
}

static bool is_enough(const char *text, size_t n, const struct shape *s, const char *code)
{
    const struct need *k = needs;
    while ((k->script && strcmp(k->script, s->main)) || (k->code && strcmp(k->code, code))) k++;
    return s->n_main >= k->n && (!k->own || has_one(text, n, k->own));
}

/* CLD2's code, or the tag of a script, or NULL. */
static const char *decide(const char *text, size_t n, const struct shape *s)
{
    int percent = 0;
    const struct own *own = by_script(s);
    if (own && !own->cousin) return own->tag;
    const char *code = cld2_name(text, n, &percent);
    if (own) return code && !strcmp(code, own->cousin) ? code : own->tag;
    if (!code || percent < MIN_PERCENT || !is_enough(text, n, s, code)) return NULL;
    bool is_chinese = !strcmp(code, "zh") || !strcmp(code, "zh-Hant");
    return !is_chinese ? code : han_is_traditional(text, n) ? "zh-Hant" : "zh";
}

bool langid_detect(const char *utf8, size_t n, char *tag, size_t size)
{
    assert(size >= CAPTION_MAX_LANGUAGE);
    snprintf(tag, size, "und");
    struct shape s = {0};
    if (n > CAPTION_MAX_BYTES || look(utf8, n, &s) < 0 || s.n_letters < MIN_OWN) return false;
    const char *name = decide(utf8, n, &s);
    return name && caption_language(name, tag, size, NULL) == 0 && strcmp(tag, "und") != 0;
}
