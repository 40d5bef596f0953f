/* WebDataset; see webdataset.h. The sample being gathered lies in memory, and a member of another key
 * ends it. Rows without a picture are written to a temporary file as JSON, length first, and handed
 * out at the end of the tar, when every picture is in the corpus under its key. */
#include "ingest/webdataset.h"

#include <stdio.h>
#include <string.h>

#include "ingest/sample.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_TEXT_BYTES ((uint64_t)16 << 20) /* of a .txt, .json or .cls */
#define MAX_KEY        4096
#define MAX_WARNED     16 /* extensions that are remembered */

enum phase { READING, LAST, WAITED, OVER }; /* LAST: the last sample is handed out */

struct webdataset {
    struct stream *stream;
    const char *path; /* borrowed, as are the next two */
    const struct fields *fields;
    const struct report *report;
    uint64_t max_picture_bytes;
    struct sample sample, next; /* handing out, and gathered since */
    bool is_handing;
    enum phase phase;
    FILE *waiting;
    struct json *waited; /* the last row of it; owned */
    char warned[MAX_WARNED][32];
    size_t n_warned;
    char *name;  /* of the member; owned */
    uint64_t at; /* its header */
    struct error why;
    bool has_broken;
    char record[ROW_SHOWN + 1];
};

int webdataset_open(struct webdataset **out, struct stream *stream, const char *path,
                    const struct fields *fields, uint64_t max_picture_bytes,
                    const struct report *report, struct error *err)
{
    struct webdataset *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (w && stream_is_tar(stream)) {
        *w = (struct webdataset){.stream = stream,
                                 .path = path,
                                 .fields = fields,
                                 .report = report,
                                 .max_picture_bytes = max_picture_bytes};
        *out = w;
        return 0;
    }
    stream_close(stream);
    memory_free(w);
    return w ? error_set(err, ERR_DATA, "%s: is no tar", path) : ERR_NOMEM;
}

void webdataset_close(struct webdataset *w)
{
    if (!w) return;
    sample_end(&w->sample);
    sample_end(&w->next);
    json_free(w->waited);
    if (w->waiting) fclose(w->waiting);
    stream_close(w->stream);
    memory_free(w->name);
    memory_free(w);
}

static int reject(struct webdataset *w, struct row *row, const char *reason)
{
    *row = (struct row){.weight = 1, .member = w->name, .byte_offset = w->at};
    snprintf(w->record, sizeof w->record, "%s", w->name ? w->name : "");
    row_reject(row, reason, w->why.text, w->record);
    return 1;
}

static void warn_once(struct webdataset *w, const char *extension)
{
    for (size_t i = 0; i < w->n_warned; i++)
        if (!strncmp(w->warned[i], extension, sizeof w->warned[i] - 1)) return;
    if (w->n_warned == MAX_WARNED) return;
    snprintf(w->warned[w->n_warned++], sizeof *w->warned, "%s", extension);
    report_warn(w->report, "%s: members named .%.30s are not used", w->path, extension);
}

/* Keeps a row that has no picture beside it until the end; behind its JSON stands the caption, which
 * may be no text. */
static int wait_for(struct webdataset *w, const struct row *row, struct error *err)
{
    struct json *j = json_new_object();
    json_set_string(j, "id", row->id);
    json_set_string(j, "member", row->member);
    json_set_int(j, "at", (int64_t)row->byte_offset);
    json_set_string(j, "lang", row->lang);
    json_set_string(j, "label", row->label);
    json_set_string(j, "split", row->split);
    json_set_number(j, "weight", row->weight);
    char *text = json_write(j, JSON_LINE, err);
    json_free(j);
    uint32_t n[2] = {text ? (uint32_t)strlen(text) : 0, (uint32_t)row->n_caption};
    int rc = text ? 0 : ERR_NOMEM;
    if (rc == 0 && !w->waiting && !(w->waiting = tmpfile()))
        rc = error_errno(err, "%s: a temporary file for captions apart from their pictures",
                         w->path);
    if (rc == 0 &&
        (fwrite(n, sizeof n, 1, w->waiting) != 1 || fwrite(text, 1, n[0], w->waiting) != n[0] ||
         fwrite(row->caption, 1, n[1], w->waiting) != n[1]))
        rc = error_errno(err, "%s: keeping a caption apart from its picture", w->path);
    memory_free(text);
    return rc;
}

/* The next row that waited. 1, 0 at the end. */
static int next_waited(struct webdataset *w, struct row *row, struct error *err)
{
    uint32_t n[2];
    if (!w->waiting || fread(n, sizeof n, 1, w->waiting) != 1) return 0;
    size_t total = (size_t)n[0] + n[1];
    memory_free(w->name);
    w->name = memory_array((uint64_t)total + 1, 1, MEMORY_MAX_FILE, err);
    if (!w->name) return ERR_NOMEM;
    if (fread(w->name, 1, total, w->waiting) != total)
        return error_errno(err, "%s: reading back a caption", w->path);
    json_free(w->waited);
    w->waited = json_read(w->name, n[0], "a caption that waited", err);
    if (!w->waited) return ERR_NOMEM;
    *row = (struct row){.id = json_text(json_get(w->waited, "id"), NULL),
                        .member = json_text(json_get(w->waited, "member"), NULL),
                        .byte_offset = (uint64_t)json_int(json_get(w->waited, "at"), 0),
                        .lang = json_text(json_get(w->waited, "lang"), NULL),
                        .label = json_text(json_get(w->waited, "label"), NULL),
                        .split = json_text(json_get(w->waited, "split"), NULL),
                        .weight = json_number(json_get(w->waited, "weight"), 1),
                        .caption = w->name + n[0],
                        .n_caption = n[1]};
    return 1;
}

