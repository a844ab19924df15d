/* The preload shim: recording from the first event on, in any Python, and in all its children.
 *
 * `pythonaudit run` names this file in LD_PRELOAD. ld.so loads it into every program of the
 * tree, and its constructor runs before main(). Where PYTHONAUDIT is on, the constructor
 *
 *   1. keeps copies of the variables PYTHONAUDIT and PYTHONAUDIT_* and takes them, and its own
 *      entry of LD_PRELOAD, out of `environ`: the program sees the environment that it would
 *      have without us;
 *   2. where the program has PySys_AddAuditHook (in the executable or in a libpython that it is
 *      linked to), loads the recorder that lies beside this file, which adds its hook before
 *      Py_Initialize. This file has no Python symbol; other programs load no recorder, unless
 *      they open a libpython later (preload_late.c).
 *
 * A child gets the caller's environment with our variables put back in, at the end of it:
 * whatever the caller did to it (`env -i`, env={}, os.environ.clear()), and without a change to
 * the caller's own array. The functions that start programs are replaced for that, by symbol
 * interposition: execve execv execvp execvpe execl execlp execle fexecve execveat posix_spawn
 * posix_spawnp system popen. An environment that names a shim in LD_PRELOAD and has PYTHONAUDIT
 * (a nested `pythonaudit run`) is passed as it is. Where the file of the shim cannot be read (the
 * program went into a chroot), LD_PRELOAD is left alone, since ld.so would complain on stderr.
 * Where our variables make the environment too long, the child goes without (unless
 * PYTHONAUDIT_ON_FAILURE=stop). The caller's own LD_PRELOAD comes before ours: sanitizer
 * runtimes insist on being first.
 *
 * What stays visible: /proc/self/environ shows what the kernel was given.
 *
 * Not reached:
 *   - setuid and setgid programs, and those with file capabilities: ld.so ignores LD_PRELOAD
 *     and removes it, so their children are not reached either (sudo, su);
 *   - statically linked programs, and those of musl: they pass the variables on like any others,
 *     and see them;
 *   - programs of another architecture: ld.so says on stderr that it cannot preload a 64-bit file
 *     into a 32-bit program;
 *   - other mount namespaces in which this file is missing: chroots, containers;
 *   - programs that start others by the bare system call, except those that the Go toolchain
 *     built: from these nothing is hidden, and they pass the variables on themselves;
 *   - what the C library starts without these functions: wordexp(), pidfd_spawn() of glibc 2.39;
 *   - a libpython that is dlopen()ed without RTLD_GLOBAL, or into a namespace of its own (dlmopen);
 *   - processes that somebody else starts: cron, systemd, a container engine's daemon;
 *   - programs linked to a sanitizer runtime, which refuse to start after a preloaded file
 *     unless ASAN_OPTIONS=verify_asan_link_order=0.
 */
#undef _FORTIFY_SOURCE  /* no __*_chk: the file must load, and then do nothing, with musl */
#define _GNU_SOURCE
#include "preload.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>

#define RECORDER_MAX 64
#define STATUS_OFF 1
#define STATUS_STOP 78

/* The contract with the recorder (module.c). */
typedef const char *(*pa_getenv_fn)(const char *name);
typedef void (*pa_repair_fn)(const char *name, const char *value);
typedef int (*pa_start_fn)(pa_getenv_fn get, pa_repair_fn repair);

/* The recorder that was loaded, for a copy of it that the program brings and that does not record. */
__attribute__((visibility("default"))) void *pythonaudit_preload_recorder;

/* Non-zero once the hook is in: a later start by `site` finds it with dlsym. */
__attribute__((visibility("default"))) int pythonaudit_preload_active;

struct pa_carried pa_carried;

/* The value of one of our variables, which the environment does not show any more; also for
 * a command line of ours that runs in this process, which finds it with dlsym. */
__attribute__((visibility("default"))) const char *pythonaudit_preload_getenv(const char *name);
__attribute__((visibility("default"))) const char *pythonaudit_preload_getenv(const char *name)
{
    for (size_t i = 0; i < pa_carried.count; i++)
        if (pa_entry_is(pa_carried.entries[i], name))
            return strchr(pa_carried.entries[i], '=') + 1;
    return pa_entry_is_ours(name) ? NULL : getenv(name);
}

