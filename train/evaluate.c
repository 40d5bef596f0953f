/* `clipstill eval`; see evaluate.h. Everything is reduced to two embedding matrices a system over
 * the rows of one evalset (train/judge.h); a crossed system takes one matrix from each of two. */
#include "train/evaluate.h"

#include <stdio.h>
#include <string.h>

#include "featurize/model.h"
#include "ingest/leaks.h"
#include "store/featureset.h"
#include "store/memory.h"
#include "train/judge.h"

#define MAX_TEACHERS 16

/* One teacher of the cache: its final sets, the records it has, its embeddings of them. */
struct master {
    char name[FEATURESET_NAME_MAX + 16]; /* "teacher", "teacher m18" */
    struct featureset *images, *texts;   /* NULL when the cache has none */
    struct evalset *set;
    struct evalset_embeddings own;
};

/* What one run holds. */
struct evaluation {
    const struct evaluate_options *o;
    struct corpus *corpus;
    struct prompts prompts;
    struct master teacher[MAX_TEACHERS]; /* the first defines the students' space */
    int n_teachers;
    /* records that any teacher has, which students are judged on; teacher[0].set when it is the only one */
    struct evalset *set;
    struct json *systems; /* borrowed from the answer */
    struct judge judge;
};

struct evaluate_options evaluate_options_default(void)
{
    return (struct evaluate_options){.split = SPLIT_TEST, .by_language = true, .seed = 1};
}

static void add_system(struct evaluation *e, const char *name, const struct model *m)
{
    struct json *j = json_new_object();
    json_set_string(j, "name", name);
    if (m && m->image)
        json_set_int(j, "image_parameters", (int64_t)params_count(&m->image->params));
    if (m && m->text) json_set_int(j, "text_parameters", (int64_t)params_count(&m->text->params));
    json_push(e->systems, j);
}

static int judge_teacher(struct evaluation *e, const struct master *t, struct error *err)
{
    struct judged s = {t->name, t->own.image, t->own.text, t->own.dim};
    e->judge.set = t->set;
    if (s.image || s.text) add_system(e, s.name, NULL);
    int rc = judge_pair(&e->judge, &s, err);
    if (rc == 0) rc = judge_knn(&e->judge, &s, err);
    if (rc < 0 && t != e->teacher) error_prefix(err, "%s: ", t->name);
    return rc;
}

/* The student's pictures against the first teacher's texts, and the other way round, on its records. */
static int judge_crossed(struct evaluation *e, const char *dir,
                         const struct evalset_embeddings *student, struct error *err)
{
    const struct master *t = e->teacher;
    struct evalset_embeddings own = {0};
    char crossed[2][600];
    if (t->own.dim != student->dim) return 0;
    int rc = evalset_take(e->set, student, t->set, &own, err);
    e->judge.set = t->set;
    snprintf(crossed[0], sizeof crossed[0], "%.500s > teacher", dir);
    snprintf(crossed[1], sizeof crossed[1], "teacher > %.500s", dir);
    struct judged out = {crossed[0], own.image, t->own.text, own.dim};
    struct judged in = {crossed[1], t->own.image, own.text, own.dim};
    if (rc == 0 && out.image && out.text) rc = judge_pair(&e->judge, &out, err);
    if (rc == 0 && in.image && in.text) rc = judge_pair(&e->judge, &in, err);
    evalset_release(&own);
    return rc;
}

/* A student alone, and crossed with the teacher where both live in spaces of one dimension. */
static int judge_model(struct evaluation *e, const char *dir, struct error *err)
{
    struct model *m = NULL;
    struct evalset_embeddings own = {0};
    int rc = model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, err);
    if (rc == 0 && m->image) rc = tower_pack(m->image, e->o->numerics, err);
    if (rc == 0 && m->text) rc = tower_pack(m->text, e->o->numerics, err);
    if (rc == 0) rc = evalset_student(e->set, m, e->o->numerics, &own, err);
    if (rc < 0) goto done;
    add_system(e, dir, m);
    struct judged s = {dir, own.image, own.text, own.dim};
    e->judge.set = e->set;
    rc = judge_pair(&e->judge, &s, err);
    if (rc == 0) rc = judge_knn(&e->judge, &s, err);
    if (rc == 0) rc = judge_crossed(e, dir, &own, err);
