/* The environment that a child of a recorded process gets: the caller's, and our variables.
 *
 * This runs between vfork and exec (posix_spawn, _posixsubprocess) and in signal handlers: no
 * allocation, no lock, and little stack. Environments too large for the frame of the caller go
 * into mappings that are used again. A child of vfork that execs leaves its mapping taken in the
 * memory of its parent; the kernel gives it back: set_tid_address names the word that it clears
 * when a task that shares its memory execs or ends, which is what pthread_join waits for. A kernel
 * that does not tell which word that is (no CONFIG_CHECKPOINT_RESTORE) is left with it; then the next
 * call of the thread that did the vfork, which sleeps while its child has not execed, takes the mapping.
 *
 * An environment that cannot be read is not: the caller's goes on to the library, which says EFAULT.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include "preload.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 16
#define PAGE ((uintptr_t)4096)  /* larger ones are asked about more than once */
#define PAGES_KNOWN 8

/* A mapping that is kept for the next large environment. */
struct pa_slot {
    _Atomic int owner;      /* thread id; 0: free. Cleared by the kernel, see above */
    void *map;
    size_t size;
    int *tid_address;       /* of the owner, before it named `owner` */
    int armed;
    pthread_t thread;       /* of the owner; a child of vfork has its parent's, */
    pid_t parent;           /* which is this process */
};

static struct pa_slot slots[SLOTS];