static char *entry_make(const char *name, const char *value)
{
    size_t name_length = strlen(name), value_length = strlen(value);
    char *entry = malloc(name_length + value_length + 2);
    if (entry) {
        memcpy(entry, name, name_length);
        entry[name_length] = '=';
        memcpy(entry + name_length + 1, value, value_length + 1);
    }
    return entry;
}

/* The recorder complained about a value: children get the one that it used instead. */
static void carried_repair(const char *name, const char *value)
{
    char *entry = entry_make(name, value);
    for (size_t i = 0; entry && i < pa_carried.count; i++)
        if (pa_entry_is(pa_carried.entries[i], name)) {
            free(pa_carried.entries[i]);
            pa_carried.entries[i] = entry;
            return;
        }
    free(entry);
}

/* Copies our variables. Returns 0, or -1 with nothing kept. */
static int carried_copy(char *const *environment)
{
    for (; environment && *environment; environment++) {
        if (!pa_entry_is_ours(*environment))
            continue;
        if (pa_carried.count == PA_CARRIED_MAX)
            break;
        char *copy = strdup(*environment);
        if (!copy) {
            while (pa_carried.count)
                free(pa_carried.entries[--pa_carried.count]);
            return -1;
        }
        pa_carried.entries[pa_carried.count++] = copy;
    }
    return 0;
}

/* Takes the first shim, with one separator, out of the value of LD_PRELOAD. Returns 1 where there
 * was one; *ret_gone = 1 where it was all there was. */
static int preload_strip(char *value, int *ret_gone)
{
    const char *cursor = value, *path;
    size_t length;
    do
        path = pa_preload_next(&cursor, &length);
    while (path && !pa_is_shim(path, length));
    if (!path)
        return 0;
    char *from = value + (path - value), *to = from + length;
    *ret_gone = from == value && !*to;
    if (from > value)
        from--;
    else if (*to)
        to++;
    memmove(from, to, strlen(to) + 1);
    return 1;
}

/* What the program sees of an entry of the environment: the entry, NULL, or LD_PRELOAD without
 * shims. Sets *ret_found where LD_PRELOAD named one. */
static char *entry_seen(char *entry, int *ret_found)
{
    for (size_t i = 0; i < pa_carried.count; i++)
        if (strcmp(entry, pa_carried.entries[i]) == 0)
            return NULL;
    if (!pa_entry_is(entry, "LD_PRELOAD"))
        return entry;
    char *copy = strdup(entry); /* /proc/self/environ keeps what the kernel was given */
    int gone = 0, found = 0;
    while (copy && preload_strip(strchr(copy, '=') + 1, &gone))
        found = 1;
    *ret_found |= found;
    if (found && !gone)
        return copy;
    free(copy);
    return gone ? NULL : entry;
}

/* Takes our variables and our entry of LD_PRELOAD out of `environ`. Returns 1 where LD_PRELOAD
 * named a shim. The kernel's array keeps its NULL: behind it lies the auxiliary vector, which the
 * Go runtime of a shared library finds that way, from argv on. What it keeps slides up against
 * the NULL, empty strings fill the front, and `environ` points behind them. */
static int environment_hide(char **from_kernel)
{
    static char empty[] = "\0"; /* glibc before 2.40 reads two bytes of an entry */
    char **from = environ;
    size_t count = 0, first;
    int found = 0;
    while (from[count])
        count++;
    first = count;
    for (size_t i = count; i-- > 0;) {
        char *seen = entry_seen(from[i], &found);
        if (seen)
            from[--first] = seen;
    }
    if (from == from_kernel) {
        for (size_t i = 0; i < first; i++)
            from[i] = empty;
        environ = from + first;
    } else /* made by setenv() in another constructor: the library reallocates it from its start */
        memmove(from, from + first, (count - first + 1) * sizeof *from);
    return found;
}

/* The recorder for this interpreter: there is one for all builds with the GIL, and one for each
 * free-threaded ABI, whose file is named as that ABI's extension modules are. */
