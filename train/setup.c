/* Beginning and end of a training run: see the header. */
#include "train/setup.h"

#include <stdio.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"
#include "train/arch.h"
#include "train/vocabulary.h"

#define MAX_TOKENIZER  ((uint64_t)1 << 28)
#define DEFAULT_TOKENS 64
#define DEFAULT_DIM    256 /* without any teacher */

static bool is_random(const struct setup_options *o)
{
    return !o->init || !strcmp(o->init, "random");
}

/* Which sets the run reads: with a frozen image set that one alone stands for the pictures. */
static int choose_sets(struct setup *s, struct error *err)
{
    const struct setup_options *o = s->o;
    for (int i = 0; i < s->teacher.n; i++) {
        const struct teacher_set *set = &s->teacher.sets[i];
        if (o->no_intermediate && !set->is_final) continue;
        if (set->is_text ? o->no_text : o->no_image) continue;
        if (!set->is_text && o->freeze_image_set && strcmp(set->name, o->freeze_image_set))
            continue;
        int *n = set->is_text ? &s->n_text_sets : &s->n_image_sets;
        if (*n == LOADER_MAX_SETS)
            return error_set(err, ERR_USAGE,
                             "%s has more than %d feature sets a tower; name those to use",
                             o->cache, LOADER_MAX_SETS);
        (set->is_text ? s->text_set : s->image_set)[(*n)++] = set;
    }
    if (s->n_image_sets && !s->image_set[0]->is_final) s->n_image_sets = 0;
    if (s->n_text_sets && !s->text_set[0]->is_final) s->n_text_sets = 0;
    if (o->freeze_image_set && s->n_image_sets == 0)
        return error_set(err, ERR_NOT_FOUND,
                         "%s: no final image set \"%s\" to stand for the pictures", o->cache,
                         o->freeze_image_set);
    if (s->n_image_sets == 0 && s->n_text_sets == 0 && !o->need_text)
        return error_set(err, ERR_NOT_FOUND,
                         "%s has no teacher features (image.final or text.final) to learn from; "
                         "run featurize or import first",
                         o->cache);
    return 0;
}

/* The config of one tower: init's own (an arch given with it must agree), else the arch's. */
static int tower_config_of(const struct setup *s, bool is_text, struct tower_config *c,
                           struct error *err)
{
    const struct setup_options *o = s->o;
    const char *arch = is_text ? o->text_arch : o->image_arch;
    struct tower *from = s->student ? (is_text ? s->student->model->text : s->student->model->image)
                                    : NULL;
    *c = from ? from->config : is_text ? arch_text_default() : arch_image_default();
    if (!from && is_text && s->teacher.max_tokens && s->teacher.max_tokens < DEFAULT_TOKENS)
        c->max_positions = s->teacher.max_tokens + tower_first_position(c);
    int rc = arch ? arch_parse(arch, is_text, c, err) : 0;
    if (rc < 0 || !from || !arch) return rc;
    char was[200], now[200];
    arch_name(&from->config, was, sizeof was);
    arch_name(c, now, sizeof now);
    return strcmp(was, now)
               ? error_set(err, ERR_USAGE,
                           "%s is a %s, not a %s; leave the architecture out with --init", o->init,
                           was, now)
               : 0;
}

/* A student whose tower was made for another teacher's space must not be mixed with this one. */
static int check_space(const struct setup *s, struct error *err)
{
    const struct json *space = json_get(json_get(s->student->model->config, "clipstill"), "space");
    for (int is_text = 0; is_text < 2; is_text++) {
        const struct teacher_set *set = is_text ? (s->n_text_sets ? s->text_set[0] : NULL)
                                                : (s->n_image_sets ? s->image_set[0] : NULL);
        const char *was = json_text(json_get(space, is_text ? "text" : "image"), NULL);
        if (!set || !was || !strcmp(was, set->space)) continue;
        return error_set(
            err, ERR_INCOMPATIBLE,
            "%s is a student of another teacher: its %s space is %.12s, that of set %s is %.12s",
            s->o->init, is_text ? "text" : "image", was, set->name, set->space);
    }
    return 0;
}

