/* Errors as values; see error.h. The text is always one line: control characters of foreign input are
 * shown as '?', so that a hostile file name cannot write to a terminal. */
#include "store/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void keep_one_line(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f) *p = '?';
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
    if (!err) return code;
    va_list ap;
    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    keep_one_line(err->text);
    return code;
}

static int code_of_errno(int e)
{
    switch (e) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_NOSPACE; /* a limit on the size of files */
    case ENOMEM: return ERR_NOMEM;
    case ENOENT: return ERR_NOT_FOUND;
    default: return ERR_IO;
    }
}

int error_errno(struct error *err, const char *fmt, ...)
{
    int e = errno;
    if (!err) return code_of_errno(e);
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err, code_of_errno(e), "%.*s: %s", 900, text, strerror(e));
}

void error_prefix(struct error *err, const char *fmt, ...)
{
    if (!err) return;
    char old[sizeof err->text], head[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    snprintf(err->text, sizeof err->text, "%.*s%.*s", 400, head, 599, old);
    keep_one_line(err->text);
}

const char *error_word(int code)
{
    switch (code) {
    case ERR_OK: return "ok";
    case ERR_USAGE: return "usage";
    case ERR_NOT_FOUND: return "not-found";
    case ERR_IO: return "io";
    case ERR_DATA: return "data";
    case ERR_INCOMPATIBLE: return "incompatible";
    case ERR_CORRUPT: return "corrupt";
    case ERR_LOCKED: return "locked";
    case ERR_NOSPACE: return "no-space";
    case ERR_NOMEM: return "no-memory";
    case ERR_BUDGET: return "budget";
    case ERR_DIVERGED: return "diverged";
    case ERR_STOPPED: return "stopped";
    case ERR_EXISTS: return "exists";
    default: return "unknown";
    }
}
