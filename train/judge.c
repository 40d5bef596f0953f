/* Judging one system; see judge.h. */
#include "train/judge.h"

#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "train/knn.h"
#include "train/retrieval.h"
#include "train/zeroshot.h"

struct group {
    enum corpus_name_kind kind;
    uint16_t id;
};

static bool in_group(const void *context, const struct corpus_pair *p)
{
    const struct group *g = context;
    return g->id == (g->kind == NAME_LANGUAGE ? p->language
                     : g->kind == NAME_SOURCE ? p->source
                                              : p->label);
}

static void add_row(struct judge *j, const char *system, const char *task, const char *by,
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
    json_push(j->rows, row);
}

static int judge_group(struct judge *j, const struct judged *s, const char *by,
                       const struct group *g, struct error *err)
{
    static const char *const direction[RETRIEVAL_DIRECTIONS] = {"t2i", "i2t"};
    struct retrieval r;
    const char *name = corpus_name(j->corpus, g->kind, g->id);
    int rc = retrieval_judge(j->set, in_group, g, s->image, s->text, s->dim, j->o->seed, &r, err);
    if (rc < 0 || r.n_images == 0) return rc;
    for (int d = 0; d < RETRIEVAL_DIRECTIONS; d++) {
        for (int k = 0; k < RETRIEVAL_KS; k++) {
            char metric[24];
            snprintf(metric, sizeof metric, "%s R@%d", direction[d], retrieval_k[k]);
            add_row(j, s->name, "retrieval", by, name, metric, &r.at[d][k]);
        }
    }
    add_row(j, s->name, "retrieval", by, name, "MR", &r.mean_recall);
    return 0;
}

static int judge_retrieval(struct judge *j, const struct judged *s, struct error *err)
{
    const struct {
        bool wanted;
        enum corpus_name_kind kind;
        const char *by;
    } kinds[] = {{j->o->by_language, NAME_LANGUAGE, "lang"},
                 {j->o->by_source, NAME_SOURCE, "source"},
                 {j->o->by_label, NAME_LABEL, "label"}};
    if (j->o->no_retrieval || !s->image || !s->text) return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!kinds[i].wanted) continue;
        for (uint16_t id = 0; id < corpus_n_names(j->corpus, kinds[i].kind); id++) {
            struct group g = {kinds[i].kind, id};
            int rc = judge_group(j, s, kinds[i].by, &g, err);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

/* Prompt vectors of one language, gathered in the order of j->prompts-> */
static int judge_language(struct judge *j, const struct judged *s, int language,
                          const int32_t *label, struct error *err)
{
    int rc = 0;
    size_t n = 0, n_missing = 0, n_all = j->prompts->n;
    const char *name = j->prompts->language_name[language];
    float *x = memory_array(n_all, (uint64_t)s->dim * sizeof *x, MEMORY_MAX_TENSOR, err);
    int32_t *class_of = memory_array(n_all, sizeof *class_of, MEMORY_MAX_TENSOR, err);
    if (!x || !class_of) rc = ERR_NOMEM;
    if (rc < 0) goto done;
    for (size_t i = 0; i < n_all; i++) {
        uint32_t row = j->set->prompt_row[i];
        if (j->prompts->language[i] != language) continue;
        n_missing += row == UINT32_MAX;
        if (row == UINT32_MAX) continue;
        memcpy(x + n * (size_t)s->dim, s->text + (size_t)row * (size_t)s->dim,
               (size_t)s->dim * sizeof *x);
        class_of[n++] = j->prompts->class_of[i];
    }
    if (n_missing) { /* the language of another teacher, or featurize is not done */
        if (n)
            report_warn(
                j->report,
                "%s: zero-shot in '%s' is left out: %zu of its %zu prompts have no features",
                s->name, name, n_missing, n + n_missing);
        goto done;
    }
    struct zeroshot z;
    rc = zeroshot_judge(j->set->n_images, s->image, label, (int64_t)n, x, class_of,
                        j->prompts->n_classes, s->dim, j->o->seed, &z, err);
    if (rc < 0) {
        error_prefix(err, "zero-shot in '%s': ", name);
        goto done;
    }
    add_row(j, s->name, "zero-shot", "lang", name, "top-1", &z.top1);
    add_row(j, s->name, "zero-shot", "lang", name, "top-5", &z.top5);
    add_row(j, s->name, "zero-shot", "lang", name, "mean class", &z.mean_class);
done:
    memory_free(x);
    memory_free(class_of);
    return rc;
}

static int judge_zero_shot(struct judge *j, const struct judged *s, struct error *err)
{
    if (j->o->no_zero_shot || j->prompts->n == 0 || !s->image || !s->text) return 0;
    int rc = 0, n_labelled = 0;
    int32_t *label = memory_array(j->set->n_images, sizeof *label, MEMORY_MAX_TENSOR, err);
    if (!label) return ERR_NOMEM;
    for (uint32_t i = 0; i < j->set->n_images; i++) {
        const char *name = j->set->label[i] == CORPUS_NO_NAME
                               ? NULL
                               : corpus_name(j->corpus, NAME_LABEL, j->set->label[i]);
        label[i] = name ? prompts_class(j->prompts, name) : -1;
        n_labelled += label[i] >= 0;
    }
    for (int l = 0; l < j->prompts->n_languages && n_labelled && rc == 0; l++)
        rc = judge_language(j, s, l, label, err);
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

int judge_knn(struct judge *j, const struct judged *s, struct error *err)
{
    if (!j->o->knn || !s->image) return 0;
    int rc = ERR_NOMEM, n_labels = corpus_n_names(j->corpus, NAME_LABEL);
    const struct evalset *set = j->set;
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
    if (n_train < j->o->knn || n_query == 0) {
        rc = error_set(
            err, ERR_DATA,
            "--knn %d needs labelled pictures: the train split has %lld, the judged split %lld",
            j->o->knn, (long long)n_train, (long long)n_query);
        goto done;
    }
    rc = knn_hits(n_train, train, train_label, n_query, query, query_label, s->dim, j->o->knn,
                  n_labels, hit, err);
    struct measure m;
    char metric[32];
    snprintf(metric, sizeof metric, "%d-NN", j->o->knn);
    if (rc == 0) rc = measure_mean(n_query, hit, NULL, 0, j->o->seed, 1.0 / n_labels, &m, err);
    if (rc == 0) add_row(j, s->name, "knn", "all", "all", metric, &m);
done:
    memory_free(train);
    memory_free(query);
    memory_free(hit);
    memory_free(train_label);
    memory_free(query_label);
    return rc;
}

int judge_pair(struct judge *j, const struct judged *s, struct error *err)
{
    int rc = judge_retrieval(j, s, err);
    if (rc == 0) rc = judge_zero_shot(j, s, err);
    return rc;
}
