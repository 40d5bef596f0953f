/* One row into the corpus, or into its quarantine; see deposit.h. */
#include "ingest/deposit.h"

#include <stdio.h>
#include <string.h>

#include "ingest/caption.h"
#include "ingest/langid.h"
#include "store/memory.h"
#include "store/where.h"

#define MAX_ID 4096 /* bytes of a path, id or label that the store keeps */

/* A row made clean. */
struct clean {
    char language[CAPTION_MAX_LANGUAGE];
    struct caption caption, label; /* owned; text NULL: none */
    enum corpus_split split;
    bool says_language, says_split; /* the row or the options; else it is a default, or a guess */
};

static void clean_release(struct clean *c)
{
    caption_release(&c->caption);
    caption_release(&c->label);
}

static void count_reason(struct ingest_result *r, const char *word, bool is_new)
{
    size_t i = 0;
    while (i < r->n_reasons && strcmp(r->reasons[i].word, word)) i++;
    r->n_rejects++;
    r->n_rejects_new += is_new;
    if (i == INGEST_MAX_REASONS) return;
    if (i == r->n_reasons) r->reasons[r->n_reasons++] = (struct ingest_reason){.word = word};
    r->reasons[i].n++;
    r->reasons[i].n_new += is_new;
}

static bool given(const char *s)
{
    return s && *s;
}

/* Quarantines the row. 0, or a failure of the store. */
static int reject(struct deposit *d, const struct row *row, const char *reason, const char *message,
                  struct error *err)
{
    char tried[2 * ROW_SHOWN + 20], record[2 * ROW_SHOWN], said[900], member[ROW_SHOWN];
    const char *name = given(row->image) ? row->image : given(row->id) ? row->id : "";
    snprintf(tried, sizeof tried, row->caption ? "%.*s: %.*s" : "%.*s", ROW_SHOWN, name, ROW_SHOWN,
             row->caption ? row->caption : "");
    caption_printable(row->record ? row->record : tried, record, sizeof record);
    caption_printable(message, said, sizeof said);
    caption_printable(row->member ? row->member : "", member, sizeof member);
    struct corpus_reject rejected = {.source = d->source_path,
                                     .line = row->line,
                                     .byte_offset = row->byte_offset,
                                     .member = row->member ? member : NULL,
                                     .reason = reason,
                                     .message = said,
                                     .record = record};
    bool is_new = false;
    uint64_t number = 0;
    int rc = corpus_add_reject(d->corpus, &rejected, &number, &is_new, err);
    if (rc < 0) return rc;
    quarantine_meet(d->quarantine, row, number);
    count_reason(d->result, reason, is_new);
    return 0;
}

/* ERR_DATA in why makes a reject of the row; any other error ends the run. */
static int reject_or_fail(struct deposit *d, const struct row *row, const char *reason, int rc,
                          const struct error *why, struct error *err)
{
    if (rc == ERR_DATA) return reject(d, row, reason, why->text, err);
    return error_set(err, rc, "%s", why->text);
}

/* The language as given, else the default; "" when it is to be detected. */
static int clean_language(const struct ingest_options *o, const struct row *row, struct clean *c,
                          struct error *why)
{
    const char *said = given(row->lang) ? row->lang : o->language;
    *c->language = '\0';
    if (said && said == o->language && !strcmp(said, INGEST_DETECT)) return 0;
    c->says_language = said != NULL;
    return caption_language(said ? said : "und", c->language, sizeof c->language, why);
}

/* Cleans all text of the row. 0, or ERR_DATA with *reason and why. */
static int make_clean(const struct ingest_options *o, const struct row *row, struct clean *c,
                      const char **reason, struct error *why)
{
    struct caption_rule rule = caption_rule_defaults();
    struct caption_fault fault;
    *reason = "bad-language";
    int rc = clean_language(o, row, c, why);
    if (rc < 0) return rc;
    c->says_split = given(row->split) || o->split >= 0;
    c->split = o->split >= 0 ? (enum corpus_split)o->split : SPLIT_TRAIN;
    *reason = "bad-split";
    if (given(row->split) && where_split(row->split, &c->split) < 0)
        return error_set(why, ERR_DATA, "'%.100s' is no split; expected train, val or test",
                         row->split);
    if (given(row->label)) {
        rc = caption_normalise(&rule, row->label, strlen(row->label), &c->label, &fault, why);
        *reason = "bad-label";
        if (rc == 0 && c->label.n > MAX_ID)
            rc = error_set(why, ERR_DATA, "the label has %zu bytes; at most %d can be kept",
                           c->label.n, MAX_ID);
        if (rc < 0) {
            error_prefix(why, "label: ");
            return rc;
        }
    }
    if (!row->caption) return 0;
    rc = caption_normalise(&o->rule, row->caption, row->n_caption, &c->caption, &fault, why);
    *reason = fault.reason;
    if (rc == 0 && !*c->language &&
        !langid_detect(c->caption.text, c->caption.n, c->language, sizeof c->language))
        strcpy(c->language, "und");
    return rc;
}

