// SPDX-License-Identifier: MIT
/* The interface of vhu tap: opened and set up, its queues, carrier and MTU. Knows no backends. */

#include "tap/iface.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sandbox.h"
#include "common/tap.h"
#include "tap/netns.h"

static int say(int ret, char *err, size_t size, const struct iface *iface, const char *what)
{
	snprintf(err, size, "%s: %s: %s%s", iface->name, what, strerror(-ret),
		 ret == -EPERM ? " (wants CAP_NET_ADMIN)" : "");
	return ret;
}

static int open_queues(struct iface *iface, unsigned int nr, char *err, size_t size)
{
	for (unsigned int i = 0; i < nr; i++) {
		int fd = tapfd_open(iface->name, nr > 1, err, size);

		if (fd < 0)
			return fd;
		iface->queue[i].fd = fd;
		iface->queue[i].is_attached = true;
		iface->nr_queues = i + 1;
	}
	iface->possible = tapfd_possible_offloads(iface->queue[0].fd);
	return 0;
}

static int set_up(struct iface *iface, const struct iface_options *options, char *err, size_t size)
{
	int ret;

	iface->control_fd = tap_control_open();
	if (iface->control_fd < 0)
		return say(iface->control_fd, err, size, iface, "socket");
	/* Until a backend runs nothing goes out. */
	ret = tapfd_set_carrier(iface->queue[0].fd, false);
	if (ret)
		return say(ret, err, size, iface, "the carrier cannot be set");
	ret = options->mac ? tapfd_set_mac(iface->queue[0].fd, options->mac) : 0;
	if (ret)
		return say(ret, err, size, iface, "--mac");
	/* One that somebody with more rights has prepared needs no rights. */
	if (options->mtu && options->mtu != iface_mtu(iface)) {
		ret = tap_set_mtu(iface->control_fd, iface->name, options->mtu);
		if (ret)
			return say(ret, err, size, iface, "--mtu");
	}
	ret = options->up ? tap_bring_up(iface->control_fd, iface->name) : 0;
	return ret ? say(ret, err, size, iface, "--up") : 0;
}

static int open_here(struct iface *iface, const struct iface_options *options, char *err,
		     size_t size)
{
	int ret = open_queues(iface, options->nr_queues, err, size);

	return ret ? ret : set_up(iface, options, err, size);
}

int iface_open(struct iface *iface, const struct iface_options *options, char *err, size_t size)
{
	int own_fd = -1, ret;

	*iface = (struct iface){ .control_fd = -1, .setter_fd = -1 };
	snprintf(iface->name, sizeof(iface->name), "%s", options->name);
	if (options->netns) {
		own_fd = netns_enter(options->netns, err, size);
		if (own_fd < 0)
			return own_fd;
	}
	ret = open_here(iface, options, err, size);
	if (own_fd >= 0) {
		int left = netns_leave(own_fd);

		if (left && !ret)
			ret = say(left, err, size, iface, "the way back from --netns");
	}
	if (ret)
		iface_close(iface);
	return ret;
}

void iface_close(struct iface *iface)
{
	for (unsigned int i = 0; i < iface->nr_queues; i++)
		close(iface->queue[i].fd);
	iface->nr_queues = 0;
	if (iface->control_fd >= 0)
		close(iface->control_fd);
	if (iface->setter_fd >= 0)
		close(iface->setter_fd);
	iface->control_fd = iface->setter_fd = -1;
}

int iface_use_queues(struct iface *iface, unsigned int nr)
{
	for (unsigned int i = 0; i < iface->nr_queues; i++) {
		bool wanted = i < nr;
		int ret;

		if (iface->queue[i].is_attached == wanted)
			continue;
		ret = tapfd_set_attached(iface->queue[i].fd, wanted);
		if (ret)
			return ret;
		iface->queue[i].is_attached = wanted;
	}
	return 0;
}

void iface_set_carrier(struct iface *iface, bool is_up)
{
	/* The first queue is never detached. It fails only if the interface has gone: its fd tells. */
	tapfd_set_carrier(iface->queue[0].fd, is_up);
}

unsigned int iface_mtu(const struct iface *iface)
{
	int mtu = tap_get_mtu(iface->control_fd, iface->name);

	return mtu > 0 ? (unsigned int)mtu : 0;
}

/* ---- The process that may set the MTU ---- */

/* Answers each number with 0 or an errno, until the other end has gone. */
static void serve_setter(int fd, int control_fd, const char *name)
{
	uint16_t mtu;

	while (recv(fd, &mtu, sizeof(mtu), 0) == sizeof(mtu)) {
		int err = -tap_set_mtu(control_fd, name, mtu);

		if (send(fd, &err, sizeof(err), MSG_NOSIGNAL) != sizeof(err))
			break;
	}
}

static void be_setter(const struct iface *iface, int fd)
{
	/* From the terminal both get these; the end of the first is the end of the second. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* The interface lives as long as anybody holds its queues. */
	for (unsigned int i = 0; i < iface->nr_queues; i++)
		close(iface->queue[i].fd);
	if (!sandbox_keep_net_admin())
		serve_setter(fd, iface->control_fd, iface->name);
	_exit(0);
}

void iface_keep_setter(struct iface *iface)
{
	unsigned int mtu = iface_mtu(iface);
	int pair[2];
	pid_t pid;

	if (!mtu || tap_set_mtu(iface->control_fd, iface->name, mtu))
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return;
	pid = fork();
	if (!pid) {
		close(pair[0]);
		be_setter(iface, pair[1]);
	}
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	else
		iface->setter_fd = pair[0];
}

int iface_set_mtu(struct iface *iface, unsigned int mtu)
{
	const uint16_t number = (uint16_t)mtu;
	int err;

	if (iface->setter_fd < 0)
		return -EPERM;
	/* A system call of the other one, no more, lies between these two. */
	if (send(iface->setter_fd, &number, sizeof(number), MSG_NOSIGNAL) != sizeof(number) ||
	    recv(iface->setter_fd, &err, sizeof(err), 0) != sizeof(err))
		return -EPERM;
	return -err;
}
