/* clipstill eval: teacher and students judged on the same records. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "train/evaluate.h"

static struct evaluate_options o;
static struct option_list models, by, metrics;
static const char *split, *numerics;

static const struct option options[] = {
    {"model", 0, OPTION_REPEAT, "DIR", "a student's folder", 0, 0, NULL, &models},
    {"split", 0, OPTION_CHOICE, "NAME", "pairs to judge on", 0, 0, "train|val|test", &split},
    {"by", 0, OPTION_LIST, "WHAT", "groups of retrieval: lang, source, label; lang when not given",
     0, 0, NULL, &by},
    {"knn", 0, OPTION_INT, "K", "accuracy of the K nearest train pictures; 0 = none", 0, 1000, NULL,
     &o.knn},
    {"image-set", 0, OPTION_STRING, "SET",
     "the teacher's image features; image.final when it exists", 0, 0, NULL, &o.image_set},
    {"text-set", 0, OPTION_STRING, "SET", "the teacher's text features; text.final when it exists",
     0, 0, NULL, &o.text_set},
    {"no-retrieval", 0, OPTION_FLAG, NULL, "leave retrieval out", 0, 0, NULL, &o.no_retrieval},
    {"no-zero-shot", 0, OPTION_FLAG, NULL, "leave zero-shot classification out", 0, 0, NULL,
     &o.no_zero_shot},
    {"metric", 0, OPTION_LIST, "NAME",
     "tables to print: MR, 't2i R@1', top-1, 5-NN, ...; all when not given", 0, 0, NULL, &metrics},
    {"numerics", 0, OPTION_CHOICE, "HOW", "arithmetic of the students' matrix products", 0, 0,
     "auto|f32|bf16", &numerics},
    {"seed", 0, OPTION_COUNT, "N", "of the bootstrap intervals", 0, 0, NULL, &o.seed},
};

static int choose_groups(struct error *err)
{
    if (by.n) o.by_language = false;
    for (int i = 0; i < by.n; i++) {
        if (!strcmp(by.items[i], "lang"))
            o.by_language = true;
        else if (!strcmp(by.items[i], "source"))
            o.by_source = true;
        else if (!strcmp(by.items[i], "label"))
            o.by_label = true;
        else
            return error_set(err, ERR_USAGE, "--by takes lang, source and label, not '%s'",
                             by.items[i]);
    }
    return 0;
}

static int run(const struct command *self, struct error *err)
{
    struct json *answer = NULL;
    o.cache = self->positional[0];
    o.models = models.items;
    o.n_models = (size_t)models.n;
    o.split = !strcmp(split, "train") ? SPLIT_TRAIN
              : !strcmp(split, "val") ? SPLIT_VAL
                                      : SPLIT_TEST;
    o.numerics = command_numerics(numerics);
    int rc = choose_groups(err);
    if (rc == 0) rc = evaluate_run(&o, progress_start(), &answer, err);
    command_log_run(self, o.cache, answer ? json_clone(answer) : json_new_object(), rc);
    if (rc < 0) return rc;
    if (option_globals.json) return command_print_json(self, answer, err);
    printf("%s split: %" PRId64 " pictures, %" PRId64 " captions\n", split,
           json_int(json_get(answer, "n_images"), 0), json_int(json_get(answer, "n_captions"), 0));
    results_print(json_get(answer, "rows"), &metrics, stdout);
    json_free(answer);
    return 0;
}

static void defaults(void)
{
    o = evaluate_options_default();
    split = "test";
    numerics = "f32";
}

struct command cmd_eval = {
    .name = "eval",
    .summary = "Judge teacher and students: multilingual retrieval, zero-shot classification, k-NN",
    .usage = "CACHE [--model DIR]...",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes = "Systems: teacher (cached features), 'teacher NAME' for each further one (sets "
             "NAME.*, on the "
             "records it has); each\n"
             "DIR; 'DIR > teacher' (the student's pictures against the teacher's texts) and "
             "'teacher > DIR'. Without --model the\n"
             "tables say in which languages the teachers are weak. Ties count against the model. "
             "--json has n, interval and\nchance of every number.",
    .defaults = defaults,
    .run = run,
};
