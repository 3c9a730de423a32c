// SPDX-License-Identifier: MIT
/* Writes to an fd without blocking, whatever its flags are. */

#include "vm/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	/* What fits where poll() says that there is room: a terminal wakes for 256, a pipe for 4096. */
	CAREFUL = 256,
	LAST_TRIES = 64,
	LAST_WAIT_MS = 500,
};

struct outlet {
	struct loop *loop;
	struct loop_source *source; /* watched for room, or NULL */
	int fd;
	bool is_own;  /* opened here: does not block, has to be closed */
	bool is_lost; /* nobody reads any more */
	void (*drained)(void *arg);
	void *arg;
	size_t size, len;
	char bytes[];
};

/*
 * Its flags are shared with whoever else has it: it is opened again, where that is possible, so as not
 * to block. A file never blocks, and has a position to be kept.
 */
static void open_again(struct outlet *outlet, int fd)
{
	struct stat st;
	char path[32];

	outlet->fd = fd;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	outlet->fd = fd;
	outlet->is_own = true;
}

int outlet_new(struct outlet **ret_outlet, struct loop *loop, int fd, size_t size,
	       void (*drained)(void *arg), void *arg)
{
	struct outlet *outlet = calloc(1, sizeof(*outlet) + size);

	if (!outlet)
		return -ENOMEM;
	outlet->loop = loop;
	outlet->size = size;
	outlet->drained = drained;
	outlet->arg = arg;
	open_again(outlet, fd);
	*ret_outlet = outlet;
	return 0;
}

/* As write(), but never blocks: -EAGAIN. */
static ssize_t write_some(struct outlet *outlet)
{
	struct pollfd pollfd = { .fd = outlet->fd, .events = POLLOUT };
	size_t len = outlet->len;
	ssize_t nr;

	if (!outlet->is_own) {
		if (poll(&pollfd, 1, 0) == 0)
			return -EAGAIN;
		if (len > CAREFUL)
			len = CAREFUL;
	}
	nr = write(outlet->fd, outlet->bytes, len);
	return nr < 0 ? -errno : nr;
}

static void on_room(void *arg, uint32_t events);

static void watch(struct outlet *outlet)
{
	if (!outlet->source &&
	    loop_add_fd(outlet->loop, outlet->fd, EPOLLOUT, on_room, outlet, &outlet->source) < 0)
		outlet->is_lost = true;
}

static void flush(struct outlet *outlet)
{
	while (outlet->len) {
		ssize_t nr = outlet->is_lost ? (ssize_t)outlet->len : write_some(outlet);

		if (nr == -EINTR)
			continue;
		if (nr == -EAGAIN) {
			watch(outlet);
			return;
		}
		if (nr < 0) {
			outlet->is_lost = true;
			continue;
		}
		outlet->len -= (size_t)nr;
		memmove(outlet->bytes, outlet->bytes + nr, outlet->len);
	}
	loop_remove(outlet->source);
	outlet->source = NULL;
}

static void on_room(void *arg, uint32_t events)
{
	struct outlet *outlet = arg;
	bool was_full = outlet->len == outlet->size;

	(void)events;
	flush(outlet);
	if (was_full && outlet->len < outlet->size && outlet->drained)
		outlet->drained(outlet->arg);
}

size_t outlet_room(const struct outlet *outlet)
{
	return outlet->size - outlet->len;
}

void outlet_put(struct outlet *outlet, const void *data, size_t len)
{
	if (len > outlet_room(outlet))
		len = outlet_room(outlet);
	memcpy(outlet->bytes + outlet->len, data, len);
	outlet->len += len;
	flush(outlet);
}

bool outlet_drain(struct outlet *outlet)
{
	for (unsigned int tries = 0; outlet->len && tries < LAST_TRIES; tries++) {
		struct pollfd pollfd = { .fd = outlet->fd, .events = POLLOUT };

		if (poll(&pollfd, 1, LAST_WAIT_MS) <= 0)
			break;
		flush(outlet);
	}
	return !outlet->len;
}

void outlet_free(struct outlet *outlet)
{
	if (!outlet)
		return;
	/* Whoever does not read the last words in time has them not. */
	outlet_drain(outlet);
	loop_remove(outlet->source);
	if (outlet->is_own)
		close(outlet->fd);
	free(outlet);
}
