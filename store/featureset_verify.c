/* Verifying a feature set.
 *
 * The set is walked in a forked child, because a damaged memory map ends in a SIGBUS or in an assertion of LMDB: the child
 * sends what it sees through a pipe as small messages, and its death is one finding more. Key checks travel to the parent, which
 * alone asks the corpus: a forked child must not read through its parent's maps. The child is serial (OpenMP's threads do
 * not survive a fork) and ends with _exit. */
#include "store/featureset_inside.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"

#define TEXT_MAX 1100

/* The messages of the pipe. */
enum { SAY_FINDING = 'F', SAY_VECTOR = 'V', SAY_PROGRESS = 'P', SAY_END = 'E' };

struct message {
    uint8_t type;
    uint32_t number; /* SAY_VECTOR: the record */
    uint64_t
        value; /* SAY_VECTOR: key check; SAY_FINDING: bytes of text that follow; SAY_PROGRESS: blocks done; SAY_END: 0 or
                        an error code, negated */
    uint64_t total; /* SAY_PROGRESS: blocks; SAY_VECTOR: view */
};

static void say(FILE *to, uint8_t type, uint32_t number, uint64_t value, uint64_t total)
{
    struct message m;
    memset(&m, 0, sizeof m);
    m = (struct message){.type = type, .number = number, .value = value, .total = total};
    fwrite(&m, sizeof m, 1, to);
}

static void say_finding(FILE *to, const char *text)
{
    size_t n = strnlen(text, TEXT_MAX - 1);
    say(to, SAY_FINDING, 0, n, 0);
    fwrite(text, 1, n, to);
    fflush(to); /* it must not die with the child */
}

/* One block: record, codes; counts what it holds. */
static void verify_block(struct featureset_walk *w, FILE *to, const struct kv_bytes *key,
                         const struct kv_bytes *value, struct featureset_counts *seen)
{
    struct error err;
    struct block b;
    char text[TEXT_MAX];
    uint32_t view, number;
    bool is_key = featureset_read_block_key(key, &view, &number);
    seen->n_blocks++;
    seen->digest += featureset_block_checksum(value->bytes, value->n);
    if (!is_key) {
        say_finding(to, "a feature block is stored under an impossible key");
        return;
    }
    if (block_decode(&b, &w->fs->shape, view, number, value->bytes, value->n, w->plain, w->z,
                     &err) < 0) {
        say_finding(to, err.text);
        return;
    }
    seen->n_vectors[view] += b.n_present;
    if (seen->n_views <= view) seen->n_views = view + 1;
    for (uint32_t slot = 0; slot < w->fs->shape.n_slots; slot++) {
        if (b.kind[slot] == BLOCK_ABSENT) continue;
        uint32_t record = number * w->fs->shape.n_slots + slot;
        block_code(&b, &w->fs->shape, slot, w->code);
        if (!codec_decode(&w->fs->shape.codec, (enum codec_kind)b.kind[slot], w->code, w->vector)) {
            snprintf(text, sizeof text, "record %u of view %u: its code is no vector", record,
                     view);
            say_finding(to, text);
        }
        say(to, SAY_VECTOR, record, b.check[slot], view);
    }
}

static void compare_counts(FILE *to, const struct featureset_counts *want,
                           const struct featureset_counts *seen)
{
    char text[TEXT_MAX];
    if (want->n_blocks != seen->n_blocks || want->digest != seen->digest) {
        snprintf(
            text, sizeof text,
            "meta counts %llu blocks with set digest %016llx; the table holds %llu with %016llx",
            (unsigned long long)want->n_blocks, (unsigned long long)want->digest,
            (unsigned long long)seen->n_blocks, (unsigned long long)seen->digest);
        say_finding(to, text);
    }
    for (uint32_t v = 0; v < FEATURESET_MAX_VIEWS; v++) {
        if (want->n_vectors[v] == seen->n_vectors[v]) continue;
        snprintf(text, sizeof text, "meta counts %llu vectors in view %u; the blocks hold %llu",
                 (unsigned long long)want->n_vectors[v], v, (unsigned long long)seen->n_vectors[v]);
        say_finding(to, text);
    }
}

