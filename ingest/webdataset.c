/* WebDataset; see webdataset.h. The sample being gathered lies in memory, and a member of another key
 * ends it. Rows without a picture are written to a temporary file and handed out at the end of the
 * tar, when every picture is in the corpus under its key. */
#include "ingest/webdataset.h"

#include <stdio.h>
#include <string.h>

#include "ingest/sample.h"
#include "ingest/scrap.h"
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
    char *waited; /* the strings of its last row; owned */
    char warned[MAX_WARNED][32];
    size_t n_warned;
    char *name;  /* of the member; owned */
    uint64_t at; /* its header */
    struct stream_member member;
    bool has_member; /* it waits until the rows before it are handed out */
    struct error why;
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
    memory_free(w->waited);
    if (w->waiting) fclose(w->waiting);
    stream_close(w->stream);
    memory_free(w->name);
    memory_free(w);
}

static int reject(struct webdataset *w, struct row *row, const char *reason)
{
    *row = (struct row){.weight = 1, .member = w->name, .byte_offset = w->at};
    snprintf(w->record, sizeof w->record, "%.*s", ROW_SHOWN, w->name ? w->name : "");
    row_reject(row, reason, w->why.text, w->record);
    return 1;
}

static void warn_once(struct webdataset *w, const char *extension)
{
    for (size_t i = 0; i < w->n_warned; i++)
        if (!strncmp(w->warned[i], extension, sizeof w->warned[i] - 1)) return;
    if (w->n_warned == MAX_WARNED) return;
    snprintf(w->warned[w->n_warned++], sizeof *w->warned, "%s", extension);
    if (*extension)
        report_warn(w->report, "%s: members named .%.30s are not used", w->path, extension);
    else
        report_warn(w->report, "%s: members whose name has no extension are not used", w->path);
}

/* A row in the temporary file; behind it stand its strings, each with a NUL. */
enum { ID, MEMBER, LANG, LABEL, SPLIT, CAPTION, N_STRINGS };
#define NO_STRING UINT32_MAX
struct waiting {
    uint64_t byte_offset;
    double weight;
    bool says_weight;
    uint32_t n[N_STRINGS];
};

/* Keeps a row that has no picture beside it until the end. */
static int wait_for(struct webdataset *w, const struct row *row, struct error *err)
{
    const char *strings[N_STRINGS] = {row->id,    row->member, row->lang,
                                      row->label, row->split,  row->caption};
    struct waiting kept = {row->byte_offset, row->weight, row->says_weight, {0}};
    int rc = w->waiting ? 0 : scrap_open(&w->waiting, "captions apart from their pictures", err);
    if (rc < 0) return rc;
    for (int i = 0; i < N_STRINGS; i++) {
        size_t n = !strings[i] ? NO_STRING : i == CAPTION ? row->n_caption : strlen(strings[i]);
        kept.n[i] = (uint32_t)n;
    }
    size_t n_written = fwrite(&kept, sizeof kept, 1, w->waiting), n_due = 1;
    for (int i = 0; i < N_STRINGS; i++) {
        if (!strings[i]) continue;
        n_written += fwrite(strings[i], 1, kept.n[i], w->waiting);
        n_written += fwrite("", 1, 1, w->waiting);
        n_due += (size_t)kept.n[i] + 1;
    }
    if (n_written == n_due) return 0;
    return error_errno(err, "%s: keeping a caption apart from its picture", w->path);
}

static int read_back(struct webdataset *w, void *bytes, size_t n, struct error *err)
{
    if (fread(bytes, 1, n, w->waiting) == n) return 1;
    if (feof(w->waiting)) return 0;
    return error_errno(err, "%s: reading back a caption", w->path);
}

/* The next row that waited. 1, 0 at the end. */
static int next_waited(struct webdataset *w, struct row *row, struct error *err)
{
    struct waiting kept;
    const char *strings[N_STRINGS];
    size_t total = 0;
    int rc = w->waiting ? read_back(w, &kept, sizeof kept, err) : 0;
    if (rc <= 0) return rc;
    for (int i = 0; i < N_STRINGS; i++) total += kept.n[i] == NO_STRING ? 0 : kept.n[i] + 1;
    memory_free(w->waited);
    w->waited = memory_array(total, 1, MEMORY_MAX_FILE, err);
    if (!w->waited) return ERR_NOMEM;
    rc = read_back(w, w->waited, total, err);
    if (rc <= 0) return rc;
    const char *at = w->waited;
    for (int i = 0; i < N_STRINGS; i++) {
        strings[i] = kept.n[i] == NO_STRING ? NULL : at;
        at += kept.n[i] == NO_STRING ? 0 : kept.n[i] + 1;
    }
    *row = (struct row){.id = strings[ID],
                        .is_own_id = true,
                        .member = strings[MEMBER],
                        .byte_offset = kept.byte_offset,
                        .lang = strings[LANG],
                        .label = strings[LABEL],
                        .split = strings[SPLIT],
                        .weight = kept.weight,
                        .says_weight = kept.says_weight,
                        .caption = strings[CAPTION],
                        .n_caption = kept.n[CAPTION]};
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

/* A name as key and extension: the key's length. 0 for a hidden name or a folder's. */
static size_t split_name(const char *name, const char **extension)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name,
               *dot = strchr(base, '.');
    if (!*base || *base == '.') return 0;
    *extension = dot ? dot + 1 : "";
    return dot ? (size_t)(dot - name) : strlen(name);
}

