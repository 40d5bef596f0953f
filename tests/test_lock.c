/* The writer's lock: exclusive, named, gone with its holder. */
#include "store/lock.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "tests/check.h"

TEST(lock_is_exclusive_and_dies_with_its_holder)
{
    struct error err;
    struct lock *lock, *other;
    char folder[] = "/tmp/clipstill-lock-XXXXXX", pid[24], x;
    int ready[2];
    if (!mkdtemp(folder) || pipe(ready)) abort();
    CHECK_OK(lock_take(&lock, folder, &err), &err);
    CHECK_EQ(lock_take(&other, folder, &err), ERR_LOCKED);
    snprintf(pid, sizeof pid, "process %ld)", (long)getpid());
    CHECK_HAS(err.text, pid);
    CHECK_HAS(err.text, folder);
    lock_release(lock);
    pid_t child = fork();
    if (child == 0) {
        if (lock_take(&lock, folder, &err) < 0 || write(ready[1], "x", 1) != 1) _exit(1);
        pause();
    }
    CHECK_EQ(read(ready[0], &x, 1), 1);
    CHECK_EQ(lock_take(&lock, folder, &err), ERR_LOCKED);
    snprintf(pid, sizeof pid, "process %ld)", (long)child);
    CHECK_HAS(err.text, pid);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_OK(lock_take(&lock, folder, &err), &err);
    lock_release(lock);
    lock_release(NULL);
    CHECK_OK(file_remove_folder(folder, &err), &err);
    CHECK_EQ(lock_take(&lock, folder, &err), ERR_NOT_FOUND);
}

TEST_MAIN