/* Hands out the rows of the sample; 0 when it has no more. */
static int next_row(struct webdataset *w, struct row *row, struct error *err)
{
    while (w->is_handing && sample_next(&w->sample, w->fields, row)) {
        if (row->picture || row->reason) return 1;
        int rc = wait_for(w, row, err);
        if (rc < 0) return rc;
    }
    if (!w->is_handing) return 0;
    w->is_handing = false;
    sample_end(&w->sample);
    return 0;
}

/* The gathered sample is whole: its rows are next. */
static void hand_out(struct webdataset *w)
{
    if (!w->next.key) return;
    w->sample = w->next;
    w->next = (struct sample){0};
    w->is_handing = true;
}

/* The key's length in a name, and its extension; 0 for a name that makes no sample. */
static size_t split_name(const char *name, const char **extension)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name,
               *dot = strchr(base, '.');
    if (!*base || *base == '.' || !dot || !dot[1]) return 0;
    *extension = dot + 1;
    return (size_t)(dot - name);
}

/* Reads the member into the gathered sample; w->name is its name. 0, 1 when *row is a reject. */
static int add_member(struct webdataset *w, const struct stream_member *m, const char *key,
                      enum sample_part part, const char *language, struct row *row,
                      struct error *err)
{
    uint64_t limit = part == SAMPLE_PICTURE ? w->max_picture_bytes : MAX_TEXT_BYTES;
    char *bytes = NULL;
    size_t n = 0;
    error_set(&w->why, ERR_DATA, "the member has %llu bytes; at most %llu are read",
              (unsigned long long)m->size, (unsigned long long)limit);
    if (m->size > limit) return reject(w, row, "too-large");
    int rc = stream_member_read(w->stream, limit, &bytes, &n, &w->why);
    if (rc == ERR_DATA) {
        w->has_broken = true; /* the next header cannot be trusted */
        return reject(w, row, ROW_BROKEN);
    }
    if (rc < 0) return error_set(err, rc, "%s", w->why.text);
    if (!w->next.key) rc = sample_begin(&w->next, key, w->at, err);
    if (rc == 0) return sample_add(&w->next, part, w->name, language, bytes, n, err);
    memory_free(bytes);
    return rc;
}

/* One member. 0: go on; 1: *row is a reject; or an error. */
static int take_member(struct webdataset *w, const struct stream_member *m, struct row *row,
                       struct error *err)
{
    const char *extension = "";
    char language[CAPTION_MAX_LANGUAGE], key[MAX_KEY + 1];
    size_t n = split_name(w->name, &extension);
    if (n == 0) return 0;
    error_set(&w->why, ERR_DATA, "the member's name has more than %d bytes", MAX_KEY);
    if (n > MAX_KEY) return reject(w, row, "bad-id");
    enum sample_part part = sample_part_of(extension, language);
    if (part == SAMPLE_PARTS) {
        warn_once(w, extension);
        return 0;
    }
    error_set(&w->why, ERR_DATA, "the member is a link or a device; only files are read");
    if (!m->is_file) return reject(w, row, "unsupported-member");
    memcpy(key, w->name, n);
    key[n] = '\0';
    return add_member(w, m, key, part, language, row, err);
}

/* Is the gathered sample whole once this member follows? */
static bool ends_sample(const struct webdataset *w, const char *name)
{
    const char *extension, *key = w->next.key;
    char language[CAPTION_MAX_LANGUAGE];
    size_t n = split_name(name, &extension);
    if (!key || n == 0) return false;
    if (strlen(key) != n || memcmp(key, name, n)) return true;
    enum sample_part part = sample_part_of(extension, language);
    return part != SAMPLE_PARTS && !sample_has_room(&w->next, part);
}

/* The next member into the gathered sample. 0: go on; 1: *row is a reject; or an error. */
static int read_member(struct webdataset *w, struct row *row, struct error *err)
{
    struct stream_member m;
    int rc = w->has_broken ? 0 : stream_member(w->stream, &m, &w->why);
    if (rc == 0) {
        w->phase = LAST;
        hand_out(w);
        return 0;
    }
    memory_free(w->name);
    w->name = memory_string(rc > 0 ? m.name : "", err);
    if (!w->name) return ERR_NOMEM;
    if (rc == ERR_DATA) {
        w->has_broken = true;
        return reject(w, row, ROW_BROKEN);
    }
    if (rc < 0) return error_set(err, rc, "%s", w->why.text);
    w->at = m.byte_offset;
    if (ends_sample(w, w->name)) hand_out(w);
    return take_member(w, &m, row, err);
}

int webdataset_next(struct webdataset *w, struct row *row, struct error *err)
{
    for (;;) {
        int rc = next_row(w, row, err);
        if (rc) return rc;
        if (w->phase == READING)
            rc = read_member(w, row, err);
        else if (w->phase == LAST && w->waiting && fseek(w->waiting, 0, SEEK_SET) < 0)
            return error_errno(err, "%s: reading back captions", w->path);
        else if (w->phase == OVER)
            return 0;
        else if (w->phase == LAST)
            w->phase = WAITED;
        else if ((rc = next_waited(w, row, err)) == 0)
            w->phase = OVER;
        if (rc) return rc;
    }
}

uint64_t webdataset_position(const struct webdataset *w)
{
    return stream_position(w->stream);
}
