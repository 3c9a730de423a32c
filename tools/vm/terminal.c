// SPDX-License-Identifier: MIT
/* A raw terminal, and the process that guards it. */

#include "vm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

struct terminal {
	int fd;
	int guard_fd; /* a pipe's end: closed without a byte, the guard puts the terminal back */
	struct termios before;
};

static void put_back(int fd, const struct termios *before)
{
	/* From the background, too: whoever has the terminal now does not want it raw. */
	signal(SIGTTOU, SIG_IGN);
	tcsetattr(fd, TCSANOW, before);
}

/* Sleeps until the other end of the pipe is closed, by whatever means. Never returns. */
static void guard(const struct terminal *terminal, int pipe_fd)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP };
	/* Below the pipe's end all is closed but the terminal; the pipe's is moved to 3 first. */
	const int at = terminal->fd == 3 ? 4 : 3;
	ssize_t nr;
	char byte;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	if (pipe_fd != at && dup2(pipe_fd, at) < 0)
		_exit(1);
	close_range((unsigned int)at + 1, ~0u, 0);
	for (int fd = 0; fd < at; fd++)
		if (fd != terminal->fd)
			close(fd);
	do {
		nr = read(at, &byte, 1);
	} while (nr < 0 && errno == EINTR);
	/* A byte: it is done, and by now somebody else may have the terminal. */
	if (nr != 1)
		put_back(terminal->fd, &terminal->before);
	_exit(0);
}

/* Its child is nobody's to wait for: it is a grandchild. */
static int start_guard(struct terminal *terminal)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (!pid) {
		close(ends[1]);
		if (fork())
			_exit(0);
		guard(terminal, ends[0]);
	}
	close(ends[0]);
	if (pid < 0) {
		int err = -errno;

		close(ends[1]);
		return err;
	}
	/* It has ended already, or does so at once. */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	terminal->guard_fd = ends[1];
	return 0;
}

int terminal_new(struct terminal **ret_terminal, int fd)
{
	struct terminal *terminal;
	int err;

	*ret_terminal = NULL;
	if (!isatty(fd))
		return 0;
	terminal = calloc(1, sizeof(*terminal));
	if (!terminal)
		return -ENOMEM;
	terminal->fd = fd;
	if (tcgetattr(fd, &terminal->before) < 0) {
		err = -errno;
		free(terminal);
		return err;
	}
	err = start_guard(terminal);
	if (err < 0) {
		free(terminal);
		return err;
	}
	*ret_terminal = terminal;
	return 0;
}

void terminal_raw(struct terminal *terminal)
{
	struct termios raw;

	if (!terminal)
		return;
	raw = terminal->before;
	cfmakeraw(&raw);
	/* Our own lines go there, too. */
	raw.c_oflag |= OPOST;
	tcsetattr(terminal->fd, TCSANOW, &raw);
}

void terminal_free(struct terminal *terminal)
{
	if (!terminal)
		return;
	put_back(terminal->fd, &terminal->before);
	(void)!write(terminal->guard_fd, "", 1);
	close(terminal->guard_fd);
	free(terminal);
}
