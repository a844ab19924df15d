/* Runs the recorder's settings, policy and store by hand: one command a line on stdin,
 * its parts separated by tabs, one line of answer on stdout. See store_driver.py.
 *
 * Built with --wrap, it also plays what is hard to have at the right moment: another
 * thread that takes the numbers of descriptors, and a file system that cannot allocate. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event_table.h"
#include "policy.h"
#include "settings.h"
#include "store.h"

int __real_openat(int at, const char *path, int flags, ...);
int __real_fstat(int fd, struct stat *ret);
void *__real_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);

static struct pa_store store;
static char repairs[16384];

/* The thief: another thread that closes all descriptors and opens its own in their place,
 * just after the `steal_in`-th time from now that a file was opened or just before one is
 * looked at or mapped. Between a look and what is done next nobody can help. */
static int steal_in, stolen[16], stolen_count;
static char victim[4096];
static int no_fallocate;

static void maybe_steal(void)
{
    struct stat st;
    if (steal_in == 0 || --steal_in > 0)
        return;
    int flags = stat(victim, &st) == 0 && S_ISDIR(st.st_mode) ? O_RDONLY | O_DIRECTORY : O_RDWR;
    for (int fd = 3; fd < 16; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            stolen[stolen_count++] = fd;
    int other = __real_openat(AT_FDCWD, victim, flags);
    for (int i = 0; i < stolen_count; i++)
        dup2(other, stolen[i]);
    close(other);
}

int __wrap_openat(int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int fd = __real_openat(at, path, flags, va_arg(more, mode_t));
    va_end(more);
    maybe_steal();
    return fd;
}

int __wrap_fstat(int fd, struct stat *ret);
int __wrap_fstat(int fd, struct stat *ret)
{
    maybe_steal();
    return __real_fstat(fd, ret);
}

void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    maybe_steal();
    return __real_mmap(at, length, protection, flags, fd, offset);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (no_fallocate) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_fallocate(fd, mode, offset, length);
}

static void repair(const char *name, const char *value)
{
    size_t used = strlen(repairs);
    snprintf(repairs + used, sizeof repairs - used, "%s%s=%s", used ? ";" : "", name, value);
    setenv(name, value, 1);
}

static size_t from_hex(const char *hex, char *out)
{
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        unsigned value;
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        value = (unsigned)strtoul(digits, NULL, 16);
        out[i] = (char)value;
    }
    return length;
}

static void settings(void)
{
    static struct pa_settings s;    /* its policy lives as long as the process */
    repairs[0] = '\0';
    int status = pa_settings_load(&s, (pa_getenv_fn)getenv, repair);
    uint8_t modes[PA_BY_COUNT];
    pa_policy_modes(s.policy, "x", 1, NULL, modes);
    printf("%d\t%d\t%d\t%d\t%u\t%u\t%llu\t%d\t%s\t%s\t%s\n", status, s.on, s.stop_on_failure, s.stop_on_full,
           s.stack_depth, s.reveal, (unsigned long long)s.max_bytes, modes[0], s.run, s.dir, repairs);
}

/* Names and globs come in hexadecimal: they may hold anything. */
static void modes(const char *events, const char *hex)
{
    static struct pa_policy *policy;    /* kept: it lives as long as the process */
    char complaint[256] = "", name[4096];
    uint8_t found[PA_BY_COUNT] = {0};
    size_t length = from_hex(hex, name);
    int error = pa_policy_parse(events, &policy, complaint, sizeof complaint);
    if (error == 0)
        pa_policy_modes(policy, name, length, pa_event_rule_find(name, length), found);
    printf("%d\t%d%d%d%d\t%s\n", error, found[0], found[1], found[2], found[3], complaint);
    if (error == 0)
        free(policy);
}

/* As long as the text and not ended by a NUL, so that a read past it is seen. */
static char *exact(const char *hex, size_t *ret_length)
{
    char *text = malloc(strlen(hex) / 2 + (*hex == '\0'));
    *ret_length = from_hex(hex, text);
    return text;
}

static void glob(const char *glob_hex, const char *name_hex)
{
    size_t glob_length, length;
    char *pattern = exact(glob_hex, &glob_length), *name = exact(name_hex, &length);
    printf("%d\n", pa_glob_matches(pattern, glob_length, name, length));
    free(pattern);
    free(name);
}

