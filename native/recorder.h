/* The recorder's state: one a process, threads in it, the current segment.
 *
 * hook.c writes events into the chunk of its own thread without a lock. What is
 * shared (segments, definitions, names, idle threads) is touched under
 * pa_recorder.lock, on a miss only; no lock is held across a call into Python. */
#ifndef PA_RECORDER_H
#define PA_RECORDER_H

#include <pthread.h>
#include "context.h"
#include "encode.h"
#include "event_table.h"
#include "frames.h"
#include "intern.h"
#include "policy.h"
#include "segment.h"
#include "settings.h"
#include "store.h"

#define PA_NAME_SLOTS 256
#define PA_STACK_SLOTS 1024
#define PA_NAMES_MAX 4096           /* names outside the catalog that are interned */

/* An event name that is kept: by content, for the life of the process. */
struct pa_name {
    struct pa_name *next;
    uint64_t hash;
    const struct pa_event_rule *rule;   /* NULL: not in the catalog */
    uint8_t modes[PA_BY_COUNT];
    uint8_t varies;                     /* the mode depends on who is calling */
    uint8_t role;                       /* PA_ROLE_* */
    uint16_t notes;
    uint32_t length, stored_length;
    uint64_t head[2], head_mask[2];     /* the first bytes of the text with its NUL, and which they are */
    const char *stored;                 /* as written: masked, valid UTF-8 */
    char text[];                        /* as raised */
};

enum { PA_ROLE_NONE, PA_ROLE_END, PA_ROLE_INTERPRETER, PA_ROLE_RUN, PA_ROLE_IMPORT };

struct pa_name_slot {
    const char *address;
    const struct pa_name *name;
    uint32_t id;                        /* string id in the thread's segment */
    uint32_t origin;                    /* enum pa_origin */
};

struct pa_stack_slot { uint64_t key; struct pa_stack_ids ids; };

struct pa_thread {
    uint64_t epoch;                     /* equals *pa_epoch: nothing happened */
    struct pa_segment *segment;
    uint8_t *chunk;
    uint32_t heap, entries;             /* free space of the chunk lies between */
    uint32_t generation, next_size;
    uint64_t number;                    /* of the next event of this thread */
    uint64_t anchor_ticks;              /* of the last anchor in the chunk */
    PyThreadState *state;
    PyInterpreterState *interp;
    uint64_t interpreter, interpreters; /* its id, as of this count of endings */
    uint32_t slot, tid, image;
    struct pa_contexts *contexts;       /* of its interpreter; NULL: no context was ever entered there */
    uint64_t context_number;            /* of the context of the last event; 0: none */
    uint32_t context_id;                /* its string id in the segment */
    uint32_t context_written;           /* the one that the chunk says */
    uint32_t strings;                   /* number of the segment */
    uint16_t context_notes;
    uint8_t context_stale;              /* the chunk says another context or span, or no name yet */
    uint8_t unnamed;                    /* an owner was written, and no name looked for since */
    uint32_t name_id;                   /* string id of its name in the segment; 0: not known */
    uint64_t trace[3];                  /* ids of the last event's trace (two halves) and span */
    uint64_t trace_written[3];
    uint8_t busy;
    struct pa_thread *next;             /* idle */
    struct pa_thread *another;          /* of this process image, idle or not */
    struct pa_count *(*counts)[3];      /* [catalog row][source], in this chunk */
    struct pa_name_slot names[PA_NAME_SLOTS];
    struct pa_stack_slot stacks[PA_STACK_SLOTS];
    uint8_t scratch[PA_TEXT_MAX];
};

/* Attributes of the process that are known late. */
enum { PA_KEPT_BEGAN, PA_KEPT_PATHS, PA_KEPT };

