/* SPDX-License-Identifier: MIT */
/*
 * The guest's serial console on standard input and output. Never blocks, whoever reads or does not
 * read the other end. Knows nothing of the machine but three functions.
 */
#ifndef VM_CONSOLE_H
#define VM_CONSOLE_H

#include <stddef.h>

#include "common/loop.h"

struct console;

struct console_options {
	struct loop *loop;
	int in_fd, out_fd; /* borrowed */
	/* What the guest sent: up to len bytes; if it left some, console_pump() is to be called again. How
	 * much it takes, and what it gets. */
	size_t (*fetch)(void *arg, void *data, size_t len);
	size_t (*room)(void *arg);
	void (*input)(void *arg, const void *data, size_t len);
	/* Ctrl-A x, if standard input is a terminal. */
	void (*ended)(void *arg);
	void *arg;
};

/* Before threads and filters. 0 or -errno. */
int console_new(struct console **ret_console, const struct console_options *options);
/* Makes the terminal raw, if there is one. Input is taken from now on. */
void console_begin(struct console *console);
/* The guest has stopped: writes what it has sent, and puts the terminal back. NULL is allowed. */
void console_free(struct console *console);
/* The guest may have sent something, or have room. */
void console_pump(struct console *console);

#endif
