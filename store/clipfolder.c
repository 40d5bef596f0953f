/* clip-retrieval's folders; see clipfolder.h. */
#include "store/clipfolder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/csv.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/outfile.h"

struct clipfolder {
    struct clipfolder_layout layout;
    char *folder;
    struct npy_writer *image, *text;
    struct outfile *metadata;
};

/* FOLDER/kind/kind_NUMBER.EXT; number with its digits. Owned. */
static char *partition(const char *folder, const char *kind, const char *number,
                       const char *extension, struct error *err)
{
    size_t n = strlen(folder) + 2 * strlen(kind) + strlen(number) + strlen(extension) + 8;
    char *path = memory_array(n, 1, MEMORY_MAX_SMALL, err);
    if (path) snprintf(path, n, "%s/%s/%s_%s.%s", folder, kind, kind, number, extension);
    return path;
}

char *clipfolder_identity(const char *folder, const char *tower, struct error *err)
{
    char name[40];
    snprintf(name, sizeof name, "%.20s.identity.json", tower);
    return file_join(folder, name, err);
}

/* Nothing but `keep` may stand in FOLDER/kind; keep NULL: nothing at all. */
static int refuse_others(const char *folder, const char *kind, const char *keep, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    char *path = file_join(folder, kind, err);
    int rc = path ? 0 : ERR_NOMEM;
    if (rc == 0 && file_is_folder(path)) rc = file_list(path, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (*names[i] != '.' && !strstr(names[i], ".tmp-") && (!keep || strcmp(names[i], keep)))
            rc = error_set(err, ERR_EXISTS,
                           "%s/%s is of another export, and clip-retrieval would read it with this "
                           "one: export to an empty folder",
                           path, names[i]);
    if (rc == 0 && keep) rc = file_make_folder(path, err);
    memory_free(names);
    memory_free(path);
    return rc;
}

static int open_vectors(const char *folder, const char *kind, uint32_t dim, enum npy_type type,
                        struct npy_writer **w, struct error *err)
{
    char *path = dim ? partition(folder, kind, "0", "npy", err) : NULL;
    if (!dim) return 0;
    int rc = path ? npy_create_as(path, type, dim, w, err) : ERR_NOMEM;
    if (rc < 0) *w = NULL;
    memory_free(path);
    return rc;
}

static int open_metadata(struct clipfolder *w, const char *folder, struct error *err)
{
    const char *header = !w->layout.text_dim    ? "image_path,image_key\n"
                         : !w->layout.image_dim ? "caption,caption_key\n"
                                                : "image_path,caption,image_key,caption_key\n";
    char *path = partition(folder, "metadata", "0", "csv", err);
    int rc = path ? outfile_create(path, &w->metadata, err) : ERR_NOMEM;
    if (rc == 0) rc = outfile_add(w->metadata, header, strlen(header), err);
    memory_free(path);
    return rc;
}

int clipfolder_create(const char *folder, const struct clipfolder_layout *layout,
                      struct clipfolder **out, struct error *err)
{
    struct clipfolder *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    uint32_t image = layout->image_dim, text = layout->text_dim;
    *out = NULL;
    if (!w) return ERR_NOMEM;
    w->layout = *layout;
    w->folder = memory_string(folder, err);
    int rc = w->folder ? 0 : ERR_NOMEM;
    if (rc == 0) rc = refuse_others(folder, "img_emb", image ? "img_emb_0.npy" : NULL, err);
    if (rc == 0) rc = refuse_others(folder, "text_emb", text ? "text_emb_0.npy" : NULL, err);
    if (rc == 0) rc = refuse_others(folder, "metadata", "metadata_0.csv", err);
    if (rc == 0) rc = open_vectors(folder, "img_emb", image, layout->type, &w->image, err);
    if (rc == 0) rc = open_vectors(folder, "text_emb", text, layout->type, &w->text, err);
    if (rc == 0) rc = open_metadata(w, folder, err);
    if (rc < 0)
        clipfolder_abandon(w);
    else
        *out = w;
    return rc;
}

static int put_key(struct clipfolder *w, const uint8_t *key, const char *end, struct error *err)
{
    char hex[DIGEST_HEX];
    digest_to_hex(key, hex);
    int rc = outfile_add(w->metadata, hex, DIGEST_HEX - 1, err);
    return rc == 0 ? outfile_add(w->metadata, end, 1, err) : rc;
}

int clipfolder_add(struct clipfolder *w, const struct clipfolder_row *row, struct error *err)
{
    bool both = w->image && w->text;
    int rc = w->image ? npy_add_row(w->image, row->image, err) : 0;
    if (rc == 0 && w->text) rc = npy_add_row(w->text, row->text, err);
    if (rc == 0 && w->image)
        rc = csv_put(w->metadata, row->image_path, strlen(row->image_path), err);
    if (rc == 0 && both) rc = outfile_add(w->metadata, ",", 1, err);
    if (rc == 0 && w->text) rc = csv_put(w->metadata, row->caption, row->n_caption, err);
    if (rc == 0) rc = outfile_add(w->metadata, ",", 1, err);
    if (rc == 0 && w->image) rc = put_key(w, row->image_key, both ? "," : "\n", err);
    if (rc == 0 && w->text) rc = put_key(w, row->caption_key, "\n", err);
    return rc;
}

/* An earlier export's vectors go before its metadata is replaced: rows that no longer belong together
 * must not stand beside each other, whenever this process ends. */
static int remove_vectors(struct clipfolder *w, const char *kind, struct error *err)
{
    char *path = partition(w->folder, kind, "0", "npy", err);
    int rc = path ? 0 : ERR_NOMEM;
    if (path && unlink(path) < 0 && errno != ENOENT)
        rc = error_errno(err, "%s: cannot be replaced", path);
    memory_free(path);
    return rc;
}

int clipfolder_finish(struct clipfolder *w, struct error *err)
{
    int rc = w->image ? remove_vectors(w, "img_emb", err) : 0;
    if (rc == 0 && w->text) rc = remove_vectors(w, "text_emb", err);
    if (rc == 0) {
        rc = outfile_finish(w->metadata, err);
        w->metadata = NULL;
    }
    if (rc == 0 && w->text) {
        rc = npy_finish(w->text, err);
        w->text = NULL;
    }
    if (rc == 0 && w->image) {
        rc = npy_finish(w->image, err);
        w->image = NULL;
    }
    clipfolder_abandon(w);
    return rc;
}

void clipfolder_abandon(struct clipfolder *w)
{
    if (!w) return;
    npy_abandon(w->image);
    npy_abandon(w->text);
    outfile_abandon(w->metadata);
    memory_free(w->folder);
    memory_free(w);
}

/* The CSV beside a partition. A Parquet file in its place is named. */
static int find_metadata(struct intake_part *part, const char *folder, const char *number,
                         struct error *err)
{
    part->metadata = partition(folder, "metadata", number, "csv", err);
    if (!part->metadata) return ERR_NOMEM;
    if (file_exists(part->metadata)) return 0;
    char *parquet = partition(folder, "metadata", number, "parquet", err);
    if (!parquet) return ERR_NOMEM;
    int rc = file_exists(parquet)
                 ? error_set(err, ERR_DATA,
                             "%s: Parquet is not read; convert it with: python3 -c 'import pandas, "
                             "sys; pandas.read_parquet(sys.argv[1]).to_csv(sys.argv[2], "
                             "index=False)' %s %s",
                             parquet, parquet, part->metadata)
                 : error_set(err, ERR_NOT_FOUND, "%s has no metadata beside it: %s is not there",
                             part->name, part->metadata);
    memory_free(parquet);
    return rc;
}

/* One partition, when the name is that of one: KIND_NUMBER.npy. */
static int open_partition(struct intake *in, const char *folder, const char *kind, const char *name,
                          struct error *err)
{
    size_t n = strlen(kind), n_number;
    char number[24];
    if (strncmp(name, kind, n) || name[n] != '_') return 0;
    n_number = strspn(name + n + 1, "0123456789");
    if (n_number < 1 || n_number >= sizeof number || strcmp(name + n + 1 + n_number, ".npy"))
        return 0;
    snprintf(number, sizeof number, "%.*s", (int)n_number, name + n + 1);
    char *path = partition(folder, kind, number, "npy", err);
    struct intake_part *part = path ? intake_add(in, path, err) : NULL;
    int rc = part ? npy_open(path, &part->npy, err) : ERR_NOMEM;
    memory_free(path);
    if (rc == 0) rc = find_metadata(part, folder, number, err);
    return rc == 0 ? intake_count(in, part, err) : rc;
}

int clipfolder_open(struct intake *in, const char *folder, const char *tower, struct error *err)
{
    char **names = NULL, *path = NULL;
    size_t n = 0;
    int rc = 0;
    if (!in->identity) {
        path = clipfolder_identity(folder, tower, err);
        rc = path ? intake_identity(in, path, err) : ERR_NOMEM;
        memory_free(path);
        path = NULL;
    }
    bool is_text = !strcmp(json_text(json_get(in->identity, "tower"), ""), "text");
    const char *kind = is_text ? "text_emb" : "img_emb";
    if (rc == 0 && !(path = file_join(folder, kind, err))) rc = ERR_NOMEM;
    if (rc == 0) rc = file_list(path, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = open_partition(in, folder, kind, names[i], err);
    if (rc == 0 && in->n_parts == 0)
        rc = error_set(err, ERR_NOT_FOUND, "%s holds no %s_0.npy", path, kind);
    in->unit = "record";
    if (rc == 0 && !in->keys_name && !(in->keys_name = file_join(folder, "metadata", err)))
        rc = ERR_NOMEM;
    memory_free(names);
    memory_free(path);
    return rc;
}

/* The column that stands for the record: our key, or what clip-retrieval has. */
static int find_column(struct csv *t, bool is_text, struct error *err)
{
    int rc = csv_next(t, err);
    if (rc < 0) return rc;
    int column = csv_find(t, is_text ? "caption_key" : "image_key");
    if (column < 0) column = csv_find(t, is_text ? "caption" : "image_path");
    if (column >= 0) return column;
    return error_set(err, ERR_DATA, "%s has neither a column %s", t->path,
                     is_text ? "caption_key nor caption" : "image_key nor image_path");
}

static int take_partition(const struct intake_part *part, bool is_text, intake_take *take,
                          void *context, struct error *err)
{
    struct csv t = {0};
    uint64_t row = 0;
    int rc = csv_open(&t, part->metadata, err);
    int column = rc == 0 ? find_column(&t, is_text, err) : rc;
    if (column < 0) rc = column;
    while (rc >= 0 && (rc = csv_next(&t, err)) > 0) {
        if (t.n_fields <= (size_t)column)
            rc = error_set(err, ERR_DATA, "%s: line %llu has %zu fields, its column is the %dth",
                           part->metadata, (unsigned long long)t.line, t.n_fields, column + 1);
        else if (row < part->npy.n_rows)
            rc = take(context, part->first + row, NULL, t.fields[column], err);
        row++;
    }
    if (rc == 0 && row != part->npy.n_rows)
        rc = error_set(err, ERR_DATA,
                       "%s has %llu records, but %s has %llu rows: expected one a row",
                       part->metadata, (unsigned long long)row, part->name,
                       (unsigned long long)part->npy.n_rows);
    csv_close(&t);
    return rc;
}

int clipfolder_keys(struct intake *in, intake_take *take, void *context, struct error *err)
{
    bool is_text = !strcmp(json_text(json_get(in->identity, "tower"), ""), "text");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < in->n_parts; i++)
        rc = take_partition(&in->parts[i], is_text, take, context, err);
    return rc;
}
