/* One record of a manifest; see row.h. */
#include "ingest/row.h"

#include <math.h>
#include <stdlib.h>

#include "store/error.h"

void row_reject(struct row *r, const char *reason, const char *message, const char *record)
{
    r->reason = reason;
    r->message = message;
    r->record = record;
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
