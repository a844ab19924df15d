/* Directories, files and their room (see store.h). */
#define _GNU_SOURCE 1
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "evict.h"
#include "settings.h"
#include "signals.h"

#define USAGE_SIZE 16u          /* the bytes of the box, and 8 that are reserved */
#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* Errors of the file system that mean: no room. -EDQUOT is left for our own limit. */
static int failed(int error)
{
    return error == EDQUOT || error == EFBIG ? -ENOSPC : -error;
}

int pa_store_holds(int fd, uint64_t device, uint64_t inode)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void pa_store_close(int fd, uint64_t device, uint64_t inode)
{
    if (pa_store_holds(fd, device, inode))
        close(fd);
}

static void close_as(int fd, const struct stat *st)
{
    pa_store_close(fd, st->st_dev, st->st_ino);
}

/* ---- directories ---- */

/* Opens the entry itself, without reading rights; what it is, is in *ret. */
static int open_entry(int parent, const char *name, int flags, struct stat *ret)
{
    int fd = openat(parent, name, O_PATH | O_CLOEXEC | flags);
    if (fd < 0)
        return -errno;
    if (fstat(fd, ret) != 0)
        return -errno;
    return fd;
}

/* mkdir with exactly this mode, whatever the umask: the process-wide umask is the
 * application's. Returns 1 where it was made, 0 where something has that name. */
static int make_directory(int parent, const char *name, mode_t mode)
{
    struct stat st;
    char path[40];
    if (mkdirat(parent, name, mode) != 0)
        return errno == EEXIST ? 0 : failed(errno);
    int fd = open_entry(parent, name, O_NOFOLLOW, &st), error = 0;
    if (fd < 0)
        return fd;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        error = -EPERM;         /* exchanged at once: not what we made */
    if (error == 0 && (st.st_mode & 01777) != mode) {
        /* an O_PATH descriptor knows no fchmod, and we may have no right to open it otherwise */
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (!pa_store_holds(fd, st.st_dev, st.st_ino))
            error = -EBADF;
        else if (chmod(path, mode) != 0)
            error = -errno;
    }
    close_as(fd, &st);
    return error != 0 ? error : 1;
}

/* Opens the directory, making it and what is missing above it. `path` is put back. */
static int open_path_made(char *path, mode_t mode, mode_t above, struct stat *ret)
{
    int fd = open_entry(AT_FDCWD, path, O_DIRECTORY, ret);
    char *slash = strrchr(path, '/');
    if (fd != -ENOENT || slash == NULL || slash[1] == '\0')
        return fd;
    struct stat parent_st;
    int parent;
    if (slash == path) {
        parent = open_entry(AT_FDCWD, "/", O_DIRECTORY, &parent_st);
    } else {
        *slash = '\0';
        parent = open_path_made(path, above, above, &parent_st);
        *slash = '/';
    }
    if (parent < 0)
        return parent;
    int made = make_directory(parent, slash + 1, mode);
    fd = made < 0 ? made : open_entry(parent, slash + 1, O_DIRECTORY, ret);
    close_as(parent, &parent_st);
    return fd;
}

/* journal/ in DIR: ours or root's, and nobody else can replace what lies in it. */
static int open_journal(int dir, mode_t mode, struct stat *ret)
{
    int made = make_directory(dir, "journal", mode);
    if (made < 0)
        return made;
    int fd = open_entry(dir, "journal", O_NOFOLLOW, ret);
    if (fd < 0)
        return fd;
    int sticky = (ret->st_mode & S_ISVTX) != 0;
    int trusted = ret->st_uid == geteuid() || ret->st_uid == 0;
    if (S_ISDIR(ret->st_mode) && (sticky || (trusted && !(ret->st_mode & OTHERS_WRITE))))
        return fd;
    close_as(fd, ret);
    return -EPERM;
}

