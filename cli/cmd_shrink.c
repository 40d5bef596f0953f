/* clipstill shrink: an initial student out of the teacher's weights. */
#include "cli/command.h"
#include "cli/progress.h"
#include "train/shrink.h"

static struct shrink_options o;
static bool no_prune;

static const struct option options[] = {
    {"teacher", 0, OPTION_STRING, "DIR", "the teacher's Hugging Face folder", 0, 0, NULL,
     &o.teacher},
    {"out", 'o', OPTION_STRING, "DIR", "where the student goes", 0, 0, NULL, &o.out},
    {"image-arch", 0, OPTION_STRING, "ARCH",
     "vit:layers=6,width=256,...; absent keys are the teacher's", 0, 0, NULL, &o.image_arch},
    {"text-arch", 0, OPTION_STRING, "ARCH",
     "text:layers=4,embed=128,...; absent keys are the teacher's", 0, 0, NULL, &o.text_arch},
    {"keep-vocab", 0, OPTION_STRING, "FILE",
     "texts, one a line, whose pieces stay in the vocabulary", 0, 0, NULL, &o.keep_vocab},
    {"no-prune", 0, OPTION_FLAG, NULL, "keep the teacher's whole vocabulary", 0, 0, NULL,
     &no_prune},
    {"no-image", 0, OPTION_FLAG, NULL, "text tower only", 0, 0, NULL, &o.no_image},
    {"no-text", 0, OPTION_FLAG, NULL, "image tower only", 0, 0, NULL, &o.no_text},
    {"seed", 0, OPTION_COUNT, "N", "of what cannot be inherited", 0, 0, NULL, &o.seed},
};

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    if (!o.teacher || !o.out)
        return error_set(err, ERR_USAGE, "shrink needs --teacher DIR and --out DIR");
    o.cache = no_prune ? NULL : cache;
    struct shrink_result r = {0};
    int rc = shrink_run(&o, progress_start(), &r, err);
    return command_end_training(self, cache, o.out, "an initial student lies in %s\n", r.summary,
                                rc, err);
}

static void defaults(void)
{
    o.seed = 1;
}

struct command cmd_shrink = {
    .name = "shrink",
    .summary = "Make an initial student out of the teacher's own weights, with a pruned vocabulary",
    .usage = "CACHE --teacher DIR --out DIR",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
