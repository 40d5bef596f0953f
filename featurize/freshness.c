/* Sets against a teacher, or among themselves; see freshness.h. */
#include "featurize/freshness.h"

#include <string.h>

#include "featurize/identity.h"
#include "store/corpus.h"
#include "store/fingerprint.h"
#include "store/memory.h"

/* What sets of one tower and prefix have in common when one teacher made them. */
static const char *const shared[] = {"weights",   "config",       "preprocessing", "view_plan",
                                     "tokenizer", "caption_rule", "max_tokens"};

/* What the sets are held against. */
struct measure {
    const struct featurize_options *o;
    const char *prefix;
    char *caption_rule;  /* of the corpus */
    struct model *model; /* NULL: no teacher */
    struct identity image, text;
};

/* The specs of a cache's sets; handles stay open, for their JSON is borrowed. */
struct sets {
    char **names;
    size_t n;
    struct featureset **open; // (n)
};

static const struct featureset_spec *spec_of(const struct sets *s, size_t i)
{
    return featureset_spec(s->open[i]);
}

static void close_sets(struct sets *s)
{
    for (size_t i = 0; s->open && i < s->n; i++) featureset_close(s->open[i]);
    memory_free(s->open);
    memory_free(s->names);
}

static int open_sets(struct sets *s, const char *cache, struct error *err)
{
    int rc = featureset_list(cache, &s->names, &s->n, err);
    if (rc < 0) return rc;
    s->open = memory_array(s->n, sizeof *s->open, MEMORY_MAX_FILE, err);
    if (!s->open) return ERR_NOMEM;
    for (size_t i = 0; i < s->n && rc == 0; i++)
        rc = featureset_open(&s->open[i], cache, s->names[i], FEATURESET_READ, err);
    return rc;
}

static bool is_imported(const struct featureset_spec *spec)
{
    return !json_get(spec->fingerprint, "weights");
}

static bool has_prefix(const struct featureset_spec *spec, const char *prefix)
{
    size_t n = strlen(prefix);
    return featureset_prefix(spec) == n + 1 && !strncmp(spec->name, prefix, n) &&
           spec->name[n] == '.';
}

static int open_teacher(struct measure *m, const struct sets *s, struct error *err)
{
    int parts = 0, rc = 0;
    for (size_t i = 0; i < s->n; i++)
        if (!is_imported(spec_of(s, i)))
            parts |= spec_of(s, i)->tower == TOWER_TEXT ? MODEL_TEXT : MODEL_IMAGE;
    rc = model_open(&m->model, m->o->teacher, parts | MODEL_MAPPED, err);
    if (rc < 0) return rc;
    m->model->preprocess.apply_orientation &= m->o->apply_orientation;
    if (m->model->image)
        rc = identity_of(&m->image, m->model, m->o->teacher, m->o, false, m->caption_rule, err);
    if (rc == 0 && m->model->text)
        rc = identity_of(&m->text, m->model, m->o->teacher, m->o, true, m->caption_rule, err);
    return rc;
}

/* What the teacher would give this set now: numerics and storage as asked for, else the set's own,
 * as featurize does. Owned; NULL when the teacher lacks the tower. */
static struct json *teacher_gives(const struct measure *m, const struct featureset_spec *spec,
                                  struct error *err)
{
    bool is_text = spec->tower == TOWER_TEXT;
    enum codec_storage storage = spec->storage;
    float epsilon = spec->epsilon;
    const char *was = json_text(json_get(spec->fingerprint, "numerics"), "");
    char text[CALIBRATION_NAME];
    enum numerics numerics = m->o->numerics == FEATURIZE_AUTO   ? identity_numerics_of(was)
                             : m->o->numerics == FEATURIZE_INT8 ? NUMERICS_INT8
                             : m->o->numerics == FEATURIZE_BF16 ? NUMERICS_BF16
                                                                : NUMERICS_F32;
    /* a calibration is frozen in its set */
    bool own = numerics == NUMERICS_INT8 && identity_numerics_of(was) == NUMERICS_INT8;
    if (is_text ? !m->model->text : !m->model->image) {
        error_set(err, ERR_DATA, "%s has no %s tower, but the cache has its features",
                  m->o->teacher, is_text ? "text" : "image");
        return NULL;
    }
    if (m->o->store && codec_parse(m->o->store, &storage, &epsilon, err) < 0) return NULL;
    const struct identity *id = is_text ? &m->text : &m->image;
    return identity_fingerprint(id, spec->tap, storage, epsilon,
                                own ? was : identity_numerics(id, numerics, text));
}

