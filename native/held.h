/* A descriptor for the length of one call, in a process whose other threads may close or
 * reuse any number at any time (os.closerange(3, 65536)).
 *
 * The file that was opened is known by device and inode, as its name tells them. Before
 * a number is written through, mapped for good or closed, pa_store_holds says whether it still
 * is that file; where it is not, the application has it now, and it is left alone. */
#ifndef PA_HELD_H
#define PA_HELD_H

#include <stdint.h>
#include <sys/stat.h>

struct pa_held {
    int fd;
    struct stat st;     /* when it was opened */
};

/* Opens `name` in the directory `parent` (NULL: the name is a path), with O_CLOEXEC.
 * 0, or -errno; -EBADF where somebody took the number of either. */
int pa_held_open(struct pa_held *ret, const struct pa_held *parent, const char *name,
                 int flags, mode_t mode);
int pa_held_still(const struct pa_held *held);
void pa_held_close(const struct pa_held *held);

int pa_store_holds(int fd, uint64_t device, uint64_t inode);
/* Closes it if it still is that file. */
void pa_store_close(int fd, uint64_t device, uint64_t inode);

#endif
