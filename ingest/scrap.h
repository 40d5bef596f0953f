/* A temporary file without a name, in $TMPDIR or /tmp: for what a reader must keep and memory should
 * not hold. It is gone with fclose, and after kill -9.
 */
#ifndef INGEST_SCRAP_H
#define INGEST_SCRAP_H

#include <stdio.h>

#include "store/error.h"

/* Open for writing and reading; owned: fclose. what: said of its purpose in an error. */
int scrap_open(FILE **f, const char *what, struct error *err) MUST_CHECK;

#endif
