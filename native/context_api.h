/* Entering and leaving a context (context.h), for Python. */
#ifndef PA_CONTEXT_API_H
#define PA_CONTEXT_API_H

#include "pyabi.h"

#define PA_EXPORTED __attribute__((visibility("default")))

/* Enters the current context with more fields (an exact dict that nobody else has). What pa_context_leave
 * takes, a new reference; NULL, without an exception: nothing is recorded, or there is no memory. */
PA_EXPORTED PyObject *pa_context_enter(PyObject *fields);
PA_EXPORTED void pa_context_leave(PyObject *token);

#endif
