/* The context of events: fields that `pythonaudit.context()` attaches, and the span of a trace.
 *
 * A context is an immutable object of a type of ours, the value of a contextvars.ContextVar of ours: so it
 * goes where the interpreter carries context variables, across await and into tasks and copied contexts.
 * It holds its JSON, made when it was entered (context_api.c), and a number that no other context ever has:
 * an event in the same context as the one before costs one look-up and one compare (context.c).
 *
 * Variable and type belong to one interpreter. Before they are made there, by the first context that is
 * entered, threads of that interpreter know of none, and their events pay one branch.
 *
 * References are counted with Py_IncRef and Py_DecRef: the macros of a limited API from before 3.12 know of no
 * immortal objects, which interpreters share.
 *
 * The span is OpenTelemetry's (trace.c): once its modules are imported, its own variable is looked at for
 * each event. */
#ifndef PA_CONTEXT_H
#define PA_CONTEXT_H

#include "pyabi.h"

struct pa_thread;

enum { PA_CONTEXT_MAX = 4096 };     /* bytes of a context's JSON */

struct pa_context {                 /* a Python object; never changes but for `known` */
    PyObject head;
    uint64_t number;                /* of this context alone, forked children included */
    uint64_t known;                 /* number of a segment << 32 | string id there; atomic */
    PyObject *fields;               /* an exact dict that nobody else has, of exact built-in values */
    uint8_t *json;
    uint32_t length;
    uint16_t notes;                 /* PA_NOTE_* of every event in it */
    uint8_t changed;                /* a value was replaced by the name of its type */
};

struct pa_contexts {                /* of one interpreter; never freed, used again */
    struct pa_contexts *next;
    PyInterpreterState *interp;     /* NULL: of none */
    PyObject *variable;             /* NULL: no context was entered there */
    PyTypeObject *type;
    struct pa_spans {
        PyObject *variable;         /* OpenTelemetry's; NULL: not found (yet) */
        PyObject *context_name;     /* the str `_context` */
        PyTypeObject *types[4];     /* of spans, known to be what we think */
        uint32_t tries;             /* to find the variable; 0: nothing of it was imported */
    } spans;
};

/* Those of an interpreter, or NULL. Under the lock. */
struct pa_contexts *pa_contexts_of(PyInterpreterState *interp);

/* The same; where there are none, *made becomes them (and NULL), unless there are some to be used again. */
struct pa_contexts *pa_contexts_add(PyInterpreterState *interp, struct pa_contexts **made);

/* The current interpreter ends: lets go of what is its own. */
void pa_contexts_end(void);

/* Where an event is: its context, as of the thread's segment, into t->context_*.
 * 0, or -1: the context could not be written into the segment. */
int pa_context_find(struct pa_thread *t);

/* Writes the entries that say so, and the thread's name where the chunk lacks it. Needs 96 bytes. */
void pa_context_write(struct pa_thread *t);

/* thread_name.c: writes the name of the thread, if it can be had. Needs 32 bytes. */
void pa_name_write(struct pa_thread *t);

/* trace.c: the current span, zeroes for none, into ret_ids: the trace id's two halves and the span id. */
void pa_trace_find(struct pa_spans *spans, uint64_t ret_ids[3]);

/* trace.c: this module is being imported. Looks for OpenTelemetry's variable once it may be there. */
void pa_trace_imported(struct pa_thread *t, PyObject *name);

#endif
