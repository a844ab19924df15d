/* Lets the C library fail the recorder: linked into it with -Wl,--wrap=FUNCTION for each of
 * FAILING in failing_calls.py, so that every allocation and system call passes here.
 *
 *   FAIL_AT=N       the Nth call of the process fails
 *   FAIL_FROM=N     the Nth call and each one after it
 *   KILL_AT=N       at the Nth call, the process is killed instead
 *   TRACE_CALLS=F   a line with the function's name is added to F for each call
 *   FAIL_REPORT=F   a line with the function's name is added to F for each call that failed
 *
 * Calls are counted from the moment the library is loaded, over all threads; a forked child
 * counts on. A call that fails does nothing, and says so as the real one would. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static long calls, fail_at, fail_from, kill_at;
static char report[4096];
static int each_call;

long __real_syscall(long number, ...);

__attribute__((constructor(101))) static void begin(void)
{
    const char *at = getenv("FAIL_AT"), *from = getenv("FAIL_FROM"), *file = getenv("FAIL_REPORT");
    const char *killed = getenv("KILL_AT"), *trace = getenv("TRACE_CALLS");
    fail_at = at ? atol(at) : 0;
    fail_from = from ? atol(from) : 0;
    kill_at = killed ? atol(killed) : 0;
    each_call = trace != NULL;
    if (trace)
        file = trace;
    if (file && strlen(file) < sizeof report)
        strcpy(report, file);
}

/* Whether this call is to fail. System calls as such: the functions may be wrapped. */
static int fails(const char *function)
{
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    int failing = call == fail_at || (fail_from && call >= fail_from);
    if (call == kill_at)
        __real_syscall(SYS_kill, __real_syscall(SYS_getpid), SIGKILL);
    if (!failing && !each_call)
        return 0;
    char line[64];
    size_t n = strlen(function);
    memcpy(line, function, n);
    line[n++] = '\n';
    if (report[0]) {
        long fd = __real_syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        if (fd >= 0) {
            __real_syscall(SYS_write, fd, line, n);
            __real_syscall(SYS_close, fd);
        }
    }
    return failing;
}

#define WRAP(type, function, parameters, arguments, failed, error) \
    type __real_##function parameters;                             \
    type __wrap_##function parameters;                             \
    type __wrap_##function parameters                              \
    {                                                              \
        if (fails(#function)) {                                    \
            errno = error;                                         \
            return failed;                                         \
        }                                                          \
        return __real_##function arguments;                        \
    }

WRAP(void *, malloc, (size_t n), (n), NULL, ENOMEM)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
WRAP(void *, realloc, (void *p, size_t n), (p, n), NULL, ENOMEM)
WRAP(char *, strdup, (const char *s), (s), NULL, ENOMEM)
WRAP(int, fstat, (int fd, struct stat *s), (fd, s), -1, EIO)
WRAP(int, stat, (const char *p, struct stat *s), (p, s), -1, EACCES)
WRAP(int, lstat, (const char *p, struct stat *s), (p, s), -1, EACCES)
WRAP(int, fstatat, (int fd, const char *p, struct stat *s, int f), (fd, p, s, f), -1, EACCES)
WRAP(int, fstatvfs, (int fd, struct statvfs *s), (fd, s), -1, EIO)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n), -1, ENOSPC)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), -1, EIO)
WRAP(void *, mmap, (void *p, size_t n, int prot, int f, int fd, off_t at), (p, n, prot, f, fd, at), MAP_FAILED, ENOMEM)
WRAP(int, munmap, (void *p, size_t n), (p, n), -1, ENOMEM)
WRAP(int, madvise, (void *p, size_t n, int advice), (p, n, advice), -1, ENOSYS)
WRAP(ssize_t, pread, (int fd, void *b, size_t n, off_t at), (fd, b, n, at), -1, EIO)
WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t at), (fd, b, n, at), -1, ENOSPC)
WRAP(int, fstatfs, (int fd, struct statfs *s), (fd, s), -1, EIO)
WRAP(int, getrlimit, (__rlimit_resource_t r, struct rlimit *l), (r, l), -1, EINVAL)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), -1, ENOSPC)
WRAP(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), -1, EIO)
WRAP(ssize_t, readlink, (const char *p, char *b, size_t n), (p, b, n), -1, EACCES)
WRAP(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), -1, EBADF)
WRAP(int, mkdirat, (int fd, const char *p, mode_t mode), (fd, p, mode), -1, EACCES)
WRAP(int, unlinkat, (int fd, const char *p, int f), (fd, p, f), -1, EROFS)
WRAP(int, renameat, (int a, const char *p, int b, const char *q), (a, p, b, q), -1, EROFS)
WRAP(int, renameat2, (int a, const char *p, int b, const char *q, unsigned f), (a, p, b, q, f), -1, EINVAL)
WRAP(int, chmod, (const char *p, mode_t mode), (p, mode), -1, EPERM)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EPERM)
WRAP(int, faccessat, (int fd, const char *p, int mode, int f), (fd, p, mode, f), -1, EACCES)
WRAP(int, access, (const char *p, int mode), (p, mode), -1, EACCES)
WRAP(char *, getcwd, (char *b, size_t n), (b, n), NULL, ENOENT)
WRAP(int, gethostname, (char *b, size_t n), (b, n), -1, EFAULT)
WRAP(ssize_t, getrandom, (void *b, size_t n, unsigned f), (b, n, f), -1, ENOSYS)
WRAP(int, clock_gettime, (clockid_t clock, struct timespec *t), (clock, t), -1, EINVAL)
WRAP(int, pthread_key_create, (pthread_key_t *key, void (*end)(void *)), (key, end), EAGAIN, EAGAIN)
WRAP(int, pthread_sigmask, (int how, const sigset_t *s, sigset_t *old), (how, s, old), EINVAL, EINVAL)
WRAP(int, sigtimedwait, (const sigset_t *s, siginfo_t *i, const struct timespec *t), (s, i, t), -1, EAGAIN)
WRAP(void *, dlopen, (const char *file, int mode), (file, mode), NULL, ENOENT)
WRAP(void *, dlsym, (void *handle, const char *name), (handle, name), NULL, ENOENT)
WRAP(char *, realpath, (const char *p, char *ret), (p, ret), NULL, EACCES)

#define WRAP_OPEN(function, parameters, arguments, mode_after)                 \
    int __real_##function parameters;                                          \
    int __wrap_##function parameters;                                          \
    int __wrap_##function parameters                                           \
    {                                                                          \
        va_list more;                                                          \
        va_start(more, mode_after);                                            \
        unsigned mode = mode_after & (O_CREAT | O_TMPFILE) ? va_arg(more, unsigned) : 0; \
        va_end(more);                                                          \
        if (fails(#function)) {                                                \
            errno = EMFILE;                                                    \
            return -1;                                                         \
        }                                                                      \
        return __real_##function arguments;                                    \
    }

WRAP_OPEN(open, (const char *p, int flags, ...), (p, flags, mode), flags)
WRAP_OPEN(openat, (int at, const char *p, int flags, ...), (at, p, flags, mode), flags)

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (fails("syscall")) {
        errno = ENOSYS;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}