/* Reads the member into the gathered sample; w->name is its name. 0, 1 when *row is a reject. */
static int add_member(struct webdataset *w, const struct stream_member *m, enum sample_part part,
                      const char *language, struct row *row, struct error *err)
{
    uint64_t limit = part == SAMPLE_PICTURE ? w->max_picture_bytes : MAX_TEXT_BYTES;
    char *bytes = NULL;
    size_t n = 0;
    if (m->size > limit) {
        error_set(&w->why, ERR_DATA, "the member has %llu bytes; at most %llu are read",
                  (unsigned long long)m->size, (unsigned long long)limit);
        w->next.is_refused |= part == SAMPLE_PICTURE;
        return reject(w, row, "too-large");
    }
    int rc = stream_member_read(w->stream, limit, &bytes, &n, &w->why);
    if (rc == ERR_DATA) {
        w->next.is_refused |= part == SAMPLE_PICTURE;
        return reject(w, row, ROW_BROKEN);
    }
    if (rc < 0) return error_set(err, rc, "%s", w->why.text);
    return sample_add(&w->next, part, w->name, language, bytes, n, err);
}

/* The member that was read. 0: go on; 1: *row is a reject; or an error. */
static int take_member(struct webdataset *w, struct row *row, struct error *err)
{
    const struct stream_member *m = &w->member;
    w->has_member = false;
    const char *extension = "";
    char language[CAPTION_MAX_LANGUAGE], key[MAX_KEY + 1];
    size_t n = m->is_folder ? 0 : split_name(w->name, &extension);
    if (n == 0) return 0;
    if (n > MAX_KEY) {
        error_set(&w->why, ERR_DATA, "the member's name has more than %d bytes", MAX_KEY);
        return reject(w, row, "bad-id");
    }
    enum sample_part part = sample_part_of(extension, language);
    if (part == SAMPLE_PARTS) {
        warn_once(w, extension);
        return 0;
    }
    if (!m->is_file) {
        error_set(&w->why, ERR_DATA, "the member is a link or a device; only files are read");
        return reject(w, row, "unsupported-member");
    }
    memcpy(key, w->name, n);
    key[n] = '\0';
    int rc = w->next.key ? 0 : sample_begin(&w->next, key, w->at, err);
    return rc < 0 ? rc : add_member(w, m, part, language, row, err);
}

/* Is the gathered sample whole once this member follows? */
static bool ends_sample(const struct webdataset *w, const char *name)
{
    const char *extension, *key = w->next.key;
    char language[CAPTION_MAX_LANGUAGE];
    size_t n = key ? split_name(name, &extension) : 0;
    if (n == 0) return false;
    if (strlen(key) != n || memcmp(key, name, n)) return true;
    enum sample_part part = sample_part_of(extension, language);
    return part != SAMPLE_PARTS && !sample_has_room(&w->next, part);
}

/* The next member, which may end the gathered sample. 0: go on; 1: *row is a reject; or an error. */
static int read_member(struct webdataset *w, struct row *row, struct error *err)
{
    struct stream_member m = {.name = ""};
    int rc = stream_member(w->stream, &m, &w->why);
    if (rc == 0) {
        w->phase = LAST;
        hand_out(w);
        return 0;
    }
    while (!strncmp(m.name, "./", 2)) m.name += 2;
    memory_free(w->name);
    w->name = memory_string(m.name, err);
    if (!w->name) return ERR_NOMEM;
    if (rc == ERR_DATA) return reject(w, row, ROW_BROKEN);
    if (rc < 0) return error_set(err, rc, "%s", w->why.text);
    w->at = m.byte_offset;
    w->member = m;
    w->member.name = NULL;
    w->has_member = true;
    if (ends_sample(w, w->name)) hand_out(w);
    return 0;
}

int webdataset_next(struct webdataset *w, struct row *row, struct error *err)
{
    for (;;) {
        int rc = next_row(w, row, err);
        if (rc) return rc;
        if (w->has_member)
            rc = take_member(w, row, err);
        else if (w->phase == READING)
            rc = read_member(w, row, err);
        else if (w->phase == LAST && w->waiting && fseek(w->waiting, 0, SEEK_SET) < 0)
            return error_errno(err, "%s: keeping captions apart from their pictures", w->path);
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
