/* Pages of the journal that cannot be had any more.
 *
 * Its user cut the file off, the disk failed, or its file system stopped: the next access to
 * the mapping is SIGBUS, which kills, and the program would die of being recorded. As long as
 * nobody else handles SIGBUS, we do: a page of ours that cannot be had is replaced by one of
 * memory, the program goes on where it was, and the recorder is told to begin another segment.
 *
 * Any other SIGBUS meets the default that it would have met without us, at the same instruction.
 * A program that sets a handler of its own, or blocks SIGBUS, has what it asked for: there is no
 * chain and no fight. The hot path has no part in this. No Python.h. */
#ifndef PA_GUARD_H
#define PA_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* Takes the signal, where its disposition is the default. Not before the interpreter has
 * looked what that is: signal.getsignal(SIGBUS) is to say SIG_DFL. `epoch` is a word that
 * threads compare: it becomes UINT64_MAX (unless it is 0) when a page was replaced. */
void pa_guard_begin(uint64_t *epoch);
void pa_guard_end(void);

/* A mapping of a file, from mmap to munmap. Callers hold one lock of their own. Those beyond
 * PA_GUARDED are not guarded. */
#define PA_GUARDED 64
void pa_guard_add(const void *at, size_t length);
void pa_guard_drop(const void *at);

/* Whether pages were replaced since pa_guard_take was last called; of this mapping, ever. */
int pa_guard_waits(void);
int pa_guard_take(void);
int pa_guard_lost(const void *at);

#endif
