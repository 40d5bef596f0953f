/* Where a store lies, and what the machine gives it: the folder, the disk, the address space; called by
 * the files of store/kv.h alone.
 *
 * Pure but for kvplace_allow_network, which is set once, before any store is opened.
 */
#ifndef STORE_KVPLACE_H
#define STORE_KVPLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"

void kvplace_allow_network(void);
/* ERR_USAGE, by name, when the folder lies on a network file system and that was not allowed. */
int kvplace_refuse_network(const char *folder, struct error *err) MUST_CHECK;
/* Gives the table of readers, a mapped file, its blocks on the disk. where: the folder pinned; folder
 * stands in errors. */
int kvplace_reserve_readers(const char *where, const char *folder, struct error *err) MUST_CHECK;
/* The data file holds no commit: what a power loss leaves of a store whose making had begun. */
bool kvplace_was_never_made(const char *data_path);
/* The folder's name leads elsewhere than to the folder open at fd: it was exchanged meanwhile. */
bool kvplace_has_moved(const char *folder, int fd);
/* Can a map of `want` bytes take the place of one of `have`? */
bool kvplace_can_map(uint64_t have, uint64_t want);
/* The size of a map for `bytes` and up to `room` beyond them, instead of one of `have` bytes. */
uint64_t kvplace_with_room(uint64_t have, uint64_t bytes, uint64_t room);

#endif
