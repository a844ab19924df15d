/* The functions of the C library that start programs, with our variables in the child's environment.
 *
 * Each composes the environment (preload_child.c) and calls the C library's own function, so that
 * what it returns, its errno and its search of PATH are the library's. Two start their program from
 * inside the library, where interposition does not reach:
 *
 *   system()  is written anew on posix_spawn, as glibc has it: SIGINT and SIGQUIT ignored and
 *             SIGCHLD blocked while the command runs, counted over threads; a cancellation point,
 *             at which the command is killed.
 *   popen()   is the library's own, called with `environ` pointing at the child's environment for
 *             the instant in which the library spawns the shell. The stream, its process and
 *             pclose() are then the library's. The price: another thread that reads the environment
 *             in that instant can see our variables; one that changes it there keeps its change;
 *             one that forks has its own environment in the child. Such a reader may go on when
 *             popen() has returned, so what `environ` points at is never given back.
 *
 * The functions are defined under names of our own with the library's as assembler names, so that
 * the library's declarations (with attributes for callers) do not apply to the definitions.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define INSTEAD_OF(name) __asm__(#name) __attribute__((visibility("default")))

/* Weak: in a process with another C library they are absent, and never called. */
#pragma weak __pthread_register_cancel
#pragma weak __pthread_unregister_cancel
#pragma weak __pthread_unwind_next
#pragma weak __register_atfork

/* What pthread_atfork() calls, which is linked statically and has no weak reference to it. */
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *file);

static struct pa_real real;

static void find(void *ret_function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(ret_function, &found, sizeof found);
}

int pa_real_find(void)
{
    find(&real.execve, "execve");
    find(&real.execvpe, "execvpe");
    find(&real.fexecve, "fexecve");
    find(&real.execveat, "execveat");
    find(&real.spawn, "posix_spawn");
    find(&real.spawnp, "posix_spawnp");
    find(&real.shell, "system");
    find(&real.pipe_shell, "popen");
    const char *(*version)(void);
    find(&version, "gnu_get_libc_version");
    dlerror(); /* not for the program to find: execveat came with glibc 2.34 */
    if (!version)
        return -1;
    char *minor;
    long major = strtol(version(), &minor, 10);
    real.dashes = major > 2 || (*minor == '.' && strtol(minor + 1, NULL, 10) >= 38);
    return 0;
}

/* Constructors of other files can run before ours, and start programs. */
static const struct pa_real *library(void)
{
    if (!real.execve)
        pa_real_find();
    return &real;
}

/* What to execute: a path, a name to search PATH for, a descriptor, a path below a descriptor. */
struct target {
    enum { PATH, NAME, DESCRIPTOR, BELOW } how;
    const char *path;
    int descriptor, flags;
};

static int exec_real(const struct target *target, char *const argv[], char *const envp[])
{
    const struct pa_real *real = library();
    switch (target->how) {
    case PATH:
        return real->execve(target->path, argv, envp);
    case NAME:
        return real->execvpe(target->path, argv, envp);
    case DESCRIPTOR:
        return real->fexecve(target->descriptor, argv, envp);
    case BELOW:
        break;
    }
    if (real->execveat)
        return real->execveat(target->descriptor, target->path, argv, envp, target->flags);
    return (int)syscall(SYS_execveat, target->descriptor, target->path, argv, envp, target->flags);
}

static int exec_carried(const struct target *target, char *const argv[], char *const envp[])
{
    struct pa_child child;
    pa_child_begin(&child, envp);
    int result = exec_real(target, argv, child.environment);
    if (pa_child_drop(&child, errno))
        result = exec_real(target, argv, envp);
    pa_child_end(&child);
    return result;
}

static int exec_path(const char *path, char *const argv[], char *const envp[])
{
    return exec_carried(&(struct target){.how = PATH, .path = path}, argv, envp);
}

static int exec_name(const char *name, char *const argv[], char *const envp[])
{
    return exec_carried(&(struct target){.how = NAME, .path = name}, argv, envp);
}

int pa_execve(const char *path, char *const argv[], char *const envp[]) INSTEAD_OF(execve);
int pa_execve(const char *path, char *const argv[], char *const envp[])
{
    return exec_path(path, argv, envp);
}

int pa_execv(const char *path, char *const argv[]) INSTEAD_OF(execv);
int pa_execv(const char *path, char *const argv[])
{
    return exec_path(path, argv, environ);
}

int pa_execvp(const char *name, char *const argv[]) INSTEAD_OF(execvp);
int pa_execvp(const char *name, char *const argv[])
{
    return exec_name(name, argv, environ);
}

int pa_execvpe(const char *name, char *const argv[], char *const envp[]) INSTEAD_OF(execvpe);
int pa_execvpe(const char *name, char *const argv[], char *const envp[])
{
    return exec_name(name, argv, envp);
}

int pa_fexecve(int fd, char *const argv[], char *const envp[]) INSTEAD_OF(fexecve);
int pa_fexecve(int fd, char *const argv[], char *const envp[])
{
    return exec_carried(&(struct target){.how = DESCRIPTOR, .descriptor = fd}, argv, envp);
}