/* The number behind an id of this source: 1, 0 when it is not known there. */
static int number_of_id(struct deposit *d, const char *id, uint32_t *number, struct error *err)
{
    struct error why = {0};
    int rc = corpus_image_of_id(d->corpus, d->source_name, id, number, &why);
    if (rc == ERR_NOT_FOUND) return 0;
    return rc < 0 ? error_set(err, rc, "%s", why.text) : 1;
}

/* ERR_DATA when a path or id of the row is too long or already names another picture than `number`
 * (CORPUS_ABSENT: a new one). */
static int check_ids(struct deposit *d, const struct row *row, uint32_t number, const char **reason,
                     struct error *why)
{
    const char *ids[] = {row->image, row->id};
    for (int i = 0; i < 2; i++) {
        uint32_t old;
        if (!given(ids[i])) continue;
        *reason = "bad-id";
        if (strlen(ids[i]) > MAX_ID)
            return error_set(why, ERR_DATA, "a path or id has %zu bytes; at most %d can be kept",
                             strlen(ids[i]), MAX_ID);
        char shown[ROW_SHOWN];
        caption_printable(ids[i], shown, sizeof shown);
        if (strlen(ids[i]) < sizeof shown - 4 && strcmp(shown, ids[i]))
            return error_set(why, ERR_DATA,
                             "a path or id must be UTF-8 without control characters: %s", shown);
        int rc = number_of_id(d, ids[i], &old, why);
        if (rc < 0) return rc;
        *reason = "duplicate-id";
        if (rc == 1 && old != number)
            return error_set(why, ERR_DATA,
                             "'%.200s' already names another picture in the source '%.100s'; if "
                             "the file was changed on purpose, "
                             "ingest it under another source name",
                             ids[i], d->source_name);
    }
    return 0;
}

/* A picture that is named by id only: in this source, else, unless the id is its own, in any. */
static int find_known(struct deposit *d, const struct row *row, uint32_t *number,
                      const char **reason, struct error *why)
{
    int rc = number_of_id(d, row->id, number, why);
    if (rc == 0 && row->is_own_id)
        rc = error_set(why, ERR_NOT_FOUND, "no picture of the source '%.100s' has the id '%.200s'",
                       d->source_name, row->id);
    if (rc == 0) rc = corpus_image_of_id(d->corpus, NULL, row->id, number, why);
    *reason = rc == ERR_DATA ? "ambiguous-id" : "unknown-id";
    return rc == ERR_NOT_FOUND ? ERR_DATA : rc < 0 ? rc : 0;
}

/* The number of the row's picture when it is in the corpus, CORPUS_ABSENT when it is to be added.
 * ERR_DATA with *reason: it cannot be had. */
static int find_image(struct deposit *d, const struct row *row, struct shot *shot, uint32_t *number,
                      const char **reason, struct error *why)
{
    *number = CORPUS_ABSENT;
    *reason = "missing-image";
    if (!given(row->image) && !given(row->id))
        return error_set(why, ERR_DATA, "the record names no image");
    bool has_file = shot || given(row->image);
    if (d->options->no_images) {
        *reason = "bad-id";
        int rc = number_of_id(d, given(row->id) ? row->id : row->image, number, why);
        return rc < 0 ? rc : check_ids(d, row, *number, reason, why);
    }
    if (!has_file) return find_known(d, row, number, reason, why);
    if (shot->reason) {
        *reason = shot->reason;
        return error_set(why, ERR_DATA, "%s", shot->message);
    }
    int rc = shot->stored ? 0 : corpus_image_number(d->corpus, shot->image.key, number, why);
    if (shot->stored) *number = shot->number;
    if (rc < 0 && rc != ERR_NOT_FOUND) return rc; /* the same bytes may have come by another name */
    return check_ids(d, row, *number, reason, why);
}