done:
    evalset_release(&own);
    model_free(m);
    if (rc < 0) error_prefix(err, "%s: ", dir);
    return rc;
}

/* The set named, or the default one where it exists. */
static int open_set(const char *cache, const char *name, const char *otherwise,
                    enum featureset_tower tower, struct featureset **fs, struct error *err)
{
    int rc = featureset_open(fs, cache, name ? name : otherwise, FEATURESET_READ,
                             name ? err : NULL);
    if (rc == ERR_NOT_FOUND && !name) return 0;
    if (rc < 0 && !name) return featureset_open(fs, cache, otherwise, FEATURESET_READ, err);
    if (rc == 0 && featureset_spec(*fs)->tower != tower)
        return error_set(err, ERR_USAGE, "the set '%s' is of the %s tower",
                         featureset_spec(*fs)->name, tower == TOWER_IMAGE ? "text" : "image");
    return rc;
}

/* A further teacher, where it has both sets PREFIX.image.final and PREFIX.text.final. */
static int open_further(struct evaluation *e, const char *prefix, struct error *err)
{
    if (e->n_teachers == MAX_TEACHERS)
        return error_set(err, ERR_USAGE, "%s: more than %d teachers; name two sets", e->o->cache,
                         MAX_TEACHERS);
    struct master *t = &e->teacher[e->n_teachers++];
    char image[FEATURESET_NAME_MAX + 1], text[FEATURESET_NAME_MAX + 1];
    snprintf(t->name, sizeof t->name, "teacher %s", prefix);
    snprintf(image, sizeof image, "%.60s.image.final", prefix);
    snprintf(text, sizeof text, "%.60s.text.final", prefix);
    int rc = open_set(e->o->cache, NULL, image, TOWER_IMAGE, &t->images, err);
    if (rc == 0) rc = open_set(e->o->cache, NULL, text, TOWER_TEXT, &t->texts, err);
    if (rc < 0 || (t->images && t->texts)) return rc;
    featureset_close(t->images);
    featureset_close(t->texts);
    memset(t, 0, sizeof *t);
    e->n_teachers--;
    return 0;
}

/* The teacher of the sets that were named, or all of the cache. */
static int open_teachers(struct evaluation *e, struct error *err)
{
    static const char tail[] = ".image.final";
    const struct evaluate_options *o = e->o;
    struct master *first = &e->teacher[e->n_teachers++];
    char **names = NULL;
    size_t n = 0;
    snprintf(first->name, sizeof first->name, "teacher");
    int rc = open_set(o->cache, o->image_set, "image.final", TOWER_IMAGE, &first->images, err);
    if (rc == 0) rc = open_set(o->cache, o->text_set, "text.final", TOWER_TEXT, &first->texts, err);
    if (rc < 0 || o->image_set || o->text_set) return rc;
    rc = featureset_list(o->cache, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t length = strlen(names[i]), cut = sizeof tail - 1;
        if (length <= cut || strcmp(names[i] + length - cut, tail)) continue;
        names[i][length - cut] = '\0';
        rc = open_further(e, names[i], err);
    }
    memory_free(names);
    return rc;
}

/* The records of a judgement by n teachers. */
static int open_records(struct evaluation *e, const struct master *t, int n, struct evalset **set,
                        struct error *err)
{
    struct featureset *images[MAX_TEACHERS], *texts[MAX_TEACHERS];
    struct evalset_sets sets = {.images = images, .texts = texts};
    for (int i = 0; i < n; i++) {
        if (t[i].images) images[sets.n_images++] = t[i].images;
        if (t[i].texts) texts[sets.n_texts++] = t[i].texts;
    }
    return evalset_open(set, e->corpus, e->o->split, &sets, e->prompts.caption, e->prompts.n,
                        e->o->knn > 0, err);
}

