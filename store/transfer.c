/* Importing feature sets; see transfer.h. An import is three steps: read the identity, resolve
 * every row to a record (one u32 a record of the corpus: its row + 1), store the rows in order of
 * records. Only the third writes. */
#include "store/transfer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/intake.h"
#include "store/memory.h"

#define BATCH_BYTES   ((uint64_t)64 << 20)
#define NAMED_UNKNOWN 3
/* f16 rows of unit length are off by up to 1e-3; rows that were never normalised by far more. */
#define UNIT_TOLERANCE 1e-2

void transfer_source_defaults(struct transfer_source *from)
{
    *from = (struct transfer_source){.storage = STORAGE_Q, .epsilon = 1e-4f};
}

/* An import under way. */
struct import {
    struct corpus *corpus;
    const struct transfer_source *from;
    struct transfer_counts *counts;
    struct intake rows;
    const struct json *identity; /* borrowed from rows */
    struct json *fingerprint, *replay;
    struct featureset_spec spec;
    bool normalized;
    uint32_t n_records;
    uint32_t *row_of;   /* by record number: row + 1, 0 for none */
    float *row, *other; // (dim)
    char unknown[300];  /* the first few, for the message */
};

static int identity_error(const struct import *in, const char *what, struct error *err)
{
    return error_set(err, ERR_DATA, "%s: %s", in->rows.identity_name, what);
}

static bool is_hash(const char *hex, uint8_t key[DIGEST_BYTES])
{
    return strlen(hex) == DIGEST_HEX - 1 && digest_from_hex(hex, key, NULL) == 0;
}

/* G of a tap that ends in "@GxG", else 0. */
static uint32_t grid_of(const char *tap)
{
    const char *at = strrchr(tap, '@');
    unsigned a, b;
    char end;
    return at && sscanf(at, "@%ux%u%c", &a, &b, &end) == 2 && a == b && a < 1024 ? a : 0;
}

/* Checks the identity and fills in the spec, all but its JSON. */
static int read_identity(struct import *in, struct error *err)
{
    in->identity = in->rows.identity;
    const char *tower = json_text(json_get(in->identity, "tower"), "");
    bool is_image = !strcmp(tower, "image");
    if (!*json_text(json_get(in->identity, "model"), ""))
        return identity_error(
            in, "expected \"model\", the name of the network that made the features", err);
    if (!is_image && strcmp(tower, "text"))
        return identity_error(in, "\"tower\" must be \"image\" or \"text\"", err);
    if (is_image && !json_is_object(json_get(in->identity, "preprocessing")))
        return identity_error(
            in,
            "expected an object \"preprocessing\": training replays it, so that the student sees "
            "what the teacher saw",
            err);
    int64_t dim = json_int(json_get(in->identity, "dimension"), -1);
    if (dim < 1 || (uint64_t)dim != in->rows.n_cols)
        return error_set(err, ERR_DATA,
                         "%s has rows of %llu values, but %s says \"dimension\": %lld",
                         in->rows.parts->name, (unsigned long long)in->rows.n_cols,
                         in->rows.identity_name, (long long)dim);
    if (dim > CODEC_MAX_DIM) return identity_error(in, "\"dimension\" is above 2^20", err);
    const char *tap = json_text(json_get(in->identity, "tap"),
                                is_image ? "image.final" : "text.final");
    const char *name = in->from->name ? in->from->name : tap;
    if (strncmp(tap, tower, strlen(tower)) || tap[strlen(tower)] != '.' ||
        strlen(tap) > FEATURESET_NAME_MAX)
        return identity_error(in, "\"tap\" must begin with the tower and a dot, as \"image.final\"",
                              err);
    snprintf(in->spec.name, sizeof in->spec.name, "%s", name);
    snprintf(in->counts->set, sizeof in->counts->set, "%s", name);
    if (strlen(name) > FEATURESET_NAME_MAX)
        return identity_error(in, "the set's name is too long", err);
    strcpy(in->spec.tap, tap);
    in->spec.tower = is_image ? TOWER_IMAGE : TOWER_TEXT;
    in->spec.dim = (uint32_t)dim;
    in->spec.grid = grid_of(tap);
    in->spec.storage = in->from->storage;
    in->spec.epsilon = in->from->storage == STORAGE_Q ? in->from->epsilon : 0;
    in->normalized = json_bool(json_get(in->identity, "normalized"), false);
    return 0;
}

