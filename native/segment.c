#define _GNU_SOURCE 1
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"

#define REUSE_TRIES 16          /* old segments may have been removed behind our back */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23      /* Linux 5.14; elsewhere it fails, which is no harm */
#endif

uint32_t pa_clock_kind = PA_CLOCK_MONOTONIC;

static struct pa_segment *mapped;

static ssize_t read_file(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, out, room - 1);
    close(fd);
    if (n >= 0)
        out[n] = 0;
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static void read_boot_id(uint8_t out[16])
{
    char text[64];
    memset(out, 0, 16);
    if (read_file("/proc/sys/kernel/random/boot_id", text, sizeof text) < 36)
        return;
    unsigned n = 0;
    for (const char *p = text; *p && n < 32; p++) {
        int d = hex_digit(*p);
        if (d < 0)
            continue;
        out[n / 2] = (uint8_t)(out[n / 2] << 4 | d);
        n++;
    }
}

/* Field 22 of /proc/self/stat; the command name may hold spaces and parentheses. */
static uint64_t read_start_time(void)
{
    char text[1024];
    if (read_file("/proc/self/stat", text, sizeof text) <= 0)
        return 0;
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

void pa_identity_fill(struct pa_identity *ret)
{
    struct stat ns;
    if (getrandom(ret->process, 16, GRND_NONBLOCK) != 16) {
        /* an early boot without entropy: unique on this host is what is left */
        struct pa_instant now = pa_clock_anchor();
        uint64_t words[2] = {now.realtime * 0x9e3779b97f4a7c15u ^ (uint64_t)getpid(),
                             now.ticks ^ (uint64_t)(uintptr_t)ret};
        memcpy(ret->process, words, 16);
    }
    read_boot_id(ret->boot);
    ret->pid = (uint32_t)getpid();
    ret->ppid = (uint32_t)getppid();
    ret->uid = (uint32_t)geteuid();
    ret->gid = (uint32_t)getegid();
    ret->pid_start = read_start_time();
    ret->pid_namespace = stat("/proc/self/ns/pid", &ns) == 0 ? ns.st_ino : 0;
}

/* How large it may become. */
static uint32_t most_of(const struct pa_store *store)
{
    struct rlimit limit;
    uint32_t most = pa_store_most(store);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < most)
        return (uint32_t)limit.rlim_cur & ~(PA_CHUNK_ALIGN - 1);
    return most;
}

/* Its file: one of this process that has been read out, a new one, or the oldest of the box. */
static int get_file(struct pa_segment *s, struct pa_store *store, const struct pa_identity *who)
{
    struct pa_old old;
    int fd = 0;
    if (store->old != NULL)
        pa_store_look(store, who->process);
    for (int i = 0; i < REUSE_TRIES && store->old != NULL; i++) {
        if (fd != -ENOBUFS && store->old->sequence >= store->drained) {
            fd = pa_store_create(store, s->name, s->capacity);
            if (fd != -ENOBUFS)
                return fd;
        }
        fd = pa_store_reuse(store, s->name, &old);
        if (fd < 0)
            continue;
        s->generation = old.generation;
        s->stale = s->capacity = old.bytes;
        if (s->most < s->capacity)
            s->most = s->capacity;
        return fd;
    }
    pa_store_forget(store);     /* none of them can be had */
    return pa_store_create(store, s->name, s->capacity);
}

