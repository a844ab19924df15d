/* A libpython that is opened after the start: by a server for its plug-in (uWSGI, mod_wsgi), by the
 * program that PyInstaller makes, by an editor, a game, a database.
 *
 * Nothing tells us that a library was opened, and dlopen() itself must stay the C library's: it looks
 * at who calls it for where to search. But before a CPython makes its first interpreter it asks for
 * the locale of LC_CTYPE, to decode its arguments, and libpython finds the setlocale() of this file
 * first. So setlocale() looks whether anything was opened since it looked last; where that has
 * brought a Python that is in sight of all, and that has no interpreter yet, the recorder is loaded
 * as it is at the start, with the same result: nothing runs unseen.
 *
 * Without RTLD_GLOBAL a library is out of our sight, and out of that of the recorder, which takes
 * Python's functions from there.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>

static _Atomic int waiting;                 /* for a Python */
static _Atomic unsigned long long opened;   /* libraries, when we looked last */
static char *(*_Atomic real_setlocale)(int, const char *);

static int count_opened(struct dl_phdr_info *first, size_t size, void *ret_count)
{
    (void)size;
    *(unsigned long long *)ret_count = first->dlpi_adds;
    return 1;
}

static int is_anything_new(void)
{
    unsigned long long count = 0;
    dl_iterate_phdr(count_opened, &count);
    return atomic_exchange(&opened, count) != count;
}

void pa_late_begin(int found)
{
    is_anything_new();
    waiting = !found;
}

/* Whether it runs already: then it was opened out of sight, and it is too late to be first. */
static int has_interpreter(void)
{
    int (*is_initialized)(void);
    void *found = dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    memcpy(&is_initialized, &found, sizeof found);
    if (!found)
        dlerror(); /* not for the program to find */
    return found && is_initialized();
}

static void look(void)
{
    int saved_errno = errno;
    if (is_anything_new() && !has_interpreter() && atomic_exchange(&waiting, 0))
        waiting = !pa_recorder_start();
    errno = saved_errno;
}

char *pa_setlocale(int category, const char *locale) __asm__("setlocale") __attribute__((visibility("default")));
char *pa_setlocale(int category, const char *locale)
{
    if (!real_setlocale) {
        char *(*function)(int, const char *);
        void *found = dlsym(RTLD_NEXT, "setlocale");
        memcpy(&function, &found, sizeof found);
        real_setlocale = function;
    }
    if (waiting)
        look();
    return real_setlocale(category, locale);
}
