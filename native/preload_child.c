/* The environment that a child of a recorded process gets: the caller's, and our variables.
 *
 * This runs between vfork and exec (posix_spawn, _posixsubprocess) and in signal handlers: no
 * allocation, no lock, and little stack. Environments too large for the frame of the caller go
 * into mappings that are used again. A child of vfork that execs leaves its mapping taken in the
 * memory of its parent; the kernel gives it back: set_tid_address names the word that it clears
 * when a task that shares its memory execs or ends, which is what pthread_join waits for.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include "preload.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 16

/* A mapping that is kept for the next large environment. */
struct pa_slot {
    _Atomic int owner;      /* thread id; 0: free. Cleared by the kernel, see above */
    void *map;
    size_t size;
    int *tid_address;       /* of the owner, before it named `owner` */
    int armed;
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

/* Memory for a large environment; NULL where there is none. */
static void *memory_take(struct pa_child *child, size_t size)
{
    int self = (int)syscall(SYS_gettid);
    for (struct pa_slot *slot = slots; slot < slots + SLOTS; slot++) {
        int nobody = 0;
        if (!atomic_compare_exchange_strong(&slot->owner, &nobody, self))
            continue;
        slot->armed = 0;
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
    size_t count = 0;
    for (; caller && caller[count]; count++) {
        if (pa_entry_is(caller[count], "LD_PRELOAD"))
            ret->was = caller[count]; /* ld.so believes the last one */
        on |= pa_entry_is(caller[count], "PYTHONAUDIT");
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