static uint64_t random_bits(void)
{
    uint64_t bits;
    struct timespec now;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) == sizeof bits)
        return bits;
    clock_gettime(CLOCK_REALTIME, &now);    /* early boot; mkdir refuses what is taken */
    return ((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec) * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid();
}

/* u<euid>, or a fresh one beside it where that name is a trap. *ret_name of 48 bytes. */
static int open_box(int journal, char *ret_name, struct stat *ret)
{
    unsigned uid = (unsigned)geteuid();
    int length = snprintf(ret_name, 48, "u%u", uid);
    for (int attempt = 0; attempt < 4; attempt++) {
        if (attempt > 0)
            snprintf(ret_name + length, 48 - (size_t)length, "-%016llx", (unsigned long long)random_bits());
        int made = make_directory(journal, ret_name, 0700);
        if (made < 0 && made != -EPERM)
            return made;
        int fd = open_entry(journal, ret_name, O_NOFOLLOW, ret);
        if (fd < 0)
            continue;
        if (S_ISDIR(ret->st_mode) && ret->st_uid == uid && !(ret->st_mode & OTHERS_WRITE)) {
            if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0)
                return fd;
            int error = -errno;
            close_as(fd, ret);
            return error;
        }
        close_as(fd, ret);
    }
    return -EPERM;
}

/* Finds or makes the box in `dir`. */
static int find_box(struct pa_store *s, const char *dir)
{
    char name[48];
    size_t length = 0;
    for (const char *at = dir; *at != '\0' && length <= PA_DIR_MAX; at++)
        if (*at != '/' || length == 0 || s->box[length - 1] != '/')
            s->box[length++] = *at;
    if (length > PA_DIR_MAX)
        return -ENAMETOOLONG;
    if (length > 1 && s->box[length - 1] == '/')
        length--;
    s->box[length] = '\0';

    int shared = geteuid() == 0 && strcmp(s->box, PA_SYSTEM_DIR) == 0;
    struct stat dir_st, journal_st, box_st;
    int dir_fd = open_path_made(s->box, shared ? 0711 : 0700, shared ? 0755 : 0700, &dir_st);
    if (dir_fd < 0)
        return dir_fd;
    int journal = open_journal(dir_fd, shared ? 01733 : 0700, &journal_st);
    close_as(dir_fd, &dir_st);
    if (journal < 0)
        return journal;
    int box = open_box(journal, name, &box_st);
    close_as(journal, &journal_st);
    if (box < 0)
        return box;
    close_as(box, &box_st);
    snprintf(s->box + length, sizeof s->box - length, "/journal/%s", name);
    s->device = box_st.st_dev;
    s->inode = box_st.st_ino;
    return 0;
}

/* The same in the user's runtime directory, if that is really his. */
static int find_fallback(struct pa_store *s)
{
    char path[PA_DIR_MAX + 1];
    struct stat st;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    for (int attempt = 0; attempt < 2; attempt++) {
        if (attempt == 1)
            snprintf(path, sizeof path, "/run/user/%u", (unsigned)geteuid());
        else if (runtime != NULL && *runtime == '/' && strlen(runtime) < sizeof path - 16)
            strcpy(path, runtime);
        else
            continue;
        if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
            (st.st_mode & OTHERS_WRITE))
            continue;
        strcat(path, "/pythonaudit");
        if (find_box(s, path) == 0)
            return 0;
    }
    return -ENOENT;
}

int pa_store_open(struct pa_store *ret, const char *dir, uint64_t max_bytes, int stop_on_full)
{
    memset(ret, 0, sizeof *ret);
    ret->max_bytes = max_bytes;
    ret->stop_on_full = stop_on_full;
    int error = find_box(ret, dir);
    if (error == 0)
        return 0;
    if (find_fallback(ret) != 0)
        return error;
    ret->fallback = 1;
    return 0;
}

/* ---- room ---- */

