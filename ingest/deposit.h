/* One row into the corpus, or into its quarantine; called by the ingest stage, row after row,
 * inside an open batch.
 *
 * Everything about a row is checked before anything of it is added: a bad row leaves no trace but
 * its reject. One owner, one thread.
 */
#ifndef INGEST_DEPOSIT_H
#define INGEST_DEPOSIT_H

#include "ingest/ingest.h"
#include "ingest/quarantine.h"
#include "ingest/row.h"
#include "ingest/shots.h"

struct deposit {
    struct corpus *corpus; /* all borrowed */
    const struct ingest_options *options;
    struct ingest_result *result;
    struct quarantine *quarantine;
    const char *source_path; /* as given, for rejects */
    const char *source_name; /* pairs and ids are filed under it */
};

/* shot: the row's picture file, or NULL when none was looked for. 1: stored; 0: quarantined and
 * counted; negative: the store or the machine failed. */
int deposit_row(struct deposit *d, const struct row *row, struct shot *shot, struct error *err) MUST_CHECK;

#endif
