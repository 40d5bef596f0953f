/* Corpora as tars; see corpustar.h. Pairs come from the corpus in order of pictures' numbers, so that a
 * picture's are one slice; slices are walked in order of keys, and each is sorted by names. */
#include "store/corpustar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/tar.h"

#define MAX_JSON  ((size_t)4 << 20) /* captions of one sample: ingest reads at most 16 MiB */
#define MAX_NAME  40
#define TELL_EACH 1000

struct picture {
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
};

/* A pair of the picture at hand, with what it is sorted by. */
struct item {
    const struct corpus_pair *pair;
    uint8_t caption_key[DIGEST_BYTES];
    const char *source, *language, *label; /* label: "" for none */
};

struct walk {
    struct corpus *c;
    const struct corpustar_options *o;
    struct corpustar_counts *counts;
    struct picture *pictures; // (n_pictures), in order of keys
    uint32_t n_pictures;
    struct corpus_pair *pairs; // (n_pairs)
    size_t n_pairs;
    size_t *first; // (numbers of pictures + 1): where the pairs of a picture's number begin
    struct item *items;
    size_t n_items, items_capacity;
    struct corpus_image image; /* the picture at hand, its number, and its key in hex */
    uint32_t number;
    char hex[DIGEST_HEX];
    struct tar *tar;
    bool is_file;
    const struct report *report;
};

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct picture *)a)->key, ((const struct picture *)b)->key, DIGEST_BYTES);
}

/* What one sample has one of. */
static int compare_group(const struct item *a, const struct item *b)
{
    int order = strcmp(a->source, b->source);
    if (!order) order = (a->pair->split > b->pair->split) - (a->pair->split < b->pair->split);
    if (!order) order = strcmp(a->label, b->label);
    if (!order) order = (a->pair->weight > b->pair->weight) - (a->pair->weight < b->pair->weight);
    return order;
}

static int by_names(const void *a, const void *b)
{
    const struct item *p = a, *q = b;
    int order = compare_group(p, q);
    if (!order) order = strcmp(p->language, q->language);
    return order ? order : memcmp(p->caption_key, q->caption_key, DIGEST_BYTES);
}

static int sort_pictures(struct walk *w, struct error *err)
{
    struct corpus_image image;
    uint32_t n = corpus_n_images(w->c);
    w->pictures = memory_array(n, sizeof *w->pictures, MEMORY_MAX_TENSOR, err);
    w->first = memory_array((uint64_t)n + 1, sizeof *w->first, MEMORY_MAX_TENSOR, err);
    if (!w->pictures || !w->first) return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        int found = corpus_get_image(w->c, i, &image, err);
        if (found == ERR_NOT_FOUND) continue; /* forgotten */
        if (found < 0) return found;
        memcpy(w->pictures[w->n_pictures].key, image.key, DIGEST_BYTES);
        w->pictures[w->n_pictures++].number = i;
    }
    if (w->n_pictures) qsort(w->pictures, w->n_pictures, sizeof *w->pictures, by_key);
    int rc = corpus_pairs(w->c, &w->pairs, &w->n_pairs, err);
    if (rc < 0) return rc;
    for (size_t i = 0, next = 0; i <= n; i++) {
        while (next < w->n_pairs && w->pairs[next].image < i) next++;
        w->first[i] = next;
    }
    return 0;
}

/* The meant pairs of the picture into w->items. */
static int gather(struct walk *w, struct error *err)
{
    w->n_items = 0;
    for (size_t i = w->first[w->number]; i < w->first[w->number + 1]; i++) {
        const struct corpus_pair *p = &w->pairs[i];
        if (w->o->where && !where_matches(w->o->where, p)) continue;
        int rc = memory_grow(&w->items, &w->items_capacity, w->n_items + 1, sizeof *w->items,
                             MEMORY_MAX_TENSOR, err);
        if (rc < 0) return rc;
        struct item *item = &w->items[w->n_items++];
        const char *text, *label = corpus_name(w->c, NAME_LABEL, p->label);
        size_t n;
        item->pair = p;
        item->source = corpus_name(w->c, NAME_SOURCE, p->source);
        item->language = corpus_name(w->c, NAME_LANGUAGE, p->language);
        item->label = label ? label : "";
        if (!item->source || !item->language)
            return error_set(err, ERR_CORRUPT, "a pair points nowhere; run clipstill verify");
        rc = corpus_caption_text(w->c, p->caption, &text, &n, item->caption_key, err);
        if (rc < 0) return rc;
    }
    if (w->n_items) qsort(w->items, w->n_items, sizeof *w->items, by_names);
    return 0;
}

