/* Signals that our own system calls could send to the thread that runs them.
 *
 * A write past RLIMIT_FSIZE sends SIGXFSZ and one to a closed pipe SIGPIPE: both
 * kill by default, and the application never asked for our writes. Between
 * pa_signals_hold and pa_signals_release every signal is held back (so that no
 * call of ours ends with EINTR either), and one of `ours` that came up meanwhile
 * is taken away, unless one was pending before: that one is the application's.
 */
#ifndef PA_SIGNALS_H
#define PA_SIGNALS_H

#include <signal.h>
#include <time.h>

struct pa_signals {
    sigset_t before;    /* the thread's mask */
    sigset_t ours;      /* what to take away */
};

static inline void pa_signals_hold(struct pa_signals *ret, int signal_number)
{
    sigset_t all, pending;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &ret->before);
    sigemptyset(&ret->ours);
    if (sigpending(&pending) == 0 && !sigismember(&pending, signal_number))
        sigaddset(&ret->ours, signal_number);
}

static inline void pa_signals_release(const struct pa_signals *held, int signal_number)
{
    static const struct timespec at_once = {0, 0};
    if (sigismember(&held->ours, signal_number))
        sigtimedwait(&held->ours, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

#endif
