/* A live segment: the mapped file, its header and its chunks.
 *
 * The whole of PA_SEGMENT_MAX is mapped at once; the file below it grows by
 * doubling and is allocated before anything is handed out, so that a full disk
 * is an error here and never a SIGBUS. No descriptor is kept. It takes no more
 * than a quarter of the store's limit, so that there are older ones that can go.
 * Callers hold the recorder's lock. No Python.h. */
#ifndef PA_SEGMENT_H
#define PA_SEGMENT_H

#include "clock.h"
#include "format.h"
#include "store.h"

#define PA_SEGMENT_FIRST (128u << 10) /* bytes allocated to a process that just begins */
#define PA_SEGMENT_NEXT (1u << 20)    /* ... and to each of its later segments */
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
    uint32_t capacity;          /* bytes allocated on disk ... */
    uint32_t most;              /* ... and at the most */
    uint32_t used;              /* as in the header, which its user can change under us */
    uint32_t generation;        /* of the newest chunk */
    uint32_t writers;           /* threads that hold a chunk of it */
    int closed;
    int rest_error;             /* why it could not grow a moment ago ... */
    uint64_t rest_until;        /* ... and until when it does not try again */
    struct pa_segment *next;    /* of those mapped */
    uint64_t device, inode;
    char name[80];              /* file name in the box */
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

/* Writes the end anchor and the state, and gives back what is not used. The
 * mapping stays until the last writer has left: pa_segment_release. */
void pa_segment_close(struct pa_segment *segment, struct pa_store *store, uint32_t state);
void pa_segment_release(struct pa_segment *segment);

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