static int complete_settings(struct setup *s, const struct tower_config *image,
                             const struct tower_config *text, struct error *err)
{
    const struct setup_options *o = s->o;
    struct json *j = s->settings, *sets = json_new_object();
    char name[200];
    for (int i = 0; i < s->n_image_sets; i++)
        json_set_string(sets, s->image_set[i]->name, s->image_set[i]->fingerprint);
    for (int i = 0; i < s->n_text_sets; i++)
        json_set_string(sets, s->text_set[i]->name, s->text_set[i]->fingerprint);
    json_set(j, "sets", sets);
    if (image) {
        arch_name(image, name, sizeof name);
        json_set_string(j, "image_arch", name);
    }
    if (text) {
        arch_name(text, name, sizeof name);
        json_set_string(j, "text_arch", name);
    }
    json_set_string(j, "init", is_random(o) ? "random" : o->init);
    if (o->freeze_image_set) json_set_string(j, "freeze_image_set", o->freeze_image_set);
    if (o->keep_vocab) json_set_string(j, "keep_vocab", o->keep_vocab);
    if (o->tokenizer) json_set_string(j, "tokenizer", o->tokenizer);
    if (o->vocab_size) json_set_int(j, "vocab_size", o->vocab_size);
    json_set_int(j, "views", o->n_views);
    json_set_bool(j, "augment", o->augment);
    json_set_number(j, "token_drop", o->token_drop);
    json_set_number(j, "token_split", o->token_split);
    json_set_int(j, "seed", (int64_t)o->seed);
    json_set_string(j, "numerics", o->numerics == NUMERICS_BF16 ? "bf16" : "f32");
    struct json *weights = o->n_source_weights ? json_new_object() : NULL,
                *languages = json_new_array();
    for (size_t i = 0; i < o->n_source_weights; i++)
        json_set_number(weights, o->source_names[i], o->source_weights[i]);
    if (weights) json_set(j, "source_weights", weights);
    for (size_t i = 0; o->languages && i < o->n_languages; i++)
        json_push_string(languages, o->languages[i]);
    json_set(j, "languages", languages);
    char *text_form = json_write(j, JSON_LINE, err); /* sees an allocation that failed on the way */
    memory_free(text_form);
    return text_form ? 0 : ERR_NOMEM;
}

/* Prunes bytes (taken) to the corpus. */
static int prune(struct setup *s, struct corpus *corpus, char *bytes, size_t n, const char *name,
                 struct error *err)
{
    struct tokenizer *whole = NULL;
    struct vocabulary v = {0};
    int rc = tokenizer_new(bytes, n, name, &whole, err);
    if (rc == 0)
        rc = vocabulary_make(whole, corpus, s->o->keep_vocab, s->o->languages, s->o->n_languages,
                             &v, err);
    if (rc == 0 && !v.old_of_new)
        report_warn(s->report,
                    "%s: its %d tokens are kept whole: only SentencePiece models are pruned", name,
                    v.n);
    if (rc == 0) {
        size_t n_model;
        const void *model = tokenizer_model(v.tokenizer, &n_model);
        s->vocab_before = v.n_before;
        s->tokenizer_bytes = memory_copy(model, n_model, err);
        s->n_tokenizer_bytes = n_model;
        if (!s->tokenizer_bytes) rc = ERR_NOMEM;
    }
    vocabulary_release(&v);
    tokenizer_free(whole);
    memory_free(bytes);
    return rc;
}

/* The SentencePiece model of a new text student: a file's or the teacher's, pruned, or one trained
 * on the captions. */
