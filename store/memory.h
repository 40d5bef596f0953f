/* Checked allocation: the only place that calls malloc for sizes read from a file.
 *
 *     float *x = memory_array(n_rows, dim * sizeof *x, MEMORY_MAX_TENSOR, err);
 *     if (!x) return ERR_NOMEM;
 *     ...
 *     memory_free(x);
 *
 * Products are checked in 64 bits against a named limit before anything is asked of the system, memory
 * comes back zeroed, and a countdown lets tests fail the Nth allocation. Threading: all functions may be
 * called from any thread; by convention never inside a parallel region (scratch is made before it).
 */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define MEMORY_MAX_SMALL ((uint64_t)1 << 24)  /* names, lines, headers of our own: 16 MiB */
#define MEMORY_MAX_FILE ((uint64_t)1 << 31)   /* a whole file read at once: 2 GiB */
#define MEMORY_MAX_TENSOR ((uint64_t)1 << 36) /* one tensor: 64 GiB */

/* n * size zeroed bytes, 64-byte aligned; owned: free with memory_free. n * size == 0 gives a valid
 * pointer. NULL with ERR_NOMEM when the product overflows, exceeds limit, or memory is out. */
void *memory_array(uint64_t n, uint64_t size, uint64_t limit, struct error *err) MUST_CHECK;

/* Grows *ptr (made by memory_array, or NULL) so that at least `need` elements of `size` bytes fit,
 * doubling *capacity (elements); new bytes are zero. 0, or ERR_NOMEM with *ptr untouched. */
int memory_grow(void *ptr_to_ptr, size_t *capacity, uint64_t need, size_t size, uint64_t limit,
                struct error *err) MUST_CHECK;

/* A copy of s; owned: memory_free. */
char *memory_string(const char *s, struct error *err) MUST_CHECK;

/* A copy of n bytes with a NUL after them; owned. */
char *memory_copy(const void *bytes, size_t n, struct error *err) MUST_CHECK;

void memory_free(void *p);

/* As memory_array, for room of many MiB of which only a part may ever be used: a page is given, and zeroed,
 * when it is first touched. Owned: memory_free_room alone. */
void *memory_room(uint64_t n, uint64_t size, uint64_t limit, struct error *err) MUST_CHECK;
void memory_free_room(void *p);

/* The Nth allocation from now fails (1 = the next); 0 switches the countdown off. For tests. */
void memory_fail_at(long nth);

#endif