int pa_entry_is(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

int pa_entry_is_ours(const char *entry)
{
    static const char prefix[] = "PYTHONAUDIT";
    if (strncmp(entry, prefix, sizeof prefix - 1) != 0)
        return 0;
    char next = entry[sizeof prefix - 1];
    return next == '=' || next == '_';
}

const char *pa_preload_next(const char **cursor, size_t *ret_length)
{
    const char *start = *cursor + strspn(*cursor, ": ");
    *ret_length = strcspn(start, ": ");
    *cursor = start + *ret_length;
    return *ret_length ? start : NULL;
}

static const char *shim_given = "", *shim_suffix = "";

void pa_shim_name(const char *given, const char *absolute)
{
    shim_given = given;
    const char *slash = absolute ? strrchr(absolute, '/') : NULL;
    while (slash > absolute && slash[-1] != '/')
        slash--;
    shim_suffix = slash ? slash : "";
}

int pa_is_shim(const char *path, size_t length)
{
    size_t given = strlen(shim_given), suffix = strlen(shim_suffix);
    if (given && length == given && memcmp(path, shim_given, given) == 0)
        return 1;
    return suffix && length > suffix && path[length - suffix - 1] == '/' &&
           memcmp(path + length - suffix, shim_suffix, suffix) == 0;
}

static int names_shim(const char *value)
{
    const char *path;
    size_t length;
    while ((path = pa_preload_next(&value, &length)) != NULL)
        if (pa_is_shim(path, length))
            return 1;
    return 0;
}

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void slot_release(struct pa_slot *slot)
{
    if (slot->armed)
        syscall(SYS_set_tid_address, slot->tid_address);
    atomic_store_explicit(&slot->owner, 0, memory_order_release);
}

/* Takes a slot that is free, or that an earlier child of this thread's vfork has left taken: the one
 * who asks is the parent again, or its next child. */
static int slot_take(struct pa_slot *slot, int self)
{
    int owner = 0;
    if (!atomic_compare_exchange_strong(&slot->owner, &owner, self) &&
        (owner == self || slot->armed || !pthread_equal(slot->thread, pthread_self()) ||
         (slot->parent != getpid() && slot->parent != getppid()) ||
         !atomic_compare_exchange_strong(&slot->owner, &owner, self)))
        return 0;
    slot->armed = 0;
    slot->thread = pthread_self();
    slot->parent = getppid();
    return 1;
}

/* Memory for a large environment; NULL where there is none. */
static void *memory_take(struct pa_child *child, size_t size)
{
    int self = (int)syscall(SYS_gettid);
    for (struct pa_slot *slot = slots; slot < slots + SLOTS; slot++) {
        if (!slot_take(slot, self))
            continue;
        if (slot->size < size) {
            if (slot->map)
                munmap(slot->map, slot->size);
            slot->map = map(size);
            slot->size = slot->map ? size : 0;
        }
        if (!slot->map) {
            slot_release(slot);
            return NULL;
        }
        slot->armed = prctl(PR_GET_TID_ADDRESS, &slot->tid_address, 0, 0, 0) == 0;
        if (slot->armed)
            syscall(SYS_set_tid_address, &slot->owner);
        child->slot = slot;
        return slot->map;
    }
    child->map_size = size;
    return child->map = map(size);
}

/* Writes LD_PRELOAD=... with our shim behind what there was. */
static void preload_write(char *out, const char *was, const char *shim)
{
    const char *before = was ? was : "LD_PRELOAD=";
    size_t length = strlen(before);
    memcpy(out, before, length);
    if (was)
        out[length++] = ':';
    memcpy(out + length, shim, strlen(shim) + 1);
}

static void compose(struct pa_child *child, char **out, size_t count)
{
    child->environment = out;
    for (size_t i = 0; i < count; i++) {
        char *entry = child->caller[i];
        if (child->preload && entry == child->was)
            *out++ = (char *)child->preload;
        else if (!pa_entry_is_ours(entry))
            *out++ = entry;
    }
    for (size_t i = 0; i < pa_carried.count; i++)
        *out++ = pa_carried.entries[i];
    if (child->preload && !child->was)
        *out++ = (char *)child->preload;
    *out = NULL;
}

/* Whether the page of an address can be read. The kernel reads a signal set in it (no set
 * at all is what NULL means), and then does not know what to do with it. */
static int can_read(uintptr_t *known, const void *at)
{
    uintptr_t page = (uintptr_t)at & -PAGE, *slot = &known[page / PAGE % PAGES_KNOWN];
    if (*slot != (page | 1) && syscall(SYS_rt_sigprocmask, -1, page + 8, NULL, 8) != 0 && errno == EFAULT)
        return 0;
    *slot = page | 1;
    return 1;
}

static int can_read_text(uintptr_t *known, const char *text)
{
    for (size_t left;; text += left) {
        if (!can_read(known, text))
            return 0;
        left = PAGE - (uintptr_t)text % PAGE;
        if (memchr(text, 0, left))
            return 1;
    }
}

/* Whether all of it can be read; how many entries it has. */
static int environment_count(char *const *environment, size_t *ret_count)
{
    uintptr_t known[PAGES_KNOWN] = {0};
    for (*ret_count = 0; environment; ++*ret_count) {
        char *const *entry = environment + *ret_count;
        if (!can_read(known, entry) || !can_read(known, (const char *)(entry + 1) - 1))
            return 0;
        if (!*entry)
            break;
        if (!can_read_text(known, *entry))
            return 0;
    }
    return 1;
}

void pa_child_begin(struct pa_child *ret, char *const caller[])
{
    ret->caller = caller;
    ret->environment = (char **)caller;
    ret->preload = ret->was = NULL;
    ret->slot = NULL;
    ret->map = NULL;
    if (!pa_carried.on)
        return;

    int saved_errno = errno, on = 0;
    size_t count;
    if (!environment_count(caller, &count)) {
        errno = saved_errno;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (pa_entry_is(caller[i], "LD_PRELOAD"))
            ret->was = caller[i]; /* ld.so believes the last one */
        on |= pa_entry_is(caller[i], "PYTHONAUDIT");
    }
    int named = ret->was && names_shim(strchr(ret->was, '=') + 1);
    int add = pa_carried.shim && !named && access(pa_carried.shim, R_OK) == 0;
    size_t entries = count + pa_carried.count + 2, text_size = 0;
    if (add)
        text_size = (ret->was ? strlen(ret->was) : 0) + strlen(pa_carried.shim) + sizeof "LD_PRELOAD=:";

    char **array = ret->array, *text = ret->text;
    if (named && on)
        array = NULL; /* a nested run: as it is */
    else if (entries > PA_STACK_ENTRIES || text_size > PA_STACK_TEXT) {
        array = memory_take(ret, entries * sizeof *array + text_size);
        text = (char *)(array + entries);
    }
    if (array) {
        if (add) {
            preload_write(text, ret->was, pa_carried.shim);
            ret->preload = text;
        }
        compose(ret, array, count);
    }
    errno = saved_errno;
}

void pa_child_end(struct pa_child *child)
{
    int saved_errno = errno;
    if (child->slot)
        slot_release(child->slot);
    if (child->map)
        munmap(child->map, child->map_size);
    errno = saved_errno;
}

int pa_child_drop(const struct pa_child *child, int error)
{
    return error == E2BIG && !pa_carried.stop && child->environment != child->caller;
}

static int is_carried(const char *entry)
{
    for (size_t i = 0; i < pa_carried.count; i++)
        if (entry == pa_carried.entries[i])
            return 1;
    return 0;
}

void pa_child_strip(const struct pa_child *child, char **environment)
{
    char **out = environment;
    for (char **in = environment; in && *in; in++) {
        if (child->preload && *in == child->preload) {
            if (child->was)
                *out++ = (char *)child->was;
        } else if (!is_carried(*in))
            *out++ = *in;
    }
    if (out)
        *out = NULL;
}