int pa_execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
    INSTEAD_OF(execveat);
int pa_execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
{
    struct target target = {.how = BELOW, .path = path, .descriptor = directory, .flags = flags};
    return exec_carried(&target, argv, envp);
}

/* The arguments of execl and its like: how many up to NULL, and then an array of them. */
static size_t arguments_count(const char *first, va_list *list)
{
    size_t count = 0;
    for (const char *at = first; at; at = va_arg(*list, const char *))
        count++;
    return count;
}

static void arguments_copy(char **argv, const char *first, va_list *list)
{
    for (const char *at = first; at; at = va_arg(*list, const char *))
        *argv++ = (char *)at;
    *argv = NULL;
}

/* Declares argv, on the stack as the library has it, and leaves `list` behind the NULL. */
#define ARGUMENTS(argv, first, list)                    \
    va_list list;                                       \
    va_start(list, first);                              \
    char *argv[arguments_count(first, &list) + 1];      \
    va_end(list);                                       \
    va_start(list, first);                              \
    arguments_copy(argv, first, &list)

int pa_execl(const char *path, const char *first, ...) INSTEAD_OF(execl);
int pa_execl(const char *path, const char *first, ...)
{
    ARGUMENTS(argv, first, list);
    va_end(list);
    return exec_path(path, argv, environ);
}

int pa_execlp(const char *name, const char *first, ...) INSTEAD_OF(execlp);
int pa_execlp(const char *name, const char *first, ...)
{
    ARGUMENTS(argv, first, list);
    va_end(list);
    return exec_name(name, argv, environ);
}

int pa_execle(const char *path, const char *first, ...) INSTEAD_OF(execle);
int pa_execle(const char *path, const char *first, ...)
{
    ARGUMENTS(argv, first, list);
    char *const *envp = va_arg(list, char *const *);
    va_end(list);
    return exec_path(path, argv, envp);
}

static int spawn_carried(int search, pid_t *ret_pid, const char *path,
                         const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    const struct pa_real *real = library();
    struct pa_child child;
    pa_child_begin(&child, envp);
    int error = (search ? real->spawnp : real->spawn)(ret_pid, path, actions, attributes, argv,
                                                      child.environment);
    if (pa_child_drop(&child, error))
        error = (search ? real->spawnp : real->spawn)(ret_pid, path, actions, attributes, argv, envp);
    pa_child_end(&child);
    return error;
}

int pa_spawn(pid_t *ret_pid, const char *path, const posix_spawn_file_actions_t *actions,
             const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
    INSTEAD_OF(posix_spawn);
int pa_spawn(pid_t *ret_pid, const char *path, const posix_spawn_file_actions_t *actions,
             const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    return spawn_carried(0, ret_pid, path, actions, attributes, argv, envp);
}

int pa_spawnp(pid_t *ret_pid, const char *name, const posix_spawn_file_actions_t *actions,
              const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
    INSTEAD_OF(posix_spawnp);
int pa_spawnp(pid_t *ret_pid, const char *name, const posix_spawn_file_actions_t *actions,
              const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    return spawn_carried(1, ret_pid, name, actions, attributes, argv, envp);
}

/* SIGINT and SIGQUIT while commands of system() run, in however many threads. */
static pthread_mutex_t shell_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned shells;
static struct sigaction shell_interrupt, shell_quit;

static void shell_signals_ignore(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_mutex_lock(&shell_lock);
    if (shells++ == 0) {
        sigaction(SIGINT, &ignore, &shell_interrupt);
        sigaction(SIGQUIT, &ignore, &shell_quit);
    }
    pthread_mutex_unlock(&shell_lock);
}

static void shell_signals_restore(void)
{
    pthread_mutex_lock(&shell_lock);
    if (--shells == 0) {
        sigaction(SIGINT, &shell_interrupt, NULL);
        sigaction(SIGQUIT, &shell_quit, NULL);
    }
    pthread_mutex_unlock(&shell_lock);
}

struct shell {
    pid_t pid;
    sigset_t mask;
};

static int shell_wait(pid_t pid)
{
    int status, result;
    do
        result = waitpid(pid, &status, 0);
    while (result == -1 && errno == EINTR);
    return result == pid ? status : -1;
}

/* The thread is cancelled in waitpid. */
static void shell_cancelled(void *argument)
{
    const struct shell *shell = argument;
    int state;
    kill(shell->pid, SIGKILL);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    shell_wait(shell->pid);
    pthread_setcancelstate(state, NULL);
    shell_signals_restore();
    pthread_sigmask(SIG_SETMASK, &shell->mask, NULL);
}

static int shell_run(const char *command)
{
    struct shell shell;
    sigset_t block, reset;
    shell_signals_ignore();
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &block, &shell.mask);
    sigemptyset(&reset);
    if (shell_interrupt.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGINT);
    if (shell_quit.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGQUIT);

    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &shell.mask);
    posix_spawnattr_setsigdefault(&attributes, &reset);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    const char *with[] = {"sh", "-c", "--", command, NULL}, *without[] = {"sh", "-c", command, NULL};
    char *const *argv = (char *const *)(library()->dashes ? with : without);
    int error = spawn_carried(0, &shell.pid, "/bin/sh", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);

    int status = W_EXITCODE(127, 0); /* POSIX: as if the shell had ended with 127 */
    if (error == 0) {
        pthread_cleanup_push(shell_cancelled, &shell);
        status = shell_wait(shell.pid);
        pthread_cleanup_pop(0);
    }
    shell_signals_restore();
    pthread_sigmask(SIG_SETMASK, &shell.mask, NULL);
    if (error)
        errno = error;
    return status;
}

