/* `clipstill eval`; see evaluate.h. Everything is reduced to two embedding matrices a system over
 * the rows of one evalset; a crossed system takes one matrix from each of two. */
#include "train/evaluate.h"

#include <stdio.h>
#include <string.h>

#include "featurize/model.h"
#include "ingest/leaks.h"
#include "store/featureset.h"
#include "store/memory.h"
#include "train/evalset.h"
#include "train/knn.h"
#include "train/prompts.h"
#include "train/retrieval.h"
#include "train/zeroshot.h"

/* What one run holds. */
struct evaluation {
    const struct evaluate_options *o;
    struct corpus *corpus;
    struct featureset *images, *texts;
    struct prompts prompts;
    struct evalset *set;
    struct evalset_embeddings teacher;
    struct json *systems, *rows; /* borrowed from the answer */
};

/* One judged system: where its two sides come from. Either may be NULL. */
struct judged {
    const char *name;
    const float *image, *text;
    int dim;
};

struct group {
    enum corpus_name_kind kind;
    uint16_t id;
};

struct evaluate_options evaluate_options_default(void)
{
    return (struct evaluate_options){.split = SPLIT_TEST, .by_language = true, .seed = 1};
}

static bool in_group(const void *context, const struct corpus_pair *p)
{
    const struct group *g = context;
    return g->id == (g->kind == NAME_LANGUAGE ? p->language
                     : g->kind == NAME_SOURCE ? p->source
                                              : p->label);
}

static void add_row(struct evaluation *e, const char *system, const char *task, const char *by,
                    const char *group, const char *metric, const struct measure *m)
{
    struct json *row = json_new_object();
    json_set_string(row, "system", system);
    json_set_string(row, "task", task);
    json_set_string(row, "by", by);
    json_set_string(row, "group", group);
    json_set_string(row, "metric", metric);
    json_set_number(row, "value", m->value);
    json_set_number(row, "low", m->low);
    json_set_number(row, "high", m->high);
    json_set_number(row, "chance", m->chance);
    json_set_int(row, "n", m->n);
    json_push(e->rows, row);
}

static int judge_group(struct evaluation *e, const struct judged *s, const char *by,
                       const struct group *g, struct error *err)
{
    static const char *const direction[RETRIEVAL_DIRECTIONS] = {"t2i", "i2t"};
    struct retrieval r;
    const char *name = corpus_name(e->corpus, g->kind, g->id);
    int rc = retrieval_judge(e->set, in_group, g, s->image, s->text, s->dim, e->o->seed, &r, err);
    if (rc < 0 || r.n_images == 0) return rc;
    for (int d = 0; d < RETRIEVAL_DIRECTIONS; d++) {
        for (int k = 0; k < RETRIEVAL_KS; k++) {
            char metric[24];
            snprintf(metric, sizeof metric, "%s R@%d", direction[d], retrieval_k[k]);
            add_row(e, s->name, "retrieval", by, name, metric, &r.at[d][k]);
        }
    }
    add_row(e, s->name, "retrieval", by, name, "MR", &r.mean_recall);
    return 0;
}

