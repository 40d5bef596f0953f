/* clipstill align: stage 2, symmetric InfoNCE brings the two students together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/training.h"
#include "train/align.h"

#define MAX_SOURCES 64

static struct align_options o;
static const char *numerics, *freeze_image, *log_scale;
static struct option_list languages, sources;
static uint64_t pixel_mb;
static bool keep_last;

static const struct option options[] = {
    {"out", 'o', OPTION_STRING, "DIR", "where the student goes", 0, 0, NULL, &o.out},
    {"init", 0, OPTION_STRING, "random|DIR", "a student's folder (distill's or shrink's)", 0, 0,
     NULL, &o.init},
    {"image-arch", 0, OPTION_STRING, "ARCH", "with --init random: vit-tiny, mobilevit-xs, ...", 0,
     0, NULL, &o.image_arch},
    {"text-arch", 0, OPTION_STRING, "ARCH", "with --init random: text-tiny, text:width=256,...", 0,
     0, NULL, &o.text_arch},
    {"freeze-image", 0, OPTION_STRING, "tower|SET",
     "leave the image tower as it is, or let a set's cached features stand for the pictures", 0, 0,
     NULL, &freeze_image},
    {"freeze-text", 0, OPTION_FLAG, NULL, "leave the text tower as it is", 0, 0, NULL,
     &o.freeze_text},
    {"weight-contrast", 0, OPTION_NUMBER, "W", "weight of symmetric InfoNCE", 0, 1e6, NULL,
     &o.weight_contrast},
    {"weight-keep", 0, OPTION_NUMBER, "W", "weight of staying with the cached teacher embeddings",
     0, 1e6, NULL, &o.weight_keep},
    {"weight-similarity", 0, OPTION_NUMBER, "W",
     "weight of the cached teacher's similarities (of its pictures alone where it has no texts)", 0,
     1e6, NULL, &o.weight_similarity},
    {"log-scale", 0, OPTION_STRING, "X",
     "logarithm of the first temperature; the teacher's, or ln(1/0.07)", 0, 0, NULL, &log_scale},
    {"fixed-scale", 0, OPTION_FLAG, NULL, "do not learn the temperature", 0, 0, NULL,
     &o.fixed_scale},
    {"multi-positive", 0, OPTION_FLAG, NULL,
     "linked records in a batch are positives instead of masked", 0, 0, NULL, &o.multi_positive},
    {"lang", 0, OPTION_LIST, "TAG", "captions of these languages only", 0, 0, NULL, &languages},
    {"source-weight", 0, OPTION_LIST, "NAME=W", "how often pairs of a source are drawn", 0, 0, NULL,
     &sources},
    {"tokenizer", 0, OPTION_STRING, "FILE",
     "a SentencePiece model, when the cache has no teacher's", 0, 0, NULL, &o.tokenizer},
    {"keep-vocab", 0, OPTION_STRING, "FILE",
     "texts, one a line, whose pieces stay in the vocabulary", 0, 0, NULL, &o.keep_vocab},
    {"vocab-size", 0, OPTION_INT, "N",
     "pieces of a model trained on the captions when there is no other", 100, 500000, NULL,
     &o.vocab_size},
    {"epochs", 0, OPTION_INT, "N", "epochs", 1, 1e6, NULL, &o.epochs},
    {"max-steps", 0, OPTION_COUNT, "N", "steps; 0 = no limit", 0, 0, NULL, &o.max_steps},
    {"batch", 0, OPTION_INT, "N", "pairs a step", 2, 65536, NULL, &o.batch},
    {"lr", 0, OPTION_NUMBER, "R", "peak learning rate", 0, 10, NULL, &o.lr},
    {"lr-image", 0, OPTION_NUMBER, "F", "factor on the image tower's rate", 0, 1000, NULL,
     &o.lr_image},
    TRAINING_OPTIONS(o, numerics, pixel_mb, keep_last),
};

/* NAME=W words to two arrays. */
static int parse_sources(const char **names, double *weights, struct error *err)
{
    if (sources.n > MAX_SOURCES)
        return error_set(err, ERR_USAGE, "--source-weight is given %d times, at most %d are taken",
                         sources.n, MAX_SOURCES);
    for (int i = 0; i < sources.n; i++) {
        char *equal = strrchr(sources.items[i], '='), *end = NULL;
        double w = equal ? strtod(equal + 1, &end) : -1;
        if (!equal || equal == sources.items[i] || end == equal + 1 || *end ||
            !(w >= 0 && w <= 1e6))
            return error_set(err, ERR_USAGE, "--source-weight takes NAME=W with W >= 0, not '%s'",
                             sources.items[i]);
        *equal = 0; /* the list's items are copies of our own */
        names[i] = sources.items[i];
        weights[i] = w;
    }
    o.source_names = names;
    o.source_weights = weights;
    o.n_source_weights = (size_t)sources.n;
    return 0;
}

static int run(const struct command *self, struct error *err)
{
    const char *names[MAX_SOURCES];
    double weights[MAX_SOURCES];
    if (!o.out) return error_set(err, ERR_USAGE, "align needs --out DIR, where the student goes");
    int rc = parse_sources(names, weights, err);
    if (rc < 0) return rc;
    if (log_scale) {
        char *end;
        o.log_scale = strtod(log_scale, &end);
        if (!*log_scale || *end || !(fabs(o.log_scale) < 20))
            return error_set(err, ERR_USAGE, "--log-scale takes a number, not '%s'", log_scale);
    }
    o.cache = self->positional[0];
    o.languages = languages.items;
    o.n_languages = (size_t)languages.n;
    o.freeze_image = freeze_image && !strcmp(freeze_image, "tower");
    o.freeze_image_set = o.freeze_image ? NULL : freeze_image;
    o.keep_best = !keep_last;
    o.numerics = command_numerics(numerics);
    o.pixel_bytes = pixel_mb << 20;
    struct align_result r = {0};
    rc = align_run(&o, progress_start(), &r, err);
    return command_end_training(self, o.cache, o.out,
                                r.was_done ? "%s is finished already: nothing to do\n"
                                           : "the aligned student lies in %s\n",
                                r.summary, rc, err);
}

static void defaults(void)
{
    o = align_options_default();
    if (!o.init) o.init = "random";
    numerics = "f32";
    keep_last = !o.keep_best;
    pixel_mb = o.pixel_bytes ? o.pixel_bytes >> 20 : 2048;
}

struct command cmd_align = {
    .name = "align",
    .summary = "Stage 2: contrastive learning on image-text pairs brings the two students together",
    .usage = "CACHE --init DIR --out DIR",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