struct pa_segment *pa_segment_open(struct pa_store *store, const struct pa_identity *who,
                                   uint32_t sequence, struct pa_instant start, int *ret_error)
{
    struct pa_segment *s = calloc(1, sizeof *s);
    if (!s) {
        *ret_error = -ENOMEM;
        return NULL;
    }
    char hex[33];
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", who->process[i]);
    struct pa_instant now = pa_clock_anchor();
    /* names of a process are in order, also where the clock was set back: the least is the oldest */
    static uint64_t latest;
    latest = now.realtime > latest ? now.realtime : latest + 1;
    snprintf(s->name, sizeof s->name, "%016llx-%s-%06u.pyaudit", (unsigned long long)latest, hex, sequence);
    s->most = most_of(store);
    s->capacity = !sequence ? PA_SEGMENT_FIRST : s->most < PA_SEGMENT_NEXT ? s->most : PA_SEGMENT_NEXT;
    if (s->most < pa_store_most(store)) { /* a limit of files, unlike ours, is one at once */
        if (s->most < PA_SEGMENT_LEAST) {
            *ret_error = -EFBIG;
            free(s);
            return NULL;
        }
        if (s->capacity > s->most)
            s->capacity = s->most;
    }
    /* addresses before the file: without them, nothing is left behind; the last are not ours */
    void *map = mmap(NULL, PA_SEGMENT_MAX + PA_SPARE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        *ret_error = -errno;
        free(s);
        return NULL;
    }
    munmap((char *)map + PA_SEGMENT_MAX, PA_SPARE);
    int fd = get_file(s, store, who);
    if ((fd == -ENOSPC || fd == -EDQUOT) && s->capacity > PA_SEGMENT_FIRST) { /* a small one */
        s->capacity = PA_SEGMENT_FIRST;
        fd = get_file(s, store, who);
    }
    int error = fd < 0 ? fd : 0;
    if (!error) {
        if (mmap(map, PA_SEGMENT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            error = -errno;
        s->device = store->file_device;
        s->inode = store->file_inode;
        if (!pa_store_holds(fd, s->device, s->inode)) /* a file that took its number */
            error = -EBADF;
        pa_store_close(fd, s->device, s->inode);
        if (error)
            pa_store_trim(store, s->name, s->device, s->inode, s->capacity, 0);
    }
    if (error) {
        munmap(map, PA_SEGMENT_MAX);
        *ret_error = error;
        free(s);
        return NULL;
    }
    pa_guard_add(map, PA_SEGMENT_MAX);
    struct pa_header *h = s->header = map;
    if (s->stale) {             /* void, and so it stays until all is as in a new file */
        memset(h->process, 0, offsetof(struct pa_header, state) - offsetof(struct pa_header, process));
        memset(&h->pid, 0, sizeof *h - offsetof(struct pa_header, pid));
        ((struct pa_chunk *)((uint8_t *)map + PA_HEADER_SIZE))->magic = 0;
    }
    h->format_major = PA_FORMAT_MAJOR;
    h->header_size = PA_HEADER_SIZE;
    memcpy(h->process, who->process, 16);
    memcpy(h->parent, who->parent, 16);
    memcpy(h->boot, who->boot, 16);
    h->sequence = s->sequence = sequence;
    h->pid = who->pid;
    h->ppid = who->ppid;
    h->pid_start = who->pid_start;
    h->pid_namespace = who->pid_namespace;
    h->uid = who->uid;
    h->gid = who->gid;
    h->clock = pa_clock_kind;
    h->way = who->way;
    h->begin_ticks = now.ticks;
    h->begin_monotonic = now.monotonic;
    h->begin_realtime = now.realtime;
    h->ticks_hz = pa_clock_rate(start, pa_clock_anchor());
    h->used = s->used = PA_HEADER_SIZE;
    h->drained = store->drained;
    pa_segment_beat(s, now);
    if (!s->stale)
        h->state = PA_STATE_OPEN;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(h->magic, PA_MAGIC, 8);
    pa_commit(&h->state, PA_STATE_OPEN);
    s->next = mapped;
    mapped = s;
    return s;
}

struct pa_chunk *pa_segment_chunk(struct pa_segment *s, struct pa_store *store, uint32_t kind,
                                  uint32_t size, uint32_t first_id, int *ret_error)
{
    struct pa_header *h = s->header;
    uint32_t end = s->used + size;
    if (s->closed || end > s->most) {
        *ret_error = -EFBIG;
        return NULL;
    }
    if (end > s->capacity) {
        uint32_t capacity = s->capacity;
        while (capacity < end)
            capacity *= 2;
        if (capacity > s->most)
            capacity = s->most;
        if (s->rest_error && pa_clock_ns(CLOCK_MONOTONIC_COARSE) < s->rest_until) {
            *ret_error = s->rest_error;
            return NULL;
        }
        int r = pa_store_grow(store, s->name, s->device, s->inode, s->capacity, capacity);
        if (r < 0 && capacity != pa_round_chunk(end)) /* nearly full: what is needed and no more */
            r = pa_store_grow(store, s->name, s->device, s->inode, s->capacity,
                              capacity = pa_round_chunk(end));
        s->rest_error = r;
        if (r < 0) {
            s->rest_until = pa_clock_ns(CLOCK_MONOTONIC_COARSE) + PA_REST_NS;
            *ret_error = r;
            return NULL;
        }
        s->capacity = capacity;
    }
    struct pa_chunk *c = (struct pa_chunk *)((uint8_t *)h + s->used);
    if (size >= PA_POPULATE_FROM && kind == PA_CHUNK_EVENTS) /* its pages at once: cheaper than a fault for each */
        madvise(c, size, MADV_POPULATE_WRITE);
    if (s->used < s->stale) {
        memset(c, 0, (end < s->stale ? end : s->stale) - s->used);
        if (end < s->stale)     /* where a reader looks for the next one */
            ((struct pa_chunk *)((uint8_t *)h + end))->magic = 0;
    }
    c->size = size;
    c->generation = ++s->generation ? s->generation : ++s->generation;
    c->kind = (uint16_t)kind;
    c->entry_size = kind == PA_CHUNK_EVENTS ? 32 : 16;
    c->first_id = first_id;
    pa_commit(&h->used, s->used = end);
    return c;
}

void pa_chunk_publish(struct pa_chunk *c)
{
    pa_commit(&c->magic, PA_CHUNK_MAGIC);
}

static void settle(struct pa_segment *s, struct pa_store *store)
{
    struct pa_header *h = s->header;
    struct pa_instant now = pa_clock_anchor();
    if (s->settled)
        return;
    s->settled = 1;
    h->end_ticks = now.ticks;
    h->end_monotonic = now.monotonic;
    h->end_realtime = now.realtime;
    pa_commit(&h->state, s->closed);
    if (s->used < s->capacity &&
        pa_store_trim(store, s->name, s->device, s->inode, s->capacity, s->used) == 0)
        s->capacity = s->used;
}

void pa_segment_unmap(struct pa_header *header)
{
    pa_guard_drop(header);
    munmap(header, PA_SEGMENT_MAX);
}

void pa_segment_close(struct pa_segment *s, struct pa_store *store, uint32_t state)
{
    s->closed = state;
    if (!s->writers || state == PA_STATE_CLEAN_END)
        settle(s, store);
}

void pa_segments_settle(struct pa_store *store)
{
    for (struct pa_segment *s = mapped; s; s = s->next)
        if (s->closed)
            settle(s, store);
}

void pa_segment_release(struct pa_segment *s, struct pa_store *store)
{
    if (s->writers || !s->closed)
        return;
    settle(s, store);
    struct pa_old old = {NULL, s->device, s->inode, s->capacity, s->sequence, s->generation, ""};
    memcpy(old.name, s->name, sizeof old.name);
    if (s->closed == PA_STATE_ROTATED)
        pa_store_keep(store, &old);
    struct pa_segment **link = &mapped;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    pa_segment_unmap(s->header);
    free(s);
}

struct pa_header *pa_segments_forget(struct pa_segment *keep)
{
    struct pa_header *kept = keep ? keep->header : NULL;
    while (mapped) {
        struct pa_segment *s = mapped;
        mapped = s->next;
        if (s != keep)
            pa_segment_unmap(s->header);
        free(s);
    }
    return kept;
}
