/* Results as tables on a terminal: one table a metric, a row a system, a column a group.
 *
 * A cell is the value in percent with the half width of its 95% interval ("41.2±3.1"); above the
 * systems stand n and the chance level. Exact bounds are in --json.
 */
#ifndef CLI_RESULTS_H
#define CLI_RESULTS_H

#include <stdio.h>

#include "cli/option.h"
#include "store/json.h"

/* rows: evaluate.h's "rows". metrics: which to print, all when n == 0. */
void results_print(const struct json *rows, const struct option_list *metrics, FILE *out);

#endif
