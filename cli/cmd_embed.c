/* clipstill embed: unit embeddings of pictures and texts by a teacher's or a student's folder. */
#include <math.h>
#include <string.h>

#include "cli/command.h"
#include "featurize/calibrate.h"
#include "featurize/embed.h"
#include "ingest/caption.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"

static struct option_list images, texts;
static const char *model_dir, *npy, *calibration, *numerics = "f32";
static bool raw;

static const struct option options[] = {
    {"model", 0, OPTION_STRING, "DIR", "a teacher's or a student's folder", 0, 0, NULL, &model_dir},
    {"image", 0, OPTION_REPEAT, "FILE", "a picture", 0, 0, NULL, &images},
    {"text", 0, OPTION_REPEAT, "STRING",
     "a text; rows: pictures first, then texts, each in the order given", 0, 0, NULL, &texts},
    {"npy", 0, OPTION_STRING, "FILE", "write the rows to a .npy file instead of printing them", 0,
     0, NULL, &npy},
    {"raw", 0, OPTION_FLAG, NULL, "before normalisation", 0, 0, NULL, &raw},
    {"numerics", 0, OPTION_CHOICE, "HOW", "arithmetic of matrix products", 0, 0,
     "auto|f32|bf16|int8", &numerics},
    {"calibration", 0, OPTION_STRING, "FILE", "int8: what featurize --calibration FILE wrote", 0, 0,
     NULL, &calibration},
};

static int embed_files(struct model *m, float *out, float *norms, struct error *err)
{
    int rc = 0, bad = 0, n = images.n;
    const void **bytes = memory_array((uint64_t)n, sizeof *bytes, MEMORY_MAX_SMALL, err);
    size_t *sizes = memory_array((uint64_t)n, sizeof *sizes, MEMORY_MAX_SMALL, err);
    if (!bytes || !sizes) rc = ERR_NOMEM;
    for (int i = 0; i < n && rc == 0; i++) {
        char *file = NULL;
        rc = file_read(images.items[i], MEMORY_MAX_FILE, &file, &sizes[i], err);
        bytes[i] = file;
    }
    if (rc == 0) {
        rc = embed_pictures(m, command_numerics(numerics), n, bytes, sizes, out, norms, &bad, err);
        if (rc < 0) error_prefix(err, "%s: ", images.items[bad]);
    }
    for (int i = 0; bytes && i < n; i++) memory_free((void *)bytes[i]);
    memory_free(bytes);
    memory_free(sizes);
    return rc;
}

static int embed_strings(struct model *m, float *out, float *norms, struct error *err)
{
    struct caption_rule rule = caption_rule_defaults();
    int rc = 0, n = texts.n;
    char **clean = memory_array((uint64_t)n, sizeof *clean, MEMORY_MAX_SMALL, err);
    size_t *sizes = memory_array((uint64_t)n, sizeof *sizes, MEMORY_MAX_SMALL, err);
    if (!clean || !sizes) rc = ERR_NOMEM;
    for (int i = 0; i < n && rc == 0; i++) {
        struct caption c;
        if (!*texts.items[i]) { /* no caption of a corpus, but a text like any other to a tower */
            clean[i] = memory_string("", err);
            if (!clean[i]) rc = ERR_NOMEM;
            continue;
        }
        rc = caption_normalise(&rule, texts.items[i], strlen(texts.items[i]), &c, NULL, err);
        clean[i] = c.text; /* taken */
        sizes[i] = c.n;
        if (rc < 0) error_prefix(err, "--text number %d: ", i + 1);
    }
    if (rc == 0)
        rc = model_embed_texts(m, command_numerics(numerics), n, (const char *const *)clean, sizes,
                               out, norms, err);
    for (int i = 0; clean && i < n; i++) memory_free(clean[i]);
    memory_free(clean);
    memory_free(sizes);
    return rc;
}

