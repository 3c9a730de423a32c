// SPDX-License-Identifier: MIT
/* Another network namespace for a moment; knows nothing of what is done there. */

#include "tap/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *meaning(int err)
{
	switch (err) {
	case ENOENT:
		return "there is no such network namespace";
	case EINVAL:
		return "this is no network namespace";
	case EACCES: /* to look into that of another process wants it too */
	case EPERM:
		return "to enter a network namespace wants CAP_SYS_ADMIN";
	default:
		return strerror(err);
	}
}

int netns_enter(const char *spec, char *err, size_t size)
{
	char path[PATH_MAX];
	int own_fd, fd, ret;

	/* "." and ".." are no names either: they open, and setns() refuses them. */
	if (strchr(spec, '/'))
		snprintf(path, sizeof(path), "%s", spec);
	else
		snprintf(path, sizeof(path), "/run/netns/%s", spec);
	own_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own_fd < 0) {
		ret = -errno;
		snprintf(err, size, "/proc/self/ns/net: %s", strerror(-ret));
		return ret;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ret = fd < 0 || setns(fd, CLONE_NEWNET) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	if (!ret)
		return own_fd;
	close(own_fd);
	snprintf(err, size, "--netns %s: %s", spec, meaning(-ret));
	return ret;
}

int netns_leave(int own_fd)
{
	int ret = setns(own_fd, CLONE_NEWNET) ? -errno : 0;

	close(own_fd);
	return ret;
}