static int make_tokenizer(struct setup *s, struct error *err)
{
    const struct setup_options *o = s->o;
    char *bytes = NULL;
    size_t n = 0;
    struct corpus *corpus = NULL;
    int rc = o->tokenizer ? file_read(o->tokenizer, MAX_TOKENIZER, &bytes, &n, err)
                          : teacher_tokenizer(&s->teacher, o->cache, &bytes, &n, err);
    if (rc == 0) rc = corpus_open(&corpus, o->cache, CORPUS_READ, err);
    if (rc == 0 && n) {
        rc = prune(s, corpus, bytes, n, o->tokenizer ? o->tokenizer : "the teacher's tokenizer",
                   err);
        bytes = NULL;
    } else if (rc == 0 && o->vocab_size > 0) {
        rc = vocabulary_train(corpus, o->languages, o->n_languages, o->vocab_size,
                              &s->tokenizer_bytes, &s->n_tokenizer_bytes, err);
    } else if (rc == 0) {
        rc = error_set(
            err, ERR_USAGE,
            "%s: no text set keeps a tokenizer; give a SentencePiece model with --tokenizer FILE",
            o->cache);
    }
    corpus_close(corpus);
    memory_free(bytes);
    return rc;
}

/* The text tower's tokenizer: from the checkpoint, from init, or made. */
static int get_tokenizer(struct setup *s, struct error *err)
{
    size_t n = 0;
    const void *bytes = s->checkpoint.progress ? checkpoint_block(&s->checkpoint, "tokenizer", &n)
                                               : NULL;
    struct tokenizer *own = s->student ? s->student->model->tokenizer : NULL;
    if (!bytes && own) bytes = tokenizer_model(own, &n);
    if (!bytes) return make_tokenizer(s, err);
    s->tokenizer_bytes = memory_copy(bytes, n, err);
    s->n_tokenizer_bytes = n;
    return s->tokenizer_bytes ? 0 : ERR_NOMEM;
}

/* Towers that init did not bring, with random weights. */
static int complete_student(struct setup *s, struct tower_config *image, struct tower_config *text,
                            struct error *err)
{
    struct model *m = s->student ? s->student->model : NULL;
    int dim = s->n_image_sets  ? s->image_set[0]->dim
              : s->n_text_sets ? s->text_set[0]->dim
                               : m->projection_dim;
    if (m) dim = m->projection_dim;
    struct student *fresh = NULL;
    if (image) image->projection_dim = m && m->image ? image->projection_dim : dim;
    if (text && !(m && m->text)) {
        text->projection_dim = text->head_dim = dim;
        struct tokenizer *t = NULL;
        int rc = tokenizer_new(s->tokenizer_bytes, s->n_tokenizer_bytes, "the student's tokenizer",
                               &t, err);
        if (rc < 0) return rc;
        text->vocab = tokenizer_vocab(t);
        tokenizer_free(t);
    }
    int rc = student_new(&fresh, image, text, s->o->numerics, err);
    if (rc < 0) return rc;
    struct model *to = fresh->model;
    if (to->image) tower_randomise(to->image, s->o->seed);
    if (to->text) tower_randomise(to->text, s->o->seed + 1);
    if (m && m->image && to->image)
        memcpy(to->image->params.w, m->image->params.w, to->image->params.n_floats * sizeof(float));
    if (m && m->text && to->text)
        memcpy(to->text->params.w, m->text->params.w, to->text->params.n_floats * sizeof(float));
    if (m) fresh->scale.w[0] = s->student->scale.w[0];
    if (m) to->preprocess = m->preprocess;
    s->from_init = m && m->image;
    student_free(s->student);
    s->student = fresh;
    if (!text) return 0;
    rc = tokenizer_new(s->tokenizer_bytes, s->n_tokenizer_bytes, "the student's tokenizer",
                       &to->tokenizer, err);
    if (rc == 0) s->vocab = tokenizer_vocab(to->tokenizer);
    return rc;
}

