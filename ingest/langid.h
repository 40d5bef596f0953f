/* The language of a caption, guessed from its text: for sources that do not say it.
 *
 *     char tag[CAPTION_MAX_LANGUAGE];
 *     if (langid_detect(text, n, tag, sizeof tag)) ...   // named; else tag is "und"
 *
 * Captions are short, and a guess at three words is worth little: "Gitarre" is Basque and "en la
 * foto: tortuga" Galician to a detector made for web pages. A wrong name puts a caption into another
 * language's teacher, vocabulary and scores, "und" only leaves it unnamed. So a name is given when
 *
 *   - a script that one language writes decides: Hangul, kana, Thai, Greek, Hebrew, ... (2 letters);
 *   - else CLD2 (83 languages) calls itself sure, and the text has enough letters for the script and
 *     the language: few for those with many captions in the world, more for small ones and those
 *     that a larger cousin is mistaken for, which must also show a letter of their own.
 *
 * Tags are canonical BCP 47 as of caption_language: "zh-Hant" for traditional characters, "zh" for
 * simplified ones and those that are the same in both; "no" for Norwegian of either form unless Nynorsk is certain ("nn"). Figures are in
 * tests/test_langid.c. Pure, no state; any thread. Library: CLD2, through
 * ingest/cld2.h.
 */
#ifndef INGEST_LANGID_H
#define INGEST_LANGID_H

#include <stdbool.h>
#include <stddef.h>

/* A normalised caption of n bytes (CAPTION_MAX_BYTES at most). tag: size >= CAPTION_MAX_LANGUAGE
 * bytes. True when a language was named; false with "und" in tag: too short, unsure, no UTF-8, or no
 * memory. */
bool langid_detect(const char *utf8, size_t n, char *tag, size_t size);

#endif
