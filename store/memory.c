/* Checked, zeroed, aligned allocation; see memory.h. A 64-byte header keeps the size, so that growing
 * can copy without asking the caller, and everything stays aligned for AVX-512 loads. */
#include "store/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64

struct header {
    uint64_t n_bytes;
};

static atomic_long fail_countdown;

void memory_fail_at(long nth)
{
    atomic_store(&fail_countdown, nth);
}

static int countdown_fails(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) == 0) return 0;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static struct header *header_of(void *p)
{
    return (struct header *)((char *)p - ALIGN);
}

/* The product, and with the header, in whole lines: 0 when it is refused. */
static uint64_t bytes_of(uint64_t n, uint64_t size, uint64_t limit, uint64_t *n_bytes,
                         struct error *err)
{
    if (!__builtin_mul_overflow(n, size, n_bytes) && *n_bytes <= limit &&
        *n_bytes <= UINT64_MAX - 2 * ALIGN)
        return (*n_bytes + 2 * ALIGN - 1) / ALIGN * ALIGN;
    error_set(err, ERR_NOMEM, "refusing to allocate %llu x %llu bytes: the limit here is %llu",
              (unsigned long long)n, (unsigned long long)size, (unsigned long long)limit);
    return 0;
}

static void *behind_header(char *raw, uint64_t n_bytes, struct error *err)
{
    if (!raw) {
        error_set(err, ERR_NOMEM, "out of memory: %llu bytes asked for",
                  (unsigned long long)n_bytes);
        return NULL;
    }
    ((struct header *)raw)->n_bytes = n_bytes;
    return raw + ALIGN;
}

void *memory_array(uint64_t n, uint64_t size, uint64_t limit, struct error *err)
{
    uint64_t n_bytes, whole = bytes_of(n, size, limit, &n_bytes, err);
    if (!whole) return NULL;
    char *raw = countdown_fails() ? NULL : aligned_alloc(ALIGN, whole);
    if (raw) memset(raw, 0, whole);
    return behind_header(raw, n_bytes, err);
}

void *memory_room(uint64_t n, uint64_t size, uint64_t limit, struct error *err)
{
    uint64_t n_bytes, whole = bytes_of(n, size, limit, &n_bytes, err);
    if (!whole) return NULL;
    void *raw = countdown_fails() ? MAP_FAILED
                                  : mmap(NULL, whole, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return behind_header(NULL, n_bytes, err);
    return behind_header(raw, n_bytes, err);
}

int memory_grow(void *ptr_to_ptr, size_t *capacity, uint64_t need, size_t size, uint64_t limit,
                struct error *err)
{
    if (need <= *capacity) return 0;
    uint64_t want = *capacity ? (uint64_t)*capacity * 2 : 16;
    if (want < need || want > limit / size) want = need;
    void *old;
    memcpy(&old, ptr_to_ptr, sizeof old);
    void *p = memory_array(want, size, limit, err);
    if (!p) return ERR_NOMEM;
    if (old) memcpy(p, old, header_of(old)->n_bytes);
    memory_free(old);
    memcpy(ptr_to_ptr, &p, sizeof p);
    *capacity = want;
    return 0;
}

char *memory_copy(const void *bytes, size_t n, struct error *err)
{
    char *p = memory_array((uint64_t)n + 1, 1, MEMORY_MAX_FILE, err);
    if (p && n) memcpy(p, bytes, n);
    return p;
}

char *memory_string(const char *s, struct error *err)
{
    return memory_copy(s, strlen(s), err);
}

void memory_free(void *p)
{
    if (p) free(header_of(p));
}

void memory_free_room(void *p)
{
    if (!p) return;
    struct header *h = header_of(p);
    munmap(h, (h->n_bytes + 2 * ALIGN - 1) / ALIGN * ALIGN);
}
