/* What is common to salvaging a corpus and a feature set; see salvage.h. */
#include "store/salvage_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/file.h"
#include "store/lock.h"
#include "store/memory.h"

#define TOLD 1000 /* losses, one by one */
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int found_add(struct found_list *l, struct kv_bytes key, struct kv_bytes value, struct error *err)
{
    int rc = memory_grow(&l->at, &l->capacity, l->n + 1, sizeof *l->at, MEMORY_MAX_TENSOR, err);
    if (rc < 0) return rc;
    l->at[l->n] = (struct found){key, value, l->n};
    l->n++;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int order = n ? memcmp(x->key.bytes, y->key.bytes, n) : 0;
    if (order) return order;
    if (x->key.n != y->key.n) return x->key.n < y->key.n ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

void found_sort(struct found_list *l)
{
    if (l->n) qsort(l->at, l->n, sizeof *l->at, by_key);
}

void salvage_tell(struct sandbox *box, uint64_t turn, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (turn < TOLD) sandbox_finding(box, "%s", text);
    if (turn == TOLD) sandbox_finding(box, "and more; the summary counts them");
}

/* What both processes see. */
struct shared {
    struct salvage_result result;
    bool is_done;
};

struct child {
    int (*work)(void *, struct salvage_result *, struct sandbox *, struct error *);
    void *context;
    struct shared *shared;
};

static int in_child(void *context, struct sandbox *box, struct error *err)
{
    struct child *c = context;
    int rc = c->work(c->context, &c->shared->result, box, err);
    c->shared->is_done = rc >= 0;
    return rc;
}

static void hear_nothing(void *context, const char *text)
{
    (void)context;
    (void)text;
}

/* The two folders change places; where the file system cannot do it at once, in two steps. */
static int exchange(const char *made, const char *folder, const char *aside, struct error *err)
{
    if (syscall(SYS_renameat2, AT_FDCWD, made, AT_FDCWD, folder, RENAME_EXCHANGE) == 0)
        return rename(made, aside) == 0 ? 0 : error_errno(err, "renaming %s to %s", made, aside);
    if (rename(folder, aside) < 0) return error_errno(err, "renaming %s to %s", folder, aside);
    if (rename(made, folder) < 0) return error_errno(err, "renaming %s to %s", made, folder);
    return 0;
}

/* aside: where the damaged one goes. */
static int put_in_place(const struct salvage *how, const char *made, const char *folder,
                        const char *aside, bool is_gone, struct error *err)
{
    char *parent = file_folder_of(folder, err);
    int rc = parent ? 0 : ERR_NOMEM;
    if (rc == 0 && !is_gone) rc = exchange(made, folder, aside, err);
    if (rc == 0 && is_gone && rename(folder, aside) < 0)
        rc = error_errno(err, "renaming %s to %s", folder, aside);
    if (rc == 0) rc = file_sync_folder(parent, err);
    if (rc == 0) rc = file_sync_folder(how->cache, err);
    if (rc == 0 && !how->suffix) rc = file_remove_folder(aside, err);
    memory_free(parent);
    return rc;
}

/* Owned: CACHE/NAME.SUFFIX, a name that is free. */
static char *aside_of(const struct salvage *how, const char *name, struct error *err)
{
    char tail[FEATURESET_NAME_MAX + 100];
    for (int i = 0; i < 1000; i++) {
        snprintf(tail, sizeof tail, i ? "%s.%s-%d" : "%s.%s", name,
                 how->suffix ? how->suffix : "discarded", i);
        char *path = file_join(how->cache, tail, err);
        if (!path || !file_exists(path)) return path;
        memory_free(path);
    }
    error_set(err, ERR_EXISTS, "%s: a thousand damaged copies of %s are kept already", how->cache,
              name);
    return NULL;
}

int salvage_run(const struct salvage *how, const char *folder, const char *made, const char *name,
                int (*work)(void *, struct salvage_result *, struct sandbox *, struct error *),
                void *context, struct salvage_result *result, struct error *err)
{
    struct lock *lock = NULL;
    char *repair = file_join(how->cache, SALVAGE_FOLDER, err), *aside = aside_of(how, name, err);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int rc = repair && aside ? 0 : ERR_NOMEM;
    if (rc == 0 && shared == MAP_FAILED) rc = error_errno(err, "a page of memory to share");
    if (rc == 0) rc = lock_take(&lock, folder, err);
    if (rc == 0) rc = file_remove_folder(repair, err); /* of a repair that was killed */
    if (rc < 0) goto done;
    struct child child = {work, context, shared};
    rc = sandbox_run(in_child, &child, how->lost ? how->lost : hear_nothing, how->context,
                     how->report, err);
    if (rc >= 0 && !shared->is_done)
        rc = error_set(err, ERR_CORRUPT,
                       "%s: nothing was changed: the process that read what is left has died",
                       folder);
    if (rc < 0) goto done;
    *result = shared->result;
    rc = put_in_place(how, made, folder, aside, result->is_gone, err);
done:
    if (repair && lock && file_remove_folder(repair, NULL) < 0 && rc == 0)
        rc = error_set(err, ERR_IO, "%s: cannot be removed", repair);
    lock_release(lock);
    if (shared != MAP_FAILED) munmap(shared, sizeof *shared);
    memory_free(repair);
    memory_free(aside);
    return rc < 0 ? rc : 0;
}
