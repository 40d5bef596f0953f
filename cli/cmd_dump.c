/* clipstill dump: the canonical text of a cache, equal for equal content. */
#include "cli/command.h"
#include "cli/keyof.h"
#include "store/featureset.h"
#include "store/memory.h"

static bool quarantine, no_features;

static const struct option options[] = {
    {"quarantine", 0, OPTION_FLAG, NULL, "only the rejects, one JSON object a line", 0, 0, NULL,
     &quarantine},
    {"no-features", 0, OPTION_FLAG, NULL, "the corpus without feature sets", 0, 0, NULL,
     &no_features},
};

static int emit(void *context, const char *line)
{
    (void)context;
    return puts(line) < 0 ? ERR_IO : 0;
}

static int emit_reject(void *context, uint64_t number, const char *line)
{
    (void)number;
    return emit(context, line);
}

static int dump_sets(const char *cache, struct corpus *c, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = featureset_list(cache, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct featureset *fs = NULL;
        rc = featureset_open(&fs, cache, names[i], FEATURESET_READ, err);
        if (rc == 0) {
            struct keyof k = {c, featureset_spec(fs)->tower == TOWER_TEXT};
            rc = featureset_dump(fs, keyof_number, emit, &k, err);
        }
        featureset_close(fs);
    }
    memory_free(names);
    return rc;
}

static int run(const struct command *self, struct error *err)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, self->positional[0], CORPUS_READ, err);
    if (rc == 0 && quarantine) rc = corpus_each_reject(c, emit_reject, NULL, err);
    if (rc == 0 && !quarantine) rc = corpus_dump(c, emit, NULL, err);
    if (rc == 0 && !quarantine && !no_features) rc = dump_sets(self->positional[0], c, err);
    corpus_close(c);
    return rc;
}

struct command cmd_dump = {
    .name = "dump",
    .summary = "Print a cache as canonical text, sorted by key: equal content, equal text",
    .usage = "CACHE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