/* The caption of a pair as it came, else as it is kept. Owned. */
static char *caption_of(struct walk *w, const struct corpus_pair *p, struct error *err)
{
    char *original = NULL;
    const char *text;
    size_t n;
    if (corpus_pair_original(w->c, p, &original, err) < 0) return NULL;
    if (original) return original;
    if (corpus_caption_text(w->c, p->caption, &text, &n, NULL, err) < 0) return NULL;
    return memory_copy(text, n, err);
}

/* The .json of the pairs that begin at `from`; *n_taken of them have room. Owned: memory_free. */
static char *json_of(struct walk *w, size_t from, size_t *n_taken, struct error *err)
{
    static const char *const splits[SPLIT_N] = {"train", "val", "test"};
    const struct item *a = &w->items[from];
    struct json *j = json_new_object(), *captions = json_new_object(), *list = NULL;
    size_t i = from, used = 0;
    char *text = NULL;
    for (; i < w->n_items && !compare_group(a, &w->items[i]); i++) {
        text = caption_of(w, w->items[i].pair, err);
        used += text ? strlen(text) : 0;
        if (!text || (i > from && used > MAX_JSON)) break;
        if (i == from || strcmp(w->items[i - 1].language, w->items[i].language)) {
            if (list) json_set(captions, w->items[i - 1].language, list);
            list = json_new_array();
        }
        json_push_string(list, text);
        memory_free(text);
        text = NULL;
    }
    bool failed = i == from || (i < w->n_items && !text && !compare_group(a, &w->items[i]));
    memory_free(text);
    *n_taken = i - from;
    if (list) json_set(captions, w->items[i - 1].language, list);
    json_set(j, "captions", captions);
    json_set_string(j, "key", w->hex);
    if (*a->label) json_set_string(j, "label", a->label);
    json_set_string(j, "source", a->source);
    json_set_string(j, "split", splits[a->pair->split]);
    json_set_number(j, "weight", (double)a->pair->weight);
    text = failed ? NULL : json_write(j, JSON_SORTED, err);
    json_free(j);
    return text;
}

/* Ends the shard. */
static int end_shard(struct walk *w, struct error *err)
{
    if (!w->tar) return 0;
    w->counts->n_bytes += tar_bytes(w->tar);
    w->counts->n_shards++;
    int rc = tar_finish(w->tar, err);
    w->tar = NULL;
    return rc;
}

/* PATH/000000.tar. Owned. */
static char *shard_path(const struct walk *w, uint64_t shard, struct error *err)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%06llu.tar", (unsigned long long)shard);
    return w->is_file ? memory_string(w->o->path, err) : file_join(w->o->path, name, err);
}

/* A tar with room for so many bytes. */
static int make_room(struct walk *w, uint64_t n, struct error *err)
{
    uint64_t limit = w->is_file ? 0 : w->o->shard_bytes;
    int rc = 0;
    if (w->tar && limit && tar_bytes(w->tar) + n > limit) rc = end_shard(w, err);
    if (rc < 0 || w->tar) return rc;
    char *path = shard_path(w, w->counts->n_shards, err);
    rc = path ? tar_create(path, &w->tar, err) : ERR_NOMEM;
    memory_free(path);
    return rc;
}

/* One sample: the picture under KEY or KEY-part, with its json unless NULL. */
static int add_sample(struct walk *w, uint64_t part, const char *json, struct error *err)
{
    static const char *const extensions[] = {"", "jpg", "png", "webp"};
    const uint8_t *bytes;
    size_t n;
    char stem[TAR_MAX_NAME], name[TAR_MAX_NAME + 8];
    snprintf(stem, sizeof stem, part ? "%s-%llu" : "%s", w->hex, (unsigned long long)part);
    snprintf(name, sizeof name, "%s.%s", stem, extensions[w->image.format]);
    int rc = corpus_image_bytes(w->c, w->number, &bytes, &n, err);
    if (rc < 0) return rc;
    rc = make_room(w, tar_member_bytes(n) + (json ? tar_member_bytes(strlen(json)) : 0), err);
    if (rc == 0) rc = tar_add(w->tar, name, bytes, n, err);
    w->counts->n_samples += rc == 0;
    if (rc < 0 || !json) return rc;
    snprintf(name, sizeof name, "%s.json", stem);
    return tar_add(w->tar, name, json, strlen(json), err);
}

