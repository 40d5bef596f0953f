/* OUT/checkpoint: see the header for the files and the calling sequence. */
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/digest.h"
#include "store/file.h"
#include "store/lock.h"
#include "store/memory.h"

#define MAGIC     "CLIPCKPT"
#define VERSION   1
#define MAX_STATE ((uint64_t)1 << 36)
#define MAX_RUN   ((uint64_t)1 << 24)

static int damaged(const struct checkpoint *k, const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "%s: %s; remove %s to start the run again", k->state_path,
                     what, k->out);
}

/* Appends "name: expected in the run that is there, found now" for every member that differs. */
static void describe(const struct json *was, const struct json *now, const char *prefix, char *text,
                     size_t size)
{
    for (int side = 0; side < 2; side++) {
        const struct json *from = side ? now : was;
        const char *key;
        const struct json *value;
        for (size_t i = 0; json_member(from, i, &key, &value); i++) {
            const struct json *a = json_get(was, key), *b = json_get(now, key);
            if (json_same(a, b) || (side && a)) continue;
            char name[160];
            snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
            if (json_is_object(a) && json_is_object(b)) {
                describe(a, b, name, text, size);
                continue;
            }
            struct error ignored;
            char *was_text = a ? json_write(a, JSON_LINE, &ignored) : NULL;
            char *now_text = b ? json_write(b, JSON_LINE, &ignored) : NULL;
            size_t used = strlen(text);
            snprintf(text + used, size - used, "%s%s was %.60s and is %.60s now", used ? "; " : "",
                     name, was_text ? was_text : "absent", now_text ? now_text : "absent");
            memory_free(was_text);
            memory_free(now_text);
        }
    }
}

static int compare(const struct checkpoint *k, const struct json *was, struct error *err)
{
    if (json_same(was, k->settings)) return 0;
    char text[800] = "";
    describe(was, k->settings, "", text, sizeof text);
    return error_set(
        err, ERR_EXISTS,
        "%s holds a run with other settings (%s); repeat its settings, or choose another folder",
        k->out, text);
}

static int make_paths(struct checkpoint *k, const char *out, struct error *err)
{
    k->out = memory_string(out, err);
    k->folder = file_join(out, "checkpoint", err);
    if (!k->out || !k->folder) return ERR_NOMEM;
    k->state_path = file_join(k->folder, "state", err);
    k->pinned_path = file_join(k->folder, "pinned", err);
    k->curve_path = file_join(out, "curve.jsonl", err);
    k->run_path = file_join(out, "run.json", err);
    return k->state_path && k->pinned_path && k->curve_path && k->run_path ? 0 : ERR_NOMEM;
}

static uint64_t read_u64(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* The state's JSON: {"settings", "progress", "curve_bytes", "blocks": [[name, bytes], ...]}. */
static int read_state(struct checkpoint *k, struct json **head, struct error *err)
{
    int rc = file_read(k->state_path, MAX_STATE, &k->bytes, &k->n_bytes, err);
    if (rc < 0) return rc;
    const size_t fixed = 8 + 4 + 8;
    if (k->n_bytes < fixed + DIGEST_BYTES || memcmp(k->bytes, MAGIC, 8))
        return damaged(k, "is no checkpoint", err);
    uint32_t version;
    memcpy(&version, k->bytes + 8, sizeof version);
    if (version != VERSION)
        return error_set(err, ERR_INCOMPATIBLE, "%s: checkpoint version %u, this program reads %d",
                         k->state_path, version, VERSION);
    uint8_t digest[DIGEST_BYTES];
    digest_of(k->bytes, k->n_bytes - DIGEST_BYTES, digest);
    if (memcmp(digest, k->bytes + k->n_bytes - DIGEST_BYTES, DIGEST_BYTES))
        return damaged(k, "fails its checksum", err);
    uint64_t n_json = read_u64(k->bytes + 12);
    if (n_json > k->n_bytes - fixed - DIGEST_BYTES) return damaged(k, "has a bad header", err);
    *head = json_read(k->bytes + fixed, n_json, k->state_path, err);
    return *head ? 0 : ERR_CORRUPT;
}

static int look_at_state(struct checkpoint *k, struct error *err)
{
    struct json *head = NULL;
    int rc = read_state(k, &head, err);
    if (rc == 0) rc = compare(k, json_get(head, "settings"), err);
    if (rc == 0) {
        k->progress = json_clone(json_get(head, "progress"));
        if (!k->progress) rc = error_set(err, ERR_NOMEM, "%s: out of memory", k->state_path);
    }
    json_free(head);
    return rc;
}

static int look_at_run(struct checkpoint *k, struct error *err)
{
    struct json *run = json_read_file(k->run_path, MAX_RUN, err);
    if (!run) return ERR_DATA;
    int rc = compare(k, json_get(run, "settings"), err);
    if (rc == 0) {
        k->summary = json_clone(json_get(run, "summary"));
        if (!k->summary) rc = error_set(err, ERR_CORRUPT, "%s has no summary", k->run_path);
    }
    json_free(run);
    return rc;
}

/* What a killed run had begun to write (file_write's names); under the lock, so that nobody else is
 * writing. */
static int remove_leftovers(const char *folder, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = file_list(folder, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!strstr(names[i], ".tmp-")) continue;
        char *path = file_join(folder, names[i], err);
        if (!path) rc = ERR_NOMEM;
        if (path && unlink(path) < 0)
            rc = error_errno(err, "%s: a killed run's leftover cannot be removed", path);
        memory_free(path);
    }
    memory_free(names);
    return rc;
}

