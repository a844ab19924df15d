/* Stands between the shim and the C library and changes the environment inside popen(), as another
 * thread could: MEDDLE=add (setenv of a new name), replace (of an existing one) or remove. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

FILE *popen(const char *command, const char *mode)
{
    FILE *(*next)(const char *, const char *);
    void *found = dlsym(RTLD_NEXT, "popen");
    memcpy(&next, &found, sizeof next);
    const char *how = getenv("MEDDLE");
    if (strcmp(how, "add") == 0)
        setenv("ADDED", "by the meddler", 1);
    else if (strcmp(how, "replace") == 0)
        setenv("VICTIM", "replaced", 1);
    else
        unsetenv("VICTIM");
    return next(command, mode);
}