struct pa_recorder {
    pthread_mutex_t lock;
    struct pa_settings settings;
    unsigned walked;                    /* frames looked at: those that are kept, and one at least */
    struct pa_store store;
    int store_open;
    struct pa_identity who;
    struct pa_instant start;
    struct pa_segment *segment;         /* NULL: none could be made yet */
    struct pa_header *parent_header;    /* after a fork, until the child has a segment */
    struct pa_intern intern;
    uint64_t epoch;                     /* what *pa_epoch is, unless we were forked */
    uint32_t image;                     /* forks that lead to this process, plus one */
    uint32_t sequence, slots;
    uint32_t segments;                  /* begun so far, those of earlier images included */
    uint8_t *meta_chunk;                /* chunk for attributes of the process */
    uint32_t meta_heap, meta_entries;
    struct pa_kept { uint8_t *json; uint32_t length; } kept[PA_KEPT]; /* stated in every segment, once known */
    struct pa_thread *idle;             /* of ended threads, with their chunks */
    struct pa_thread *threads;          /* all */
    struct pa_name *names[1024];
    uint32_t name_count;
    uint64_t rest_until;                /* after a failure to open a segment, ... */
    int rest_error;                     /* ... which was this one */
    uint64_t losses[PA_LOSS_REASONS];   /* while there is no segment to hold them */
    uint64_t interpreters;              /* interpreters ended so far */
    int installed, hooked;              /* once; while the interpreter lives */
    int canary, child_told;
};

extern struct pa_recorder pa_recorder;

/* A page that the kernel clears in a forked child (MADV_WIPEONFORK): 0 there.
 * Otherwise it grows with each change that every thread must notice. */
extern uint64_t *pa_epoch;

extern __thread struct pa_thread *pa_self __attribute__((tls_model("initial-exec")));

/* Once a process. 0, or -errno. Nothing is written before the first event. */
int pa_recorder_init(const struct pa_settings *settings, uint32_t way);

/* Notices that this process was forked since. */
void pa_recorder_look(void);

/* The thread's state, current in every respect; NULL: nothing can be recorded, for the
 * reason (PA_LOSS_*) under which the caller counts what it would have recorded. */
struct pa_thread *pa_thread_enter(unsigned *ret_reason);

/* A chunk with at least `bytes` free. 0; 1: the segment changed, ids are void;
 * -1: none to be had, the loss is counted. */
int pa_thread_chunk(struct pa_thread *t, uint32_t bytes);

/* Writes an anchor into the thread's chunk, which has 32 bytes left. 0: the segment was
 * silent for so long that another one is needed (pa_thread_renew). */
int pa_thread_anchor(struct pa_thread *t);

/* The thread is in no context, until pa_context_find says otherwise. */
static inline void pa_context_compare(struct pa_thread *t)
{
    t->context_stale = t->context_id != t->context_written || memcmp(t->trace, t->trace_written, sizeof t->trace) ||
                       t->unnamed;
}

static inline void pa_context_forget(struct pa_thread *t)
{
    t->context_number = 0;
    t->context_id = 0;
    t->context_notes = 0;
    memset(t->trace, 0, sizeof t->trace);
    pa_context_compare(t);
}

/* Begins another segment. Results as of pa_thread_chunk. */
int pa_thread_renew(struct pa_thread *t);

/* A definition could not be written into the thread's segment. Results as above. */
int pa_definition_failed(struct pa_thread *t);

/* Every thread is to look again before its next event. Under the lock. */
void pa_recorder_touch(void);

/* The canary did not come back: the journal says so, until an event comes through the hook and proves it. */
void pa_recorder_doubt(void);
void pa_recorder_proved(void);

/* Counts one loss in a segment that cannot go away (a thread's own, or any under the
 * lock); without one, in memory until there is one. */
void pa_lose(struct pa_segment *segment, unsigned reason);
unsigned pa_loss_of(int error);

/* The recorder could not do its duty: with ON_FAILURE=stop the process ends here. */
void pa_fail(const struct pa_settings *settings, const char *why);

/* Why there is no segment, in words: of the -errno that opening one came to. */
const char *pa_reason(int error);

/* Adds attributes of the process (a JSON object), to this segment and all that follow. */
void pa_recorder_keep(unsigned which, const void *json, uint32_t length);

/* paths.c: keeps sys.prefix and sys.path, unless they are known. `scratch`: PA_TEXT_MAX bytes. */
void pa_paths_note(uint8_t *scratch);

/* The interpreter is gone: closes the segment as a clean end. */
void pa_recorder_end(void);

/* attributes.c: the first META of a segment; its length. What does not fit is left out. */
uint32_t pa_attributes(uint8_t *out, uint32_t room, const struct pa_settings *settings);

#endif