/* Answers 1 where the descriptor is not the file that it should be. */
static void create(const char *name, uint64_t bytes)
{
    struct stat st;
    int fd = pa_store_create(&store, name, bytes);
    if (fd < 0) {
        printf("%d\n", fd);
        return;
    }
    int right = __real_fstat(fd, &st) == 0 && st.st_dev == store.file_device && st.st_ino == store.file_inode &&
                (uint64_t)st.st_size == bytes && (uint64_t)st.st_blocks * 512 >= bytes;
    pa_store_close(fd, store.file_device, store.file_inode);
    printf("%d\t%llu\n", right ? 0 : 1, (unsigned long long)st.st_ino);
}

static void resize(int grow, const char *name, uint64_t inode, uint64_t from, uint64_t to)
{
    struct stat box;
    uint64_t device = stat(store.box, &box) == 0 ? box.st_dev : 0;
    printf("%d\n", (grow ? pa_store_grow : pa_store_trim)(&store, name, device, inode, from, to));
}

/* What became of what the thief has: "untouched", or did nobody come to that? */
static void thief(void)
{
    struct stat mine, theirs;
    const char *became = stolen_count > 0 ? "untouched" : "nothing to steal";
    if (steal_in > 0)
        became = "not reached";
    steal_in = 0;
    stat(victim, &mine);
    for (int i = 0; i < stolen_count; i++) {
        if (fstat(stolen[i], &theirs) != 0 || mine.st_ino != theirs.st_ino)
            became = "closed";
        close(stolen[i]);
    }
    stolen_count = 0;
    puts(became);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* So that only `spare` more descriptors can be opened. */
static void few_descriptors(int spare)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)(open_descriptors() + spare);
    printf("%d\n", setrlimit(RLIMIT_NOFILE, &limit));
}

static void signals(void)
{
    sigset_t blocked, pending;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigpending(&pending);
    printf("%d\t%d\t%d\n", sigismember(&blocked, SIGXFSZ), sigismember(&pending, SIGXFSZ),
           sigismember(&blocked, SIGINT));
}

static void block_and_raise(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGXFSZ);
    puts("ok");
}

static void run(char **part, char **argv)
{
    const char *command = part[0];
    uint64_t n[3];
    for (int i = 0; i < 3; i++)
        n[i] = strtoull(part[2 + i], NULL, 10);
    if (strcmp(command, "settings") == 0) {
        settings();
    } else if (strcmp(command, "modes") == 0) {
        modes(part[1], part[2]);
    } else if (strcmp(command, "glob") == 0) {
        glob(part[1], part[2]);
    } else if (strcmp(command, "open") == 0) {
        int error = pa_store_open(&store, part[1], n[0], (int)n[1]);
        printf("%d\t%d\t%s\n", error, store.fallback, store.box);
    } else if (strcmp(command, "create") == 0) {
        create(part[1], n[0]);
    } else if (strcmp(command, "grow") == 0 || strcmp(command, "trim") == 0) {
        resize(*command == 'g', part[1], n[0], n[1], n[2]);
    } else if (strcmp(command, "evicted") == 0) {
        printf("%llu\n", (unsigned long long)store.evicted);
        store.evicted = 0;
    } else if (strcmp(command, "steal") == 0) {
        snprintf(victim, sizeof victim, "%s", part[1]);
        steal_in = (int)n[0];
        puts("ok");
    } else if (strcmp(command, "thief") == 0) {
        thief();
    } else if (strcmp(command, "no-fallocate") == 0) {
        no_fallocate = 1;
        puts("ok");
    } else if (strcmp(command, "descriptors") == 0) {
        printf("%d\n", open_descriptors());
    } else if (strcmp(command, "few-descriptors") == 0) {
        few_descriptors(atoi(part[1]));
    } else if (strcmp(command, "signals") == 0) {
        signals();
    } else if (strcmp(command, "block-and-raise") == 0) {
        block_and_raise();
    } else if (strcmp(command, "seteuid") == 0) {
        printf("%d\n", seteuid((uid_t)strtoul(part[1], NULL, 10)) == 0 ? 0 : -errno);
    } else if (strcmp(command, "exec") == 0) {
        execv("/proc/self/exe", argv);
        puts("no exec");
    } else {
        puts("no such command");
    }
    fflush(stdout);
}

/* Without a buffer: what follows `exec` is the next program's. */
static int read_line(char *line, size_t room)
{
    size_t length = 0;
    while (length < room - 1 && read(0, line + length, 1) == 1) {
        if (line[length] == '\n') {
            line[length] = '\0';
            return 1;
        }
        length++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char line[65536];
    (void)argc;
    while (read_line(line, sizeof line)) {
        char *part[8], *at = line, empty[] = "";
        for (int i = 0; i < 8; i++) {
            part[i] = at != NULL ? strsep(&at, "\t") : empty;
        }
        run(part, argv);
    }
    return 0;
}
