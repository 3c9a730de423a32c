/* SPDX-License-Identifier: MIT */
/* Finds a frontend and a backend again and again; knows nothing of the messages between them. */
#include "trace/proxy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vhu/sock.h>

#include "trace/relay.h"

#define FIRST_DELAY_NS (10 * LOOP_MS)
#define LAST_DELAY_NS (1000 * LOOP_MS)

struct end {
	struct proxy *proxy;
	enum trace_side side;
	bool listens;
	const char *path;
	int listen_fd; /* -1: not now */
	struct loop_source *listen_source;
	int fd; /* of the one that is there while the other is looked for, or -1 */
	struct loop_source *gone_source;
	int said;	   /* the errno that was last given as what is waited for; -1: none yet */
	uint64_t delay_ns; /* before it is looked for again */
	uint64_t since_ns; /* when fd was got */
};

struct proxy {
	struct proxy_options options;
	struct end ends[2];
	struct loop_source *retry;
	struct relay *relay;
	unsigned int conn;
};

static void look_for_backend(struct proxy *proxy);
static void look_for_frontend(struct proxy *proxy);

static void emit(void *arg, struct trace_record *record)
{
	struct proxy *proxy = arg;

	record->conn = proxy->conn;
	proxy->options.emit(proxy->options.arg, record);
}

static void VHU_PRINTF(4, 5)
	say(struct proxy *proxy, enum trace_kind kind, enum trace_side side, const char *fmt, ...)
{
	char text[512];
	struct trace_record record = {
		.kind = kind,
		.side = side,
		.time_ns = loop_now_ns() - proxy->options.start_ns,
		.ring = -1,
		.us = -1,
		.text = text,
	};
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	emit(proxy, &record);
}

/* Once for each reason, not at each attempt. */
static void say_waiting(struct end *end, int err)
{
	static const char *const names[] = { "a frontend", "a backend" };

	if (end->said == err)
		return;
	end->said = err;
	if (err)
		say(end->proxy, TRACE_WAITING, end->side, "waiting for %s to connect to, %s: %s",
		    names[end->side], end->path, strerror(err));
	else
		say(end->proxy, TRACE_WAITING, end->side, "waiting for %s on %s", names[end->side],
		    end->path);
}

static void retry_later(struct end *end)
{
	loop_set_timer(end->proxy->retry, end->delay_ns, 0);
	end->delay_ns *= 2;
	if (end->delay_ns > LAST_DELAY_NS)
		end->delay_ns = LAST_DELAY_NS;
}

/* ---- Listening ---- */

static void on_connection(void *arg, uint32_t events);

static int open_listener(struct end *end)
{
	int err;

	if (end->listen_fd >= 0)
		return 0;
	end->listen_fd = vhu_sock_listen(end->path, 0, NULL);
	if (end->listen_fd < 0) {
		err = end->listen_fd;
		end->listen_fd = -1;
		return err;
	}
	err = loop_add_fd(end->proxy->options.loop, end->listen_fd, EPOLLIN, on_connection, end,
			  &end->listen_source);
	return err;
}

static void close_listener(struct end *end)
{
	if (end->listen_fd < 0)
		return;
	loop_remove(end->listen_source);
	end->listen_source = NULL;
	close(end->listen_fd);
	end->listen_fd = -1;
	unlink(end->path);
}

/* ---- One is there, the other is not yet ---- */

static void drop(struct end *end)
{
	loop_remove(end->gone_source);
	end->gone_source = NULL;
	if (end->fd >= 0)
		close(end->fd);
	end->fd = -1;
}

static void on_backend_gone(void *arg, uint32_t events)
{
	struct end *end = arg;

	(void)events;
	drop(end);
	end->said = -1;
	/* Who takes connections and closes them at once is not asked again at full speed. */
	if (loop_now_ns() - end->since_ns >= LAST_DELAY_NS)
		end->delay_ns = FIRST_DELAY_NS;
	retry_later(end);
}

static void got_backend(struct end *end, int fd)
{
	struct proxy *proxy = end->proxy;

	loop_set_timer(proxy->retry, 0, 0);
	end->fd = fd;
	end->since_ns = loop_now_ns();
	end->said = -1;
	proxy->ends[TRACE_FRONTEND].delay_ns = FIRST_DELAY_NS;
	/* Not for reading: what it may say already is for the frontend. */
	if (loop_add_fd(proxy->options.loop, fd, EPOLLRDHUP, on_backend_gone, end,
			&end->gone_source)) {
		drop(end);
		retry_later(end);
		return;
	}
	look_for_frontend(proxy);
}

static int pid_of(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? 0 : (int)cred.pid;
}

static void on_relay_ended(void *arg, bool is_fruitful)
{
	struct proxy *proxy = arg;
	struct end *backend = &proxy->ends[TRACE_BACKEND];

	relay_free(proxy->relay);
	proxy->relay = NULL;
	proxy->ends[TRACE_FRONTEND].said = backend->said = -1;
	if (is_fruitful)
		backend->delay_ns = FIRST_DELAY_NS;
	if (backend->delay_ns == FIRST_DELAY_NS) {
		backend->delay_ns *= 2;
		look_for_backend(proxy);
	} else {
		close_listener(&proxy->ends[TRACE_FRONTEND]);
		retry_later(backend);
	}
}

