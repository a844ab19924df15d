/* Which segments of a box may go, and what goes with them (see evict.h). */
#define _GNU_SOURCE 1
#include "evict.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "held.h"

#define SUFFIX ".pyaudit"
#define LISTING_BYTES (32u << 10)
#define WINDOW_BYTES (64u << 10)
#define HEADER_BYTES 384u       /* of struct pa_header: all that is in use */
#define HEADERLESS_S 3600       /* a process is not that long between file and header */

struct candidate {
    char name[PA_NAME_ROOM];
    uint64_t bytes;
};

struct listing {
    struct candidate *items;
    size_t count, room;
    uint64_t bytes;
};

/* What tells a live process from a dead one. */
struct witness {
    uint8_t boot[16];
    int64_t boot_began_s;       /* CLOCK_REALTIME */
    uint64_t monotonic, realtime;
    uint64_t pid_namespace;     /* 0: processes cannot be judged from here */
};

/* The beginning of a file: all of the header that is in use. */
union start {
    struct pa_header header;
    char bytes[HEADER_BYTES];
};

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* ---- the list of segments ---- */

static int is_segment(const char *name)
{
    size_t length = strlen(name), suffix = sizeof SUFFIX - 1;
    return length > suffix && length < PA_NAME_ROOM && strcmp(name + length - suffix, SUFFIX) == 0;
}

static int add_candidate(struct listing *l, const struct pa_held *box, const char *name)
{
    struct stat st;
    if (!is_segment(name) || fstatat(box->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return 0;
    if (l->count == l->room) {
        size_t room = l->room != 0 ? l->room * 2 : 64;
        struct candidate *more = realloc(l->items, room * sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        l->items = more;
        l->room = room;
    }
    struct candidate *item = &l->items[l->count++];
    memcpy(item->name, name, strlen(name) + 1);     /* is_segment: it fits */
    item->bytes = (uint64_t)st.st_size;
    l->bytes = saturating_add(l->bytes, item->bytes);
    return 0;
}

/* By getdents, since closedir would close whatever has our number by then. */
static int list_segments(struct listing *l, const struct pa_held *box)
{
    struct pa_held listed;
    char *buffer = malloc(LISTING_BYTES);
    long length = 1;
    int error = buffer == NULL ? -ENOMEM : pa_held_open(&listed, box, ".", O_RDONLY | O_DIRECTORY, 0);
    if (error != 0) {
        free(buffer);
        return error;
    }
    while (error == 0 && length != 0) {
        length = pa_held_still(&listed) ? syscall(SYS_getdents64, listed.fd, buffer, LISTING_BYTES) : -1;
        if (length < 0)
            error = -EBADF;
        for (long at = 0; error == 0 && at < length;) {
            const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
            error = add_candidate(l, box, entry->d_name);
            at += entry->d_reclen;
        }
    }
    pa_held_close(&listed);
    free(buffer);
    return error;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct candidate *)a)->name, ((const struct candidate *)b)->name);
}

/* ---- liveness ---- */

static int read_text(const char *path, char *out, size_t room)
{
    struct pa_held file;
    if (pa_held_open(&file, NULL, path, O_RDONLY, 0) != 0)
        return 0;
    ssize_t length = pread(file.fd, out, room - 1, 0);
    pa_held_close(&file);
    out[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void look_around(struct witness *ret)
{
    char text[64];
    struct stat namespace;
    struct timespec now, up, steady;
    memset(ret, 0, sizeof *ret);
    if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof text)) {
        unsigned digits = 0;
        for (const char *at = text; *at != '\0' && digits < 32; at++)
            if (hex_value(*at) >= 0) {
                ret->boot[digits / 2] = (uint8_t)(ret->boot[digits / 2] << 4 | hex_value(*at));
                digits++;
            }
    }
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_MONOTONIC, &steady);
    ret->boot_began_s = now.tv_sec - up.tv_sec;
    ret->realtime = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    ret->monotonic = (uint64_t)steady.tv_sec * 1000000000u + (uint64_t)steady.tv_nsec;
    /* a /proc of another pid namespace numbers processes otherwise than kill does */
    ssize_t length = readlink("/proc/self", text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    if (strtol(text, NULL, 10) == getpid() && stat("/proc/self/ns/pid", &namespace) == 0)
        ret->pid_namespace = namespace.st_ino;
}

/* Fields of /proc/PID/stat: when it began (22; 0: not to be had), and whether it has ended and nobody has waited
 * for it. With further threads (20), only its first has ended. The command's name may hold anything. */
