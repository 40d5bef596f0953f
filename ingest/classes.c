/* A class list and its prompts; see classes.h. Language tags of the file are made canonical once,
 * sorted, and every class's names are sorted into them, so that prompts lie in one array by (class,
 * language) whatever the order of the file. */
#include "ingest/classes.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_FILE   ((size_t)64 << 20)
#define MAX_PROMPT 20000 /* bytes before normalisation */

/* What is known while the list is built. */
struct builder {
    struct classes *c;
    const char *name; /* of the file, for errors */
    const struct json *classes, *templates;
    size_t languages_capacity, prompts_capacity;
    const struct json *
        *value; // (n_languages) the names of one class; also, after it, the templates
    char text[MAX_PROMPT + 1];
};

static int bad(struct builder *b, const char *what, const char *which, const char *how,
               struct error *err)
{
    return error_set(err, ERR_DATA, "%s: %s '%s': %s", b->name, what, which, how);
}

/* The i-th string of a value that is one string or a list; NULL when there is none. */
static const char *string_at(const struct json *v, size_t i)
{
    if (json_is_array(v)) return json_text(json_at(v, i), NULL);
    return i == 0 ? json_text(v, NULL) : NULL;
}

/* A string or a list of at least one string, and nothing else. */
static bool are_strings(const struct json *v)
{
    size_t n = json_is_array(v) ? json_size(v) : 1;
    for (size_t i = 0; i < n; i++)
        if (!string_at(v, i)) return false;
    return n > 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The index of a canonical tag, or n_languages. */
static size_t language_index(const struct classes *c, const char *tag)
{
    if (c->n_languages == 0) return 0;
    char **at = bsearch(&tag, c->languages, c->n_languages, sizeof *c->languages, compare);
    return at ? (size_t)(at - c->languages) : c->n_languages;
}

static int add_languages(struct builder *b, const char *class_name, const struct json *names,
                         struct error *err)
{
    struct classes *c = b->c;
    const char *tag;
    const struct json *v;
    if (!json_is_object(names) || json_size(names) == 0)
        return bad(b, "class", class_name, "an object language -> name is expected", err);
    for (size_t i = 0; json_member(names, i, &tag, &v); i++) {
        char canonical[CAPTION_MAX_LANGUAGE];
        if (caption_language(tag, canonical, sizeof canonical, err) < 0) {
            error_prefix(err, "%s: class '%s': ", b->name, class_name);
            return ERR_DATA;
        }
        if (!are_strings(v))
            return bad(b, "class", class_name, "a name must be a string or a list of strings", err);
        if (language_index(c, canonical) < c->n_languages) continue;
        int rc = memory_grow(&c->languages, &b->languages_capacity, c->n_languages + 1,
                             sizeof *c->languages, MEMORY_MAX_SMALL, err);
        if (rc < 0) return rc;
        if (!(c->languages[c->n_languages] = memory_string(canonical, err))) return ERR_NOMEM;
        c->n_languages++;
        qsort(c->languages, c->n_languages, sizeof *c->languages, compare);
    }
    return 0;
}

/* Sorts the members of an object language -> value into `value` by language; languages that no
 * class uses are passed over. */
static int sort_members(struct builder *b, const char *what, const struct json *object,
                        const struct json **value, struct error *err)
{
    const char *tag;
    const struct json *v;
    memset(value, 0, b->c->n_languages * sizeof *value);
    for (size_t i = 0; json_member(object, i, &tag, &v); i++) {
        char canonical[CAPTION_MAX_LANGUAGE];
        if (caption_language(tag, canonical, sizeof canonical, err) < 0) {
            error_prefix(err, "%s: %s: ", b->name, what);
            return ERR_DATA;
        }
        size_t k = language_index(b->c, canonical);
        if (k == b->c->n_languages) continue;
        if (value[k]) return bad(b, what, tag, "the language is named twice", err);
        value[k] = v;
    }
    return 0;
}

static int check_templates(struct builder *b, struct error *err)
{
    const char *tag;
    const struct json *v;
    if (json_is_null(b->templates)) return 0;
    if (!json_is_object(b->templates))
        return error_set(err, ERR_DATA, "%s: \"templates\" must be an object language -> template",
                         b->name);
    for (size_t i = 0; json_member(b->templates, i, &tag, &v); i++) {
        if (!are_strings(v))
            return bad(b, "templates of", tag, "a template must be a string or a list of strings",
                       err);
        for (size_t k = 0; string_at(v, k); k++)
            if (!strstr(string_at(v, k), "{}"))
                return bad(b, "template", string_at(v, k), "has no {} for the name", err);
    }
    return 0;
}

/* template with name in the place of every {}, into b->text; the bytes, or ERR_DATA when it gets too long. */
static int fill(struct builder *b, const char *template, const char *name, struct error *err)
{
    size_t n = 0, n_name = strlen(name);
    for (const char *p = template; *p;) {
        bool here = p[0] == '{' && p[1] == '}';
        size_t k = here ? n_name : 1;
        if (n + k > MAX_PROMPT)
            return bad(b, "template", "", "a prompt is longer than 20000 bytes", err);
        memcpy(b->text + n, here ? name : p, k);
        n += k;
        p += here ? 2 : 1;
    }
    b->text[n] = '\0';
    return (int)n;
}

/* Adds a prompt unless the group that began at `start` has it. */
static int add_prompt(struct builder *b, size_t start, const char *template, const char *name,
                      struct error *err)
{
    struct classes *c = b->c;
    struct caption_rule rule = caption_rule_defaults();
    struct caption prompt;
    int rc = fill(b, template, name, err);
    if (rc < 0) return rc;
    rc = caption_normalise(&rule, b->text, (size_t)rc, &prompt, NULL, err);
    if (rc < 0) {
        error_prefix(err, "%s: the prompt of '%.60s': ", b->name, name);
        return rc;
    }
    bool known = false;
    for (size_t i = start; !known && i < b->c->n_prompts; i++)
        known = !strcmp(c->prompts[i], prompt.text);
    if (!known)
        rc = memory_grow(&c->prompts, &b->prompts_capacity, b->c->n_prompts + 1, sizeof *c->prompts,
                         CLASSES_MAX_PROMPTS * sizeof *c->prompts, err);
    if (known || rc < 0) {
        caption_release(&prompt);
        return rc;
    }
    c->prompts[b->c->n_prompts++] = prompt.text; /* taken */
    return 0;
}

static int add_class(struct builder *b, size_t index, const struct json *names, struct error *err)
{
    struct classes *c = b->c;
    const struct json **templates = b->value + c->n_languages;
    int rc = sort_members(b, c->names[index], names, b->value, err);
    for (size_t l = 0; rc == 0 && l < c->n_languages; l++) {
        size_t start = b->c->n_prompts;
        c->first[index * c->n_languages + l] = start;
        const char *name, *template;
        for (size_t i = 0; rc == 0 && b->value[l] && (name = string_at(b->value[l], i)); i++) {
            if (!templates[l]) rc = add_prompt(b, start, "{}", name, err);
            for (size_t k = 0; rc == 0 && templates[l] && (template = string_at(templates[l], k));
                 k++)
                rc = add_prompt(b, start, template, name, err);
        }
        c->first[index * c->n_languages + l + 1] = b->c->n_prompts;
    }
    return rc;
}

/* Names of classes, as labels are written: normalised as captions. */
static int add_names(struct builder *b, struct error *err)
{
    struct classes *c = b->c;
    struct caption_rule rule = caption_rule_defaults();
    const char *label;
    const struct json *v;
    if (!json_is_object(b->classes) || json_size(b->classes) == 0)
        return error_set(err, ERR_DATA,
                         "%s: a member \"classes\" with an object class -> names is expected",
                         b->name);
    if (json_size(b->classes) > CLASSES_MAX)
        return error_set(err, ERR_DATA, "%s: %zu classes; at most %d can be kept", b->name,
                         json_size(b->classes), CLASSES_MAX);
    c->names = memory_array(json_size(b->classes), sizeof *c->names, MEMORY_MAX_SMALL, err);
    if (!c->names) return ERR_NOMEM;
    for (size_t i = 0; json_member(b->classes, i, &label, &v); i++) {
        struct caption name;
        int rc = caption_normalise(&rule, label, strlen(label), &name, NULL, err);
        if (rc < 0) {
            error_prefix(err, "%s: the label '%.60s': ", b->name, label);
            return rc;
        }
        c->names[c->n_classes++] = name.text; /* taken */
        if ((rc = add_languages(b, label, v, err)) < 0) return rc;
    }
    return 0;
}

static int build(struct builder *b, struct error *err)
{
    struct classes *c = b->c;
    int rc = add_names(b, err);
    if (rc == 0) rc = check_templates(b, err);
    if (rc < 0) return rc;
    b->value = memory_array(c->n_languages * 2, sizeof *b->value, MEMORY_MAX_SMALL, err);
    c->first = memory_array(c->n_classes * c->n_languages + 1, sizeof *c->first, MEMORY_MAX_FILE,
                            err);
    if (!b->value || !c->first) return ERR_NOMEM;
    rc = sort_members(b, "templates", b->templates, b->value + c->n_languages, err);
    const char *label;
    const struct json *v;
    for (size_t i = 0; rc == 0 && json_member(b->classes, i, &label, &v); i++)
        rc = add_class(b, i, v, err);
    return rc;
}

int classes_parse(struct classes **c, const char *text, size_t n, const char *name,
                  struct error *err)
{
    *c = NULL;
    int rc = ERR_NOMEM;
    struct builder *b = memory_array(1, sizeof *b, MEMORY_MAX_SMALL, err);
    struct json *root = NULL;
    if (!b || !(b->c = memory_array(1, sizeof *b->c, MEMORY_MAX_SMALL, err))) goto done;
    b->name = name;
    if (!(b->c->text = memory_copy(text, n, err))) goto done;
    if (!(root = json_read(text, n, name, err))) {
        rc = ERR_DATA;
        goto done;
    }
    b->classes = json_get(root, "classes");
    b->templates = json_get(root, "templates");
    rc = build(b, err);
done:
    if (b) {
        if (rc < 0)
            classes_free(b->c);
        else
            *c = b->c;
        memory_free(b->value);
    }
    memory_free(b);
    json_free(root);
    return rc;
}

int classes_read(struct classes **c, const char *path, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    *c = NULL;
    int rc = file_read(path, MAX_FILE, &text, &n, err);
    if (rc == 0) rc = classes_parse(c, text, n, path, err);
    memory_free(text);
    return rc;
}

void classes_free(struct classes *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_classes; i++) memory_free(c->names[i]);
    for (size_t i = 0; i < c->n_languages; i++) memory_free(c->languages[i]);
    for (size_t i = 0; i < c->n_prompts; i++) memory_free(c->prompts[i]);
    memory_free(c->names);
    memory_free(c->languages);
    memory_free(c->prompts);
    memory_free(c->first);
    memory_free(c->text);
    memory_free(c);
}

void classes_prompts(const struct classes *c, size_t class_index, size_t language,
                     char *const **prompts, size_t *n)
{
    const size_t *first = c->first + class_index * c->n_languages + language;
    *prompts = c->prompts + first[0];
    *n = first[1] - first[0];
}

int classes_store(const struct classes *c, struct corpus *corpus, size_t *n_new, struct error *err)
{
    *n_new = 0;
    int rc = corpus_set_classes(corpus, c->text, err);
    for (size_t i = 0; rc == 0 && i < c->n_prompts; i++) {
        uint32_t number;
        bool is_new;
        rc = corpus_add_caption(corpus, c->prompts[i], strlen(c->prompts[i]), &number, &is_new,
                                err);
        *n_new += rc == 0 && is_new;
    }
    return rc;
}
