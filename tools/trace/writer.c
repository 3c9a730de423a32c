/* SPDX-License-Identifier: MIT */
/* Lines that wait in memory for whoever reads them, up to a bound; knows nothing of their sense. */
#include "trace/writer.h"

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
	MAX_WAITING = 1024 * 1024, /* bytes */
	CHUNK = 512,		   /* what something that is ready takes at once */
	LAST_MS = 1000,
};

struct writer {
	struct loop *loop;
	struct loop_source *source; /* NULL: nothing waits, or it cannot be watched */
	int fd;
	bool own_fd;	 /* opened anew, so that it can be non-blocking for us alone */
	bool is_regular; /* never makes anybody wait, and cannot be watched */
	bool is_broken;
	void (*broken)(void *arg, int err);
	void *arg;
	unsigned long lost;
	size_t start, len;
	char waiting[MAX_WAITING];
};

int writer_new(struct writer **ret_writer, struct loop *loop, int fd,
	       void (*broken)(void *arg, int err), void *arg)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	char path[64];
	struct stat st;

	if (!writer)
		return -ENOMEM;
	writer->loop = loop;
	writer->fd = fd;
	writer->broken = broken;
	writer->arg = arg;
	if (fstat(fd, &st) < 0) {
		int err = -errno;

		free(writer);
		return err;
	}
	writer->is_regular = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		/* O_NONBLOCK on fd itself would be seen by every program that shares it. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0) {
			writer->fd = fd;
			writer->own_fd = true;
		}
	}
	*ret_writer = writer;
	return 0;
}

static bool is_ready(const struct writer *writer, int wait_ms)
{
	struct pollfd pfd = { .fd = writer->fd, .events = POLLOUT };

	return writer->is_regular || poll(&pfd, 1, wait_ms) == 1;
}

/* Writes until nothing is left or it would have to wait. */
static void write_out(struct writer *writer)
{
	while (writer->len && !writer->is_broken && is_ready(writer, 0)) {
		size_t len = writer->len < CHUNK || writer->is_regular ? writer->len : CHUNK;
		ssize_t n = write(writer->fd, writer->waiting + writer->start, len);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			writer->is_broken = true;
			writer->len = 0;
			writer->broken(writer->arg, -errno);
			break;
		}
		writer->start += (size_t)n;
		writer->len -= (size_t)n;
	}
	if (!writer->len)
		writer->start = 0;
}

static void on_ready(void *arg, uint32_t events)
{
	struct writer *writer = arg;

	(void)events;
	write_out(writer);
	if (!writer->len) {
		loop_remove(writer->source);
		writer->source = NULL;
	}
}

void writer_put(struct writer *writer, const char *text, size_t len)
{
	if (writer->is_broken)
		return;
	if (len > MAX_WAITING - writer->len) {
		writer->lost++;
		return;
	}
	if (len > MAX_WAITING - writer->start - writer->len) {
		memmove(writer->waiting, writer->waiting + writer->start, writer->len);
		writer->start = 0;
	}
	memcpy(writer->waiting + writer->start + writer->len, text, len);
	writer->len += len;
	write_out(writer);
	if (writer->len && !writer->source)
		loop_add_fd(writer->loop, writer->fd, EPOLLOUT, on_ready, writer, &writer->source);
}

unsigned long writer_lost(struct writer *writer)
{
	unsigned long lost = writer->lost;

	if (writer->len > MAX_WAITING / 2)
		return 0;
	writer->lost = 0;
	return lost;
}

void writer_free(struct writer *writer)
{
	uint64_t end = loop_now_ns() + LAST_MS * LOOP_MS;

	if (!writer)
		return;
	while (writer->len && !writer->is_broken && loop_now_ns() < end)
		if (is_ready(writer, 50))
			write_out(writer);
	loop_remove(writer->source);
	if (writer->own_fd)
		close(writer->fd);
	free(writer);
}
