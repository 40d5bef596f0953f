/* clipstill bench: latency at batch 1, peak memory and bytes on disk, models side by side. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "train/latency.h"

/* A few captions of natural length in several scripts, for timing only. */
static const char *const sample_texts[] = {
    "a photo of a red apple beside a small dog on the grass",
    "一只小狗坐在红苹果旁边的草地上",
    "ein Foto von einem roten Apfel neben einem kleinen Hund",
    "صورة لتفاحة حمراء بجانب كلب صغير",
    "фотография красного яблока рядом с маленькой собакой",
    "una foto de una manzana roja junto a un perro",
};

static struct option_list models;
static const char *numerics = "f32";
static int n_runs = 200;

static const struct option options[] = {
    {"model", 0, OPTION_REPEAT, "DIR",
     "a teacher's or a student's folder; the first is what the others are compared with", 0, 0,
     NULL, &models},
    {"runs", 'n', OPTION_INT, "N", "timed runs a tower", 20, 100000, NULL, &n_runs},
    {"numerics", 0, OPTION_CHOICE, "HOW", "arithmetic of matrix products", 0, 0,
     "auto|f32|bf16|int8", &numerics},
};

static void print_times(const struct latency_times *t, const struct latency_times *first)
{
    if (t->n == 0)
        printf(" %22s", "-");
    else if (first && first->n)
        printf(" %7.2f %7.2f %5.1fx ", t->p50_ms, t->p95_ms, first->p50_ms / t->p50_ms);
    else
        printf(" %7.2f %7.2f       ", t->p50_ms, t->p95_ms);
}

static void add_times(struct json *j, const char *tower, const struct latency_times *t)
{
    struct json *times = json_new_object();
    if (t->n == 0) {
        json_free(times);
        return;
    }
    json_set_int(times, "runs", t->n);
    json_set_number(times, "p50_ms", t->p50_ms);
    json_set_number(times, "p95_ms", t->p95_ms);
    json_set(j, tower, times);
}

static struct json *as_json(const char *dir, const struct latency *l)
{
    struct json *j = json_new_object();
    json_set_string(j, "model", dir);
    add_times(j, "image", &l->image);
    add_times(j, "text", &l->text);
    json_set_int(j, "image_parameters", (int64_t)l->n_image_parameters);
    json_set_int(j, "text_parameters", (int64_t)l->n_text_parameters);
    json_set_int(j, "peak_bytes", (int64_t)l->peak_bytes);
    json_set_int(j, "disk_bytes", (int64_t)l->disk_bytes);
    return j;
}

static int run(const struct command *self, struct error *err)
{
    struct json *list = json_new_array(), *answer = NULL;
    struct latency first, l;
    int rc = models.n ? 0 : error_set(err, ERR_USAGE, "bench needs --model DIR, once or more");
    if (rc == 0 && !option_globals.json)
        printf("batch 1, one thread, %s, %d runs; ms p50, p95, times the first model's "
               "speed\n%-28s %22s %22s %9s %9s %9s\n",
               numerics, n_runs, "", "image", "text", "peak MB", "disk MB", "M params");
    for (int i = 0; i < models.n && rc == 0; i++) {
        rc = latency_measure(models.items[i], command_numerics(numerics), n_runs, sample_texts,
                             (int)(sizeof sample_texts / sizeof *sample_texts), &l, err);
        if (rc < 0) break;
        if (i == 0) first = l;
        json_push(list, as_json(models.items[i], &l));
        if (option_globals.json) continue;
        printf("%-28s", models.items[i]);
        print_times(&l.image, i ? &first.image : NULL);
        print_times(&l.text, i ? &first.text : NULL);
        printf(" %9.1f %9.2f %9.2f\n", (double)l.peak_bytes / 1e6, (double)l.disk_bytes / 1e6,
               (double)(l.n_image_parameters + l.n_text_parameters) / 1e6);
        fflush(stdout);
    }
    if (rc == 0 && option_globals.json) {
        answer = json_new_object();
        json_set_string(answer, "numerics", numerics);
        json_set(answer, "models", list);
        return command_print_json(self, answer, err);
    }
    json_free(list);
    return rc;
}

struct command cmd_bench = {
    .name = "bench",
    .summary = "Measure latency at batch 1, peak memory and bytes on disk of model folders",
    .usage = "--model DIR [--model DIR]...",
    .min_positional = 0,
    .max_positional = 0,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
