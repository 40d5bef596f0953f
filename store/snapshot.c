/* Snapshots; see snapshot.h. */
#include "store/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/kv.h"
#include "store/lock.h"
#include "store/memory.h"

#define LINK_NAME "current"
#define NEW_LINK  ".new-current"
#define NEW       ".new-"
#define MAX_TRIES 100 /* of finding a moment */

/* One moment of a cache. */
struct moment {
    struct corpus *c;
    char **names;
    struct featureset **sets;
    struct kv_txn **pins;
    size_t n;
};

static void let_go(struct moment *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->pins) kv_abort(m->pins[i]);
        if (m->sets) featureset_close(m->sets[i]);
    }
    corpus_close(m->c);
    memory_free(m->pins);
    memory_free(m->sets);
    memory_free(m->names);
    *m = (struct moment){0};
}

static int pin_sets(struct moment *m, const char *cache, struct error *err)
{
    int rc = featureset_list(cache, &m->names, &m->n, err);
    if (rc < 0) return rc;
    m->sets = memory_array(m->n, sizeof *m->sets, MEMORY_MAX_SMALL, err);
    m->pins = memory_array(m->n, sizeof *m->pins, MEMORY_MAX_SMALL, err);
    rc = m->sets && m->pins ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < m->n; i++) {
        rc = featureset_open(&m->sets[i], cache, m->names[i], FEATURESET_READ, err);
        if (rc == 0) rc = featureset_pin(m->sets[i], &m->pins[i], err);
    }
    return rc;
}

static int open_corpus(const char *cache, struct corpus **c, uint64_t *n_forgotten,
                       struct error *err)
{
    int rc = corpus_open(c, cache, CORPUS_READ, err);
    *n_forgotten = rc == 0 ? corpus_n_forgotten(*c) : 0;
    return rc;
}

/* `forget` goes through the sets first and the corpus last: a corpus that has forgotten more at the
 * end than at the beginning may have done it between two sets. */
static int find_moment(struct moment *m, const char *cache, struct error *err)
{
    for (int i = 0; i < MAX_TRIES; i++) {
        uint64_t before, after = 0;
        int rc = open_corpus(cache, &m->c, &before, err);
        corpus_close(m->c); /* and opened anew: it may be another generation */
        m->c = NULL;
        if (rc == 0) rc = pin_sets(m, cache, err);
        if (rc == 0) rc = open_corpus(cache, &m->c, &after, err);
        if (rc == 0 && before == after) return 0;
        let_go(m);
        if (rc < 0) return rc;
    }
    return error_set(err, ERR_LOCKED, "%s: records are being forgotten all the time; wait for it",
                     cache);
}

/* The copy at folder is to be read alone. */
static int seal(const char *folder, uint64_t *n_bytes, struct error *err)
{
    char *data = file_join(folder, "data.mdb", err), *lock = file_join(folder, LOCK_FILE, err);
    int rc = data && lock ? 0 : ERR_NOMEM;
    if (rc == 0) {
        *n_bytes += file_size(data);
        unlink(lock);
        if (chmod(data, 0444) < 0) rc = error_errno(err, "%s: making it read-only", data);
    }
    memory_free(lock);
    memory_free(data);
    return rc < 0 ? rc : file_sync_folder(folder, err);
}

static int copy_set(struct moment *m, size_t i, const char *features, const struct report *report,
                    uint64_t *n_bytes, struct error *err)
{
    char *folder = file_join(features, m->names[i], err);
    int rc = folder ? featureset_copy(m->sets[i], m->pins[i], folder, report, err) : ERR_NOMEM;
    if (rc == 0) rc = seal(folder, n_bytes, err);
    memory_free(folder);
    return rc;
}

/* The moment into `made`, durably. */
static int copy_all(struct moment *m, const char *made, const struct report *report,
                    struct snapshot_result *r, struct error *err)
{
    char *corpus = file_join(made, "corpus", err), *features = file_join(made, "features", err);
    int rc = corpus && features ? 0 : ERR_NOMEM;
    if (rc == 0) rc = corpus_copy(m->c, corpus, report, err);
    if (rc == 0) rc = seal(corpus, &r->n_bytes, err);
    if (rc == 0) rc = file_make_folder(features, err);
    for (size_t i = 0; rc == 0 && i < m->n; i++)
        rc = copy_set(m, i, features, report, &r->n_bytes, err);
    if (rc == 0) rc = file_sync_folder(features, err);
    if (rc == 0) rc = file_sync_folder(made, err);
    memory_free(features);
    memory_free(corpus);
    r->n_sets = m->n;
    return rc;
}

