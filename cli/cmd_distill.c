/* clipstill distill: stage 1, students learn the teacher's features from the cache. */
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/training.h"
#include "train/distill.h"

static struct distill_options o;
static const char *loss, *numerics;
static struct option_list sets, languages;
static uint64_t pixel_mb;
static bool keep_last;

static const struct option options[] = {
    {"out", 'o', OPTION_STRING, "DIR", "where the student goes", 0, 0, NULL, &o.out},
    {"init", 0, OPTION_STRING, "random|DIR", "initial weights", 0, 0, NULL, &o.init},
    {"image-arch", 0, OPTION_STRING, "ARCH",
     "vit-tiny, mobilevit-xs:size=160, vit:width=192,layers=6,...", 0, 0, NULL, &o.image_arch},
    {"text-arch", 0, OPTION_STRING, "ARCH", "text-tiny, text:width=256,layers=4,embed=128,...", 0,
     0, NULL, &o.text_arch},
    {"no-image", 0, OPTION_FLAG, NULL, "text tower only", 0, 0, NULL, &o.no_image},
    {"no-text", 0, OPTION_FLAG, NULL, "image tower only", 0, 0, NULL, &o.no_text},
    {"sets", 0, OPTION_LIST, "SET", "feature sets to learn from; all of the cache when not given",
     0, 0, NULL, &sets},
    {"no-intermediate", 0, OPTION_FLAG, NULL, "final embeddings only", 0, 0, NULL,
     &o.no_intermediate},
    {"loss", 0, OPTION_CHOICE, "HOW",
     "features of the teacher, or labels (a baseline without teacher)", 0, 0, "features|label",
     &loss},
    {"weight-final", 0, OPTION_NUMBER, "W", "weight of 1 - cos on the final embedding", 0, 1e6,
     NULL, &o.weight_final},
    {"weight-feature", 0, OPTION_NUMBER, "W", "weight of SmoothL1 on adapted intermediate features",
     0, 1e6, NULL, &o.weight_feature},
    {"weight-label", 0, OPTION_NUMBER, "W",
     "weight of a classifier of the pairs' labels beside the features; dropped at the end", 0, 1e6,
     NULL, &o.weight_label},
    {"beta", 0, OPTION_NUMBER, "B", "SmoothL1 is quadratic below this", 1e-6, 1e6, NULL, &o.beta},
    {"lang", 0, OPTION_LIST, "TAG", "captions of these languages only", 0, 0, NULL, &languages},
    {"keep-vocab", 0, OPTION_STRING, "FILE",
     "texts, one a line, whose pieces stay in the vocabulary", 0, 0, NULL, &o.keep_vocab},
    {"tokenizer", 0, OPTION_STRING, "FILE",
     "a SentencePiece model to prune instead of the teacher's", 0, 0, NULL, &o.tokenizer},
    {"epochs-image", 0, OPTION_INT, "N", "epochs of the image tower", 1, 1e6, NULL,
     &o.epochs_image},
    {"epochs-text", 0, OPTION_INT, "N", "epochs of the text tower", 1, 1e6, NULL, &o.epochs_text},
    {"max-steps", 0, OPTION_COUNT, "N", "steps a tower; 0 = no limit", 0, 0, NULL, &o.max_steps},
    {"batch-image", 0, OPTION_INT, "N", "pictures a step", 1, 65536, NULL, &o.batch_image},
    {"batch-text", 0, OPTION_INT, "N", "captions a step", 1, 65536, NULL, &o.batch_text},
    {"lr-image", 0, OPTION_NUMBER, "R", "peak learning rate of the image tower", 0, 10, NULL,
     &o.lr_image},
    {"lr-text", 0, OPTION_NUMBER, "R", "peak learning rate of the text tower", 0, 10, NULL,
     &o.lr_text},
    TRAINING_OPTIONS(o, numerics, pixel_mb, keep_last),
};

static int run(const struct command *self, struct error *err)
{
    if (!o.out) return error_set(err, ERR_USAGE, "distill needs --out DIR, where the student goes");
    o.cache = self->positional[0];
    o.sets = sets.items;
    o.n_sets = (size_t)sets.n;
    o.languages = languages.items;
    o.n_languages = (size_t)languages.n;
    o.loss = !strcmp(loss, "label") ? DISTILL_LABEL : DISTILL_FEATURES;
    o.keep_best = !keep_last;
    o.numerics = command_numerics(numerics);
    o.pixel_bytes = pixel_mb << 20;
    struct distill_result r = {0};
    int rc = distill_run(&o, progress_start(), &r, err);
    return command_end_training(self, o.cache, o.out,
                                r.was_done ? "%s is finished already: nothing to do\n"
                                           : "the distilled student lies in %s\n",
                                r.summary, rc, err);
}

static void defaults(void)
{
    o = distill_options_default();
    if (!o.init) o.init = "random";
    loss = "features";
    numerics = "f32";
    keep_last = !o.keep_best;
    pixel_mb = o.pixel_bytes ? o.pixel_bytes >> 20 : 2048;
}

struct command cmd_distill = {
    .name = "distill",
    .summary = "Stage 1: an image and a text student learn the teacher's features from the cache",
    .usage = "CACHE --out DIR",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
