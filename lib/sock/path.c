/* SPDX-License-Identifier: MIT */
/*
 * Sockets by path: made, listened on, accepted from, connected. Knows nothing of messages.
 */
#include <vhu/sock.h>

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/fd.h>

static int fill_address(struct sockaddr_un *ret_addr, const char *path)
{
	size_t len = strlen(path);

	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(ret_addr->sun_path))
		return -ENAMETOOLONG;
	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->sun_family = AF_UNIX;
	memcpy(ret_addr->sun_path, path, len + 1);
	return 0;
}

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int vhu_sock_connect(const char *path)
{
	struct sockaddr_un addr;
	int err = fill_address(&addr, path);
	int fd;

	if (err)
		return err;
	fd = unix_socket();
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = -errno;
		vhu_fd_close(&fd);
		return err;
	}
	return fd;
}

/* Removes the socket file if nobody listens on it any more. */
static int remove_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = vhu_sock_connect(path);
	if (fd >= 0 || fd == -EAGAIN) {
		vhu_fd_close(&fd);
		return -EADDRINUSE;
	}
	if (fd != -ECONNREFUSED)
		return fd;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int find_group(const char *group, gid_t *ret_gid)
{
	char buf[4096];
	struct group entry, *found = NULL;
	char *end;
	unsigned long number = strtoul(group, &end, 10);
	int err;

	if (*group && !*end) {
		*ret_gid = (gid_t)number;
		return 0;
	}
	err = getgrnam_r(group, &entry, buf, sizeof(buf), &found);
	if (err)
		return -err;
	if (!found)
		return -ENOENT;
	*ret_gid = entry.gr_gid;
	return 0;
}

int vhu_sock_listen(const char *path, unsigned int mode, const char *group)
{
	struct sockaddr_un addr;
	gid_t gid = (gid_t)-1;
	bool bound = false;
	int fd, err;

	err = fill_address(&addr, path);
	if (err)
		return err;
	if (group) {
		err = find_group(group, &gid);
		if (err)
			return err;
	}
	fd = unix_socket();
	if (fd < 0)
		return fd;
	/* the file is born with these bits less the umask: nobody gets in before chmod */
	if (mode && fchmod(fd, mode & 0777) < 0)
		goto fail;
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno != EADDRINUSE)
			goto fail;
		err = remove_stale(path);
		if (err) {
			vhu_fd_close(&fd);
			return err;
		}
		if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
			goto fail;
	}
	bound = true;
	if (group && chown(path, (uid_t)-1, gid) < 0)
		goto fail;
	if (mode && chmod(path, mode & 0777) < 0)
		goto fail;
	if (listen(fd, 16) < 0)
		goto fail;
	return fd;
fail:
	err = -errno;
	if (bound)
		unlink(path);
	vhu_fd_close(&fd);
	return err;
}

int vhu_sock_accept(int listen_fd)
{
	int fd;

	do {
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return fd;
}
