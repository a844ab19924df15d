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

/* Asks the loader: from glibc 2.35 on without a lock. Before that, dl_iterate_phdr takes
 * one that glibc does not free in a forked child if another thread held it at the fork. */
enum pa_origin pa_origin_of(const void *address);

#endif