static int make_fingerprint(struct import *in, struct error *err)
{
    static const char *const COPIED[] = {"model", "preprocessing"};
    char storage[CODEC_TEXT], hex[DIGEST_HEX];
    uint8_t digest[DIGEST_BYTES];
    char *text = json_write(in->identity, JSON_SORTED, err);
    if (!text) return ERR_NOMEM;
    digest_of(text, strlen(text), digest);
    digest_to_hex(digest, hex);
    memory_free(text);
    codec_spell(in->spec.storage, in->spec.epsilon, storage);
    struct json *f = in->fingerprint = json_new_object(), *r = in->replay = json_new_object();
    json_set_string(f, "origin", "import");
    for (size_t i = 0; i < sizeof COPIED / sizeof *COPIED; i++)
        if (json_get(in->identity, COPIED[i]))
            json_set(f, COPIED[i], json_clone(json_get(in->identity, COPIED[i])));
    json_set_string(f, "tower", in->spec.tower == TOWER_IMAGE ? "image" : "text");
    json_set_string(f, "tap", in->spec.tap);
    json_set_int(f, "dimension", in->spec.dim);
    json_set_bool(f, "normalized", in->normalized);
    json_set_string(f, "storage", storage);
    json_set_string(f, "identity", hex);
    json_set(r, "identity", json_clone(in->identity));
    if (json_get(in->identity, "preprocessing"))
        json_set(r, "preprocessing", json_clone(json_get(in->identity, "preprocessing")));
    if (json_is_number(json_get(in->identity, "logit_scale")))
        json_set(r, "logit_scale", json_clone(json_get(in->identity, "logit_scale")));
    in->spec.fingerprint = f;
    in->spec.replay = r;
    return 0;
}

/* The record of one key, or of a text that stands for one: 1 and *number, 0 when the corpus has none,
 * or an error. */