static void got_frontend(struct end *end, int fd)
{
	struct proxy *proxy = end->proxy;
	struct end *backend = &proxy->ends[TRACE_BACKEND];
	struct relay_options options = {
		.loop = proxy->options.loop,
		.take_frontend_fd = fd,
		.take_backend_fd = backend->fd,
		.start_ns = proxy->options.start_ns,
		.emit = emit,
		.ended = on_relay_ended,
		.arg = proxy,
	};
	int frontend_pid = pid_of(fd), backend_pid = pid_of(backend->fd), err;

	loop_set_timer(proxy->retry, 0, 0);
	loop_remove(backend->gone_source);
	backend->gone_source = NULL;
	backend->fd = -1;
	proxy->conn++;
	say(proxy, TRACE_CONNECTED, TRACE_PROXY,
	    "connection %u: frontend is process %d, backend %d", proxy->conn, frontend_pid,
	    backend_pid);
	err = relay_new(&proxy->relay, &options);
	if (err) {
		say(proxy, TRACE_CLOSED, TRACE_PROXY, "cannot be relayed: %s", strerror(-err));
		retry_later(backend);
	}
}

static void on_connection(void *arg, uint32_t events)
{
	struct end *end = arg;
	struct proxy *proxy = end->proxy;
	int fd = vhu_sock_accept(end->listen_fd);

	(void)events;
	if (fd < 0)
		return;
	if (end->side == TRACE_BACKEND && !proxy->relay && proxy->ends[TRACE_BACKEND].fd < 0) {
		got_backend(end, fd);
	} else if (end->side == TRACE_FRONTEND && !proxy->relay &&
		   proxy->ends[TRACE_BACKEND].fd >= 0) {
		got_frontend(end, fd);
	} else {
		close(fd);
		say(proxy, TRACE_NOTE, end->side, "one more %s is turned away",
		    end->side == TRACE_FRONTEND ? "frontend" : "backend");
	}
}

/* ---- Looking ---- */

static void look_for_frontend(struct proxy *proxy)
{
	struct end *end = &proxy->ends[TRACE_FRONTEND];
	int fd;

	if (end->listens) {
		int err = open_listener(end);

		say_waiting(end, -err);
		if (err)
			retry_later(end);
		return;
	}
	fd = vhu_sock_connect(end->path);
	if (fd >= 0) {
		got_frontend(end, fd);
		return;
	}
	say_waiting(end, -fd);
	retry_later(end);
}

static void look_for_backend(struct proxy *proxy)
{
	struct end *end = &proxy->ends[TRACE_BACKEND];
	int fd;

	if (end->listens) {
		int err = open_listener(end);

		close_listener(&proxy->ends[TRACE_FRONTEND]);
		say_waiting(end, -err);
		if (err)
			retry_later(end);
		return;
	}
	fd = vhu_sock_connect(end->path);
	if (fd >= 0) {
		got_backend(end, fd);
		return;
	}
	/* Frontends find nobody, as they would without us. */
	close_listener(&proxy->ends[TRACE_FRONTEND]);
	say_waiting(end, -fd);
	retry_later(end);
}

static void on_retry(void *arg)
{
	struct proxy *proxy = arg;

	if (proxy->ends[TRACE_BACKEND].fd < 0)
		look_for_backend(proxy);
	else
		look_for_frontend(proxy);
}

int proxy_new(struct proxy **ret_proxy, const struct proxy_options *options, const char **ret_path)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	int err;

	*ret_path = "";
	if (!proxy)
		return -ENOMEM;
	proxy->options = *options;
	for (int i = 0; i < 2; i++)
		proxy->ends[i] = (struct end){
			.proxy = proxy,
			.side = (enum trace_side)i,
			.listens = options->ends[i].listens,
			.path = options->ends[i].path,
			.listen_fd = -1,
			.fd = -1,
			.said = -1,
			.delay_ns = FIRST_DELAY_NS,
		};
	err = loop_add_timer(options->loop, on_retry, proxy, &proxy->retry);
	for (int i = 0; i < 2 && !err; i++) {
		if (!proxy->ends[i].listens)
			continue;
		*ret_path = proxy->ends[i].path;
		err = open_listener(&proxy->ends[i]);
	}
	if (err) {
		proxy_free(proxy);
		return err;
	}
	*ret_proxy = proxy;
	return 0;
}

void proxy_start(struct proxy *proxy)
{
	look_for_backend(proxy);
}

void proxy_free(struct proxy *proxy)
{
	if (!proxy)
		return;
	if (proxy->relay)
		relay_stop(proxy->relay);
	relay_free(proxy->relay);
	for (int i = 0; i < 2; i++) {
		drop(&proxy->ends[i]);
		close_listener(&proxy->ends[i]);
	}
	loop_remove(proxy->retry);
	free(proxy);
}