static int open_all(struct evaluation *e, struct error *err)
{
    const struct evaluate_options *o = e->o;
    int rc = corpus_open(&e->corpus, o->cache, CORPUS_READ, err);
    if (rc == 0) rc = open_teachers(e, err);
    if (rc == 0 && !o->no_zero_shot) rc = prompts_open(&e->prompts, e->corpus, err);
    for (int i = 0; i < e->n_teachers && rc == 0; i++) {
        struct master *t = &e->teacher[i];
        rc = open_records(e, t, 1, &t->set, err);
        if (rc == 0) rc = evalset_teacher(t->set, t->images, t->texts, &t->own, err);
    }
    e->set = e->teacher[0].set;
    if (rc == 0 && e->n_teachers > 1) rc = open_records(e, e->teacher, e->n_teachers, &e->set, err);
    if (rc == 0 && e->set->n_pairs == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: no pair of the judged split has features: is the split right, and has "
                       "`featurize` run?",
                       o->cache);
    return rc;
}

static void close_all(struct evaluation *e)
{
    if (e->set != e->teacher[0].set) evalset_free(e->set);
    for (int i = 0; i < e->n_teachers; i++) {
        struct master *t = &e->teacher[i];
        evalset_release(&t->own);
        evalset_free(t->set);
        featureset_close(t->images);
        featureset_close(t->texts);
    }
    prompts_release(&e->prompts);
    corpus_close(e->corpus);
}

/* Pictures of the judged split that have a near-duplicate to train on: they flatter the scores. */
static int count_leaks(struct evaluation *e, const struct report *report, struct json *answer,
                       struct error *err)
{
    struct leaks l;
    if (e->o->split == SPLIT_TRAIN) return 0;
    int rc = leaks_open(&l, e->corpus, false, 0, err);
    if (rc < 0) return rc;
    uint32_t n_judged = 0, n_leaking = 0;
    for (uint32_t i = 0; i < l.n_images; i++) {
        if (!(l.splits[i] & 1 << e->o->split)) continue;
        n_judged++;
        n_leaking += leaks_reaches(&l, i, SPLIT_TRAIN);
    }
    leaks_close(&l);
    json_set_int(answer, "n_leaking", n_leaking);
    if (n_leaking)
        report_warn(
            report,
            "%u of %u pictures of this split have a near-duplicate in train, which flatters "
            "the scores; `clipstill stat --leaks` lists them, `retag --assign-splits` mends it",
            n_leaking, n_judged);
    return 0;
}

static void describe(const struct evaluation *e, const struct report *report, struct json *answer)
{
    static const char *const split[SPLIT_N] = {"train", "val", "test"};
    json_set_string(answer, "split", split[e->o->split]);
    json_set_int(answer, "n_images", e->set->n_images);
    json_set_int(answer, "n_captions", e->set->n_captions);
    json_set_int(answer, "n_left_out", (int64_t)e->set->n_left_out);
    if (e->set->n_left_out)
        report_warn(
            report,
            "%llu pairs of the split are left out: the cache has no teacher features for them",
            (unsigned long long)e->set->n_left_out);
}

int evaluate_run(const struct evaluate_options *o, const struct report *report,
                 struct json **answer, struct error *err)
{
    struct json *j = json_new_object();
    struct evaluation e = {.o = o, .systems = json_new_array()};
    json_set(j, "systems", e.systems);
    e.judge = (struct judge){
        .o = o, .prompts = &e.prompts, .report = report, .rows = json_new_array()};
    json_set(j, "rows", e.judge.rows);
    int rc = open_all(&e, err);
    e.judge.corpus = e.corpus;
    if (rc == 0) describe(&e, report, j);
    if (rc == 0) rc = count_leaks(&e, report, j, err);
    for (int i = 0; i < e.n_teachers && rc == 0; i++) rc = judge_teacher(&e, &e.teacher[i], err);
    for (size_t i = 0; i < o->n_models && rc == 0; i++) {
        report_progress(report, "eval", i, o->n_models, 0, 0);
        rc = report_stopped(report)
                 ? error_set(err, ERR_STOPPED, "stopped before %s was judged", o->models[i])
                 : judge_model(&e, o->models[i], err);
    }
    close_all(&e);
    if (rc < 0) {
        json_free(j);
        return rc;
    }
    *answer = j;
    return 0;
}