static int walk_blocks(struct featureset_walk *w, struct kv_txn *txn, FILE *to,
                       struct featureset_counts *seen, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    uint64_t total = 0;
    int rc = kv_count(txn, FEATURESET_BLOCKS, &total, err);
    if (rc == 0) rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    while (rc > 0) {
        verify_block(w, to, &key, &value, seen);
        if (seen->n_blocks % 16 == 0) say(to, SAY_PROGRESS, 0, seen->n_blocks, total);
        rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    return rc;
}

/* The child: opens the set anew, walks it, says what it sees. */
static void verify_child(const char *cache, const char *name, FILE *to)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    struct featureset_walk w = {0};
    struct kv_txn *txn = NULL;
    struct kv_bytes tokenizer;
    static struct featureset_counts want, seen;
    int rc = featureset_open(&fs, cache, name, FEATURESET_READ, &err);
    if (rc == 0) rc = featureset_walk_init(&w, fs, &err);
    if (rc == 0) rc = kv_begin_read(fs->kv, &txn, &err);
    if (rc == 0) rc = featureset_meta_get(txn, "tokenizer", &tokenizer, &err);
    if (rc == 0) rc = featureset_counts_get(txn, &want, &err);
    if (rc == 0) rc = walk_blocks(&w, txn, to, &seen, &err);
    if (rc == 0) compare_counts(to, &want, &seen);
    if (rc < 0) say_finding(to, err.text);
    say(to, SAY_END, 0, 0, 0);
    fflush(to);
}

/* The parent's side. */
struct listener {
    struct featureset *fs;
    featureset_key_of *key_of;
    void (*finding)(void *context, const char *text);
    void *context;
    const struct report *report;
    int n_findings;
};

static void found(struct listener *l, const char *text)
{
    char line[TEXT_MAX + FEATURESET_NAME_MAX + 32];
    snprintf(line, sizeof line, "feature set %s: %s", l->fs->spec.name, text);
    l->n_findings++;
    if (l->finding) l->finding(l->context, line);
}

static void hear_vector(struct listener *l, const struct message *m)
{
    uint8_t key[DIGEST_BYTES];
    char text[200];
    if (!l->key_of) return;
    bool known = l->key_of(l->context, m->number, key);
    if (known && block_check_of(key) == m->value) return;
    snprintf(text, sizeof text,
             known ? "record %u of view %llu is stored under another key than the corpus gives it"
                   : "record %u of view %llu is not in the corpus",
             m->number, (unsigned long long)m->total);
    found(l, text);
}

/* Reads messages up to the end; false when they stop before it. */
static bool listen_to(struct listener *l, FILE *from)
{
    struct message m;
    char text[TEXT_MAX];
    while (fread(&m, sizeof m, 1, from) == 1) {
        if (m.type == SAY_END) return true;
        if (m.type == SAY_VECTOR) hear_vector(l, &m);
        if (m.type == SAY_PROGRESS) report_progress(l->report, "verify", m.value, m.total, 0, 0);
        if (m.type != SAY_FINDING) continue;
        if (m.value >= TEXT_MAX || fread(text, 1, m.value, from) != m.value) return false;
        text[m.value] = 0;
        found(l, text);
    }
    return false;
}

static void tell_death(struct listener *l, int status)
{
    char text[200];
    if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "reading it ended with signal %d (%s): the file is damaged",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof text, "reading it ended early with status %d", WEXITSTATUS(status));
    found(l, text);
}

int featureset_verify(struct featureset *fs, featureset_key_of *key_of,
                      void (*finding)(void *context, const char *text), void *context,
                      const struct report *report, struct error *err)
{
    struct listener l = {fs, key_of, finding, context, report, 0};
    int ends[2], status = 0;
    char *features = file_folder_of(fs->folder, err);
    char *cache = features ? file_folder_of(features, err) : NULL;
    if (!cache || pipe(ends) < 0) {
        memory_free(features);
        memory_free(cache);
        return cache ? error_errno(err, "no pipe for verifying %s", fs->folder) : ERR_NOMEM;
    }
    fflush(NULL); /* what stands in stdio buffers must not be written twice */
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        FILE *to = fdopen(ends[1], "w");
        if (to) verify_child(cache, fs->spec.name, to);
        _exit(to ? 0 : 1);
    }
    int rc = child < 0 ? error_errno(err, "cannot start a process to verify %s", fs->folder) : 0;
    close(ends[1]);
    FILE *from = child > 0 ? fdopen(ends[0], "r") : NULL;
    bool complete = from && listen_to(&l, from);
    if (from)
        fclose(from);
    else
        close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (child > 0 && !complete) tell_death(&l, status);
    memory_free(features);
    memory_free(cache);
    return rc < 0 ? rc : l.n_findings;
}
