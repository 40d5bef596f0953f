/* What earlier runs rejected of the sources of this one, so that a reject whose record is good now is
 * taken out again, and so that a run can look at those records alone.
 *
 *     quarantine_open(&q, corpus, &err);
 *     quarantine_begin(q, "pairs.tsv");
 *     if (retrying && !quarantine_holds(q, &row)) continue;
 *     quarantine_meet(q, &row, number);                 // the reject with this number stands again
 *     quarantine_end(q, corpus, &n_gone, &err);         // the source was read to its end
 *
 * A record is known by its source and its place there: line, byte offset and member. 32 bytes of
 * memory a reject of the corpus. One owner, one thread.
 */
#ifndef INGEST_QUARANTINE_H
#define INGEST_QUARANTINE_H

#include <stdbool.h>

#include "ingest/row.h"

struct corpus;
struct quarantine;

int quarantine_open(struct quarantine **q, struct corpus *corpus, struct error *err) MUST_CHECK;
void quarantine_close(struct quarantine *q);
void quarantine_begin(struct quarantine *q, const char *source);
/* Was the record at the row's place rejected before? */
bool quarantine_holds(const struct quarantine *q, const struct row *row);
/* One that is not of an earlier run is no matter. */
void quarantine_meet(struct quarantine *q, const struct row *row, uint64_t number);
/* Takes out what was not met since quarantine_begin; inside an open batch. Nothing when a ROW_BROKEN was
 * met: the records behind it were not read. */
int quarantine_end(struct quarantine *q, struct corpus *corpus, uint64_t *n_gone,
                   struct error *err) MUST_CHECK;

#endif
