/* Directories, files and their room (see store.h). */
#define _GNU_SOURCE 1
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "settings.h"
#include "signals.h"

#define REUSE_TRIES 8           /* old segments may have been removed behind our back */
#define DRAINED_MAGIC "PYDRAIN\n"
#define USAGE_SIZE 16u          /* the bytes of the box, and how often some were reserved */
#define BOX_NAME_ROOM 48u
#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* What a reader publishes (store.h). */
struct drained {
    char magic[8];
    uint8_t process[16];
    uint32_t segments, reserved;
};

/* A quota is a full disk to us: -EDQUOT is left for our own limit. */
static int as_no_room(int error)
{
    return error == -EDQUOT ? -ENOSPC : error;
}

/* ---- directories ---- */

/* mkdir with exactly this mode, whatever the umask: that is the application's, and one for
 * the whole process. 0 also where something has that name already. */
static int make_directory(const struct pa_held *parent, const char *name, mode_t mode)
{
    struct pa_held made;
    char path[40];
    if (!pa_held_still(parent))
        return -EBADF;
    if (mkdirat(parent->fd, name, mode) != 0)
        return errno == EEXIST ? 0 : -errno;
    int error = pa_held_open(&made, parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (error == 0) {
        /* an O_PATH descriptor knows no fchmod, and the umask may forbid another one */
        snprintf(path, sizeof path, "/proc/self/fd/%d", made.fd);
        if ((made.st.st_mode & 01777) != mode && chmod(path, mode) != 0)
            error = -errno;
        pa_held_close(&made);
    }
    if (error != 0 && pa_held_still(parent))
        unlinkat(parent->fd, name, AT_REMOVEDIR);   /* nobody could use it */
    return error;
}

/* Opens the directory, making it and what is missing above it. `path` is put back. */
static int open_path_made(struct pa_held *ret, char *path, mode_t mode, mode_t above)
{
    struct pa_held parent;
    char *slash = strrchr(path, '/');
    int error = pa_held_open(ret, NULL, path, O_PATH | O_DIRECTORY, 0);
    if (error != -ENOENT || slash == NULL || slash[1] == '\0')
        return error;
    if (slash == path) {
        error = pa_held_open(&parent, NULL, "/", O_PATH | O_DIRECTORY, 0);
    } else {
        *slash = '\0';
        error = open_path_made(&parent, path, above, above);
        *slash = '/';
    }
    if (error != 0)
        return error;
    error = make_directory(&parent, slash + 1, mode);
    if (error == 0)
        error = pa_held_open(ret, &parent, slash + 1, O_PATH | O_DIRECTORY, 0);
    pa_held_close(&parent);
    return error;
}

/* journal/ in DIR: ours or root's, and nobody else can replace what lies in it. */
static int open_journal(struct pa_held *ret, const struct pa_held *dir, mode_t mode)
{
    int error = make_directory(dir, "journal", mode);
    if (error == 0)
        error = pa_held_open(ret, dir, "journal", O_PATH | O_NOFOLLOW, 0);
    if (error != 0)
        return error;
    int trusted = ret->st.st_uid == geteuid() || ret->st.st_uid == 0;
    if (S_ISDIR(ret->st.st_mode) &&
        ((ret->st.st_mode & S_ISVTX) || (trusted && !(ret->st.st_mode & OTHERS_WRITE))))
        return 0;
    pa_held_close(ret);
    return -EPERM;
}

static uint64_t random_bits(void)
{
    uint64_t bits;
    struct timespec now;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) == sizeof bits)
        return bits;
    clock_gettime(CLOCK_REALTIME, &now);    /* early boot; a name that is taken is no harm */
    return ((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec) * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid();
}