static int open_loader(struct setup *s, struct error *err)
{
    const struct setup_options *o = s->o;
    struct model *m = s->student->model;
    char *pinned = NULL;
    struct loader_options l = {.cache = o->cache,
                               .seed = o->seed,
                               .n_image_sets = s->n_image_sets,
                               .n_text_sets = s->n_text_sets,
                               .need_primary = o->need_primary,
                               .want_pixels = m->image != NULL,
                               .side = m->image ? m->image->config.image_size : 0,
                               .preprocess = s->from_init && m->image ? &m->preprocess : NULL,
                               .n_views = o->n_views,
                               .augment = o->augment,
                               .token_drop = o->token_drop,
                               .token_split = o->token_split,
                               .tokenizer = m->tokenizer,
                               .max_tokens = m->text ? tower_max_tokens(&m->text->config) : 0,
                               .languages = o->languages,
                               .n_languages = o->n_languages,
                               .source_names = o->source_names,
                               .source_weights = o->source_weights,
                               .n_source_weights = o->n_source_weights,
                               .pixel_bytes = o->pixel_bytes};
    for (int i = 0; i < s->n_image_sets; i++) l.image_sets[i] = s->image_set[i]->name;
    for (int i = 0; i < s->n_text_sets; i++) l.text_sets[i] = s->text_set[i]->name;
    int rc = 0;
    if (s->checkpoint.progress)
        rc = checkpoint_read_pinned(&s->checkpoint, &pinned, &l.n_pinned, err);
    l.pinned = pinned;
    if (rc == 0) rc = loader_open(&s->loader, &l, err);
    memory_free(pinned);
    if (rc == 0 && m->image) m->preprocess = *loader_preprocess(s->loader);
    return rc;
}

void setup_schedule(struct json *settings, const struct optimiser_config *optimiser, int patience,
                    bool keep_best)
{
    json_set_number(settings, "lr_end", optimiser->lr_end);
    json_set_number(settings, "warmup", optimiser->warmup);
    json_set_number(settings, "weight_decay", optimiser->weight_decay);
    json_set_number(settings, "beta1", optimiser->beta1);
    json_set_number(settings, "beta2", optimiser->beta2);
    json_set_number(settings, "eps", optimiser->eps);
    json_set_number(settings, "clip", optimiser->clip);
    json_set_int(settings, "patience", patience);
    json_set_bool(settings, "keep_best", keep_best);
}

int setup_begin(struct setup *s, const struct setup_options *o, struct json *settings,
                const struct report *report, struct error *err)
{
    *s = (struct setup){.o = o, .report = report, .settings = settings};
    int rc = teacher_open(&s->teacher, o->cache, o->sets, o->n_sets, err);
    if (rc == 0) rc = choose_sets(s, err);
    if (rc < 0) return rc;
    bool with_image = (s->n_image_sets > 0 || o->need_image) && !o->freeze_image_set &&
                      !o->no_image;
    bool with_text = (s->n_text_sets > 0 || o->need_text) && !o->no_text;
    int parts = (with_image ? MODEL_IMAGE : 0) | (with_text ? MODEL_TEXT : 0);
    if (!is_random(o)) rc = student_open(&s->student, o->init, parts, o->numerics, err);
    if (rc == 0 && s->student) rc = check_space(s, err);
    struct tower_config image, text;
    if (rc == 0 && with_image) rc = tower_config_of(s, false, &image, err);
    if (rc == 0 && with_text) rc = tower_config_of(s, true, &text, err);
    if (rc == 0)
        rc = complete_settings(s, with_image ? &image : NULL, with_text ? &text : NULL, err);
    if (rc == 0) rc = checkpoint_open(&s->checkpoint, o->out, s->settings, err);
    s->done = s->checkpoint.summary != NULL;
    if (rc < 0 || s->done) return rc;
    if (with_text) rc = get_tokenizer(s, err);
    if (rc == 0)
        rc = complete_student(s, with_image ? &image : NULL, with_text ? &text : NULL, err);
    return rc == 0 ? open_loader(s, err) : rc;
}

