/* The directory that this process's segments lie in, and the room that they may take.
 *
 *   DIR/                0700 where we make it (PA_SYSTEM_DIR: 0711)
 *   DIR/journal/        0700; of PA_SYSTEM_DIR 01733: others may add, not look
 *   DIR/journal/u1000/  0700: the box of effective user 1000
 *   DIR/journal/u1000/usage   bytes of the box, and how often some were reserved: two u64 shared by its processes
 *
 * A box has to be a directory of this user that nobody else can write to; where u1000 is
 * anything else, somebody laid a trap, and u1000-<16 random hex digits> is made instead.
 * journal/ has to belong to this user or root, and not be writable by others, unless its
 * sticky bit keeps them from replacing our box; a symbolic link there is refused.
 * Where no box can be had, DIR is $XDG_RUNTIME_DIR/pythonaudit or /run/user/UID/pythonaudit
 * instead (`fallback`), of which at most a quarter is taken: it is memory.
 *
 * Room is reserved in `usage` before it is allocated, so that no scan is needed until
 * max_bytes is reached. Then the box is counted anew, which also mends what a crash or
 * somebody else's rm left wrong, and closed segments go (evict.h), or -EDQUOT is returned.
 * What other processes are making at that very moment may come on top of the limit.
 *
 * Segments of this process that are closed are kept in mind (`old`, by sequence). Where one
 * has been read out, or is the oldest of the box when the limit is reached, its file becomes
 * the next segment (pa_store_reuse): its pages are there already, and no room changes hands.
 * How far they were read out, the reader publishes in DIR/drained/<process>, 32 bytes:
 *
 *   "PYDRAIN\n"  process (16)  u32: segments with a lower sequence are read out  u32 0
 *
 * It is believed if it is a regular file of root or of this user, with one link. Whoever can
 * forge that can have segments of this process used again that nobody has read: no more.
 *
 * Descriptors live within one call (held.h says what if another thread takes one: -EBADF).
 * Callers hold one lock of their own a process; across processes nothing is locked.
 * No Python.h. errno is not preserved. */
#ifndef PA_STORE_H
#define PA_STORE_H

#include <stdint.h>

#include "evict.h"
#include "format.h"
#include "held.h"   /* pa_store_holds, pa_store_close: for the descriptor of a new file */

#define PA_STORE_OLD_MAX 1024       /* closed segments kept in mind; the oldest are forgotten */

/* A closed segment of this process: nobody writes to it any more. */
struct pa_old {
    struct pa_old *next;
    uint64_t device, inode;
    uint32_t bytes, sequence, generation;
    char name[PA_NAME_ROOM];
};

struct pa_store {
    char box[4096];             /* its path */
    uint64_t device, inode;     /* and identity */
    uint64_t file_device, file_inode;   /* of the file that was created last */
    uint64_t max_bytes;
    int stop_on_full;
    int fallback;               /* the box is in the runtime directory */
    uint64_t evicted;           /* events that went with evicted segments: the caller takes them */
    struct pa_old *old;         /* the oldest first */
    uint32_t old_count;
    uint32_t drained;           /* what was published last, and believed */
    char horizon[PA_NAME_ROOM]; /* segments of ours below that name are the box's oldest */
};

/* The most bytes that one segment may take: a quarter of the limit, so that there are older
 * ones that can go. */
static inline uint32_t pa_store_most(const struct pa_store *s)
{
    return s->max_bytes / 4 < PA_SEGMENT_MAX ? (uint32_t)(s->max_bytes / 4) & ~(PA_CHUNK_ALIGN - 1)
                                             : PA_SEGMENT_MAX;
}

/* Makes and checks the directories. 0, or the -errno of DIR where the fallback failed too. */
int pa_store_open(struct pa_store *ret, const char *dir, uint64_t max_bytes, int stop_on_full);

/* The same without fallback. */
int pa_store_open_there(struct pa_store *ret, const char *dir, uint64_t max_bytes, int stop_on_full);

/* A new file of `bytes` zero bytes, allocated and charged: its descriptor (which is to be
 * closed by pa_store_close). Errors of this call and the next: -ENOSPC the disk or a quota is
 * full; -EFBIG RLIMIT_FSIZE is in the way; -EDQUOT max_bytes is reached, with stop_on_full or
 * nothing left that may go; -ENOBUFS (create only) it is reached, and the oldest of the box
 * is the first of `old`, which can be had by pa_store_reuse; -ESTALE the box (or the file)
 * is no longer what it was; -ENOENT it
 * is gone; others as the kernel gives them. Nothing is left behind then. After an error
 * other than -ENOSPC and -EDQUOT, pa_store_open may find another place. */
int pa_store_create(struct pa_store *s, const char *name, uint64_t bytes);

/* Makes the file `to` bytes long, allocated and charged. -EFBIG also where the limit is
 * reached, the file is large and the first of `old` can be had: that is better. */
int pa_store_grow(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to);

/* Cuts the file to `to` bytes and gives back the room. */
int pa_store_trim(struct pa_store *s, const char *name, uint64_t device, uint64_t inode,
                  uint64_t from, uint64_t to);

/* Keeps a closed segment in mind (`next` apart); forgets all of them. */
void pa_store_keep(struct pa_store *s, const struct pa_old *segment);
void pa_store_forget(struct pa_store *s);

/* Reads how far this process was read out. */
void pa_store_look(struct pa_store *s, const uint8_t process[16]);

/* Takes the first of `old` (there is one) out of the list, and makes the file a void segment
 * of that name: its descriptor, as pa_store_create gives it, and what it was. What it holds
 * counts as evicted, unless it has been read out. -errno: it could not be had, or is void. */
int pa_store_reuse(struct pa_store *s, const char *name, struct pa_old *ret_old);

#endif
