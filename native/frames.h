/* Call stacks: from the interpreter's frames to nodes of the trie.
 *
 * The hot path reads the frames' structures by offset and makes one 64-bit key
 * of the whole stack; a thread's own cache turns the key into a node id. On a
 * miss, under the recorder's lock, each frame becomes (code, line) and those
 * become nodes.
 *
 * A key must not survive the reuse of an address. From 3.12 on the code's
 * co_version goes into it, which is unique in an interpreter. Before, the
 * addresses of its file name, qualified name and line table do, and those three
 * objects are held so that their addresses stay theirs. */
#ifndef PA_FRAMES_H
#define PA_FRAMES_H

#include "pyabi.h"
#include "intern.h"

enum { PA_STACK_STDLIB = 1, PA_STACK_DEEPER = 2, PA_STACK_NONE = 4, PA_STACK_LOST = 8 };

/* What a stack came to. */
struct pa_stack_ids { uint32_t node, flags; };

/* After pa_abi_init. */
void pa_frames_init(void);

/* The key of the current stack, at most `max` frames (>= 1); 0: there is no Python frame. */
typedef uint64_t pa_stack_key_function(PyThreadState *thread, unsigned max, uint64_t interpreter);
extern PA_HIDDEN pa_stack_key_function *pa_stack_key;

/* Nodes of the current stack. 0; 1 when its key must not be cached; or -1 with
 * in->error when a definition could not be written. May set *ret_flush: every
 * cache of keys must be dropped. */
int pa_stack_intern(struct pa_intern *in, PyThreadState *thread, unsigned max,
                    uint64_t interpreter, struct pa_stack_ids *ret, int *ret_flush);

/* The interpreter ends: lets go of what is held of it. Under the lock. */
void pa_frames_end(void);

/* Compares the walk with the public API, which replaces it where they differ.
 * Needs an initialised interpreter; returns 0 when they agree. */
int pa_frames_self_test(PyThreadState *thread);
extern int pa_frames_tested;   /* that has been done */

/* The standard library's directory, so that code can be told as its own. NULL:
 * learn it from the first code of the `encodings` package, which every start runs. */
void pa_frames_set_stdlib(const char *directory);
int pa_frames_know_stdlib(void);

/* PA_STACK_STDLIB and PA_STACK_NONE of whoever is calling, without a stack; learns as well. */
uint32_t pa_frames_caller(PyThreadState *thread);

#endif
