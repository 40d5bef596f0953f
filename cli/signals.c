/* A thread that waits for the signals to stop; see signals.h. */
#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int seen;
static sigset_t watched;

static void *watch(void *unused)
{
    int n;
    (void)unused;
    while (sigwait(&watched, &n) == 0) {
        int none = 0;
        if (!atomic_compare_exchange_strong(&seen, &none, n)) _exit(128 + n);
    }
    return NULL;
}

void signals_watch(void)
{
    static bool is_watching;
    if (is_watching) return;
    is_watching = true;
    struct sigaction hangup;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGUSR1);
    if (sigaction(SIGHUP, NULL, &hangup) < 0 || hangup.sa_handler != SIG_IGN)
        sigaddset(&watched, SIGHUP);
    pthread_t thread;
    pthread_sigmask(SIG_BLOCK, &watched, NULL);
    if (pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &watched,
                        NULL); /* a signal then ends the process, as kill -9 does */
}

int signals_seen(void)
{
    return atomic_load(&seen);
}