/* u<euid>, or a fresh one beside it where that name is a trap. *ret_name: BOX_NAME_ROOM. */
static int open_box(struct pa_held *ret, const struct pa_held *journal, char *ret_name)
{
    unsigned uid = (unsigned)geteuid();
    int length = snprintf(ret_name, BOX_NAME_ROOM, "u%u", uid);
    for (int attempt = 0; attempt < 4; attempt++) {
        if (attempt > 0)
            snprintf(ret_name + length, BOX_NAME_ROOM - (size_t)length, "-%016llx",
                     (unsigned long long)random_bits());
        int error = make_directory(journal, ret_name, 0700);
        if (error == 0)
            error = pa_held_open(ret, journal, ret_name, O_PATH | O_NOFOLLOW, 0);
        if (error != 0)
            return error;
        if (S_ISDIR(ret->st.st_mode) && ret->st.st_uid == uid && !(ret->st.st_mode & OTHERS_WRITE)) {
            if (faccessat(ret->fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0)
                return 0;
            error = -errno;
            pa_held_close(ret);
            return error;
        }
        pa_held_close(ret);
    }
    return -EPERM;
}

/* Finds or makes the box in `dir`. */
static int find_box(struct pa_store *s, const char *dir)
{
    char name[BOX_NAME_ROOM];
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
    struct pa_held in, journal, box;
    int error = open_path_made(&in, s->box, shared ? 0711 : 0700, shared ? 0755 : 0700);
    if (error != 0)
        return error;
    error = open_journal(&journal, &in, shared ? 01733 : 0700);
    pa_held_close(&in);
    if (error != 0)
        return error;
    error = open_box(&box, &journal, name);
    pa_held_close(&journal);
    if (error != 0)
        return error;
    pa_held_close(&box);
    snprintf(s->box + length, sizeof s->box - length, "/journal/%s", name);
    s->device = box.st.st_dev;
    s->inode = box.st.st_ino;
    return 0;
}

/* The same below the user's runtime directory, if that is really his. */
static int find_box_below(struct pa_store *s, const char *runtime)
{
    static char path[PA_DIR_MAX + 1]; /* under the recorder's lock, and stacks of threads are small */
    struct stat st;
    int length = snprintf(path, sizeof path, "%s/pythonaudit", runtime);
    if (*runtime != '/' || (size_t)length >= sizeof path || stat(runtime, &st) != 0 ||
        !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & OTHERS_WRITE))
        return -EPERM;
    return find_box(s, path);
}

static int find_fallback(struct pa_store *s)
{
    char usual[40];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    int error = runtime != NULL ? find_box_below(s, runtime) : -ENOENT;
    return error != 0 ? find_box_below(s, usual) : 0;
}

int pa_store_open_there(struct pa_store *ret, const char *dir, uint64_t max_bytes, int stop_on_full)
{
    memset(ret, 0, sizeof *ret);
    ret->max_bytes = max_bytes;
    ret->stop_on_full = stop_on_full;
    return as_no_room(find_box(ret, dir));
}

int pa_store_open(struct pa_store *ret, const char *dir, uint64_t max_bytes, int stop_on_full)
{
    int error = pa_store_open_there(ret, dir, max_bytes, stop_on_full);
    if (error == 0)
        return 0;
    if (find_fallback(ret) != 0)
        return error;
    ret->fallback = 1;
    return 0;
}

/* ---- room ---- */

