/* Whether the sets are still what they say; see statfresh.h. */
#include "cli/statfresh.h"

#include <stdio.h>
#include <string.h>

#include "store/fingerprint.h"
#include "store/memory.h"

static const struct json *find(const struct json *list, const char *name)
{
    for (size_t i = 0; i < json_size(list); i++)
        if (!strcmp(json_text(json_get(json_at(list, i), "name"), ""), name))
            return json_at(list, i);
    return NULL;
}

/* How int8 compared with f32 when the set was made. */
static void add_agreement(struct json *set, const struct json *int8)
{
    static const char *const keys[] = {"sample", "cosine_mean", "cosine_min", "min_cosine"};
    if (!int8) return;
    struct json *j = json_new_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_set(j, keys[i], json_clone(json_get(int8, keys[i])));
    json_set(set, "int8", j);
}

int statfresh_add(struct json *set, struct featureset *fs, const struct json *list,
                  struct error *err)
{
    const struct json *f = find(list, featureset_spec(fs)->name);
    const struct json *differences = json_get(f, "differences");
    const char *state = json_text(json_get(f, "state"), "unasked");
    int64_t hit = json_int(json_get(set, "hit"), 0);
    bool stale = !strcmp(state, "stale");
    json_set_string(set, "state", state);
    json_set_int(set, "hit", stale ? 0 : hit);
    json_set_int(set, "stale", stale ? hit : 0);
    if (json_get(f, "against"))
        json_set_string(set, "against", json_text(json_get(f, "against"), ""));
    if (differences) json_set(set, "differences", json_clone(differences));
    add_agreement(set, json_get(featureset_spec(fs)->replay, "int8"));
    struct json *accepted = NULL;
    int rc = featureset_accepted(fs, &accepted, err);
    if (json_size(accepted))
        json_set(set, "accepted", accepted);
    else
        json_free(accepted);
    return rc;
}

/* "vectors from 12, 12 on are f32": a stretch that was accepted. */
static void print_accepted(const struct json *entry)
{
    char *from = json_write(json_get(entry, "from"), JSON_LINE, NULL);
    char *to = json_get(entry, "to") ? json_write(json_get(entry, "to"), JSON_LINE, NULL) : NULL;
    printf("  accepted: vectors after the first %s%s%s, by view, are %s\n", from ? from : "",
           to ? " and up to " : "", to ? to : "", json_text(json_get(entry, "numerics"), ""));
    memory_free(from);
    memory_free(to);
}

void statfresh_print(const struct json *set)
{
    const struct json *int8 = json_get(set, "int8");
    if (int8)
        printf("  int8 against f32 over %lld when it was made: cosine %.5f, least %.5f\n",
               (long long)json_int(json_get(int8, "sample"), 0),
               json_number(json_get(int8, "cosine_mean"), 0),
               json_number(json_get(int8, "cosine_min"), 0));
    char text[2000];
    const char *state = json_text(json_get(set, "state"), "");
    const char *against = json_text(json_get(set, "against"), "");
    fingerprint_say(json_get(set, "differences"), text, sizeof text);
    if (!strcmp(state, "fresh")) printf("  fresh: what %s gives now\n", against);
    if (!strcmp(state, "stale")) printf("  stale against %s: %s\n", against, text);
    if (!strcmp(state, "odd")) printf("  not of one teacher with %s: %s\n", against, text);
    if (!strcmp(state, "imported")) printf("  imported: no teacher's folder to compare with\n");
    if (!strcmp(state, "other")) printf("  of another prefix: not compared\n");
    const struct json *accepted = json_get(set, "accepted");
    for (size_t i = 0; i < json_size(accepted); i++) print_accepted(json_at(accepted, i));
}