static int judge_retrieval(struct evaluation *e, const struct judged *s, struct error *err)
{
    const struct {
        bool wanted;
        enum corpus_name_kind kind;
        const char *by;
    } kinds[] = {{e->o->by_language, NAME_LANGUAGE, "lang"},
                 {e->o->by_source, NAME_SOURCE, "source"},
                 {e->o->by_label, NAME_LABEL, "label"}};
    if (e->o->no_retrieval || !s->image || !s->text) return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!kinds[i].wanted) continue;
        for (uint16_t id = 0; id < corpus_n_names(e->corpus, kinds[i].kind); id++) {
            struct group g = {kinds[i].kind, id};
            int rc = judge_group(e, s, kinds[i].by, &g, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

/* Prompt vectors of one language, gathered in the order of e->prompts. */
static int judge_language(struct evaluation *e, const struct judged *s, int language,
                          const int32_t *label, struct error *err)
{
    int rc = ERR_NOMEM;
    size_t n = 0, n_all = e->prompts.n;
    float *x = memory_array(n_all, (uint64_t)s->dim * sizeof *x, MEMORY_MAX_TENSOR, err);
    int32_t *class_of = memory_array(n_all, sizeof *class_of, MEMORY_MAX_TENSOR, err);
    if (!x || !class_of) goto done;
    for (size_t i = 0; i < n_all; i++) {
        uint32_t row = e->set->prompt_row[i];
        if (e->prompts.language[i] != language || row == UINT32_MAX) continue;
        memcpy(x + n * (size_t)s->dim, s->text + (size_t)row * (size_t)s->dim,
               (size_t)s->dim * sizeof *x);
        class_of[n++] = e->prompts.class_of[i];
    }
    struct zeroshot z;
    rc = zeroshot_judge(e->set->n_images, s->image, label, (int64_t)n, x, class_of,
                        e->prompts.n_classes, s->dim, e->o->seed, &z, err);
    const char *name = e->prompts.language_name[language];
    if (rc < 0) {
        error_prefix(err, "zero-shot in '%s': ", name);
        goto done;
    }
    add_row(e, s->name, "zero-shot", "lang", name, "top-1", &z.top1);
    add_row(e, s->name, "zero-shot", "lang", name, "top-5", &z.top5);
    add_row(e, s->name, "zero-shot", "lang", name, "mean class", &z.mean_class);
done:
    memory_free(x);
    memory_free(class_of);
    return rc;
}

static int judge_zero_shot(struct evaluation *e, const struct judged *s, struct error *err)
{
    if (e->o->no_zero_shot || e->prompts.n == 0 || !s->image || !s->text) return 0;
    int rc = 0, n_labelled = 0;
    int32_t *label = memory_array(e->set->n_images, sizeof *label, MEMORY_MAX_TENSOR, err);
    if (!label) return ERR_NOMEM;
    for (uint32_t i = 0; i < e->set->n_images; i++) {
        const char *name = e->set->label[i] == CORPUS_NO_NAME
                               ? NULL
                               : corpus_name(e->corpus, NAME_LABEL, e->set->label[i]);
        label[i] = name ? prompts_class(&e->prompts, name) : -1;
        n_labelled += label[i] >= 0;
    }
    for (int l = 0; l < e->prompts.n_languages && n_labelled && rc == 0; l++)
        rc = judge_language(e, s, l, label, err);
    memory_free(label);
    return rc;
}

/* Rows with a label among [begin, end), gathered. Returns their number. */
static int64_t gather_labelled(const struct evalset *set, const float *all, int dim, uint32_t begin,
                               uint32_t end, float *x, uint16_t *label)
{
    int64_t n = 0;
    for (uint32_t i = begin; i < end; i++) {
        if (set->label[i] == CORPUS_NO_NAME) continue;
        memcpy(x + n * dim, all + (size_t)i * (size_t)dim, (size_t)dim * sizeof *x);
        label[n++] = set->label[i];
    }
    return n;
}

static int judge_knn(struct evaluation *e, const struct judged *s, struct error *err)
{
    if (!e->o->knn || !s->image) return 0;
    int rc = ERR_NOMEM, n_labels = corpus_n_names(e->corpus, NAME_LABEL);
    const struct evalset *set = e->set;
    uint32_t n_train_rows = set->n_all_images - set->n_images;
    uint64_t row = (uint64_t)s->dim * sizeof(float);
    float *train = memory_array(n_train_rows, row, MEMORY_MAX_TENSOR, err);
    float *query = memory_array(set->n_images, row, MEMORY_MAX_TENSOR, err);
    float *hit = memory_array(set->n_images, sizeof *hit, MEMORY_MAX_TENSOR, err);
    uint16_t *train_label = memory_array(n_train_rows, sizeof *train_label, MEMORY_MAX_TENSOR, err);
    uint16_t *query_label = memory_array(set->n_images, sizeof *query_label, MEMORY_MAX_TENSOR,
                                         err);
    if (!train || !query || !hit || !train_label || !query_label) goto done;
    int64_t n_query = gather_labelled(set, s->image, s->dim, 0, set->n_images, query, query_label);
    int64_t n_train = gather_labelled(set, s->image, s->dim, set->n_images, set->n_all_images,
                                      train, train_label);
    if (n_train < e->o->knn || n_query == 0) {
        rc = error_set(
            err, ERR_DATA,
            "--knn %d needs labelled pictures: the train split has %lld, the judged split %lld",
            e->o->knn, (long long)n_train, (long long)n_query);
        goto done;
    }
    rc = knn_hits(n_train, train, train_label, n_query, query, query_label, s->dim, e->o->knn,
                  n_labels, hit, err);
    struct measure m;
    char metric[32];
    snprintf(metric, sizeof metric, "%d-NN", e->o->knn);
    if (rc == 0) rc = measure_mean(n_query, hit, NULL, 0, e->o->seed, 1.0 / n_labels, &m, err);
    if (rc == 0) add_row(e, s->name, "knn", "all", "all", metric, &m);
done:
    memory_free(train);
    memory_free(query);
    memory_free(hit);
    memory_free(train_label);
    memory_free(query_label);
    return rc;
}

static int judge_all(struct evaluation *e, const struct judged *s, struct error *err)
{
    int rc = judge_retrieval(e, s, err);
    if (rc == 0) rc = judge_zero_shot(e, s, err);
    return rc;
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

/* A student alone, and crossed with the teacher where both live in spaces of one dimension. */
static int judge_model(struct evaluation *e, const char *dir, struct error *err)
{
    struct model *m = NULL;
    struct evalset_embeddings own = {0};
    char crossed[2][600];
    int rc = model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT, err);
    if (rc == 0 && m->image) rc = tower_pack(m->image, e->o->numerics, err);
    if (rc == 0 && m->text) rc = tower_pack(m->text, e->o->numerics, err);
    if (rc == 0) rc = evalset_student(e->set, m, e->o->numerics, &own, err);
    if (rc < 0) goto done;
    add_system(e, dir, m);
    struct judged s = {dir, own.image, own.text, own.dim};
    rc = judge_all(e, &s, err);
    if (rc == 0) rc = judge_knn(e, &s, err);
    if (rc < 0) goto done;
    bool same_space = e->teacher.dim == own.dim;
    snprintf(crossed[0], sizeof crossed[0], "%.500s > teacher", dir);
    snprintf(crossed[1], sizeof crossed[1], "teacher > %.500s", dir);
    struct judged out = {crossed[0], own.image, e->teacher.text, own.dim};
    struct judged in = {crossed[1], e->teacher.image, own.text, own.dim};
    if (same_space && out.image && out.text) rc = judge_all(e, &out, err);
    if (rc == 0 && same_space && in.image && in.text) rc = judge_all(e, &in, err);
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

static int open_all(struct evaluation *e, struct error *err)
{
    const struct evaluate_options *o = e->o;
    int rc = corpus_open(&e->corpus, o->cache, CORPUS_READ, err);
    if (rc == 0) rc = open_set(o->cache, o->image_set, "image.final", TOWER_IMAGE, &e->images, err);
    if (rc == 0) rc = open_set(o->cache, o->text_set, "text.final", TOWER_TEXT, &e->texts, err);
    if (rc == 0 && !o->no_zero_shot) rc = prompts_open(&e->prompts, e->corpus, err);
    if (rc == 0)
        rc = evalset_open(&e->set, e->corpus, o->split, e->images, e->texts, e->prompts.caption,
                          e->prompts.n, o->knn > 0, err);
    if (rc == 0 && e->set->n_pairs == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: no pair of the judged split has features: is the split right, and has "
                       "`featurize` run?",
                       o->cache);
    return rc;
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

int evaluate_run(const struct evaluate_options *o, const struct report *report,
                 struct json **answer, struct error *err)
{
    static const char *const split[SPLIT_N] = {"train", "val", "test"};
    struct json *j = json_new_object();
    struct evaluation e = {.o = o, .systems = json_new_array(), .rows = json_new_array()};
    json_set(j, "systems", e.systems);
    json_set(j, "rows", e.rows);
    int rc = open_all(&e, err);
    if (rc == 0) rc = evalset_teacher(e.set, &e.teacher, err);
    if (rc < 0) goto done;
    json_set_string(j, "split", split[o->split]);
    json_set_int(j, "n_images", e.set->n_images);
    json_set_int(j, "n_captions", e.set->n_captions);
    json_set_int(j, "n_left_out", (int64_t)e.set->n_left_out);
    if (e.set->n_left_out)
        report_warn(
            report,
            "%llu pairs of the split are left out: the cache has no teacher features for them",
            (unsigned long long)e.set->n_left_out);
    rc = count_leaks(&e, report, j, err);
    if (rc < 0) goto done;
    struct judged teacher = {"teacher", e.teacher.image, e.teacher.text, e.teacher.dim};
    if (teacher.image || teacher.text) add_system(&e, "teacher", NULL);
    rc = judge_all(&e, &teacher, err);
    if (rc == 0) rc = judge_knn(&e, &teacher, err);
    for (size_t i = 0; i < o->n_models && rc == 0; i++) {
        report_progress(report, "eval", i, o->n_models, 0, 0);
        rc = report_stopped(report)
                 ? error_set(err, ERR_STOPPED, "stopped before %s was judged", o->models[i])
                 : judge_model(&e, o->models[i], err);
    }
    if (rc < 0) goto done;
    *answer = j;
    j = NULL;
done:
    json_free(j);
    evalset_release(&e.teacher);
    evalset_free(e.set);
    prompts_release(&e.prompts);
    featureset_close(e.images);
    featureset_close(e.texts);
    corpus_close(e.corpus);
    return rc;
}
