/* SPDX-License-Identifier: MIT */
/*
 * Eventfds that a backend has, too. Whether they block is a flag of the file that both share: a backend
 * can have it so at any time, and fill or empty them. Whoever holds the machine's lock must not wait for
 * that. Knows nothing of what the eventfds are for.
 */
#ifndef VMM_EVENT_H
#define VMM_EVENT_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/* At its maximum it is pending all the more. */
static inline void vmm_event_raise(int eventfd)
{
	struct pollfd pollfd = { .fd = eventfd, .events = POLLOUT };
	const uint64_t one = 1;

	if (poll(&pollfd, 1, 0) == 1 && pollfd.revents & POLLOUT)
		(void)!write(eventfd, &one, sizeof(one));
}

/* Takes the count. False: there was none. */
static inline bool vmm_event_clear(int eventfd)
{
	uint64_t count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };
	struct pollfd pollfd = { .fd = eventfd, .events = POLLIN };
	ssize_t got;

	if (poll(&pollfd, 1, 0) != 1 || !(pollfd.revents & POLLIN))
		return false;
	/* Another may have read it meanwhile. */
	got = preadv2(eventfd, &iov, 1, -1, RWF_NOWAIT);
	if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		got = read(eventfd, &count, sizeof(count));
	return got == (ssize_t)sizeof(count);
}

#endif