/* Adds the picture unless it is there. */
static int add_image(struct deposit *d, const struct row *row, struct shot *shot, uint32_t *number,
                     struct error *err)
{
    struct corpus_image image = {.orientation = 1};
    bool is_new = false;
    int rc = 0;
    if (*number == CORPUS_ABSENT) {
        if (shot)
            image = shot->image;
        else
            corpus_key_of_id(given(row->id) ? row->id : row->image, image.key);
        rc = corpus_add_image_keyed(d->corpus, &image, shot ? shot->bytes : NULL,
                                    shot ? shot->n : 0, number, &is_new, err);
        if (rc < 0) return rc;
        d->result->n_images_new += is_new;
        d->result->n_warned += is_new && image.n_warnings;
        d->result->n_reduced += is_new && image.is_reduced;
        d->result->n_image_bytes += is_new ? image.n_bytes : 0;
    }
    if (!shot) return 0;
    if (!shot->counted && !is_new) d->result->n_images_old++;
    shot->counted = shot->stored = true;
    shot->number = *number;
    return 0;
}

static int add_ids(struct deposit *d, const struct row *row, uint16_t source, uint32_t number,
                   struct error *err)
{
    struct corpus_image image;
    int rc = corpus_get_image(d->corpus, number, &image, err);
    if (rc == 0 && given(row->image))
        rc = corpus_add_id(d->corpus, source, row->image, image.key, err);
    if (rc == 0 && given(row->id)) rc = corpus_add_id(d->corpus, source, row->id, image.key, err);
    return rc;
}

/* What neither the row nor the options say, a pair that is known keeps: retag may have set it. */
static int keep_known(struct deposit *d, const struct row *row, const struct clean *c,
                      struct corpus_pair *pair, struct error *err)
{
    struct corpus_pair known = *pair;
    int rc = corpus_find_pair(d->corpus, &known, c->says_language, err);
    if (rc < 0) return rc == ERR_NOT_FOUND ? 0 : rc;
    pair->language = known.language;
    if (!c->says_split) pair->split = known.split;
    if (!c->label.text) pair->label = known.label;
    if (!row->says_weight) pair->weight = known.weight;
    return 0;
}

static int add_pair(struct deposit *d, const struct row *row, const struct clean *c,
                    struct corpus_pair *pair, struct error *err)
{
    bool is_new = false, changed = false;
    int rc = corpus_add_caption(d->corpus, c->caption.text, c->caption.n, &pair->caption, &is_new,
                                err);
    if (rc < 0) return rc;
    d->result->n_captions_new += is_new;
    d->result->n_cut += c->caption.is_cut;
    rc = corpus_intern(d->corpus, NAME_LANGUAGE, c->language, &pair->language, err);
    if (rc == 0 && c->label.text)
        rc = corpus_intern(d->corpus, NAME_LABEL, c->label.text, &pair->label, err);
    if (rc == 0) rc = keep_known(d, row, c, pair, err);
    if (rc == 0)
        rc = corpus_add_pair(d->corpus, pair, row->caption, row->n_caption, &is_new, &changed, err);
    if (rc < 0) return rc;
    d->result->n_undetermined += !strcmp(corpus_name(d->corpus, NAME_LANGUAGE, pair->language),
                                         "und");
    d->result->n_pairs_new += is_new;
    d->result->n_pairs_changed += !is_new && changed;
    d->result->n_pairs_old += !is_new && !changed;
    return 0;
}

static int store(struct deposit *d, const struct row *row, const struct clean *c, struct shot *shot,
                 uint32_t number, struct error *err)
{
    struct corpus_pair pair = {
        .label = CORPUS_NO_NAME, .split = (uint8_t)c->split, .weight = (float)row->weight};
    bool by_id = !shot && !d->options->no_images; /* a known picture of, perhaps, another source */
    int rc = corpus_intern(d->corpus, NAME_SOURCE, d->source_name, &pair.source, err);
    if (rc == 0) rc = add_image(d, row, shot, &number, err);
    if (rc == 0 && !by_id) rc = add_ids(d, row, pair.source, number, err);
    pair.image = number;
    if (rc == 0 && c->caption.text) rc = add_pair(d, row, c, &pair, err);
    return rc < 0 ? rc : 1;
}

int deposit_row(struct deposit *d, const struct row *row, struct shot *shot, struct error *err)
{
    struct clean c = {0};
    struct error why = {0};
    const char *reason = NULL;
    uint32_t number = CORPUS_ABSENT;
    d->result->n_rows++;
    if (row->reason) return reject(d, row, row->reason, row->message, err);
    int rc = make_clean(d->options, row, &c, &reason, &why);
    if (rc == 0) rc = find_image(d, row, shot, &number, &reason, &why);
    rc = rc < 0 ? reject_or_fail(d, row, reason, rc, &why, err)
                : store(d, row, &c, shot, number, err);
    clean_release(&c);
    return rc;
}