/* All samples of the picture. */
static int add_picture(struct walk *w, struct error *err)
{
    bool all = !w->o->where || w->o->where->n == 0;
    int rc = corpus_get_image(w->c, w->number, &w->image, err);
    if (rc == 0) rc = gather(w, err);
    if (rc < 0 || (w->n_items == 0 && !all)) return rc;
    if (w->image.n_bytes == 0 || w->image.format == IMAGE_NONE) {
        w->counts->n_without_bytes++;
        return 0;
    }
    digest_to_hex(w->image.key, w->hex);
    w->counts->n_images++;
    w->counts->n_reduced += w->image.is_reduced;
    if (w->n_items == 0) return add_sample(w, 0, NULL, err);
    uint64_t part = 0;
    for (size_t from = 0, n = 0; rc == 0 && from < w->n_items; from += n, part++) {
        char *json = json_of(w, from, &n, err);
        if (!json) return err->code ? err->code : ERR_NOMEM;
        rc = add_sample(w, part, json, err);
        memory_free(json);
        w->counts->n_pairs += n;
    }
    return rc;
}

/* Shards of an earlier, larger export would be read with ours. */
static int refuse_others(struct walk *w, struct error *err)
{
    if (w->is_file) return 0;
    char *path = shard_path(w, w->counts->n_shards, err);
    if (!path) return ERR_NOMEM;
    int rc = 0;
    if (file_exists(path))
        rc = error_set(err, ERR_EXISTS,
                       "%s is of another export, and this one ends before it: remove it, or export "
                       "to an empty folder",
                       path);
    memory_free(path);
    return rc;
}

/* The class list beside the tars: FOLDER/classes.json, or FILE.classes.json. */
static int write_classes(struct walk *w, struct error *err)
{
    char *text = NULL, *path = NULL;
    size_t n = strlen(w->o->path);
    int rc = corpus_classes(w->c, &text, err);
    if (rc < 0 || !text) return rc;
    path = memory_array(n + 20, 1, MEMORY_MAX_SMALL, err);
    if (path)
        snprintf(path, n + 20, w->is_file ? "%s.classes.json" : "%s/classes.json", w->o->path);
    rc = path ? file_write(path, text, strlen(text), err) : ERR_NOMEM;
    memory_free(path);
    memory_free(text);
    return rc;
}

static int walk(struct walk *w, struct error *err)
{
    int rc = w->is_file ? 0 : file_make_folder(w->o->path, err);
    if (rc == 0) rc = sort_pictures(w, err);
    for (uint32_t i = 0; rc == 0 && i < w->n_pictures; i++) {
        if (report_stopped(w->report))
            return error_set(err, ERR_STOPPED, "export stopped; whole shards are kept");
        w->number = w->pictures[i].number;
        rc = add_picture(w, err);
        if (i % TELL_EACH == 0) report_progress(w->report, "export", i, w->n_pictures, 0, 0);
    }
    if (rc == 0) rc = end_shard(w, err);
    if (rc == 0 && w->counts->n_samples == 0)
        rc = error_set(
            err, ERR_NOT_FOUND,
            "no picture to export: %llu pictures are meant, and the corpus has the bytes "
            "of none of them",
            (unsigned long long)w->counts->n_without_bytes);
    if (rc == 0) rc = refuse_others(w, err);
    return rc == 0 ? write_classes(w, err) : rc;
}

int corpustar_export(struct corpus *c, const struct corpustar_options *o,
                     const struct report *report, struct corpustar_counts *counts,
                     struct error *err)
{
    struct error local = {0};
    size_t n = strlen(o->path);
    struct walk w = {.c = c, .o = o, .counts = counts, .report = report};
    memset(counts, 0, sizeof *counts);
    w.is_file = n > 4 && !strcmp(o->path + n - 4, ".tar") && !file_is_folder(o->path);
    int rc = walk(&w, &local);
    if (rc < 0 && err) *err = local;
    tar_abandon(w.tar);
    memory_free(w.items);
    memory_free(w.first);
    memory_free(w.pairs);
    memory_free(w.pictures);
    return rc;
}
