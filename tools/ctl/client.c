// SPDX-License-Identifier: MIT
/* One connection to a switch's control socket: a line out, a line in; knows no request by name. */

#include "ctl/ctl.h"

#if HAVE_JANSSON
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vhu/sock.h>

#include "common/loop.h"

enum {
	CONNECT_S = 2,
	WAIT_S = 10,		      /* for the whole reply */
	MAX_REPLY = 64 * 1024 * 1024, /* bytes; a switch does not say more */
};

int ctl_connect(const char *path)
{
	uint64_t deadline = loop_now_ns() + CONNECT_S * LOOP_S;
	int fd;

	/* -EAGAIN: others were faster, and the switch has yet to take them in. */
	while ((fd = vhu_sock_connect(path)) == -EAGAIN && loop_now_ns() < deadline)
		usleep(10000);
	return fd;
}

/* Waits until the socket is ready for events. False: time is up. */
static bool wait_for(int fd, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = events };
		uint64_t now = loop_now_ns();
		int n;

		if (now >= deadline)
			return false;
		n = poll(&pfd, 1, (int)((deadline - now) / LOOP_MS) + 1);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

static bool send_all(int fd, const char *text, size_t len, uint64_t deadline)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0 && !wait_for(fd, POLLOUT, deadline))
			return false;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* One line, without its end; to be given to free(). */
static char *receive_line(int fd, uint64_t deadline, const char **ret_why)
{
	size_t len = 0, size = 0;
	char *line = NULL;

	for (;;) {
		ssize_t n;

		if (size - len < 2) {
			char *more =
				size < MAX_REPLY ? realloc(line, size ? 2 * size : 65536) : NULL;

			if (!more) {
				*ret_why = "its reply is too long";
				break;
			}
			line = more;
			size = size ? 2 * size : 65536;
		}
		if (!wait_for(fd, POLLIN, deadline)) {
			*ret_why = "no reply came in time";
			break;
		}
		n = recv(fd, line + len, size - len - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			*ret_why = "it closed the connection";
			break;
		}
		len += (size_t)n;
		if (line[len - 1] == '\n') {
			line[len - 1] = '\0';
			return line;
		}
	}
	free(line);
	return NULL;
}

json_t *ctl_ask(int fd, const json_t *request, const char **ret_why)
{
	uint64_t deadline = loop_now_ns() + WAIT_S * LOOP_S;
	char *text = json_dumps(request, JSON_COMPACT);
	json_t *reply = NULL;
	char *line;
	bool sent;

	*ret_why = "it closed the connection";
	sent = text && send_all(fd, text, strlen(text), deadline) &&
	       send_all(fd, "\n", 1, deadline);
	free(text);
	line = sent ? receive_line(fd, deadline, ret_why) : NULL;
	if (line) {
		reply = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		*ret_why = "what it replied is no JSON: is it the control socket of a switch?";
	}
	free(line);
	return reply;
}
#endif
