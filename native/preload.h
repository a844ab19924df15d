/* What the four files of the preload shim share. The manual is in preload.c.
 *
 *   preload.c        takes the variables out of the environment, starts the recorder
 *   preload_child.c  the environment that a child gets
 *   preload_exec.c   the functions of the C library that start programs, in its place
 *   preload_late.c   notices a libpython that comes after the start
 */
#ifndef PA_PRELOAD_H
#define PA_PRELOAD_H

#include <stddef.h>
#include <stdio.h>
#include <spawn.h>
#include <sys/types.h>

#define PA_CARRIED_MAX 64       /* variables of ours; DESIGN.md has nine */
#define PA_STACK_ENTRIES 256    /* a child's environment of more entries is mapped, */
#define PA_STACK_TEXT 512       /* and so is one with a longer LD_PRELOAD */

/* What this process carries to its children: written by the constructor, then only read. */
struct pa_carried {
    int on;
    int stop;                           /* PYTHONAUDIT_ON_FAILURE=stop */
    const char *file;                   /* absolute path of this file; NULL: unknown */
    const char *shim;                   /* the same, to add to LD_PRELOAD; NULL: do not */
    size_t count;
    char *entries[PA_CARRIED_MAX];      /* NAME=value */
};

extern struct pa_carried pa_carried;

/* In a process with Python, and no interpreter yet: loads the recorder, which adds its hook. Returns 0
 * where there is no Python. */
int pa_recorder_start(void);

/* The start is over; whether there was Python. */
void pa_late_begin(int found);

/* An environment for a child. Lives in the frame of the function that starts the child. */
struct pa_child {
    char *const *caller;                /* what the caller gave */
    char **environment;                 /* what the child gets; may be `caller` itself */
    const char *preload, *was;          /* the LD_PRELOAD entry of ours; the one it replaces */
    struct pa_slot *slot;               /* memory outside the frame: a slot that is kept, */
    void *map;                          /* or a mapping for this call */
    size_t map_size;
    char *array[PA_STACK_ENTRIES];
    char text[PA_STACK_TEXT];
};

/* Composes the environment. Between the two calls there may be an exec: neither allocates nor
 * locks, and a child of vfork that execs leaves nothing behind in its parent. Both preserve errno. */
void pa_child_begin(struct pa_child *ret, char *const caller[]);
void pa_child_end(struct pa_child *child);

/* 1 where the environment was too long with our variables and the child may go without. */
int pa_child_drop(const struct pa_child *child, int error);

/* Takes the entries that pa_child_begin added out of `environment`, in place. */
void pa_child_strip(const struct pa_child *child, char **environment);

/* Whether NAME=value has this name. */
int pa_entry_is(const char *entry, const char *name);
/* Whether it is one of our variables: PYTHONAUDIT or PYTHONAUDIT_*. */
int pa_entry_is_ours(const char *entry);
/* The next entry of an LD_PRELOAD value from *cursor on; NULL at the end. */
const char *pa_preload_next(const char **cursor, size_t *ret_length);
/* Whether an entry of LD_PRELOAD is a shim: this file by the name that ld.so was given, or by
 * directory and file name (`pythonaudit/_preload.abi3.so`) any installation's. */
int pa_is_shim(const char *path, size_t length);
/* Says what this file is called. */
void pa_shim_name(const char *given, const char *absolute);

/* The C library's own functions. */
struct pa_real {
    int (*execve)(const char *, char *const[], char *const[]);
    int (*execvpe)(const char *, char *const[], char *const[]);
    int (*fexecve)(int, char *const[], char *const[]);
    int (*execveat)(int, const char *, char *const[], char *const[], int);
    int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                 const posix_spawnattr_t *, char *const[], char *const[]);
    int (*spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                  const posix_spawnattr_t *, char *const[], char *const[]);
    int (*shell)(const char *);                         /* system */
    FILE *(*pipe_shell)(const char *, const char *);    /* popen */
    int dashes;     /* it runs `sh -c -- COMMAND`: glibc from 2.38 on */
};

/* Looks them up. Returns 0, or -1 where this is no glibc. */
int pa_real_find(void);

#endif