int pa_shell(const char *command) INSTEAD_OF(system);
int pa_shell(const char *command)
{
    const struct pa_real *real = library();
    if (!pa_carried.on)
        return real->shell(command);
    return command ? shell_run(command) : shell_run("exit 0") == 0;
}

/* The environment that popen() shows to the library. Its memory stays for good: threads may be
 * reading it at any time. Where it is too small there is new memory, and the old is left. */
static pthread_mutex_t pipe_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic pthread_t pipe_thread;   /* the one inside popen(); 0: none */
static char **pipe_before;              /* `environ` of the program */
static char **pipe_given, **pipe_same;  /* what the library gets; a copy, to tell changes by */
static char *pipe_preload;
static size_t pipe_entries, pipe_text;  /* room in the arrays, and in pipe_preload */

/* In the child of a fork(). */
static void pipe_forked(void)
{
    if (pthread_equal(pipe_thread, pthread_self()))
        return; /* popen() of glibc before 2.29 starts the shell by fork and exec */
    if (pipe_given && environ == pipe_given)
        environ = pipe_before;
    pipe_thread = 0;
    pthread_mutex_init(&pipe_lock, NULL);
}

/* Moves what pa_child_begin composed to where it can stay. Returns 0, or -1 without memory. */
static int pipe_keep(struct pa_child *child)
{
    size_t entries = 1, text = child->preload ? strlen(child->preload) + 1 : 0;
    for (char **entry = child->environment; *entry; entry++)
        entries++;
    if (entries > pipe_entries || text > pipe_text) {
        size_t more_entries = 2 * entries, more_text = 2 * text;
        char **arrays = calloc(2 * more_entries * sizeof *arrays + more_text, 1);
        if (!arrays)
            return -1;
        pipe_given = arrays;
        pipe_same = arrays + more_entries;
        pipe_preload = (char *)(pipe_same + more_entries);
        pipe_entries = more_entries;
        pipe_text = more_text;
    }
    if (text && strcmp(pipe_preload, child->preload) != 0)
        memcpy(pipe_preload, child->preload, text);
    for (size_t i = entries; i-- > 0;) { /* from the NULL on: a reader finds one at any time */
        char *entry = child->environment[i];
        if (entry && entry == child->preload)
            entry = pipe_preload;
        __atomic_store_n(&pipe_given[i], entry, __ATOMIC_RELEASE);
        pipe_same[i] = entry;
    }
    if (text)
        child->preload = pipe_preload;
    child->environment = pipe_given;
    return 0;
}

/* Another thread may have changed the environment: its changes stay, in whichever array they are. */
static void pipe_restore(const struct pa_child *child)
{
    if (environ == pipe_given) {
        size_t i = 0;
        while (pipe_given[i] == pipe_same[i] && pipe_same[i])
            i++;
        if (pipe_given[i] == pipe_same[i]) {
            environ = pipe_before;
            return;
        }
    }
    pa_child_strip(child, environ);
    if (environ == pipe_given) {
        for (size_t i = 0, more = pipe_before != NULL; more; i++) {
            more = environ[i] != NULL;
            if (pipe_before[i] != environ[i])
                pipe_before[i] = environ[i];
        }
        environ = pipe_before;
    }
}

FILE *pa_pipe_shell(const char *command, const char *mode) INSTEAD_OF(popen);
FILE *pa_pipe_shell(const char *command, const char *mode)
{
    static int registered;
    const struct pa_real *real = library();
    struct pa_child child;
    if (!pa_carried.on)
        return real->pipe_shell(command, mode);

    pthread_mutex_lock(&pipe_lock);
    if (!registered)
        registered = __register_atfork(NULL, NULL, pipe_forked, NULL) == 0;
    pipe_before = environ;
    pa_child_begin(&child, pipe_before);
    int composed = child.environment != pipe_before;
    int kept = composed && pipe_keep(&child) == 0;
    pa_child_end(&child);
    FILE *stream = NULL;
    int error = ENOMEM;
    if (kept) {
        pipe_thread = pthread_self();
        environ = child.environment;
        stream = real->pipe_shell(command, mode);
        error = errno;
        if (environ != pipe_before)
            pipe_restore(&child);
        pipe_thread = 0;
    }
    if (kept ? !stream && pa_child_drop(&child, error) : !composed || !pa_carried.stop) {
        stream = real->pipe_shell(command, mode);
        error = errno;
    }
    pthread_mutex_unlock(&pipe_lock);
    errno = error;
    return stream;
}
