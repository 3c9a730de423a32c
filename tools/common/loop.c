// SPDX-License-Identifier: MIT
/* The event loop: epoll, timerfd and signalfd; knows nothing of what it waits for. */

#include "common/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOP_EVENTS = 64
};

enum kind {
	KIND_FD,
	KIND_TIMER,
	KIND_SIGNAL
};

struct loop_source {
	struct loop *loop;
	struct loop_source *prev, *next;
	enum kind kind;
	int fd; /* owned unless KIND_FD */
	bool removed;
	union {
		loop_fd_fn *on_fd;
		loop_timer_fn *on_timer;
		loop_signal_fn *on_signal;
	};
	void *arg;
};

struct loop {
	int epoll_fd;
	bool dispatching;
	bool stopped;
	int status;
	struct loop_source *sources;
	/* Removed during a dispatch: an event for one may still be in the list at hand. */
	struct loop_source *removed;
};

uint64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * LOOP_S + (uint64_t)now.tv_nsec;
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int err = -errno;

		free(loop);
		return err;
	}
	*ret_loop = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->sources)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the first source has no prev: loop->sources moves on */
		loop_remove(loop->sources);
	close(loop->epoll_fd);
	free(loop);
}

/* Owns fd from here on unless kind is KIND_FD, whatever the result. */
static int add_source(struct loop *loop, enum kind kind, int fd, uint32_t events, void *arg,
		      struct loop_source **ret_source)
{
	struct loop_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };
	int err = -ENOMEM;

	if (!source)
		goto fail;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		err = -errno;
		goto fail;
	}
	source->loop = loop;
	source->kind = kind;
	source->fd = fd;
	source->arg = arg;
	source->next = loop->sources;
	if (source->next)
		source->next->prev = source;
	loop->sources = source;
	*ret_source = source;
	return 0;
fail:
	free(source);
	if (kind != KIND_FD)
		close(fd);
	return err;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *arg,
		struct loop_source **ret_source)
{
	struct loop_source *source;
	int err = add_source(loop, KIND_FD, fd, events, arg, &source);

	if (err)
		return err;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): errno of a failed call is never 0 */
	source->on_fd = fn;
	*ret_source = source;
	return 0;
}

int loop_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno :
											  0;
}

int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *arg, struct loop_source **ret_source)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct loop_source *source;
	int err;

	if (fd < 0)
		return -errno;
	err = add_source(loop, KIND_TIMER, fd, EPOLLIN, arg, &source);
	if (err)
		return err;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): errno of a failed call is never 0 */
	source->on_timer = fn;
	*ret_source = source;
	return 0;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / LOOP_S), .tv_nsec = (long)(ns % LOOP_S) };
}

int loop_set_timer(struct loop_source *source, uint64_t first_ns, uint64_t period_ns)
{
	struct itimerspec when = {
		.it_value = to_timespec(first_ns),
		.it_interval = to_timespec(period_ns),
	};

	return timerfd_settime(source->fd, 0, &when, NULL) < 0 ? -errno : 0;
}

int loop_add_signals(struct loop *loop, const int *signals, unsigned int nr, loop_signal_fn *fn,
		     void *arg, struct loop_source **ret_source)
{
	struct loop_source *source;
	sigset_t set;
	int fd, err;

	sigemptyset(&set);
	for (unsigned int i = 0; i < nr; i++)
		sigaddset(&set, signals[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = add_source(loop, KIND_SIGNAL, fd, EPOLLIN, arg, &source);
	if (err)
		return err;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): errno of a failed call is never 0 */
	source->on_signal = fn;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	*ret_source = source;
	return 0;
}

static void free_source(struct loop_source *source)
{
	if (source->kind != KIND_FD)
		close(source->fd);
	free(source);
}

void loop_remove(struct loop_source *source)
{
	struct loop *loop;

	if (!source || source->removed)
		return;
	loop = source->loop;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->prev)
		source->prev->next = source->next;
	else
		loop->sources = source->next;
	if (source->next)
		source->next->prev = source->prev;
	if (!loop->dispatching) {
		free_source(source);
		return;
	}
	source->removed = true;
	source->next = loop->removed;
	loop->removed = source;
}

static void dispatch(struct loop_source *source, uint32_t events)
{
	struct signalfd_siginfo info;
	uint64_t ticks;

	switch (source->kind) {
	case KIND_FD:
		source->on_fd(source->arg, events);
		break;
	case KIND_TIMER:
		/* It may have been set anew since: then there is nothing to read. */
		if (read(source->fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
			source->on_timer(source->arg);
		break;
	case KIND_SIGNAL:
		while (!source->removed &&
		       read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			source->on_signal(source->arg, (int)info.ssi_signo, (pid_t)info.ssi_pid);
		break;
	}
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_EVENTS];
	int nr = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, timeout_ms);

	if (nr < 0 && errno != EINTR)
		return -errno;
	loop->dispatching = true;
	for (int i = 0; i < nr; i++) {
		struct loop_source *source = events[i].data.ptr;

		if (!source->removed)
			dispatch(source, events[i].events);
	}
	loop->dispatching = false;
	while (loop->removed) {
		struct loop_source *source = loop->removed;

		loop->removed = source->next;
		free_source(source);
	}
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped) {
		int err = loop_turn(loop, -1);

		if (err)
			return err;
	}
	return loop->status;
}

void loop_stop(struct loop *loop, int status)
{
	loop->stopped = true;
	loop->status = status;
}
