/* A folder of pictures with sidecars; see folder.h. The walk keeps one sorted list of names a
 * level, so that memory is bounded by the largest folders on one path and the order is the same on
 * every file system. Links to folders are not followed: no loops. */
#include "ingest/folder.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "ingest/caption.h"
#include "ingest/lines.h"
#include "store/file.h"
#include "store/memory.h"

#define MAX_DEPTH 64

/* Names of pictures; those that no decoder reads are rows as well, so that they are rejected by
 * name and not overlooked. */
static const char *const extensions[] = {"jpg", "jpeg", "jpe",  "jfif", "png",  "webp", "gif",
                                         "bmp", "tif",  "tiff", "avif", "heic", "heif", "jxl"};
#define N_EXTENSIONS (sizeof extensions / sizeof *extensions)

struct level {
    char *relative; /* to the top, "" there; owned */
    char **names;   /* owned */
    size_t n, next;
};

struct folder {
    const char *path;
    bool labels;
    struct level stack[MAX_DEPTH];
    int depth;
    char *picture; /* relative path of the picture whose sidecar is being read; owned */
    char *sidecar; /* absolute path; owned */
    struct lines lines;
    bool reading, any_caption;
    uint64_t n_seen;
    struct error why;
    char language[CAPTION_MAX_LANGUAGE];
};

static const char *extension_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? dot + 1 : "";
}

static bool is_picture(const char *name)
{
    for (size_t i = 0; i < N_EXTENSIONS; i++)
        if (!strcasecmp(extension_of(name), extensions[i])) return true;
    return false;
}

/* Does a picture with the stem of this .txt lie beside it? The names with that stem and a dot stand
 * together in the list. */
static bool has_picture(const struct level *l, const char *name)
{
    size_t stem = (size_t)(extension_of(name) - name), low = 0, high = l->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strncmp(l->names[middle], name, stem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < l->n && !strncmp(l->names[low], name, stem); low++)
        if (extension_of(l->names[low]) == l->names[low] + stem && is_picture(l->names[low]))
            return true;
    return false;
}

static int join_relative(const char *folder, const char *name, char **out, struct error *err)
{
    *out = *folder ? file_join(folder, name, err) : memory_string(name, err);
    return *out ? 0 : ERR_NOMEM;
}

/* Goes down into a folder; relative is taken. ERR_NOMEM, or another error when it cannot be listed. */
static int push(struct folder *f, char *relative, struct error *err)
{
    char *path = file_join(f->path, relative, err);
    struct level l = {.relative = relative};
    int rc = path ? 0 : ERR_NOMEM;
    if (rc == 0 && f->depth == MAX_DEPTH)
        rc = error_set(err, ERR_DATA, "%s: folders lie more than %d deep", path, MAX_DEPTH);
    if (rc == 0) rc = file_list(path, &l.names, &l.n, err);
    if (rc == 0)
        f->stack[f->depth++] = l;
    else
        memory_free(relative);
    memory_free(path);
    return rc;
}

static void pop(struct folder *f)
{
    struct level *l = &f->stack[--f->depth];
    memory_free(l->relative);
    memory_free(l->names);
    *l = (struct level){0};
}

int folder_open(struct folder **f, const char *path, bool labels, struct error *err)
{
    char *top = NULL;
    int rc = ERR_NOMEM;
    *f = memory_array(1, sizeof **f, MEMORY_MAX_SMALL, err);
    if (*f && (top = memory_string("", err))) {
        (*f)->path = path;
        (*f)->labels = labels;
        rc = push(*f, top, err);
    }
    if (rc < 0) {
        folder_close(*f);
        *f = NULL;
    }
    return rc;
}

static void end_picture(struct folder *f)
{
    lines_close(&f->lines);
    f->reading = false;
    memory_free(f->picture);
    memory_free(f->sidecar);
    f->picture = f->sidecar = NULL;
}

void folder_close(struct folder *f)
{
    if (!f) return;
    while (f->depth) pop(f);
    end_picture(f);
    memory_free(f);
}

static void fill(struct folder *f, struct row *row)
{
    *row = (struct row){.image = f->picture, .weight = 1};
    const char *relative = f->stack[f->depth - 1].relative, *slash = strrchr(relative, '/');
    if (!f->labels) return;
    row->label = slash ? slash + 1 : relative;
    if (*row->label) row->caption = row->label; /* until a sidecar says better */
    row->n_caption = strlen(row->label);
}

static int reject(struct folder *f, struct row *row, const char *reason)
{
    row_reject(row, reason, f->why.text, row->image);
    return 1;
}

