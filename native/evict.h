/* Removing closed segments from a box, oldest first.
 *
 * A segment is closed when its header says so, or when its process is dead. That is judged
 * of processes of this boot and of our own pid namespace only (kill(2) finds none, or
 * /proc/PID/stat tells another start time, or that all its threads have ended), and of those of another boot when the file was
 * last written before this one began: a live process on another host that shares the
 * directory has another boot too. A process of another pid namespace is dead once its
 * heartbeat is PA_BEAT_GONE_NS old by both of its clocks: alive, it would have gone on in
 * another segment before it wrote again (PA_BEAT_STALE_NS). A file without a valid header is
 * of a process that was killed while making it once it is an hour old. A segment of a newer
 * format is not ours to judge. Segments of processes in doubt stay.
 *
 * Any number of processes may do this at once: each counts what it unlinked itself. */
#ifndef PA_EVICT_H
#define PA_EVICT_H

#include <stdint.h>

#define PA_NAME_ROOM 80         /* of a segment's file name; longer ones are not ours */
#define PA_BEAT_STALE_NS (12ull * 3600 * 1000000000)
#define PA_BEAT_GONE_NS (24ull * 3600 * 1000000000)

struct pa_held;         /* held.h */

/* Sums up the segments of the box (an open directory), and removes some until at most
 * `target_bytes` are left (UINT64_MAX: removes none). *ret_bytes: what is left. To
 * *ret_events is added, saturating, what was in the removed ones: events, counted events,
 * and losses that were noted there (an unrecorded child as one). 0 or -errno.
 *
 * With `own`, the name of the caller's oldest closed segment, it stops before that one: the
 * caller will write over it. Then ret_horizon (PA_NAME_ROOM) gets the name of the oldest one
 * of others that may go, or what sorts behind all names: older ones of the caller's process
 * are the box's oldest, with no further look. */
int pa_evict(const struct pa_held *box, uint64_t target_bytes, const char *own, uint64_t *ret_bytes,
             uint64_t *ret_events, char *ret_horizon);

/* What is in this file, counted likewise; 0 where it is no segment. */
uint64_t pa_evict_count(int fd, uint64_t size);

#endif