/* Under the lock. */
static int look_at_start(struct checkpoint *k, struct error *err)
{
    int rc = remove_leftovers(k->out, err);
    if (rc == 0) rc = remove_leftovers(k->folder, err);
    if (rc < 0 || file_exists(k->state_path)) return rc < 0 ? rc : look_at_state(k, err);
    char *model = file_join(k->out, "config.json", err);
    if (!model) return ERR_NOMEM;
    if (file_exists(model))
        rc = error_set(err, ERR_EXISTS,
                       "%s holds a model that is no run of this command; choose another folder",
                       k->out);
    memory_free(model);
    return rc;
}

int checkpoint_open(struct checkpoint *k, const char *out, const struct json *settings,
                    struct error *err)
{
    *k = (struct checkpoint){.settings = settings};
    int rc = make_paths(k, out, err);
    if (rc < 0) return rc;
    bool had_folder = file_is_folder(k->folder);
    if (!file_exists(k->run_path) || had_folder) {
        rc = file_make_folder(k->folder, err);
        if (rc == 0) rc = lock_take(&k->lock, k->folder, err);
        if (rc < 0) return rc;
    }
    if (file_exists(k->run_path)) { /* perhaps finished while the lock was asked for */
        rc = look_at_run(k, err);
        if (rc == 0) rc = file_remove_folder(k->folder, err); /* killed between the last steps */
        return rc;
    }
    rc = look_at_start(k, err);
    int removed = rc < 0 && !had_folder ? file_remove_folder(k->folder, NULL) : 0;
    return rc < 0 ? rc : removed;
}

void checkpoint_close(struct checkpoint *k)
{
    memory_free(k->out);
    memory_free(k->folder);
    memory_free(k->state_path);
    memory_free(k->pinned_path);
    memory_free(k->curve_path);
    memory_free(k->run_path);
    memory_free(k->bytes);
    json_free(k->progress);
    json_free(k->summary);
    lock_release(k->lock);
    *k = (struct checkpoint){0};
}

int checkpoint_add(struct checkpoint *k, const char *name, void *at, size_t n_bytes,
                   struct error *err)
{
    if (k->n_blocks == CHECKPOINT_MAX_BLOCKS)
        return error_set(err, ERR_USAGE, "checkpoint: more than %d blocks", CHECKPOINT_MAX_BLOCKS);
    snprintf(k->block[k->n_blocks].name, sizeof k->block[0].name, "%s", name);
    k->block[k->n_blocks].at = at;
    k->block[k->n_blocks].n = n_bytes;
    k->n_blocks++;
    return 0;
}

/* Head of the state that was found; owned. */
static struct json *found_head(const struct checkpoint *k, size_t *n_head)
{
    struct error ignored;
    if (!k->bytes) return NULL;
    *n_head = 20 + read_u64(k->bytes + 12);
    return json_read(k->bytes + 20, *n_head - 20, k->state_path, &ignored);
}

static const void *find_block(const struct checkpoint *k, const struct json *head, size_t n_head,
                              const char *name, size_t *n_bytes)
{
    const struct json *blocks = json_get(head, "blocks");
    size_t at = n_head, end = k->n_bytes - DIGEST_BYTES;
    for (size_t i = 0; i < json_size(blocks); i++) {
        const struct json *b = json_at(blocks, i);
        size_t n = (size_t)json_int(json_at(b, 1), 0);
        if (n > end - at) return NULL;
        if (!strcmp(json_text(json_at(b, 0), ""), name)) {
            *n_bytes = n;
            return k->bytes + at;
        }
        at += n;
    }
    return NULL;
}

const void *checkpoint_block(const struct checkpoint *k, const char *name, size_t *n_bytes)
{
    size_t n_head;
    struct json *head = found_head(k, &n_head);
    const void *at = head ? find_block(k, head, n_head, name, n_bytes) : NULL;
    json_free(head);
    return at;
}

