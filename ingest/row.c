/* One record of a manifest; see row.h. */
#include "ingest/row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

void row_reject(struct row *r, const char *reason, const char *message, const char *record)
{
    r->reason = reason;
    r->message = message;
    r->record = record;
}

/* Puts a string at *at and lets *pointer name it; a NULL stays NULL. */
static void move(const char **pointer, size_t n, char **at)
{
    if (!*pointer) return;
    memcpy(*at, *pointer, n);
    *pointer = *at;
    *at += n + 1; /* the block is zeroed: a NUL follows */
}

int row_copy(const struct row *from, struct row *to, char **block, struct error *err)
{
    *to = *from;
    to->picture = NULL;
    to->n_picture = 0;
    const char **strings[] = {&to->image, &to->id,     &to->lang,    &to->label,
                              &to->split, &to->member, &to->message, &to->record};
    enum { N = sizeof strings / sizeof *strings };
    size_t n[N], total = from->n_caption + 1;
    for (int i = 0; i < N; i++) total += (n[i] = *strings[i] ? strlen(*strings[i]) : 0) + 1;
    char *at = *block = memory_array(total, 1, MEMORY_MAX_FILE, err);
    if (!at) return ERR_NOMEM;
    for (int i = 0; i < N; i++) move(strings[i], n[i], &at);
    move(&to->caption, from->n_caption, &at);
    return 0;
}

int row_weight(const char *text, double *weight)
{
    char *end;
    double w = strtod(text, &end);
    if (end == text || *end || !isfinite(w) || !(w > 0) || !((float)w > 0) || !isfinite((float)w))
        return ERR_DATA;
    *weight = w;
    return 0;
}
