/* Adding the hook before Py_Initialize, and having it freed.
 *
 * CPython keeps a hook in memory of its raw allocator and frees that at the end. A hook that is
 * added before the interpreter is configured gets its memory from the default allocator; with
 * -X dev or PYTHONMALLOC=debug another one frees it, finds no guard bytes around it, and aborts.
 * So the block is remembered; and when the hooks are about to be cleared, and the allocator is
 * another one by then, that is wrapped by one that gives our block back to where it came from.
 *
 * A host may begin another interpreter: the hook is added again as the last thing that the one
 * before does. The list of hooks outlives it. */
#ifndef PA_EARLY_H
#define PA_EARLY_H

#include <Python.h>

typedef int (*pa_hook_fn)(const char *event, PyObject *args, void *user_data);

/* PySys_AddAuditHook, in a process that has no interpreter. */
int pa_early_add(pa_hook_fn hook);

/* To be called at the event cpython._PySys_ClearAuditHooks; does nothing without pa_early_add. */
void pa_early_end(void);

#endif