static void set_state(struct json *j, const char *state, const char *against,
                      struct json *differences)
{
    json_set_string(j, "state", state);
    if (against) json_set_string(j, "against", against);
    if (json_size(differences))
        json_set(j, "differences", differences);
    else
        json_free(differences);
}

static int against_teacher(const struct measure *m, const struct featureset_spec *spec,
                           struct json *j, struct error *err)
{
    struct error why = {0};
    if (is_imported(spec) || (m->prefix && !has_prefix(spec, m->prefix))) {
        set_state(j, is_imported(spec) ? "imported" : "other", NULL, NULL);
        return 0;
    }
    struct json *now = teacher_gives(m, spec, &why);
    if (!now) return error_set(err, why.code ? why.code : ERR_NOMEM, "%s", why.text);
    struct json *differences = fingerprint_compare(now, spec->fingerprint);
    set_state(j, json_size(differences) ? "stale" : "fresh", m->o->teacher, differences);
    json_free(now);
    return 0;
}

/* The components that sets of one teacher share. Owned. */
static struct json *shared_of(const struct featureset_spec *spec)
{
    struct json *j = json_new_object();
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        const struct json *value = json_get(spec->fingerprint, shared[i]);
        if (value) json_set(j, shared[i], json_clone(value));
    }
    return j;
}

/* The first set of the same tower and prefix, which may be this one. */
static size_t first_alike(const struct sets *s, size_t i)
{
    const struct featureset_spec *spec = spec_of(s, i);
    size_t n = featureset_prefix(spec);
    for (size_t k = 0; k < i; k++) {
        const struct featureset_spec *other = spec_of(s, k);
        if (other->tower == spec->tower && !is_imported(other) && featureset_prefix(other) == n &&
            !strncmp(other->name, spec->name, n))
            return k;
    }
    return i;
}

static void among_themselves(const struct measure *m, const struct sets *s, size_t i,
                             struct json *j)
{
    const struct featureset_spec *spec = spec_of(s, i);
    const char *rule = json_text(json_get(spec->fingerprint, "caption_rule"), NULL);
    if (is_imported(spec)) {
        set_state(j, "imported", NULL, NULL);
        return;
    }
    if (rule && strcmp(rule, m->caption_rule)) {
        struct json *ours = json_new_object(), *theirs = json_new_object();
        json_set_string(ours, "caption_rule", m->caption_rule);
        json_set_string(theirs, "caption_rule", rule);
        set_state(j, "stale", "corpus", fingerprint_compare(ours, theirs));
        json_free(ours);
        json_free(theirs);
        return;
    }
    size_t k = first_alike(s, i);
    struct json *first = shared_of(spec_of(s, k)), *own = shared_of(spec);
    struct json *differences = fingerprint_compare(first, own);
    bool odd = json_size(differences) > 0;
    set_state(j, odd ? "odd" : "unasked", odd ? spec_of(s, k)->name : NULL, differences);
    json_free(first);
    json_free(own);
}

static int judge(struct measure *m, const struct sets *s, struct json *list, struct error *err)
{
    int rc = m->o->teacher ? open_teacher(m, s, err) : 0;
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        struct json *j = json_new_object();
        json_set_string(j, "name", s->names[i]);
        if (m->model)
            rc = against_teacher(m, spec_of(s, i), j, err);
        else
            among_themselves(m, s, i, j);
        json_push(list, j);
    }
    return rc;
}

int freshness_list(const char *cache, const struct featurize_options *o, const char *prefix,
                   struct json **list, struct error *err)
{
    struct measure m = {.o = o, .prefix = prefix};
    struct sets s = {0};
    struct corpus *c = NULL;
    *list = NULL;
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = corpus_caption_rule(c, &m.caption_rule, err);
    if (rc == 0) rc = open_sets(&s, cache, err);
    if (rc == 0) {
        *list = json_new_array();
        rc = judge(&m, &s, *list, err);
    }
    if (rc < 0) {
        json_free(*list);
        *list = NULL;
    }
    close_sets(&s);
    model_free(m.model);
    memory_free(m.caption_rule);
    corpus_close(c);
    return rc;
}
