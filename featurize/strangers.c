/* Naming tensors that no tower takes; see strangers.h. */
#include "featurize/strangers.h"

#include <stdio.h>
#include <string.h>

#include "featurize/family.h"
#include "featurize/weightfile.h"

#define SHOWN 3

static bool is_stranger(const struct model *m, const char *name)
{
    if (!strcmp(name, "logit_scale") || !family_uses(name)) return false;
    for (int is_text = 0; is_text < 2; is_text++) {
        if (!family_owns(name, is_text)) continue;
        const struct tower *t = is_text ? m->text : m->image;
        return t && params_find(&t->params, name) < 0;
    }
    return true;
}

size_t strangers_warn(const struct model *m, const struct report *report)
{
    char names[400] = "";
    size_t n = 0, at = 0;
    const struct tensor *t;
    for (size_t i = 0; m->weights && (t = weightfile_at(m->weights, i)); i++) {
        if (!is_stranger(m, t->name)) continue;
        if (n++ < SHOWN)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.100s", at ? ", " : "",
                                   t->name);
    }
    if (n)
        report_warn(report,
                    "%s: %zu tensors of the weights belong to no tower and are ignored: %s%s",
                    m->dir, n, names, n > SHOWN ? ", ..." : "");
    return n;
}