static int recorder_name(char name[RECORDER_MAX])
{
    union { void *object; const char *(*call)(void); } version = {.object = dlsym(RTLD_DEFAULT, "Py_GetVersion")};
    const char *text = version.object ? version.call() : "";
    if (!strstr(text, "free-threading build"))
        return snprintf(name, RECORDER_MAX, "_recorder.abi3.so");
    struct utsname machine;
    uname(&machine);
    return snprintf(name, RECORDER_MAX, "_recorder.cpython-3%dt-%.16s-linux-gnu.so", atoi(text + strlen("3.")),
                    machine.machine);
}

int pa_recorder_start(void)
{
    if (!dlsym(RTLD_DEFAULT, "PySys_AddAuditHook")) {
        dlerror(); /* not for the program to find */
        return 0;
    }
    char path[PATH_MAX] = "", name[RECORDER_MAX];
    size_t length = (size_t)recorder_name(name);
    const char *shim = pa_carried.file, *slash = shim ? strrchr(shim, '/') : NULL;
    size_t directory = slash ? (size_t)(slash + 1 - shim) : 0;
    void *handle = NULL;
    if (directory && length < sizeof name && directory + length < sizeof path) {
        memcpy(path, shim, directory);
        memcpy(path + directory, name, length + 1);
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    const char *why = handle ? NULL : dlerror();
    /* ISO C has no cast from an object pointer to a function pointer; POSIX has. */
    union { void *object; pa_start_fn call; } start = {.object = NULL};
    if (handle)
        start.object = dlsym(handle, "pa_preload_start");
    int status = start.object ? start.call(pythonaudit_preload_getenv, carried_repair) : -1;
    if (status == 0) {
        pythonaudit_preload_active = 1;
        pythonaudit_preload_recorder = handle;
    } else if (status == STATUS_STOP)
        _exit(STATUS_STOP); /* it has said why */
    else if (status != STATUS_OFF && pa_carried.stop) {
        char line[1024];
        int length = snprintf(line, sizeof line, "pythonaudit: cannot record this process%s%.800s; "
                              "ended because PYTHONAUDIT_ON_FAILURE=stop\n", why ? ": " : "", why ? why : "");
        ssize_t written = write(STDERR_FILENO, line, (size_t)length);
        (void)written;
        _exit(STATUS_STOP);
    }
    return 1;
}

/* Notes of the main program; the first object that dl_iterate_phdr shows. */
static int has_go_note(struct dl_phdr_info *program, size_t size, void *ret_found)
{
    (void)size;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &program->dlpi_phdr[i];
        if (header->p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(program->dlpi_addr + header->p_vaddr);
        const char *end = at + header->p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof *note;
            if (note->n_namesz == 4 && name + 4 <= end && memcmp(name, "Go\0", 4) == 0)
                *(int *)ret_found = 1;
            at = name + ((note->n_namesz + 3u) & ~3u) + ((note->n_descsz + 3u) & ~3u);
        }
    }
    return 1;
}

static void preload(char **from_kernel)
{
    const char *on = getenv("PYTHONAUDIT");
    if (pa_real_find() != 0 || getauxval(AT_SECURE) || !on || !*on || strcmp(on, "0") == 0)
        return;
    int go = 0;
    dl_iterate_phdr(has_go_note, &go);
    if (go || carried_copy(environ) != 0)
        return;

    const char *failure = pythonaudit_preload_getenv("PYTHONAUDIT_ON_FAILURE");
    pa_carried.stop = failure && strcmp(failure, "stop") == 0;
    Dl_info here;
    if (dladdr(&pa_carried, &here) && here.dli_fname) {
        pa_carried.file = here.dli_fname[0] == '/' ? here.dli_fname : realpath(here.dli_fname, NULL);
        pa_shim_name(here.dli_fname, pa_carried.file);
    }
    if (environment_hide(from_kernel))
        pa_carried.shim = pa_carried.file; /* else /etc/ld.so.preload loads it everywhere */
    pa_carried.on = 1;
    pa_late_begin(pa_recorder_start());
}

/* glibc gives constructors what main() gets; another C library may not, and is left at once. */
__attribute__((constructor)) static void constructor(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv;
    int saved_errno = errno;
    preload(envp);
    errno = saved_errno;
}
