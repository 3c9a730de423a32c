// SPDX-License-Identifier: MIT
/* Standard input and output as the other end of a serial line. */

#include "vm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/terminal.h"

enum {
	OUT_SIZE = 4096,
	IN_SIZE = 512,
	/* What fits where poll() says that there is room: a terminal wakes for 256, a pipe for 4096. */
	CAREFUL = 256,
	ESCAPE = 1, /* Ctrl-A */
	LAST_WRITE_MS = 500,
};

struct console {
	struct console_options options;
	struct terminal *terminal;
	struct loop_source *in, *out; /* watched, or NULL */
	int out_fd;		      /* what is written to */
	bool is_own;	   /* out_fd was opened here, does not block, and has to be closed */
	bool can_watch_in; /* false: a file, which is always readable */
	bool in_ended, out_lost;
	bool escaped;	      /* the last byte was the escape */
	char bytes[OUT_SIZE]; /* fetched and not yet written */
	size_t len;
};

/* ---- Output ---- */

/*
 * Standard output's own flags are shared with whoever else has it: it is opened again, where that is
 * possible, so as not to block. A file never blocks, and has a position to be kept.
 */
static void open_out(struct console *console, int fd)
{
	struct stat st;
	char path[32];

	console->out_fd = fd;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	console->out_fd = fd;
	console->is_own = true;
}

/* As write(), but never blocks: -EAGAIN. */
static ssize_t write_some(struct console *console)
{
	struct pollfd pollfd = { .fd = console->out_fd, .events = POLLOUT };
	size_t len = console->len;
	ssize_t nr;

	if (!console->is_own) {
		if (poll(&pollfd, 1, 0) == 0)
			return -EAGAIN;
		if (len > CAREFUL)
			len = CAREFUL;
	}
	nr = write(console->out_fd, console->bytes, len);
	return nr < 0 ? -errno : nr;
}

static void on_out(void *arg, uint32_t events);

/* Writes what there is. False: not now, it is watched for when. */
static bool flush(struct console *console)
{
	while (console->len) {
		ssize_t nr = console->out_lost ? (ssize_t)console->len : write_some(console);

		if (nr == -EINTR)
			continue;
		if (nr == -EAGAIN) {
			if (!console->out &&
			    loop_add_fd(console->options.loop, console->out_fd, EPOLLOUT, on_out,
					console, &console->out) < 0)
				console->out_lost = true;
			return false;
		}
		if (nr < 0) {
			/* Nobody reads any more. The guest goes on. */
			console->out_lost = true;
			continue;
		}
		console->len -= (size_t)nr;
		memmove(console->bytes, console->bytes + nr, console->len);
	}
	loop_remove(console->out);
	console->out = NULL;
	return true;
}

static void pump_out(struct console *console)
{
	const struct console_options *to = &console->options;

	do {
		console->len +=
			to->fetch(to->arg, console->bytes + console->len, OUT_SIZE - console->len);
	} while (console->len && flush(console));
}

static void on_out(void *arg, uint32_t events)
{
	(void)events;
	pump_out(arg);
}

/* ---- Input ---- */

/* Takes the escape and what follows it out of the bytes; how many are left for the guest. */
static size_t take_escapes(struct console *console, char *bytes, size_t len)
{
	size_t nr = 0;

	for (size_t i = 0; i < len; i++) {
		bool was_escaped = console->escaped;

		console->escaped = !was_escaped && bytes[i] == ESCAPE;
		if (console->escaped)
			continue;
		if (!was_escaped || bytes[i] == ESCAPE)
			bytes[nr++] = bytes[i];
		else if (bytes[i] == 'x')
			console->options.ended(console->options.arg);
	}
	return nr;
}

/* False: nothing there, or the end. */
static bool read_some(struct console *console, size_t room)
{
	const struct console_options *to = &console->options;
	char bytes[IN_SIZE];
	ssize_t nr = read(to->in_fd, bytes, room < IN_SIZE ? room : IN_SIZE);

	if (nr < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (nr <= 0) {
		console->in_ended = true;
		return false;
	}
	if (console->terminal)
		nr = (ssize_t)take_escapes(console, bytes, (size_t)nr);
	to->input(to->arg, bytes, (size_t)nr);
	return true;
}

static void on_in(void *arg, uint32_t events)
{
	struct console *console = arg;
	size_t room = console->options.room(console->options.arg);

	(void)events;
	if (room)
		read_some(console, room);
	console_pump(console);
}

/* Watches standard input exactly while the guest takes something. */
static void pump_in(struct console *console)
{
	const struct console_options *to = &console->options;
	bool wanted = !console->in_ended && to->room(to->arg);

	if (!console->can_watch_in) {
		while (wanted && read_some(console, to->room(to->arg)))
			wanted = to->room(to->arg);
	} else if (wanted && !console->in) {
		int err = loop_add_fd(to->loop, to->in_fd, EPOLLIN, on_in, console, &console->in);

		if (err == -EPERM) {
			console->can_watch_in = false;
			pump_in(console);
		} else if (err < 0) {
			console->in_ended = true;
		}
	} else if (!wanted && console->in) {
		loop_remove(console->in);
		console->in = NULL;
	}
}

/* ---- Life ---- */

void console_begin(struct console *console)
{
	terminal_raw(console->terminal);
	console_pump(console);
}

void console_pump(struct console *console)
{
	pump_out(console);
	pump_in(console);
}

int console_new(struct console **ret_console, const struct console_options *options)
{
	struct console *console = calloc(1, sizeof(*console));
	int err;

	if (!console)
		return -ENOMEM;
	console->options = *options;
	console->can_watch_in = true;
	open_out(console, options->out_fd);
	err = terminal_new(&console->terminal, options->in_fd);
	if (err < 0) {
		if (console->is_own)
			close(console->out_fd);
		free(console);
		return err;
	}
	*ret_console = console;
	return 0;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	/* The last words; whoever does not read them in time has them not. */
	for (unsigned int tries = 0; tries < 16; tries++) {
		struct pollfd pollfd = { .fd = console->out_fd, .events = POLLOUT };

		pump_out(console);
		if (!console->len || poll(&pollfd, 1, LAST_WRITE_MS) <= 0)
			break;
	}
	loop_remove(console->in);
	loop_remove(console->out);
	if (console->is_own)
		close(console->out_fd);
	terminal_free(console->terminal);
	free(console);
}
