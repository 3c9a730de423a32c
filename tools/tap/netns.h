/* SPDX-License-Identifier: MIT */
/* Another network namespace for a moment; knows nothing of what is done there. */
#ifndef TAP_NETNS_H
#define TAP_NETNS_H

#include <stddef.h>

/*
 * Enters the namespace of that name (ip-netns(8)), or the one that a path with a slash leads to.
 * An fd of the one that was left, or -errno with one sentence in err.
 */
int netns_enter(const char *spec, char *err, size_t size);
/* Back; closes the fd. 0 or -errno. */
int netns_leave(int own_fd);

#endif