/* The box, to work in: still the directory that it was, and this user's. */
static int enter_box(const struct pa_store *s, struct stat *ret)
{
    int fd = open(s->box, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, ret) != 0)
        return -errno;
    if (ret->st_dev == s->device && ret->st_ino == s->inode && ret->st_uid == geteuid())
        return fd;
    close_as(fd, ret);
    return -ESTALE;
}

/* A new or existing regular file of ours in the box; 0600 whatever the umask. */
static int open_file(int box, const char *name, int flags, struct stat *ret)
{
    int fd = openat(box, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return failed(errno);
    if (fstat(fd, ret) != 0)
        return -errno;
    int error = 0;
    if (!S_ISREG(ret->st_mode) || ret->st_uid != geteuid())
        error = -EPERM;
    else if ((flags & O_CREAT) && (ret->st_mode & 0777) != 0600 && fchmod(fd, 0600) != 0)
        error = -errno;
    if (error == 0)
        return fd;
    close_as(fd, ret);
    return error;
}

/* Zeros where the file system cannot allocate without writing. */
static int write_zeros(int fd, off_t from, off_t to)
{
    static const char zeros[4096];
    struct iovec parts[64];
    for (size_t i = 0; i < 64; i++)
        parts[i] = (struct iovec){(void *)zeros, sizeof zeros};
    while (from < to) {
        off_t left = to - from;
        int whole = left / (off_t)sizeof zeros < 64 ? (int)(left / (off_t)sizeof zeros) : 64;
        int count = whole > 0 ? whole : 1;
        parts[0].iov_len = whole > 0 ? sizeof zeros : (size_t)left;
        ssize_t written = pwritev(fd, parts, count, from);
        if (written <= 0)
            return written < 0 ? failed(errno) : -ENOSPC;
        from += written;
    }
    return 0;
}

/* Blocks on disk, so that a write to the mapping cannot fail. */
static int allocate(int fd, const struct stat *st, uint64_t from, uint64_t to)
{
    struct pa_signals held;
    int error = 0;
    if (to <= from)
        return 0;
    pa_signals_hold(&held, SIGXFSZ);
    if (!pa_store_holds(fd, st->st_dev, st->st_ino))
        error = -EBADF;
    else if (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) != 0)
        error = errno == EOPNOTSUPP || errno == ENOSYS ? write_zeros(fd, (off_t)from, (off_t)to)
                                                       : failed(errno);
    pa_signals_release(&held, SIGXFSZ);
    return error;
}

/* The shared counter of the box, mapped, or NULL: *ret_error. A new one starts with what
 * is there. */
