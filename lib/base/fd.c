/* SPDX-License-Identifier: MIT */
/*
 * File descriptors with one owner, and the clock. Knows nothing of their use.
 */
#include <base/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void vhu_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void vhu_fd_close_foreign(int *fd)
{
	const struct linger none = { .l_onoff = 1, .l_linger = 0 };
	int saved = errno;

	if (*fd >= 0)
		setsockopt(*fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	errno = saved;
	vhu_fd_close(fd);
}

int vhu_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

int vhu_fd_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

uint64_t vhu_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int vhu_event_raise(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
	uint64_t one = 1;

	/* POLLERR: at its very maximum */
	if (poll(&pollfd, 1, 0) != 1 || !(pollfd.revents & POLLOUT))
		return pollfd.revents & POLLNVAL ? EBADF : 0;
	if (write(fd, &one, sizeof(one)) >= 0 || errno == EAGAIN)
		return 0;
	return errno;
}

bool vhu_event_clear(int fd)
{
	uint64_t count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	ssize_t got;

	if (poll(&pollfd, 1, 0) != 1 || !(pollfd.revents & POLLIN))
		return false;
	/* the peer may have read it meanwhile, and have made it block: a read that does not wait */
	got = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		got = read(fd, &count, sizeof(count));
	return got == (ssize_t)sizeof(count);
}
