/* The audit hook (PEP 578): from an event to a committed entry.
 *
 * In it: no Python allocation, no exception, no code of the application, no
 * blocking beyond the recorder's own short lock, and on the usual path no lock
 * and no system call. Whatever cannot be recorded is counted. */
#ifndef PA_HOOK_H
#define PA_HOOK_H

#include "recorder.h"

/* Always 0: it never vetoes. */
int pa_hook(const char *event, PyObject *args, void *unused);

/* Raises the canary through sys.audit's own path and says whether the hook saw it. */
int pa_hook_canary(void);

#endif