static uint64_t *open_usage(int box, int *ret_error)
{
    struct stat st;
    uint64_t standing = 0, none = 0, ignored = 0;
    int fd = open_file(box, "usage", O_CREAT, &st);
    if (fd < 0) {
        *ret_error = fd;
        return NULL;
    }
    int fresh = st.st_size < (off_t)USAGE_SIZE;
    void *map = MAP_FAILED;
    *ret_error = fresh ? allocate(fd, &st, 0, USAGE_SIZE) : 0;
    if (*ret_error == 0 && !pa_store_holds(fd, st.st_dev, st.st_ino))
        *ret_error = -EBADF;
    if (*ret_error == 0) {
        map = mmap(NULL, USAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
            *ret_error = -errno;
    }
    close_as(fd, &st);
    if (*ret_error != 0)
        return NULL;
    if (fresh && pa_evict(box, UINT64_MAX, &standing, &ignored) == 0)
        __atomic_compare_exchange_n((uint64_t *)map, &none, standing, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return map;
}

static void close_usage(uint64_t *usage)
{
    munmap(usage, USAGE_SIZE);
}

/* Never below zero: what drifted is mended by the next count. */
static void give_back(uint64_t *usage, uint64_t bytes)
{
    uint64_t seen = __atomic_load_n(usage, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(usage, &seen, seen > bytes ? seen - bytes : 0, 1,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static uint64_t limit_of(const struct pa_store *s, int box)
{
    struct statvfs fs;
    if (!s->fallback || fstatvfs(box, &fs) != 0)
        return s->max_bytes;
    uint64_t quarter = (uint64_t)fs.f_blocks * fs.f_frsize / 4;
    return quarter != 0 && quarter < s->max_bytes ? quarter : s->max_bytes;
}

/* Reserves room, and makes some where the limit is reached. */
static int charge(struct pa_store *s, int box, uint64_t bytes)
{
    uint64_t limit = limit_of(s, box), standing;
    int error;
    if (bytes > limit)
        return -EDQUOT;
    uint64_t *usage = open_usage(box, &error);
    if (usage == NULL)
        return error;
    uint64_t seen = __atomic_add_fetch(usage, bytes, __ATOMIC_RELAXED);
    if (seen > limit || seen < bytes) {
        uint64_t target = limit / 10 * 9;
        target = s->stop_on_full ? UINT64_MAX : target > bytes ? target - bytes : 0;
        error = pa_evict(box, target, &standing, &s->evicted);
        if (error == 0) {
            uint64_t mended = standing + bytes;
            /* where others charged meanwhile, theirs stays and the next count mends */
            __atomic_compare_exchange_n(usage, &seen, mended, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
            if (mended > limit)
                error = -EDQUOT;
        }
        if (error != 0)
            give_back(usage, bytes);
    }
    close_usage(usage);
    return error;
}

static void uncharge(int box, uint64_t bytes)
{
    int error;
    uint64_t *usage = open_usage(box, &error);
    if (usage == NULL)
        return;                 /* the next count mends it */
    give_back(usage, bytes);
    close_usage(usage);
}

/* ---- files ---- */

int pa_store_create(struct pa_store *s, const char *name, uint64_t bytes)
{
    struct stat box_st, st;
    int box = enter_box(s, &box_st);
    if (box < 0)
        return box;
    int error = charge(s, box, bytes), fd = -1;
    if (error == 0) {
        fd = open_file(box, name, O_CREAT | O_EXCL, &st);
        error = fd < 0 ? fd : allocate(fd, &st, 0, bytes);
        if (error != 0) {
            if (error != -EEXIST)
                unlinkat(box, name, 0);
            if (fd >= 0)
                close_as(fd, &st);
            uncharge(box, bytes);
        }
    }
    close_as(box, &box_st);
    return error != 0 ? error : fd;
}

/* The file of that name, if it still is that file. */
static int open_known(int box, const char *name, uint64_t device, uint64_t inode, struct stat *ret)
{
    int fd = open_file(box, name, 0, ret);
    if (fd < 0 || (ret->st_dev == device && ret->st_ino == inode))
        return fd;
    close_as(fd, ret);
    return -ESTALE;
}

int pa_store_grow(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to)
{
    struct stat box_st, st;
    int box = enter_box(s, &box_st);
    if (box < 0)
        return box;
    int fd = open_known(box, name, device, inode, &st), error = fd < 0 ? fd : 0;
    if (fd >= 0) {
        error = charge(s, box, to - from);
        if (error == 0) {
            error = allocate(fd, &st, from, to);
            if (error != 0) {
                if (pa_store_holds(fd, device, inode) && ftruncate(fd, (off_t)from) != 0)
                    error = -errno;
                uncharge(box, to - from);
            }
        }
        close_as(fd, &st);
    }
    close_as(box, &box_st);
    return error;
}

int pa_store_trim(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to)
{
    struct stat box_st, st;
    int box = enter_box(s, &box_st);
    if (box < 0)
        return box;
    int fd = open_known(box, name, device, inode, &st), error = fd < 0 ? fd : 0;
    if (fd >= 0) {
        if (!pa_store_holds(fd, device, inode))
            error = -EBADF;
        else if (ftruncate(fd, (off_t)to) != 0)
            error = -errno;
        else
            uncharge(box, from - to);
        close_as(fd, &st);
    }
    close_as(box, &box_st);
    return error;
}
