/* Where an event's name lives: in the read-only data of a loaded object, then C
 * code raised it, or elsewhere, then Python code did. No Python.h.
 *
 * A heuristic: native code can pass any address it likes. */
#ifndef PA_ORIGIN_H
#define PA_ORIGIN_H

enum pa_origin {
    PA_ORIGIN_HEAP,     /* not a constant of a loaded object */
    PA_ORIGIN_CPYTHON,  /* the interpreter or one of its own extension modules */
    PA_ORIGIN_FOREIGN   /* another extension module or library */
};

/* Callers hold the recorder's lock. Does not allocate; reads the loader's list
 * again only when an address is unknown and objects were loaded since. */
enum pa_origin pa_origin_of(const void *address);

#endif
