// SPDX-License-Identifier: MIT
/* Standard input and output as the other end of a serial line. */

#include "vm/console.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm/outlet.h"
#include "vm/terminal.h"

enum {
	OUT_SIZE = 4096,
	OUT_ROUNDS = 16, /* then others have their turn */
	IN_SIZE = 512,
	HELD_SIZE = 65536,
	ESCAPE = 1, /* Ctrl-A */
};

struct console {
	struct console_options options;
	struct terminal *terminal;
	struct outlet *outlet;
	struct loop_source *in; /* watched, or NULL */
	bool can_watch_in;	/* false: a file, which is always readable */
	bool in_ended;
	bool escaped; /* the last byte was the escape */
	/* Typed while the guest took nothing: the escape has to be seen all the same. */
	size_t nr_held;
	char held[HELD_SIZE];
};

/* ---- Output ---- */

/* How much it was. */
static size_t take_some(struct console *console)
{
	const struct console_options *to = &console->options;
	size_t room = outlet_room(console->outlet), len;
	char bytes[OUT_SIZE];

	len = to->fetch(to->arg, bytes, room < OUT_SIZE ? room : OUT_SIZE);
	outlet_put(console->outlet, bytes, len);
	return len;
}

static void pump_out(void *arg)
{
	/* A guest may write as fast as anybody reads: see fetch() for what is left then. */
	for (unsigned int i = 0; i < OUT_ROUNDS; i++) {
		if (!take_some(arg))
			return;
	}
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

/* What was held goes first. */
static void give(struct console *console)
{
	const struct console_options *to = &console->options;
	size_t room = to->room(to->arg);
	size_t nr = console->nr_held < room ? console->nr_held : room;

	to->input(to->arg, console->held, nr);
	console->nr_held -= nr;
	memmove(console->held, console->held + nr, console->nr_held);
}

/* A terminal's bytes; what nobody takes and what cannot be held either is lost. */
static void hold(struct console *console, char *bytes, size_t nr)
{
	nr = take_escapes(console, bytes, nr);
	if (nr > HELD_SIZE - console->nr_held)
		nr = HELD_SIZE - console->nr_held;
	memcpy(console->held + console->nr_held, bytes, nr);
	console->nr_held += nr;
	give(console);
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
		hold(console, bytes, (size_t)nr);
	else
		to->input(to->arg, bytes, (size_t)nr);
	return true;
}

static void on_in(void *arg, uint32_t events)
{
	struct console *console = arg;
	size_t room = console->terminal ? IN_SIZE : console->options.room(console->options.arg);

	(void)events;
	if (room)
		read_some(console, room);
	console_pump(console);
}

/* Watches standard input exactly while the guest takes something; a terminal always. */
static void pump_in(struct console *console)
{
	const struct console_options *to = &console->options;
	bool wanted = !console->in_ended && (console->terminal || to->room(to->arg));

	if (console->nr_held)
		give(console);
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
	err = outlet_new(&console->outlet, options->loop, options->out_fd, OUT_SIZE, pump_out,
			 console);
	if (!err)
		err = terminal_new(&console->terminal, options->in_fd);
	if (err < 0) {
		console_free(console);
		return err;
	}
	*ret_console = console;
	return 0;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	loop_remove(console->in);
	/* What it sent just before its end; it may not have ended, and send still. */
	for (unsigned int i = 0; console->outlet && i < OUT_ROUNDS; i++) {
		if (!outlet_drain(console->outlet) || !take_some(console))
			break;
	}
	outlet_free(console->outlet);
	terminal_free(console->terminal);
	free(console);
}