int setup_resume(struct setup *s, bool keep_best, uint64_t checkpoint_every, struct error *err)
{
    int rc = 0;
    if (s->n_tokenizer_bytes)
        rc = checkpoint_add(&s->checkpoint, "tokenizer", s->tokenizer_bytes, s->n_tokenizer_bytes,
                            err);
    if (rc == 0 && !s->checkpoint.progress) {
        char *pinned;
        size_t n;
        rc = loader_pinned(s->loader, &pinned, &n, err);
        if (rc == 0) {
            rc = checkpoint_write_pinned(&s->checkpoint, pinned, n, err);
            memory_free(pinned);
        }
    }
    if (rc < 0) return rc;
    s->run = (struct run){.student = s->student,
                          .loader = s->loader,
                          .checkpoint = &s->checkpoint,
                          .report = s->report,
                          .checkpoint_every = checkpoint_every};
    return run_begin(&s->run, keep_best, err);
}

/* The "clipstill" object of config.json: the teacher's space. */
static struct json *make_extra(const struct setup *s)
{
    struct json *extra = json_new_object(), *space = json_new_object(), *sets = json_new_object();
    if (s->n_image_sets) json_set_string(space, "image", s->image_set[0]->space);
    if (s->n_text_sets) json_set_string(space, "text", s->text_set[0]->space);
    json_set(extra, "space", space);
    for (int i = 0; i < s->n_image_sets; i++)
        json_set_string(sets, s->image_set[i]->name, s->image_set[i]->fingerprint);
    for (int i = 0; i < s->n_text_sets; i++)
        json_set_string(sets, s->text_set[i]->name, s->text_set[i]->fingerprint);
    json_set(extra, "sets", sets);
    return extra;
}

static struct json *make_summary(const struct setup *s)
{
    struct json *j = json_new_object();
    const struct model *m = s->student->model;
    if (m->image) {
        json_set_int(j, "image_parameters", (int64_t)params_count(&m->image->params));
        json_set_int(j, "train_images", loader_n(s->loader, SPLIT_TRAIN, LOADER_IMAGES));
        json_set_int(j, "val_images", loader_n(s->loader, SPLIT_VAL, LOADER_IMAGES));
        json_set_int(j, "views", loader_n_views(s->loader));
    }
    if (m->text) {
        json_set_int(j, "text_parameters", (int64_t)params_count(&m->text->params));
        json_set_int(j, "train_captions", loader_n(s->loader, SPLIT_TRAIN, LOADER_CAPTIONS));
        json_set_int(j, "val_captions", loader_n(s->loader, SPLIT_VAL, LOADER_CAPTIONS));
        json_set_int(j, "vocabulary", s->vocab);
        json_set(j, "unknown", loader_unknown(s->loader));
    }
    json_set_int(j, "train_pairs", loader_n(s->loader, SPLIT_TRAIN, LOADER_PAIRS));
    json_set(j, "stages", json_clone(s->run.done));
    json_set_number(j, "logit_scale", m->logit_scale);
    json_set_string(j, "data", loader_digest(s->loader));
    return j;
}

int setup_end(struct setup *s, struct json **summary, struct error *err)
{
    struct json *extra = make_extra(s);
    int rc = student_save(s->student, s->o->out, extra, err);
    json_free(extra);
    if (rc < 0) return rc;
    *summary = make_summary(s);
    rc = checkpoint_finish(&s->checkpoint, *summary, err);
    if (rc < 0) {
        json_free(*summary);
        *summary = NULL;
    }
    return rc;
}

void setup_release(struct setup *s)
{
    run_release(&s->run);
    loader_close(s->loader);
    student_free(s->student);
    checkpoint_close(&s->checkpoint);
    json_free(s->settings);
    memory_free(s->tokenizer_bytes);
    teacher_release(&s->teacher);
    *s = (struct setup){0};
}
