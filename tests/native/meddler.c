/* Stands between the shim and the C library. MEDDLE says what it does inside popen(), as another
 * thread could:
 *   add, replace, remove   setenv() of a new name, of an existing one, unsetenv()
 *   keep                   takes `environ`, and when the program ends, reads it once more
 *   fork                   forks in another thread; the child must have the program's environment,
 *                          and be able to popen()
 *   fork-here              forks in this thread and starts the command from the child, as popen() of
 *                          glibc before 2.29 does
 * or, with early, what it does before the shim looks at the environment: setenv().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char **kept, **copy;

static int meddle(const char *how)
{
    const char *wanted = getenv("MEDDLE");
    return wanted && strcmp(wanted, how) == 0;
}

__attribute__((constructor)) static void early(void)
{
    if (meddle("early"))
        setenv("EARLY", "by the meddler", 1);
}

static void keep(void)
{
    size_t count = 0;
    for (kept = environ; kept[count]; count++)
        ;
    copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = strdup(kept[i]);
}

__attribute__((destructor, noinline)) static void late(void)
{
    char scribble[1 << 16];
    memset(scribble, 'A', sizeof scribble);
    __asm__ volatile("" : : "r"(scribble) : "memory");
    for (size_t i = 0; kept && (kept[i] || copy[i]); i++)
        if (!kept[i] || !copy[i] || strcmp(kept[i], copy[i]) != 0)
            _exit(1);
}

static void *fork_elsewhere(void *unused)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (getenv("PYTHONAUDIT"))
            _exit(1);
        setenv("MEDDLE", "nothing", 1);
        FILE *stream = popen("exit 7", "r");
        _exit(!stream || WEXITSTATUS(pclose(stream)) != 7 || getenv("PYTHONAUDIT"));
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        _exit(1);
    return unused;
}

static void fork_here(const char *command)
{
    pid_t pid = fork();
    if (pid == 0) {
        static char *argv[4] = {"sh", "-c"};
        argv[2] = (char *)command;
        int (*library)(const char *, char *const[], char *const[]);
        void *found = dlsym(RTLD_NEXT, "execve");
        memcpy(&library, &found, sizeof library);
        library("/bin/sh", argv, environ);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

FILE *popen(const char *command, const char *mode)
{
    FILE *(*next)(const char *, const char *);
    void *found = dlsym(RTLD_NEXT, "popen");
    pthread_t thread;
    memcpy(&next, &found, sizeof next);
    if (meddle("add"))
        setenv("ADDED", "by the meddler", 1);
    else if (meddle("replace"))
        setenv("VICTIM", "replaced", 1);
    else if (meddle("remove"))
        unsetenv("VICTIM");
    else if (meddle("keep"))
        keep();
    else if (meddle("fork")) {
        pthread_create(&thread, NULL, fork_elsewhere, NULL);
        pthread_join(thread, NULL);
    } else if (meddle("fork-here"))
        fork_here(command);
    return next(command, mode);
}
