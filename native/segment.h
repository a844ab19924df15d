/* A live segment: the mapped file, its header and its chunks.
 *
 * The whole of PA_SEGMENT_MAX is mapped at once; the file below it grows by
 * doubling and is allocated before anything is handed out, so that a full disk
 * is an error here and never a SIGBUS. No descriptor is kept. It takes no more
 * than pa_store_most, nor than RLIMIT_FSIZE lets a file have.
 *
 * A later segment of a process may be an earlier one's file (pa_store_reuse). What that held
 * is cleared chunk by chunk, as chunks are handed out: those are zero, as in a new file.
 * Callers hold the recorder's lock. No Python.h. */
#ifndef PA_SEGMENT_H
#define PA_SEGMENT_H

#include "clock.h"
#include "format.h"
#include "store.h"

#define PA_SEGMENT_FIRST (128u << 10) /* bytes allocated to a process that just begins */
#define PA_SEGMENT_NEXT (1u << 20)    /* ... and to each of its later segments */
#define PA_SEGMENT_LEAST (64u << 10)  /* with less, RLIMIT_FSIZE forbids recording */
#define PA_POPULATE_FROM 16384u       /* bytes of a chunk whose pages are had at once */
#define PA_SPARE (16u << 20)          /* addresses that it leaves to the program (RLIMIT_AS) */
#define PA_REST_NS 200000000u         /* between attempts to get space, after one failed */

/* What a segment says of its process. */
struct pa_identity {
    uint8_t process[16], parent[16], boot[16];
    uint32_t pid, ppid, uid, gid, way;
    uint64_t pid_start, pid_namespace;
};

struct pa_segment {
    struct pa_header *header;   /* start of the mapping */
    uint32_t sequence;
    uint32_t stale;             /* bytes that an earlier segment may have left behind */
    uint32_t capacity;          /* bytes allocated on disk ... */
    uint32_t most;              /* ... and at the most */
    uint32_t used;              /* as in the header, which its user can change under us */
    uint32_t generation;        /* of the newest chunk */
    uint32_t writers;           /* threads that hold a chunk of it */
    uint32_t closed;            /* PA_STATE_* it is to have; 0: open */
    int settled;                /* it has that state */
    int rest_error;             /* why it could not grow a moment ago ... */
    uint64_t rest_until;        /* ... and until when it does not try again */
    uint64_t beat;              /* what the header says */
    struct pa_segment *next;    /* of those mapped */
    uint64_t device, inode;
    char name[PA_NAME_ROOM];    /* file name in the box */
};

/* A new process identity: random process, boot, pid, start time, namespace. */
void pa_identity_fill(struct pa_identity *ret);

/* Makes the file and its header. NULL: *ret_error is -errno. */
struct pa_segment *pa_segment_open(struct pa_store *store, const struct pa_identity *who,
                                   uint32_t sequence, struct pa_instant start, int *ret_error);

/* A chunk of `size` bytes (a multiple of PA_CHUNK_ALIGN) whose magic is not yet
 * stored: pa_chunk_publish does that once its first entries are written.
 * NULL: *ret_error is -EFBIG when the segment is full, else -errno of the growth. */
struct pa_chunk *pa_segment_chunk(struct pa_segment *segment, struct pa_store *store, uint32_t kind,
                                  uint32_t size, uint32_t first_id, int *ret_error);
void pa_chunk_publish(struct pa_chunk *chunk);

/* Nothing is handed out any more. Once the last writer has left (pa_segment_release; a clean
 * end waits for nobody), it gets its end anchor and the state, what is not used is given
 * back, it is unmapped, and the store keeps it in mind. */
void pa_segment_close(struct pa_segment *segment, struct pa_store *store, uint32_t state);
void pa_segment_release(struct pa_segment *segment, struct pa_store *store);

/* The process ends: the same for those that writers still hold, but that they stay mapped. */
void pa_segments_settle(struct pa_store *store);

/* It was silent for so long that others may have taken the process for dead and removed it
 * (evict.h): another one is needed. */
static inline int pa_segment_is_silent(const struct pa_segment *segment, uint64_t monotonic)
{
    uint64_t then = __atomic_load_n(&segment->beat, __ATOMIC_RELAXED);
    return monotonic > then && monotonic - then > PA_BEAT_STALE_NS;
}

/* It is written at that moment. */
static inline void pa_segment_beat(struct pa_segment *segment, struct pa_instant now)
{
    __atomic_store_n(&segment->beat, now.monotonic, __ATOMIC_RELAXED);
    __atomic_store_n(&segment->header->beat_monotonic, now.monotonic, __ATOMIC_RELAXED);
    __atomic_store_n(&segment->header->beat_realtime, now.realtime, __ATOMIC_RELAXED);
}

/* In a forked child: the parent's segments are not ours. Unmaps all but `keep`, which
 * may be NULL; its mapping is the caller's now, to be given to pa_segment_unmap. */
struct pa_header *pa_segments_forget(struct pa_segment *keep);
void pa_segment_unmap(struct pa_header *header);

static inline uint32_t pa_round_chunk(uint32_t bytes)
{
    return (bytes + PA_CHUNK_ALIGN - 1) & ~(PA_CHUNK_ALIGN - 1);
}

static inline void pa_commit(uint32_t *word, uint32_t generation)
{
    __atomic_store_n(word, generation, __ATOMIC_RELEASE);
}

#endif