static int resolve(const struct import *in, const uint8_t *given, const char *text,
                   uint32_t *number, struct error *err)
{
    uint8_t key[DIGEST_BYTES];
    bool is_image = in->spec.tower == TOWER_IMAGE, is_key = given || is_hash(text, key);
    int rc = ERR_NOT_FOUND;
    if (given) memcpy(key, given, DIGEST_BYTES);
    if (is_key)
        rc = is_image ? corpus_image_number(in->corpus, key, number, err)
                      : corpus_caption_number(in->corpus, key, number, err);
    if (rc == ERR_NOT_FOUND && !given && is_image)
        rc = corpus_image_of_id(in->corpus, NULL, text, number, err);
    if (rc == ERR_NOT_FOUND && !given && !is_image) {
        digest_of(text, strlen(text), key);
        rc = corpus_caption_number(in->corpus, key, number, err);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

static void note_unknown(struct import *in, const char *text)
{
    size_t used = strlen(in->unknown);
    if (in->counts->n_unknown++ < NAMED_UNKNOWN)
        snprintf(in->unknown + used, sizeof in->unknown - used, "%s\"%.80s\"", used ? ", " : "",
                 text);
}

/* Row `row` belongs to this record; an intake_take. */
static int take_key(void *context, uint64_t row, const uint8_t *key, char *text, struct error *err)
{
    struct import *in = context;
    uint32_t number = 0;
    char hex[DIGEST_HEX];
    unsigned long long place = row + 1;
    if (text && !*text)
        return error_set(err, ERR_DATA, "%s: %s %llu is empty", in->rows.keys_name, in->rows.unit,
                         place);
    if (key) digest_to_hex(key, hex);
    int rc = resolve(in, key, text, &number, err);
    if (rc < 0) {
        error_prefix(err, "%s: %s %llu: ", in->rows.keys_name, in->rows.unit, place);
        return rc;
    }
    if (rc == 0) {
        note_unknown(in, key ? hex : text);
        return 0;
    }
    uint32_t before = in->row_of[number];
    if (!before) {
        in->row_of[number] = (uint32_t)row + 1;
        return 0;
    }
    intake_row(&in->rows, row, in->row);
    intake_row(&in->rows, before - 1, in->other);
    if (memcmp(in->row, in->other, in->spec.dim * sizeof *in->row))
        return error_set(err, ERR_DATA,
                         "%s: %s %llu names the same record as %s %u, \"%.80s\", but %s has "
                         "different rows for them",
                         in->rows.keys_name, in->rows.unit, place, in->rows.unit, before,
                         key ? hex : text, in->rows.parts->name);
    in->counts->n_duplicate++;
    return 0;
}

static int read_keys(struct import *in, struct error *err)
{
    int rc = intake_keys(&in->rows, take_key, in, err);
    if (rc == 0 && in->counts->n_unknown && !in->from->allow_missing)
        return error_set(err, ERR_DATA,
                         "%s: %llu of %llu keys are not in the corpus (%s%s): ingest their records "
                         "first, or allow "
                         "missing ones",
                         in->rows.keys_name, (unsigned long long)in->counts->n_unknown,
                         (unsigned long long)in->rows.n_rows, in->unknown,
                         in->counts->n_unknown > NAMED_UNKNOWN ? ", ..." : "");
    return rc;
}

/* Every row finite, and of unit length when the identity says so. */
static int check_rows(struct import *in, const struct report *report, struct error *err)
{
    uint64_t n = in->rows.n_rows, there;
    for (uint64_t row = 0; row < n; row++) {
        double square = 0;
        intake_row(&in->rows, row, in->row);
        for (uint32_t j = 0; j < in->spec.dim; j++) square += (double)in->row[j] * in->row[j];
        const char *file = intake_place(&in->rows, row, &there);
        if (!isfinite(square))
            return error_set(err, ERR_DATA, "%s: row %llu holds a value that is not finite", file,
                             (unsigned long long)there);
        if (in->normalized && fabs(sqrt(square) - 1) > UNIT_TOLERANCE)
            return error_set(err, ERR_DATA,
                             "%s: row %llu has length %g, but %s says \"normalized\": true", file,
                             (unsigned long long)there, sqrt(square), in->rows.identity_name);
        if (row % 4096 == 0) report_progress(report, "check rows", row, n, 0, 0);
    }
    return 0;
}

/* Steps one and two. */
static int read_source(struct import *in, const struct report *report, struct error *err)
{
    int rc = intake_open(&in->rows, in->from, err);
    if (rc < 0) return rc;
    in->counts->n_rows = in->rows.n_rows;
    rc = read_identity(in, err);
    if (rc == 0) rc = make_fingerprint(in, err);
    if (rc < 0) return rc;
    in->n_records = in->spec.tower == TOWER_IMAGE ? corpus_n_images(in->corpus)
                                                  : corpus_n_captions(in->corpus);
    in->row_of = memory_array(in->n_records, sizeof *in->row_of, MEMORY_MAX_TENSOR, err);
    in->row = in->row_of ? memory_array(in->spec.dim, sizeof *in->row, MEMORY_MAX_FILE, err) : NULL;
    in->other = in->row ? memory_array(in->spec.dim, sizeof *in->other, MEMORY_MAX_FILE, err)
                        : NULL;
    if (!in->other) return ERR_NOMEM;
    rc = check_rows(in, report, err);
    return rc == 0 ? read_keys(in, err) : rc;
}

int transfer_key(struct corpus *c, enum featureset_tower tower, uint32_t number,
                 uint8_t key[DIGEST_BYTES], struct error *err)
{
    struct corpus_image image;
    const char *text;
    size_t n;
    if (tower == TOWER_TEXT) return corpus_caption_text(c, number, &text, &n, key, err);
    int rc = corpus_get_image(c, number, &image, err);
    if (rc == 0) memcpy(key, image.key, DIGEST_BYTES);
    return rc;
}

/* Records gathered for one put or one question. */
struct batch {
    size_t n, capacity;
    uint32_t *numbers;
    uint8_t (*keys)[DIGEST_BYTES];
    float *vectors; // (capacity, dim)
    uint8_t *has;
};

static void batch_release(struct batch *b)
{
    memory_free(b->numbers);
    memory_free(b->keys);
    memory_free(b->vectors);
    memory_free(b->has);
}

static int batch_init(struct batch *b, uint32_t dim, size_t n_max, struct error *err)
{
    uint64_t n = BATCH_BYTES / ((uint64_t)dim * 4);
    *b = (struct batch){.capacity = n < 256 ? 256 : n};
    if (b->capacity > n_max) b->capacity = n_max ? n_max : 1;
    b->numbers = memory_array(b->capacity, sizeof *b->numbers, MEMORY_MAX_TENSOR, err);
    if (b->numbers) b->keys = memory_array(b->capacity, sizeof *b->keys, MEMORY_MAX_TENSOR, err);
    if (b->keys) b->has = memory_array(b->capacity, 1, MEMORY_MAX_TENSOR, err);
    if (b->has) b->vectors = memory_array(b->capacity, (uint64_t)dim * 4, MEMORY_MAX_TENSOR, err);
    if (b->vectors) return 0;
    batch_release(b);
    *b = (struct batch){0};
    return ERR_NOMEM;
}

static int put_batch(struct import *in, struct featureset *fs, struct batch *b, struct error *err)
{
    int rc = featureset_has(fs, 0, b->n, b->numbers, (const uint8_t(*)[DIGEST_BYTES])b->keys,
                            b->has, err);
    if (rc == 0)
        rc = featureset_put(fs, 0, b->n, b->numbers, (const uint8_t(*)[DIGEST_BYTES])b->keys,
                            b->vectors, err);
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        in->counts->n_hit += b->has[i];
        in->counts->n_new += !b->has[i];
    }
    b->n = 0;
    return rc;
}

/* Step three. */
static int store_rows(struct import *in, struct featureset *fs, const struct report *report,
                      struct error *err)
{
    struct batch b;
    int rc = batch_init(&b, in->spec.dim, in->n_records, err);
    for (uint32_t number = 0; rc == 0 && number < in->n_records; number++) {
        if (!in->row_of[number]) continue;
        rc = transfer_key(in->corpus, in->spec.tower, number, b.keys[b.n], err);
        if (rc < 0) break;
        b.numbers[b.n] = number;
        intake_row(&in->rows, in->row_of[number] - 1, b.vectors + b.n * in->spec.dim);
        if (++b.n < b.capacity) continue;
        if (report_stopped(report))
            rc = error_set(err, ERR_STOPPED, "import stopped between two batches");
        if (rc == 0) rc = put_batch(in, fs, &b, err);
        report_progress(report, "import", in->counts->n_new + in->counts->n_hit, in->counts->n_rows,
                        in->counts->n_unknown, in->counts->n_hit);
    }
    if (rc == 0) rc = put_batch(in, fs, &b, err);
    batch_release(&b);
    return rc;
}

static int open_or_create(struct import *in, const char *cache, struct featureset **fs,
                          struct error *err)
{
    struct error missing;
    int rc = featureset_open(fs, cache, in->spec.name, FEATURESET_WRITE, &missing);
    if (rc == ERR_NOT_FOUND) return featureset_create(fs, cache, &in->spec, err);
    if (rc < 0) return error_set(err, rc, "%s", missing.text);
    return featureset_check(*fs, in->fingerprint, err);
}

int transfer_import(struct corpus *c, const char *cache, const struct transfer_source *from,
                    const struct report *report, struct transfer_counts *counts, struct error *err)
{
    struct import in = {.corpus = c, .from = from, .counts = counts};
    struct featureset *fs = NULL;
    struct error local = {0};
    memset(counts, 0, sizeof *counts);
    int rc = read_source(&in, report, &local);
    if (rc == 0) rc = open_or_create(&in, cache, &fs, &local);
    if (rc == 0) rc = store_rows(&in, fs, report, &local);
    if (rc < 0 && err) *err = local;
    featureset_close(fs);
    intake_close(&in.rows);
    json_free(in.fingerprint);
    json_free(in.replay);
    memory_free(in.row_of);
    memory_free(in.row);
    memory_free(in.other);
    return rc;
}
