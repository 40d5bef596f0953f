/* The writer's lock: exclusive, named, gone with its holder. */
#include "store/lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

/* Two folders are exchanged all the time by one who holds both locks. Who takes the lock of the name
 * must then have that of the folder which has it, and not of the other one. */
TEST(lock_is_that_of_the_folder_which_has_the_name)
{
    struct error err;
    struct lock *lock = NULL, *other = NULL;
    char top[] = "/tmp/clipstill-lock-XXXXXX", a[60], b[60], path[80];
    if (!mkdtemp(top)) abort();
    snprintf(a, sizeof a, "%s/a", top);
    snprintf(b, sizeof b, "%s/b", top);
    snprintf(path, sizeof path, "%s/" LOCK_FILE, a);
    if (mkdir(a, 0777) < 0 || mkdir(b, 0777) < 0) abort();
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            if (lock_take(&lock, a, &err) < 0) continue;
            if (lock_take(&other, b, &err) == 0) {
                if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0) _exit(1);
                lock_release(other);
            }
            lock_release(lock);
            for (volatile int i = 0; i < 3000; i++) continue; /* let the other one in */
        }
    }
    int n_taken = 0, n_wrong = 0;
    for (int i = 0; n_taken < 5000 && i < 20000000; i++) {
        if (lock_take(&lock, a, &err) < 0) continue;
        int fd = open(path, O_RDWR);
        n_wrong += flock(fd, LOCK_EX | LOCK_NB) == 0;
        close(fd);
        lock_release(lock);
        n_taken++;
    }
    CHECK(n_taken > 1000);
    CHECK_EQ(n_wrong, 0);
    int status;
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CHECK_OK(file_remove_folder(top, &err), &err);
}

TEST_MAIN
