/* The writer's lock of an environment's folder: an flock on FOLDER/writer.lock.
 *
 *     int rc = lock_take(&lock, folder, &err);     // ERR_LOCKED names the process that holds it
 *     ...
 *     lock_release(lock);
 *
 * The kernel frees it when its holder ends in any way, so that there is no stale lock after kill
 * -9; the file stays, and holds the process id of its last holder for the error message only. The
 * lock follows the folder through a rename, and is never that of a folder whose name was given to another
 * one meanwhile (store/generation.h). A forked child shares its parent's lock. Threading: one
 * owner. kv_open takes it for every writer; nobody else needs to.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "store/error.h"

#define LOCK_FILE "writer.lock"

struct lock;

int lock_take(struct lock **lock, const char *folder, struct error *err) MUST_CHECK;
void lock_release(struct lock *lock);

#endif
