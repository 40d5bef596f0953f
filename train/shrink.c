/* `shrink`: see the header. What is copied from where is train/inherit. */
#include "train/shrink.h"

#include <math.h>
#include <string.h>

#include "featurize/model.h"
#include "store/file.h"
#include "store/memory.h"
#include "train/arch.h"
#include "train/inherit.h"
#include "train/student.h"
#include "train/vocabulary.h"

/* The teacher, and what becomes of it. */
struct shrinking {
    const struct shrink_options *o;
    struct model *teacher;
    struct vocabulary vocabulary;
    struct student *student;
};

/* Between two steps, and nothing is written before the last. */
static int go_on(const struct report *report, struct error *err)
{
    if (!report_stopped(report)) return 0;
    return error_set(err, ERR_STOPPED, "shrink was stopped; the same command begins again");
}

static int prune(struct shrinking *s, const struct report *report, struct error *err)
{
    if (!s->o->cache) return 0;
    struct corpus *corpus;
    int rc = corpus_open(&corpus, s->o->cache, CORPUS_READ, err);
    if (rc < 0) return rc;
    rc = vocabulary_make(s->teacher->tokenizer, corpus, s->o->keep_vocab, NULL, 0, &s->vocabulary,
                         err);
    corpus_close(corpus);
    if (rc == 0 && !s->vocabulary.old_of_new)
        report_warn(report,
                    "shrink: the teacher's vocabulary of %d tokens is kept whole: only "
                    "SentencePiece models are pruned",
                    s->vocabulary.n);
    return rc;
}

/* The student's configs: the teacher's, overridden by the architecture words. */
static int make_student(struct shrinking *s, struct error *err)
{
    struct tower_config image, text;
    int rc = 0;
    bool with_image = s->teacher->image != NULL, with_text = s->teacher->text != NULL;
    if (with_image) {
        image = s->teacher->image->config;
        if (s->o->image_arch) rc = arch_parse(s->o->image_arch, false, &image, err);
    }
    if (rc == 0 && with_text) {
        text = s->teacher->text->config;
        if (s->o->text_arch) rc = arch_parse(s->o->text_arch, true, &text, err);
        if (s->vocabulary.n) text.vocab = s->vocabulary.n;
    }
    if (rc == 0)
        rc = student_new(&s->student, with_image ? &image : NULL, with_text ? &text : NULL,
                         NUMERICS_F32, err);
    return rc;
}

static int fill(struct shrinking *s, const struct report *report, struct error *err)
{
    struct model *m = s->student->model, *t = s->teacher;
    int rc = 0;
    if (m->image) {
        m->preprocess = preprocess_at_side(&t->preprocess, m->image->config.image_size);
        tower_randomise(m->image, s->o->seed);
        if (m->image->config.arch == t->image->config.arch)
            rc = inherit_tower(m->image, t->image, NULL, s->o->seed, err);
        else
            report_warn(report,
                        "shrink: the image tower is no %s, so it starts from random weights",
                        t->image->config.arch == ARCH_VIT ? "vision transformer"
                                                          : "network like its teacher's");
    }
    if (rc == 0) rc = go_on(report, err);
    if (rc == 0 && m->text) {
        size_t n;
        const void *bytes = tokenizer_model(
            s->vocabulary.tokenizer ? s->vocabulary.tokenizer : t->tokenizer, &n);
        rc = tokenizer_new(bytes, n, "the student's tokenizer", &m->tokenizer, err);
        if (rc == 0)
            rc = inherit_tower(m->text, t->text, s->vocabulary.old_of_new, s->o->seed, err);
    }
    s->student->scale.w[0] = logf(t->logit_scale);
    return rc;
}

/* The space of a tower is named by its teacher's weights, as in the fingerprint of its feature sets. */
static int make_extra(const struct shrinking *s, struct json **extra, struct error *err)
{
    struct json *space = json_new_object();
    int rc = 0;
    for (int is_text = 0; is_text < 2 && rc == 0; is_text++) {
        if (!(is_text ? s->student->model->text : s->student->model->image)) continue;
        uint8_t digest[DIGEST_BYTES];
        char hex[DIGEST_HEX];
        rc = model_weights_digest(s->o->teacher, is_text, digest, err);
        if (rc < 0) break;
        digest_to_hex(digest, hex);
        json_set_string(space, is_text ? "text" : "image", hex);
    }
    *extra = json_new_object();
    json_set(*extra, "space", space);
    return rc;
}

static struct json *make_summary(const struct shrinking *s)
{
    struct json *j = json_new_object();
    const struct model *m = s->student->model, *t = s->teacher;
    if (m->image) {
        json_set_int(j, "image_parameters", (int64_t)params_count(&m->image->params));
        json_set_int(j, "teacher_image_parameters", (int64_t)params_count(&t->image->params));
    }
    if (m->text) {
        json_set_int(j, "text_parameters", (int64_t)params_count(&m->text->params));
        json_set_int(j, "teacher_text_parameters", (int64_t)params_count(&t->text->params));
        json_set_int(j, "vocabulary", tokenizer_vocab(m->tokenizer));
        json_set_int(j, "teacher_vocabulary", tokenizer_vocab(t->tokenizer));
    }
    return j;
}

int shrink_run(const struct shrink_options *o, const struct report *report,
               struct shrink_result *result, struct error *err)
{
    struct shrinking s = {.o = o};
    struct json *extra = NULL;
    char *config = NULL;
    *result = (struct shrink_result){0};
    int rc = ERR_NOMEM;
    if (!o->teacher || !o->out)
        return error_set(err, ERR_USAGE, "shrink needs a teacher's folder and an output folder");
    config = file_join(o->out, "config.json", err);
    if (!config) goto done;
    if (file_exists(config)) {
        rc = error_set(err, ERR_EXISTS, "%s holds a model already; choose another folder", o->out);
        goto done;
    }
    rc = model_open(&s.teacher, o->teacher,
                    (o->no_image ? 0 : MODEL_IMAGE) | (o->no_text ? 0 : MODEL_TEXT), err);
    if (rc == 0) rc = go_on(report, err);
    if (rc == 0 && s.teacher->text) rc = prune(&s, report, err);
    if (rc == 0) rc = go_on(report, err);
    if (rc == 0) rc = make_student(&s, err);
    if (rc == 0) rc = fill(&s, report, err);
    if (rc == 0) rc = go_on(report, err);
    if (rc == 0) rc = make_extra(&s, &extra, err);
    if (rc == 0) rc = go_on(report, err);
    if (rc == 0) rc = file_make_folder(o->out, err);
    if (rc == 0) rc = student_save(s.student, o->out, extra, err);
    if (rc == 0) result->summary = make_summary(&s);
done:
    json_free(extra);
    student_free(s.student);
    vocabulary_release(&s.vocabulary);
    model_free(s.teacher);
    memory_free(config);
    return rc;
}
