/* SPDX-License-Identifier: MIT */
/*
 * File descriptors with one owner: closing clears, taking clears. Knows nothing of their use.
 */
#ifndef VHU_BASE_FD_H
#define VHU_BASE_FD_H

#include <base/bits.h>

/* Closes *fd if there is one, and writes -1. errno is kept. */
VHU_HIDDEN void vhu_fd_close(int *fd);
/*
 * The same for an fd that came from a peer: a socket that lingers would have us wait in close().
 */
VHU_HIDDEN void vhu_fd_close_foreign(int *fd);
/* The fd, now the caller's; *fd becomes -1. */
VHU_HIDDEN int vhu_fd_take(int *fd);
VHU_HIDDEN int vhu_fd_nonblock(int fd);
VHU_HIDDEN uint64_t vhu_now_ns(void);
/*
 * Raises an eventfd that a peer holds too, and may have filled and made to block: one that is at its
 * maximum is left alone, it is raised enough. One that is filled in the moment between still waits,
 * until a signal comes: EINTR then. 0 or an errno.
 */
VHU_HIDDEN int vhu_event_raise(int fd);
/* Tests and clears such an eventfd, without ever waiting for it. True if it was raised. */
VHU_HIDDEN bool vhu_event_clear(int fd);

#endif