static uint64_t start_time_of(uint32_t pid, int *ret_ended)
{
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    *ret_ended = 0;
    if (!read_text(path, text, sizeof text))
        return 0;
    const char *at = strrchr(text, ')');
    int is_zombie = at != NULL && at[1] == ' ' && (at[2] == 'Z' || at[2] == 'X');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (field == 19 && at != NULL)
            *ret_ended = is_zombie && strtol(at + 1, NULL, 10) < 2;
    }
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

static int long_ago(uint64_t then, uint64_t now)
{
    return then != 0 && now > then && now - then > PA_BEAT_GONE_NS;
}

/* Start times are told as the clock of the time namespace of whoever asks has it. */
static int counts_as_we_do(uint32_t pid)
{
    char path[40];
    struct stat ours, its;
    snprintf(path, sizeof path, "/proc/%u/ns/time", pid);
    return stat("/proc/self/ns/time", &ours) != 0 || stat(path, &its) != 0 || ours.st_ino == its.st_ino;
}

static int is_dead(const struct pa_header *h, const struct witness *w, const struct stat *st)
{
    if (memcmp(h->boot, w->boot, 16) != 0)
        return st->st_mtim.tv_sec < w->boot_began_s;
    if (h->pid_namespace != w->pid_namespace && long_ago(h->beat_monotonic, w->monotonic) &&
        long_ago(h->beat_realtime, w->realtime))
        return 1;
    if (w->pid_namespace == 0 || h->pid_namespace != w->pid_namespace || h->pid == 0 || h->pid > INT_MAX)
        return 0;
    if (kill((pid_t)h->pid, 0) != 0 && errno == ESRCH)
        return 1;
    int ended;
    uint64_t start = start_time_of(h->pid, &ended);
    return ended || (start != 0 && h->pid_start != 0 && start != h->pid_start && counts_as_we_do(h->pid));
}

/* The header is NULL where the file has none. */
static int may_go(const struct pa_header *h, const struct witness *w, const struct stat *st)
{
    if (h == NULL)
        return st->st_mtim.tv_sec < time(NULL) - HEADERLESS_S;
    if (h->format_major != PA_FORMAT_MAJOR || (h->incompatible & ~PA_INCOMPAT_KNOWN) != 0)
        return 0;
    return h->state == PA_STATE_ROTATED || h->state == PA_STATE_CLEAN_END || is_dead(h, w, st);
}

/* ---- what a segment holds ---- */

/* A chunk's entries lie from its end downwards; the first that is not committed ends them. */
static uint64_t count_chunk(int fd, uint64_t offset, const struct pa_chunk *chunk, char *window)
{
    uint64_t events = 0, end = offset + chunk->size, floor = offset + PA_CHUNK_HEADER_SIZE;
    while (end - floor >= chunk->entry_size) {
        uint64_t length = end - floor < WINDOW_BYTES ? end - floor : WINDOW_BYTES;
        length -= length % chunk->entry_size;
        if (pread(fd, window, length, (off_t)(end - length)) != (ssize_t)length)
            return events;
        for (uint64_t at = length; at > 0;) {
            struct pa_count entry;  /* commit and kind lie alike in all entries */
            at -= chunk->entry_size;
            memcpy(&entry, window + at, sizeof entry);
            if (entry.commit != chunk->generation)
                return events;
            if (entry.kind == PA_ENTRY_EVENT)
                events = saturating_add(events, 1);
            else if (entry.kind == PA_ENTRY_COUNT)
                events = saturating_add(events, entry.count);
        }
        end -= length;
    }
    return events;
}

static uint64_t count_segment(int fd, const struct pa_header *h, uint64_t size)
{
    struct pa_chunk chunk;
    uint64_t events = 0, offset = h->header_size;
    if (h->state == PA_STATE_VOID)
        return 0;
    char *window = malloc(WINDOW_BYTES);
    if (size > PA_SEGMENT_MAX)
        size = PA_SEGMENT_MAX;
    if (h->used >= h->header_size && size > h->used)
        size = h->used;     /* behind it may lie what an earlier segment left in this file */
    for (int i = 0; i < PA_LOSS_REASONS; i++)
        events = saturating_add(events, h->losses[i]);
    while (window != NULL && offset + sizeof chunk <= size &&
           pread(fd, &chunk, sizeof chunk, (off_t)offset) == (ssize_t)sizeof chunk) {
        if (chunk.magic != PA_CHUNK_MAGIC || chunk.size < PA_CHUNK_ALIGN ||
            chunk.size % PA_CHUNK_ALIGN != 0 || chunk.size > size - offset) {
            offset += PA_CHUNK_ALIGN;   /* never published, or damaged */
            continue;
        }
        if (chunk.kind == PA_CHUNK_EVENTS && chunk.entry_size >= sizeof(struct pa_entry) &&
            chunk.generation != 0)
            events = saturating_add(events, count_chunk(fd, offset, &chunk, window));
        offset += chunk.size;
    }
    free(window);
    return events;
}

