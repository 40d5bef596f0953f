/* Files: whole reads with a limit, atomic durable writes, folders, read-only maps.
 *
 * file_write writes beside and renames (store/tempfile.h): readers see the old or the new file, never half
 * of one. Errors name the path.
 */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

/* Reads a whole file of at most limit bytes; a NUL stands after the last. *bytes owned: memory_free. */
int file_read(const char *path, uint64_t limit, char **bytes, size_t *n, struct error *err) MUST_CHECK;
int file_write(const char *path, const void *bytes, size_t n, struct error *err) MUST_CHECK;
/* file_write of folder/name. */
int file_write_in(const char *folder, const char *name, const void *bytes, size_t n, struct error *err) MUST_CHECK;
bool file_exists(const char *path);
bool file_is_folder(const char *path);
/* Neither a regular file nor a folder: a pipe, which can be read once. */
bool file_is_special(const char *path);
uint64_t file_size(const char *path); /* 0 when absent */
/* As mkdir -p. */
int file_make_folder(const char *path, struct error *err) MUST_CHECK;
/* Removes a folder and what is in it (no symlink is followed). Absent is fine. */
int file_remove_folder(const char *path, struct error *err) MUST_CHECK;
int file_sync_folder(const char *path, struct error *err) MUST_CHECK;

/* "a/b" + "c" -> "a/b/c"; an absolute second part stands alone. Owned: memory_free. */
char *file_join(const char *folder, const char *name, struct error *err) MUST_CHECK;
/* The folder part of path ("." when none). Owned. */
char *file_folder_of(const char *path, struct error *err) MUST_CHECK;

/* Sorted names in a folder without "." and "..": *names is one owned block (memory_free): n
 * pointers, then the strings. */
int file_list(const char *folder, char ***names, size_t *n, struct error *err) MUST_CHECK;

/* A read-only map of a whole file. Unmap with file_unmap. An empty file gives bytes != NULL, n == 0. */
struct file_map {
    const uint8_t *bytes;
    size_t n;
};
int file_map(const char *path, struct file_map *map, struct error *err) MUST_CHECK;
void file_unmap(struct file_map *map);

#endif