/* A name of now behind all that were given in this second, also where earlier ones are gone again. */
static int choose_name(const char *dest, char name[40], struct error *err)
{
    char **names = NULL;
    size_t n_names = 0;
    unsigned last = 0;
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    size_t n = strftime(name, 40, "%Y%m%dT%H%M%SZ", &tm);
    int rc = file_list(dest, &names, &n_names, err);
    for (size_t i = 0; rc == 0 && i < n_names; i++) {
        if (strncmp(names[i], name, n)) continue;
        unsigned number = names[i][n] == '-' ? (unsigned)strtoul(names[i] + n + 1, NULL, 10) : 1;
        if (number > last) last = number;
    }
    memory_free(names);
    if (last) snprintf(name + n, 40 - n, "-%03u", last + 1);
    return rc;
}

static bool is_snapshot(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits >= 8 && name[digits] == 'T' &&
           strspn(name + digits + 1, "0123456789Z-") == strlen(name + digits + 1);
}

/* What a killed one left in dest. */
static int sweep(const char *dest, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = file_list(dest, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (strncmp(names[i], NEW, strlen(NEW))) continue;
        char *path = file_join(dest, names[i], err);
        rc = !path ? ERR_NOMEM : unlink(path) == 0 ? 0 : file_remove_folder(path, err);
        memory_free(path);
    }
    memory_free(names);
    return rc;
}

/* Makes dest/current lead to name, in one step. */
static int flip(const char *dest, const char *name, struct error *err)
{
    char *made = file_join(dest, NEW_LINK, err), *link_ = file_join(dest, LINK_NAME, err);
    int rc = made && link_ ? 0 : ERR_NOMEM;
    if (rc == 0 && (symlink(name, made) < 0 || rename(made, link_) < 0))
        rc = error_errno(err, "%s: leading it to the new snapshot", link_);
    if (rc == 0) rc = file_sync_folder(dest, err);
    memory_free(link_);
    memory_free(made);
    return rc;
}

static int check_link(const char *dest, struct error *err)
{
    struct stat st;
    char *path = file_join(dest, LINK_NAME, err);
    if (!path) return ERR_NOMEM;
    int rc = 0;
    if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
        rc = error_set(err, ERR_USAGE,
                       "%s: is no link; snapshots want a folder of their own, or a new one", path);
    memory_free(path);
    return rc;
}

/* All but the newest `keep`, the new one among them, whatever the clock made of its name: it is what
 * the link leads to. */
static int remove_older(const char *dest, const char *new, uint64_t keep, uint64_t *n_removed,
                        struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    uint64_t n_seen = 1; /* the new one */
    int rc = file_list(dest, &names, &n, err);
    for (size_t i = n; rc == 0 && i-- > 0;) {
        if (!is_snapshot(names[i]) || !strcmp(names[i], new) || ++n_seen <= keep) continue;
        char *path = file_join(dest, names[i], err);
        rc = path ? file_remove_folder(path, err) : ERR_NOMEM;
        *n_removed += rc == 0;
        memory_free(path);
    }
    memory_free(names);
    return rc;
}

static int publish(struct moment *m, const char *dest, const struct report *report,
                   struct snapshot_result *r, struct error *err)
{
    char base[60];
    int rc = choose_name(dest, r->name, err);
    if (rc < 0) return rc;
    snprintf(base, sizeof base, NEW "%s", r->name);
    char *made = file_join(dest, base, err), *place = file_join(dest, r->name, err);
    rc = made && place ? copy_all(m, made, report, r, err) : ERR_NOMEM;
    if (rc == 0 && rename(made, place) < 0)
        rc = error_errno(err, "%s cannot become %s", made, place);
    if (rc == 0)
        rc = file_sync_folder(dest, err);
    else if (made)
        (void)!file_remove_folder(made, NULL);
    if (rc == 0) rc = flip(dest, r->name, err);
    memory_free(place);
    memory_free(made);
    return rc;
}

int snapshot_publish(const char *cache, const char *dest, uint64_t keep,
                     const struct report *report, struct snapshot_result *r, struct error *err)
{
    struct moment m = {0};
    struct lock *lock = NULL;
    *r = (struct snapshot_result){0};
    int rc = find_moment(&m, cache, err);
    if (rc == 0) rc = file_make_folder(dest, err);
    if (rc == 0) rc = lock_take(&lock, dest, err);
    if (rc == 0) rc = check_link(dest, err);
    if (rc == 0) rc = sweep(dest, err);
    if (rc == 0) rc = publish(&m, dest, report, r, err);
    if (rc == 0 && keep) rc = remove_older(dest, r->name, keep, &r->n_removed, err);
    lock_release(lock);
    let_go(&m);
    return rc;
}
