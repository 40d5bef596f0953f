/* What the commands share; see command.h. */
#include "cli/command.h"

#include <string.h>

#include "cli/progress.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/runlog.h"

int command_exit_code(int rc, int signal_seen)
{
    if (rc >= 0) return rc;
    switch (rc) {
    case ERR_USAGE: return 2;
    case ERR_BUDGET: return 4;
    case ERR_INCOMPATIBLE:
    case ERR_CORRUPT: return 5;
    case ERR_LOCKED: return 6;
    case ERR_NOSPACE:
    case ERR_NOMEM: return 7;
    case ERR_STOPPED:
        return signal_seen ? 128 + signal_seen : 0; /* the window that was given is over */
    default: return 1;
    }
}

static void set_setting(struct json *settings, const struct option *o)
{
    const char *s;
    struct json *list;
    const struct option_list *values;
    switch (o->type) {
    case OPTION_FLAG: json_set_bool(settings, o->name, *(bool *)o->target); break;
    case OPTION_INT: json_set_int(settings, o->name, *(int *)o->target); break;
    case OPTION_COUNT: json_set_int(settings, o->name, (int64_t) * (uint64_t *)o->target); break;
    case OPTION_NUMBER: json_set_number(settings, o->name, *(double *)o->target); break;
    case OPTION_STRING:
    case OPTION_CHOICE:
        s = *(const char **)o->target;
        if (s) json_set_string(settings, o->name, s);
        break;
    case OPTION_LIST:
    case OPTION_REPEAT:
        values = o->target;
        list = json_new_array();
        for (int i = 0; i < values->n; i++) json_push_string(list, values->items[i]);
        json_set(settings, o->name, list);
        break;
    }
}

/* Effective settings of a command from its option table. Owned. */
static struct json *settings_of(const struct command *c)
{
    struct json *settings = json_new_object(), *words = json_new_array();
    for (int i = 0; i < c->n_positional; i++) json_push_string(words, c->positional[i]);
    json_set(settings, "arguments", words);
    for (int i = 0; i < c->n_options; i++) set_setting(settings, &c->options[i]);
    return settings;
}

void command_log_run(const struct command *c, const char *cache, struct json *counts, int rc)
{
    struct error err = {0};
    if (rc < 0 && !file_is_folder(cache)) { /* a mistyped name makes no cache */
        json_free(counts);
        return;
    }
    struct json *settings = settings_of(c);
    if (runlog_write(cache, c->name, CLIPSTILL_VERSION, settings, counts,
                     command_exit_code(rc, progress_signal()), &err) < 0 &&
        rc >= 0) /* else the error says enough */
        progress_say("clipstill: the run's manifest was not written: %s", err.text);
    json_free(settings);
    json_free(counts);
}

int command_print_json(const struct command *c, struct json *j, struct error *err)
{
    char schema[64];
    snprintf(schema, sizeof schema, "clipstill.%s.1", c->name);
    json_set_string(j, "schema", schema);
    char *text = json_write(j, JSON_LINE, err);
    json_free(j);
    if (!text) return ERR_NOMEM;
    puts(text);
    memory_free(text);
    return 0;
}

enum numerics command_numerics(const char *word)
{
    if (!strcmp(word, "int8")) return NUMERICS_INT8;
    bool bf16 = !strcmp(word, "bf16") || (!strcmp(word, "auto") && gemm_bf16_is_fast());
    return bf16 ? NUMERICS_BF16 : NUMERICS_F32;
}

/* "key: value" lines of a summary, nested objects indented. */
static void print_summary(const struct json *j, int depth)
{
    const char *key;
    const struct json *value;
    for (size_t i = 0; json_member(j, i, &key, &value); i++) {
        if (json_is_object(value)) {
            printf("%*s%s:\n", depth * 2, "", key);
            print_summary(value, depth + 1);
            continue;
        }
        char *text = json_is_string(value) ? NULL : json_write(value, JSON_LINE, NULL);
        printf("%*s%s: %s\n", depth * 2, "", key, text ? text : json_text(value, ""));
        memory_free(text);
    }
}

int command_end_training(const struct command *c, const char *cache, const char *out,
                         const char *sentence, struct json *summary, int rc, struct error *err)
{
    command_log_run(c, cache, summary ? json_clone(summary) : json_new_object(), rc);
    if (rc >= 0 && option_globals.json) return command_print_json(c, summary, err);
    if (rc >= 0) {
        char text[4200];
        snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(sentence, "%s") - sentence), sentence,
                 out, strstr(sentence, "%s") + 2);
        fputs(text, stdout);
        print_summary(summary, 1);
    }
    json_free(summary);
    return rc;
}

const char *command_saving(uint64_t stored_bytes, uint64_t as_f32_bytes)
{
    static char text[48];
    *text = 0;
    if (stored_bytes && as_f32_bytes > stored_bytes)
        snprintf(text, sizeof text, " (%.1fx smaller than f32)",
                 (double)as_f32_bytes / (double)stored_bytes);
    return text;
}