/* Reads the beginning of a file; 0: it is no segment. */
static int read_start(int fd, union start *ret)
{
    memset(ret, 0, sizeof *ret);
    return pread(fd, ret->bytes, HEADER_BYTES, 0) == (ssize_t)HEADER_BYTES &&
           memcmp(ret->header.magic, PA_MAGIC, sizeof ret->header.magic) == 0;
}

uint64_t pa_evict_count(int fd, uint64_t size)
{
    union start *start = malloc(sizeof *start);
    uint64_t events = start != NULL && read_start(fd, start) ? count_segment(fd, &start->header, size) : 0;
    free(start);
    return events;
}

/* Opens it and judges: 1 where it may go. */
static int open_candidate(struct pa_held *ret, union start *ret_start, int *ret_whole,
                          const struct pa_held *box, const char *name, const struct witness *w)
{
    if (pa_held_open(ret, box, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) != 0)
        return 0;
    *ret_whole = read_start(ret->fd, ret_start);
    if (S_ISREG(ret->st.st_mode) && may_go(*ret_whole ? &ret_start->header : NULL, w, &ret->st))
        return 1;
    pa_held_close(ret);
    return 0;
}

/* 1 where this call removed it. */
static int remove_segment(const struct pa_held *box, const char *name, const struct witness *w,
                          union start *start, uint64_t *ret_events)
{
    struct pa_held file;
    int whole;
    if (!open_candidate(&file, start, &whole, box, name, w))
        return 0;
    uint64_t events = whole ? count_segment(file.fd, &start->header, (uint64_t)file.st.st_size) : 0;
    int removed = pa_held_still(box) && unlinkat(box->fd, name, 0) == 0;
    if (removed)
        *ret_events = saturating_add(*ret_events, events);
    pa_held_close(&file);
    return removed;
}

/* <time>-<process>: whether both names are of one process. */
static int same_process(const char *name, const char *own)
{
    return strlen(name) > 49 && strlen(own) > 49 && memcmp(name + 16, own + 16, 33) == 0;
}

static void find_horizon(char *ret, const struct listing *all, size_t from, const struct pa_held *box,
                         const char *own, const struct witness *w, union start *start)
{
    struct pa_held file;
    int whole;
    snprintf(ret, PA_NAME_ROOM, "%016llx", (unsigned long long)w->realtime);
    if (strcmp(ret, own) <= 0)  /* the clock was set back */
        snprintf(ret, PA_NAME_ROOM, "%.78s~", own);
    for (size_t i = from; i < all->count && strcmp(all->items[i].name, ret) < 0; i++)
        if (!same_process(all->items[i].name, own) &&
            open_candidate(&file, start, &whole, box, all->items[i].name, w)) {
            pa_held_close(&file);
            memcpy(ret, all->items[i].name, PA_NAME_ROOM);
            return;
        }
}

int pa_evict(const struct pa_held *box, uint64_t target_bytes, const char *own, uint64_t *ret_bytes,
             uint64_t *ret_events, char *ret_horizon)
{
    struct listing all = {0};
    union start *start = malloc(sizeof *start);
    int error = start == NULL ? -ENOMEM : list_segments(&all, box);
    if (error == 0 && all.bytes > target_bytes) {
        struct witness w;
        size_t i;
        look_around(&w);
        qsort(all.items, all.count, sizeof *all.items, by_name);
        for (i = 0; i < all.count && all.bytes > target_bytes; i++) {
            if (own != NULL && strcmp(all.items[i].name, own) == 0)
                break;
            if (remove_segment(box, all.items[i].name, &w, start, ret_events))
                all.bytes -= all.items[i].bytes;
        }
        if (own != NULL)
            find_horizon(ret_horizon, &all, i, box, own, &w, start);
    }
    *ret_bytes = all.bytes;
    free(all.items);
    free(start);
    return error;
}
