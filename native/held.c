/* Descriptors that others may take from us (see held.h). */
#define _GNU_SOURCE 1
#include "held.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int pa_store_holds(int fd, uint64_t device, uint64_t inode)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void pa_store_close(int fd, uint64_t device, uint64_t inode)
{
    if (pa_store_holds(fd, device, inode))
        close(fd);
}

int pa_held_still(const struct pa_held *held)
{
    return pa_store_holds(held->fd, held->st.st_dev, held->st.st_ino);
}

void pa_held_close(const struct pa_held *held)
{
    pa_store_close(held->fd, held->st.st_dev, held->st.st_ino);
}

int pa_held_open(struct pa_held *ret, const struct pa_held *parent, const char *name,
                 int flags, mode_t mode)
{
    int at = parent != NULL ? parent->fd : AT_FDCWD;
    if (parent != NULL ? !pa_held_still(parent) : fstat(0, &ret->st) != 0 && errno != EBADF)
        return -EBADF;          /* or a filter forbids to look: nothing could be closed again */
    ret->fd = openat(at, name, flags | O_CLOEXEC, mode);
    if (ret->fd < 0)
        return -errno;
    /* fstat alone would believe whoever took the number since */
    if (fstatat(at, name, &ret->st, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0) != 0 ||
        !pa_held_still(ret) || (parent != NULL && !pa_held_still(parent)))
        return -EBADF;          /* whose it is now cannot be told: it stays open */
    return 0;
}