static int write_npy(const float *rows, int n, int dim, struct error *err)
{
    struct npy_writer *w = NULL;
    int rc = npy_create(npy, (uint64_t)dim, &w, err);
    for (int i = 0; i < n && rc == 0; i++) {
        rc = npy_add_row(w, rows + (size_t)i * (size_t)dim, err);
        if (rc < 0) npy_abandon(w);
    }
    return rc < 0 ? rc : npy_finish(w, err);
}

static int print_json(const struct command *self, const float *rows, int n, int dim,
                      struct error *err)
{
    struct json *answer = json_new_object(), *list = json_new_array();
    json_set(answer, "rows", list);
    for (int i = 0; i < n; i++) {
        struct json *row = json_new_object(), *values = json_new_array();
        json_set_string(row, i < images.n ? "image" : "text",
                        i < images.n ? images.items[i] : texts.items[i - images.n]);
        for (int d = 0; d < dim; d++)
            json_push_number(values, (double)rows[(size_t)i * (size_t)dim + (size_t)d]);
        json_set(row, "embedding", values);
        json_push(list, row);
    }
    return command_print_json(self, answer, err);
}

static int pack(struct tower *t, struct error *err)
{
    struct calibration *c = NULL;
    int rc = calibration ? calibrate_read_file(calibration, t, NULL, &c, err) : 0;
    if (rc == 0 && calibration && !c)
        rc = error_set(err, ERR_NOT_FOUND, "%s is not there, or has no calibration of this tower",
                       calibration);
    tower_calibrate(t, c);
    return rc < 0 ? rc : tower_pack(t, command_numerics(numerics), err);
}

static int run(const struct command *self, struct error *err)
{
    struct model *m = NULL;
    float *rows = NULL, *norms = NULL;
    int n = images.n + texts.n, rc = ERR_NOMEM;
    int parts = (images.n ? MODEL_IMAGE : 0) | (texts.n ? MODEL_TEXT : 0);
    if (!model_dir || n == 0)
        return error_set(err, ERR_USAGE,
                         "embed needs --model DIR and at least one --image FILE or --text STRING");
    rc = model_open(&m, model_dir, parts | MODEL_MAPPED, err);
    if (rc < 0) goto done;
    if ((images.n && !m->image) || (texts.n && !m->text)) {
        rc = error_set(err, ERR_USAGE, "%s has no %s tower", model_dir,
                       images.n && !m->image ? "image" : "text");
        goto done;
    }
    if (images.n) rc = pack(m->image, err);
    if (rc == 0 && texts.n) rc = pack(m->text, err);
    if (rc < 0) goto done;
    int dim = m->projection_dim;
    rows = memory_array((uint64_t)n, (uint64_t)dim * sizeof *rows, MEMORY_MAX_TENSOR, err);
    norms = memory_array((uint64_t)n, sizeof *norms, MEMORY_MAX_SMALL, err);
    if (!rows || !norms) {
        rc = ERR_NOMEM;
        goto done;
    }
    if (images.n) rc = embed_files(m, rows, norms, err);
    if (rc == 0 && texts.n)
        rc = embed_strings(m, rows + (size_t)images.n * (size_t)dim, norms + images.n, err);
    for (int i = 0; raw && rc == 0 && i < n; i++)
        for (int d = 0; d < dim; d++) rows[(size_t)i * (size_t)dim + (size_t)d] *= norms[i];
    if (rc < 0) goto done;
    if (npy) rc = write_npy(rows, n, dim, err);
    if (rc == 0 && option_globals.json) rc = print_json(self, rows, n, dim, err);
    for (int i = 0; rc == 0 && !npy && !option_globals.json && i < n; i++)
        for (int d = 0; d < dim; d++)
            printf("%.9g%c", (double)rows[(size_t)i * (size_t)dim + (size_t)d],
                   d + 1 < dim ? ' ' : '\n');
done:
    memory_free(rows);
    memory_free(norms);
    model_free(m);
    return rc;
}

struct command cmd_embed = {
    .name = "embed",
    .summary = "Print unit embeddings of pictures and texts by a teacher's or a student's folder",
    .usage = "--model DIR [--image FILE]... [--text STRING]...",
    .min_positional = 0,
    .max_positional = 0,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