/* The box, to work in: still the directory that it was, and this user's. */
static int enter_box(struct pa_held *ret, const struct pa_store *s)
{
    int error = pa_held_open(ret, NULL, s->box, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (error != 0)
        return error;
    if (ret->st.st_dev == s->device && ret->st.st_ino == s->inode && ret->st.st_uid == geteuid())
        return 0;
    pa_held_close(ret);
    return -ESTALE;
}

/* A regular file of ours in the box; 0600 whatever the umask, where O_CREAT is given. */
static int open_file(struct pa_held *ret, const struct pa_held *box, const char *name, int flags)
{
    int error = pa_held_open(ret, box, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    if (error != 0)
        return as_no_room(error);
    if (!S_ISREG(ret->st.st_mode) || ret->st.st_uid != geteuid())
        error = -EPERM;
    else if ((flags & O_CREAT) && (ret->st.st_mode & 0777) != 0600 && fchmod(ret->fd, 0600) != 0)
        error = -errno;
    if (error != 0)
        pa_held_close(ret);
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
        parts[0].iov_len = whole > 0 ? sizeof zeros : (size_t)left;
        ssize_t written = pwritev(fd, parts, whole > 0 ? whole : 1, from);
        if (written <= 0)
            return written < 0 ? -errno : -ENOSPC;
        from += written;
    }
    return 0;
}

/* Blocks on disk, so that a write to the mapping cannot fail. */
static int allocate(const struct pa_held *file, uint64_t from, uint64_t to)
{
    struct pa_signals held;
    int error = 0;
    pa_signals_hold(&held, SIGXFSZ);
    if (!pa_held_still(file))
        error = -EBADF;
    else if (fallocate(file->fd, 0, (off_t)from, (off_t)(to - from)) != 0)
        /* EPERM: a filter of system calls that does not know it */
        error = errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM
                    ? write_zeros(file->fd, (off_t)from, (off_t)to) : -errno;
    pa_signals_release(&held, SIGXFSZ);
    return as_no_room(error);
}

/* The shared counter of the box, mapped. A new one starts with what is there. */
static int open_usage(uint64_t **ret, const struct pa_held *box)
{
    struct pa_held file;
    uint64_t standing = 0, none = 0, ignored = 0;
    int error = open_file(&file, box, "usage", O_CREAT);
    if (error != 0)
        return error;
    int fresh = file.st.st_size < (off_t)USAGE_SIZE;
    void *map = MAP_FAILED;
    if (fresh)
        error = allocate(&file, 0, USAGE_SIZE);
    if (error == 0) {
        map = mmap(NULL, USAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
        if (map == MAP_FAILED) {
            error = -errno;
        } else if (!pa_held_still(&file)) {
            munmap(map, USAGE_SIZE);
            error = -EBADF;
        }
    }
    pa_held_close(&file);
    if (error != 0)
        return error;
    *ret = map;
    if (fresh && pa_evict(box, UINT64_MAX, NULL, &standing, &ignored, NULL) == 0)
        __atomic_compare_exchange_n(*ret, &none, standing, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return 0;
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

static uint64_t limit_of(const struct pa_store *s, const struct pa_held *box)
{
    struct statvfs fs;
    if (!s->fallback || fstatvfs(box->fd, &fs) != 0)
        return s->max_bytes;
    uint64_t quarter = (uint64_t)fs.f_blocks * fs.f_frsize / 4;
    return quarter != 0 && quarter < s->max_bytes ? quarter : s->max_bytes;
}

/* The first of `old` is the oldest of the box. */
static int can_reuse(const struct pa_store *s)
{
    return s->old != NULL && !s->stop_on_full && strcmp(s->old->name, s->horizon) < 0;
}

/* Reserves room, and makes some where the limit is reached; -ENOBUFS: pa_store_reuse is the
 * way to have some, since `later` more would be wanted soon. */
static int charge(struct pa_store *s, const struct pa_held *box, uint64_t bytes, uint64_t later)
{
    uint64_t limit = limit_of(s, box), standing, *usage;
    if (bytes > limit)
        return -EDQUOT;
    int error = open_usage(&usage, box);
    if (error != 0)
        return error;
    /* Where it does not fit, nothing is charged before all is counted: a count does not see what others
     * have charged and give back, and they would give back what it has forgotten. */
    uint64_t turn = __atomic_load_n(&usage[1], __ATOMIC_SEQ_CST);
    uint64_t seen = __atomic_load_n(usage, __ATOMIC_SEQ_CST);
    int full;
    do {
        full = seen > limit - bytes;
        if (can_reuse(s) && (full || later > limit - bytes - seen))
            error = -ENOBUFS;
        if (full || error != 0)
            break;
        __atomic_add_fetch(&usage[1], 1, __ATOMIC_SEQ_CST);
    } while (!__atomic_compare_exchange_n(usage, &seen, seen + bytes, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    if (full && error == 0) {
        const char *own = s->old != NULL && !s->stop_on_full ? s->old->name : NULL;
        uint64_t target = limit / 10 * 9;
        target = s->stop_on_full ? UINT64_MAX : target > bytes ? target - bytes : 0;
        error = pa_evict(box, target, own, &standing, &s->evicted, s->horizon);
        if (error == 0) {
            uint64_t charged = standing > limit - bytes ? 0 : bytes;
            /* where others charged meanwhile, theirs stays and the next count mends, also where the sum
             * has come to what it was */
            if (__atomic_fetch_add(&usage[1], charged != 0, __ATOMIC_SEQ_CST) != turn ||
                !__atomic_compare_exchange_n(usage, &seen, standing + charged, 0, __ATOMIC_SEQ_CST,
                                             __ATOMIC_SEQ_CST))
                __atomic_add_fetch(usage, charged, __ATOMIC_SEQ_CST);
            if (charged == 0)
                error = can_reuse(s) ? -ENOBUFS : -EDQUOT;
        }
    }
    close_usage(usage);
    return error;
}

static void uncharge(const struct pa_held *box, uint64_t bytes)
{
    uint64_t *usage;
    if (open_usage(&usage, box) != 0)
        return;                 /* the next count mends it */
    give_back(usage, bytes);
    close_usage(usage);
}

/* ---- files ---- */

int pa_store_create(struct pa_store *s, const char *name, uint64_t bytes)
{
    struct pa_held box, file;
    int error = enter_box(&box, s);
    if (error != 0)
        return error;
    error = charge(s, &box, bytes, pa_store_most(s) > bytes ? pa_store_most(s) - bytes : 0);
    if (error == 0) {
        error = open_file(&file, &box, name, O_CREAT | O_EXCL);
        if (error == 0) {
            error = allocate(&file, 0, bytes);
            if (error != 0)
                pa_held_close(&file);
        }
        if (error != 0) {
            if (error != -EEXIST && pa_held_still(&box))
                unlinkat(box.fd, name, 0);
            uncharge(&box, bytes);
        }
    }
    pa_held_close(&box);
    if (error != 0)
        return error;
    s->file_device = file.st.st_dev;
    s->file_inode = file.st.st_ino;
    return file.fd;
}

/* The box, and in it the file of that name if it still is that file, as long as it was. */
static int open_known(struct pa_held *ret_box, struct pa_held *ret, const struct pa_store *s,
                      const char *name, uint64_t device, uint64_t inode, uint64_t length)
{
    int error = enter_box(ret_box, s);
    if (error != 0)
        return error;
    error = open_file(ret, ret_box, name, 0);
    if (error == 0 && (ret->st.st_dev != device || ret->st.st_ino != inode ||
                       (uint64_t)ret->st.st_size != length)) {
        pa_held_close(ret);
        error = -ESTALE;
    }
    if (error != 0)
        pa_held_close(ret_box);
    return error;
}

/* ---- segments that may be used again ---- */

void pa_store_keep(struct pa_store *s, const struct pa_old *segment)
{
    struct pa_old *kept = malloc(sizeof *kept), **link = &s->old;
    if (kept == NULL)
        return;                 /* it stays, until it is evicted like those of others */
    *kept = *segment;
    while (*link != NULL && (*link)->sequence < kept->sequence)
        link = &(*link)->next;
    kept->next = *link;
    *link = kept;
    if (++s->old_count > PA_STORE_OLD_MAX) {
        struct pa_old *first = s->old;
        s->old = first->next;
        s->old_count--;
        free(first);
    }
}

void pa_store_forget(struct pa_store *s)
{
    while (s->old != NULL) {
        struct pa_old *first = s->old;
        s->old = first->next;
        free(first);
    }
    s->old_count = 0;
}

void pa_store_look(struct pa_store *s, const uint8_t process[16])
{
    struct drained said;
    struct pa_held box, file;
    char name[64] = "../../drained/";
    for (int i = 0; i < 16; i++)
        snprintf(name + 14 + 2 * i, 3, "%02x", process[i]);
    if (enter_box(&box, s) != 0)
        return;
    if (pa_held_open(&file, &box, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) == 0) {
        if (S_ISREG(file.st.st_mode) && file.st.st_nlink == 1 &&
            (file.st.st_uid == 0 || file.st.st_uid == geteuid()) &&
            pread(file.fd, &said, sizeof said, 0) == (ssize_t)sizeof said &&
            memcmp(said.magic, DRAINED_MAGIC, sizeof said.magic) == 0 &&
            memcmp(said.process, process, sizeof said.process) == 0 && said.segments > s->drained)
            s->drained = said.segments;
        pa_held_close(&file);
    }
    pa_held_close(&box);
}

/* A write to what is there already needs new room on these file systems. */
static int copies_on_write(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) != 0 || fs.f_type == 0x9123683e /* btrfs */ ||
           fs.f_type == 0x2fc12fc1 /* zfs */ || (unsigned long)fs.f_type == 0xca451a4eul /* bcachefs */;
}

/* The first of `old`, out of the list, opened if it still is what it was; *ret_events: what
 * is lost where it is written over. */
static int take_oldest(struct pa_held *ret, const struct pa_held *box, struct pa_store *s,
                       struct pa_old *ret_old, uint64_t *ret_events)
{
    struct pa_old *first = s->old;
    *ret_old = *first;
    s->old = first->next;
    s->old_count--;
    free(first);
    int error = open_file(ret, box, ret_old->name, 0);
    if (error != 0)
        return error;
    if (ret->st.st_dev != ret_old->device || ret->st.st_ino != ret_old->inode || ret->st.st_nlink != 1 ||
        ret->st.st_size != (off_t)ret_old->bytes) {
        pa_held_close(ret);
        return -ESTALE;
    }
    *ret_events = ret_old->sequence < s->drained ? 0 : pa_evict_count(ret->fd, ret_old->bytes);
    return 0;
}

/* Removes the first of `old`. */
static void drop_oldest(struct pa_store *s, const struct pa_held *box)
{
    struct pa_held file;
    struct pa_old old;
    uint64_t events;
    if (take_oldest(&file, box, s, &old, &events) != 0)
        return;
    if (pa_held_still(box) && unlinkat(box->fd, old.name, 0) == 0) {
        s->evicted += events;
        uncharge(box, old.bytes);
    }
    pa_held_close(&file);
}

int pa_store_reuse(struct pa_store *s, const char *name, struct pa_old *ret_old)
{
    static const uint32_t state = PA_STATE_VOID;
    struct pa_signals held;
    struct pa_held box, file;
    uint64_t events;
    int error = enter_box(&box, s);
    if (error != 0)
        return error;
    error = take_oldest(&file, &box, s, ret_old, &events);
    if (error == 0 && copies_on_write(file.fd)) {
        pa_held_close(&file);
        error = -EOPNOTSUPP;
    }
    if (error == 0) {
        /* void first: under neither name does it ever hold what it held under the other */
        pa_signals_hold(&held, SIGXFSZ);
        if (!pa_held_still(&file) || !pa_held_still(&box) ||
            pwrite(file.fd, &state, sizeof state, offsetof(struct pa_header, state)) != sizeof state)
            error = -EBADF;
        else
            s->evicted += events;
        pa_signals_release(&held, SIGXFSZ);
        if (error == 0 && renameat(box.fd, ret_old->name, box.fd, name) != 0) {
            error = -errno;
            if (unlinkat(box.fd, ret_old->name, 0) == 0)
                uncharge(&box, ret_old->bytes);
        }
        if (error != 0)
            pa_held_close(&file);
    }
    pa_held_close(&box);
    if (error != 0)
        return error;
    s->file_device = file.st.st_dev;
    s->file_inode = file.st.st_ino;
    return file.fd;
}

/* ---- growing and shrinking ---- */

int pa_store_grow(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to)
{
    struct pa_held box, file;
    int error = open_known(&box, &file, s, name, device, inode, from);
    if (error != 0)
        return error;
    error = charge(s, &box, to - from, 0);
    for (int i = 0; i < REUSE_TRIES && error == -ENOBUFS; i++) {
        if (from >= pa_store_most(s) / 2) {
            error = -EFBIG;
        } else {
            drop_oldest(s, &box);
            error = charge(s, &box, to - from, 0);
        }
    }
    if (error == -ENOBUFS)
        error = -EDQUOT;
    if (error == 0) {
        error = allocate(&file, from, to);
        if (error != 0) {
            if (pa_held_still(&file) && ftruncate(file.fd, (off_t)from) != 0)
                error = -errno;
            uncharge(&box, to - from);
        }
    }
    pa_held_close(&file);
    pa_held_close(&box);
    return error;
}

int pa_store_trim(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to)
{
    struct pa_held box, file;
    int error = open_known(&box, &file, s, name, device, inode, from);
    if (error != 0)
        return error;
    if (ftruncate(file.fd, (off_t)to) != 0)
        error = -errno;
    else
        uncharge(&box, from - to);
    pa_held_close(&file);
    pa_held_close(&box);
    return error;
}
