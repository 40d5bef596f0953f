/* The commands, one file each (cli/cmd_VERB.c), and what they share: printing an answer, writing
 * the run's manifest.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli/option.h"
#include "featurize/gemm.h"
#include "store/json.h"

#define CLIPSTILL_VERSION "0.1.0"

extern struct command cmd_ingest, cmd_retag, cmd_featurize, cmd_shrink, cmd_distill, cmd_align, cmd_eval,
    cmd_embed, cmd_bench, cmd_stat, cmd_verify, cmd_dump, cmd_export, cmd_import, cmd_forget, cmd_gc,
    cmd_snapshot, cmd_merge;

/* A command's run returns 0, a negative enum err, or one of these, which are exit codes as they stand. */
enum { COMMAND_REJECTS = 3, COMMAND_GATE = 4, COMMAND_CORRUPT = 5 };

/* The exit code of the README's table for what run returned. */
int command_exit_code(int rc, int signal_seen);

/* Writes CACHE/runs/<time>-<verb>.json with settings, counts (taken) and exit code. A failure is a
 * warning, never an error of the run. */
void command_log_run(const struct command *c, const char *cache, struct json *counts, int rc);
/* "auto", "f32" or "bf16" to what this machine does. */
enum numerics command_numerics(const char *word);
/* The end of shrink, distill and align: manifest, then on success the sentence (with %s for out)
 * and the summary (taken), or JSON. Returns rc. */
int command_end_training(const struct command *c, const char *cache, const char *out,
                         const char *sentence, struct json *summary, int rc,
                         struct error *err) MUST_CHECK;
/* " (5.2x smaller than f32)", or nothing for a set so small that its fixed pages weigh more. Static text, overwritten by the next call. */
const char *command_saving(uint64_t stored_bytes, uint64_t as_f32_bytes);
/* Prints j (taken) as the answer of --json, with "schema": "clipstill.<verb>.1" in front. */
int command_print_json(const struct command *c, struct json *j, struct error *err) MUST_CHECK;

#endif
