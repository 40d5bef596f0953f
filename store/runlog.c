/* Run manifests; see runlog.h. A name is taken by link(2), which refuses one that is there: rename
 * would replace it. */
#include "store/runlog.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"
#include "store/tempfile.h"

#define MAX_SAME_SECOND 10000

static void set_copy(struct json *j, const char *name, const struct json *value)
{
    if (value)
        json_set(j, name, json_clone(value));
    else
        json_set_string(j, name, NULL);
}

/* Gives the file `tmp` the first free name of its second. */
static int place(const char *folder, const char *tmp, const char *verb, const struct tm *tm,
                 struct error *err)
{
    char stamp[40], name[120];
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", tm);
    for (int i = 1; i <= MAX_SAME_SECOND; i++) {
        if (i == 1)
            snprintf(name, sizeof name, "%s-%.40s.json", stamp, verb);
        else
            snprintf(name, sizeof name, "%s-%.40s-%d.json", stamp, verb, i);
        char *to = file_join(folder, name, err);
        if (!to) return ERR_NOMEM;
        int rc = link(tmp, to) < 0 ? error_errno(err, "%s: the run's manifest cannot be made", to)
                                   : 0;
        bool is_taken = rc < 0 && file_exists(to);
        memory_free(to);
        if (rc == 0) return file_sync_folder(folder, err);
        if (!is_taken) return rc;
    }
    return error_set(err, ERR_EXISTS, "%s: no free name for the manifest of %s", folder, stamp);
}

int runlog_write(const char *cache, const char *verb, const char *version,
                 const struct json *settings, const struct json *counts, int exit_code,
                 struct error *err)
{
    char ended[40];
    struct tempfile t = {0};
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(ended, sizeof ended, "%Y-%m-%dT%H:%M:%SZ", &tm);
    struct json *j = json_new_object();
    json_set_string(j, "schema", "clipstill-run-1");
    json_set_string(j, "verb", verb);
    json_set_string(j, "version", version);
    json_set_string(j, "ended", ended);
    set_copy(j, "settings", settings);
    set_copy(j, "counts", counts);
    json_set_int(j, "exit", exit_code);
    char *text = json_write(j, JSON_PRETTY, err), *path = NULL,
         *folder = file_join(cache, "runs", err);
    json_free(j);
    int rc = ERR_NOMEM;
    if (!text || !folder) goto done;
    if (!(path = file_join(folder, ".run", err))) goto done;
    rc = file_make_folder(folder, err);
    if (rc == 0) rc = tempfile_open(&t, path, err);
    if (rc == 0) rc = tempfile_write(&t, text, strlen(text), err);
    if (rc == 0 && fsync(t.fd) < 0) rc = error_errno(err, "%s: writing", t.tmp);
    if (rc == 0) rc = place(folder, t.tmp, verb, &tm, err);
    tempfile_close(&t); /* only the name that place gave it is left */
done:
    memory_free(path);
    memory_free(folder);
    memory_free(text);
    return rc;
}
