/* Errors as values.
 *
 *     int rc = corpus_open(&c, dir, CORPUS_READ, &err);
 *     if (rc < 0) goto done;              // err.text says what, where, expected, found, what to do
 *
 * Every function that can fail returns 0 (or a count) or a negative `enum err`, and takes a
 * `struct error *err` last. It fills err where the object is known and leaves it untouched on
 * success; err may be NULL. A caller may prefix the text (error_prefix), never replace it.
 *
 * Three kinds are kept apart: the data is bad (ERR_DATA, ERR_FORMAT, ERR_CORRUPT), the caller is wrong
 * (ERR_USAGE, ERR_NOT_FOUND), the machine failed (ERR_IO, ERR_NOSPACE, ERR_NOMEM). cli/ maps them to the
 * exit codes of the README; nothing else does.
 *
 * Threading: plain data, one owner.
 */
#ifndef STORE_ERROR_H
#define STORE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    ERR_OK = 0,
    ERR_USAGE = -1,        /* the caller asked for something that makes no sense: exit 2 */
    ERR_NOT_FOUND = -2,    /* a file, folder, record or set is not there: exit 1 */
    ERR_IO = -3,           /* the machine failed to read or write: exit 1 */
    ERR_DATA = -4,         /* foreign input is bad (a picture, a manifest, a weight file): exit 1 */
    ERR_INCOMPATIBLE = -5, /* a store of another version, features of another teacher: exit 5 */
    ERR_CORRUPT = -6,      /* our own bytes fail their checksum: exit 5 */
    ERR_LOCKED = -7,       /* another run holds the writer's lock: exit 6 */
    ERR_NOSPACE = -8,      /* disk full: exit 7 */
    ERR_NOMEM = -9,        /* out of memory, or a size above its named limit: exit 7 */
    ERR_BUDGET = -10,      /* too many rejects, or a quality gate failed: exit 4 */
    ERR_DIVERGED = -11,    /* a training run produced a NaN or infinity: exit 1 */
    ERR_STOPPED = -12,     /* stopped by a signal after a clean commit: exit 128 + n */
    ERR_EXISTS = -13,      /* would overwrite something that differs: exit 1 */
};

struct error {
    int code;        /* one of enum err, 0 when nothing failed */
    char text[1000]; /* one sentence, no newline, UTF-8 */
};

/* Records `code` and a formatted sentence in err (if not NULL); returns code, so that callers write
 * `return error_set(err, ERR_DATA, "%s: ...", path);`. */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As error_set, with ": strerror(errno)" appended; ENOSPC, EDQUOT and EFBIG become ERR_NOSPACE, ENOMEM
 * ERR_NOMEM, ENOENT ERR_NOT_FOUND, anything else ERR_IO. Returns that code. */
int error_errno(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts formatted text before what err already says (cut at the end if it would not fit). */
void error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "data", "not-found", ...: a stable word for logs and quarantine. Static. */
const char *error_word(int code);

#endif