/* The curve may have points of steps that the checkpoint has not: cut them off. */
static int cut_curve(struct checkpoint *k, uint64_t n_bytes, struct error *err)
{
    if (file_size(k->curve_path) < n_bytes)
        return error_set(err, ERR_CORRUPT, "%s has %llu bytes, the checkpoint knows %llu",
                         k->curve_path, (unsigned long long)file_size(k->curve_path),
                         (unsigned long long)n_bytes);
    if (file_exists(k->curve_path) && truncate(k->curve_path, (off_t)n_bytes) < 0)
        return error_errno(err, "%s: cannot cut the learning curve", k->curve_path);
    k->n_curve_bytes = n_bytes;
    return 0;
}

int checkpoint_restore(struct checkpoint *k, struct error *err)
{
    size_t n_head = 0;
    struct json *head = found_head(k, &n_head);
    if (!head) return damaged(k, "cannot be read", err);
    int rc = 0;
    for (int i = 0; i < k->n_blocks && rc == 0; i++) {
        size_t n = 0;
        const void *at = find_block(k, head, n_head, k->block[i].name, &n);
        if (!at || n != k->block[i].n)
            rc = error_set(err, ERR_CORRUPT, "%s: block \"%s\" has %zu bytes, expected %zu",
                           k->state_path, k->block[i].name, n, k->block[i].n);
        else
            memcpy(k->block[i].at, at, n);
    }
    if (rc == 0) rc = cut_curve(k, (uint64_t)json_int(json_get(head, "curve_bytes"), 0), err);
    json_free(head);
    memory_free(k->bytes);
    k->bytes = NULL;
    return rc;
}

static char *write_head(const struct checkpoint *k, const struct json *progress, struct error *err)
{
    struct json *head = json_new_object(), *blocks = json_new_array();
    json_set(head, "settings", json_clone(k->settings));
    json_set(head, "progress", json_clone(progress));
    json_set_int(head, "curve_bytes", (int64_t)k->n_curve_bytes);
    for (int i = 0; i < k->n_blocks; i++) {
        struct json *b = json_new_array();
        json_push_string(b, k->block[i].name);
        json_push_int(b, (int64_t)k->block[i].n);
        json_push(blocks, b);
    }
    json_set(head, "blocks", blocks);
    char *text = json_write(head, JSON_LINE, err);
    json_free(head);
    return text;
}

int checkpoint_save(struct checkpoint *k, const struct json *progress, struct error *err)
{
    char *text = write_head(k, progress, err), *bytes = NULL;
    int rc = ERR_NOMEM;
    if (!text) goto done;
    uint64_t n_json = strlen(text), n = 20 + n_json + DIGEST_BYTES;
    for (int i = 0; i < k->n_blocks; i++) n += k->block[i].n;
    bytes = memory_array(n, 1, MAX_STATE, err);
    if (!bytes) goto done;
    const uint32_t version = VERSION;
    memcpy(bytes, MAGIC, 8);
    memcpy(bytes + 8, &version, sizeof version);
    memcpy(bytes + 12, &n_json, sizeof n_json);
    memcpy(bytes + 20, text, n_json);
    size_t at = 20 + n_json;
    for (int i = 0; i < k->n_blocks; i++) {
        memcpy(bytes + at, k->block[i].at, k->block[i].n);
        at += k->block[i].n;
    }
    digest_of(bytes, at, (uint8_t *)bytes + at);
    rc = file_write(k->state_path, bytes, n, err);
done:
    memory_free(bytes);
    memory_free(text);
    return rc;
}

int checkpoint_write_pinned(struct checkpoint *k, const void *bytes, size_t n, struct error *err)
{
    return file_write(k->pinned_path, bytes, n, err);
}

int checkpoint_read_pinned(struct checkpoint *k, char **bytes, size_t *n, struct error *err)
{
    return file_read(k->pinned_path, MAX_STATE, bytes, n, err);
}

int checkpoint_curve(struct checkpoint *k, const struct json *point, struct error *err)
{
    char *text = json_write(point, JSON_LINE, err);
    if (!text) return ERR_NOMEM;
    size_t n = strlen(text);
    text[n++] = '\n';
    int rc = 0;
    /* The first line of a run replaces what a killed run without a checkpoint may have left. */
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (k->n_curve_bytes ? O_APPEND : O_TRUNC);
    errno = ENOSPC; /* for a write that is cut short without an error of its own */
    int fd = open(k->curve_path, flags, 0666);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n || fdatasync(fd) < 0)
        rc = error_errno(err, "%s: cannot write the learning curve", k->curve_path);
    else
        k->n_curve_bytes += n;
    if (fd >= 0) close(fd);
    memory_free(text);
    return rc;
}

int checkpoint_finish(struct checkpoint *k, const struct json *summary, struct error *err)
{
    struct json *run = json_new_object();
    json_set_string(run, "schema", "clipstill-run-1");
    json_set(run, "settings", json_clone(k->settings));
    json_set(run, "summary", json_clone(summary));
    int rc = json_write_file(k->run_path, run, err);
    json_free(run);
    if (rc == 0) rc = file_remove_folder(k->folder, err);
    return rc;
}