/* One line of the sidecar: a caption, or "lang<TAB>caption" when what stands before the TAB is a tag. */
static void split_line(struct folder *f, struct row *row)
{
    const char *tab = memchr(f->lines.text, '\t', f->lines.n);
    row->caption = f->lines.text;
    row->n_caption = f->lines.n;
    char tag[CAPTION_MAX_LANGUAGE];
    size_t n = tab ? (size_t)(tab - f->lines.text) : 0;
    if (n == 0 || n >= sizeof tag) return;
    memcpy(tag, f->lines.text, n);
    tag[n] = '\0';
    if (caption_language(tag, f->language, sizeof f->language, NULL) < 0) return;
    row->lang = f->language;
    row->caption = tab + 1;
    row->n_caption -= n + 1;
}

/* The next caption of the open sidecar; 0 at its end (then the picture is done). */
static int next_line(struct folder *f, struct row *row, struct error *err)
{
    int rc;
    do rc = lines_next(&f->lines, err);
    while (rc == 1 && strspn(f->lines.text, " \t\r") == f->lines.n && !f->lines.broken);
    if (rc < 0) return rc;
    fill(f, row);
    if (rc == 0) {
        f->reading = false;
        return f->any_caption ? 0 : 1; /* an empty sidecar: the picture alone */
    }
    if (f->lines.broken) {
        error_set(&f->why, ERR_DATA, "%s: %s", f->sidecar, f->lines.broken);
        return reject(f, row, ROW_BROKEN);
    }
    f->any_caption = true;
    row->line = f->lines.line;
    row->byte_offset = f->lines.byte_offset;
    if (f->lines.too_long) {
        error_set(&f->why, ERR_DATA, "%s: the line is longer than 16 MiB", f->sidecar);
        return reject(f, row, "line-too-long");
    }
    split_line(f, row);
    return 1;
}

/* Opens the sidecar of f->picture when there is one. 1 with a row when there is none or it cannot be read. */
static int begin_picture(struct folder *f, struct row *row, struct error *err)
{
    f->n_seen++;
    fill(f, row);
    f->sidecar = file_join(f->path, f->picture, err);
    if (!f->sidecar) return ERR_NOMEM;
    size_t stem = (size_t)(extension_of(f->sidecar) - f->sidecar),
           capacity = strlen(f->sidecar) + 1;
    if (memory_grow(&f->sidecar, &capacity, stem + 4, 1, MEMORY_MAX_SMALL, err) < 0)
        return ERR_NOMEM;
    memcpy(f->sidecar + stem, "txt", 4);
    struct stat st;
    if (stat(f->sidecar, &st) < 0) {
        if (errno == ENOENT) return 1;
        error_errno(&f->why, "%s", f->sidecar);
        return reject(f, row, "bad-sidecar");
    }
    if (!S_ISREG(st.st_mode)) { /* a pipe would be waited for */
        error_set(&f->why, ERR_DATA, "%s: is no regular file", f->sidecar);
        return reject(f, row, "bad-sidecar");
    }
    int rc = lines_open(&f->lines, f->sidecar, &f->why);
    if (rc == ERR_NOMEM) return error_set(err, rc, "%s", f->why.text);
    if (rc < 0) return reject(f, row, "bad-sidecar");
    f->reading = true;
    f->any_caption = false;
    return 0;
}

/* Looks at one name of the folder on top; f->picture is its relative path. */
static int visit(struct folder *f, const char *name, struct row *row, struct error *err)
{
    struct stat st;
    char *path = file_join(f->path, f->picture, err);
    if (!path) return ERR_NOMEM;
    bool there = lstat(path, &st) == 0;
    memory_free(path);
    if (there && S_ISDIR(st.st_mode)) {
        char *relative = f->picture;
        f->picture = NULL;
        f->why = (struct error){0};
        int rc = push(f, relative, &f->why);
        if (rc == ERR_NOMEM) return error_set(err, rc, "%s", f->why.text);
        if (rc == 0) return 0;
        *row = (struct row){.weight = 1, .image = name};
        return reject(f, row, "unreadable-folder");
    }
    if (is_picture(name)) return begin_picture(f, row, err);
    if (strcasecmp(extension_of(name), "txt") || has_picture(&f->stack[f->depth - 1], name))
        return 0;
    fill(f, row);
    error_set(&f->why, ERR_NOT_FOUND, "%s: there is no picture of this name beside it", f->picture);
    return reject(f, row, "missing-file");
}

int folder_next(struct folder *f, struct row *row, struct error *err)
{
    for (;;) {
        if (f->reading) {
            int rc = next_line(f, row, err);
            if (rc) return rc;
        }
        end_picture(f);
        while (f->depth && f->stack[f->depth - 1].next == f->stack[f->depth - 1].n) pop(f);
        if (!f->depth) return 0;
        struct level *l = &f->stack[f->depth - 1];
        const char *name = l->names[l->next++];
        if (name[0] == '.') continue;
        int rc = join_relative(l->relative, name, &f->picture, err);
        if (rc == 0) rc = visit(f, name, row, err);
        if (rc) return rc;
    }
}

uint64_t folder_position(const struct folder *f)
{
    return f->n_seen;
}
