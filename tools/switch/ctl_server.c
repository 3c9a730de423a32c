// SPDX-License-Identifier: MIT
/*
 * The control socket: lines in, lines out; knows nothing of what a line means.
 *
 * A client costs at most one request and the rest of one reply. While a reply waits to be read
 * nothing is read from that client, and a request or reply that makes no progress ends it.
 */

#include "switch/ctl_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vhu/sock.h>

#include "common/ctl_path.h"
#include "switch/ctl_requests.h"

enum {
	MAX_CLIENTS = 32,
	MAX_TURN = 16, /* requests of one client before others have their turn */
};
#define STALL_NS (10 * LOOP_S)

struct client {
	struct ctl_server *server; /* NULL: free */
	struct loop_source *source;
	int fd;
	uint64_t active_ns; /* when bytes last went either way */
	char *in;
	size_t in_len;
	bool eof; /* it will send no more */
	char *out;
	size_t out_len, out_pos;
};

struct ctl_server {
	struct loop *loop;
	struct vhu_switch *sw;
	int fd;
	char *path;
	struct loop_source *source;
	struct loop_source *timer;
	bool timer_runs;
	bool is_paused; /* no fds left for another client */
	struct client clients[MAX_CLIENTS];
};

static void drop(struct client *client)
{
	loop_remove(client->source);
	close(client->fd);
	free(client->in);
	free(client->out);
	*client = (struct client){ 0 };
}

static bool has_line(const struct client *client)
{
	return client->in_len && memchr(client->in, '\n', client->in_len);
}

static bool is_waiting(const struct client *client)
{
	return client->out || client->in_len;
}

/* Runs only while some client is in the middle of something: an idle switch does not wake up. */
static void on_timer(void *arg)
{
	struct ctl_server *server = arg;
	uint64_t now = loop_now_ns();
	bool needed = false;

	if (server->is_paused)
		server->is_paused = loop_set_events(server->source, EPOLLIN) < 0;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &server->clients[i];

		if (!client->server || !is_waiting(client))
			continue;
		if (now - client->active_ns >= STALL_NS)
			drop(client);
		else
			needed = true;
	}
	if (!needed) {
		loop_set_timer(server->timer, 0, 0);
		server->timer_runs = false;
	}
}

static void need_timer(struct ctl_server *server)
{
	if (!server->timer_runs)
		server->timer_runs = !loop_set_timer(server->timer, LOOP_S, LOOP_S);
}

/* Takes over a reply. False: there is none, for want of memory. */
static bool put_reply(struct client *client, char *reply)
{
	size_t len = reply ? strlen(reply) : 0;

	if (!reply)
		return false;
	reply[len] = '\n'; /* instead of the terminating zero */
	client->out = reply;
	client->out_len = len + 1;
	client->out_pos = 0;
	return true;
}

/* False: it has gone. */
static bool flush(struct client *client)
{
	while (client->out) {
		ssize_t n = send(client->fd, client->out + client->out_pos,
				 client->out_len - client->out_pos, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		client->active_ns = loop_now_ns();
		client->out_pos += (size_t)n;
		if (client->out_pos == client->out_len) {
			free(client->out);
			client->out = NULL;
		}
	}
	return true;
}

/* False: it has gone. */
static bool fill(struct client *client)
{
	ssize_t n;

	if (!client->in)
		client->in = malloc(CTL_MAX_REQUEST);
	if (!client->in)
		return false;
	n = recv(client->fd, client->in + client->in_len, CTL_MAX_REQUEST - client->in_len,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		client->eof = true;
	client->active_ns = loop_now_ns();
	client->in_len += (size_t)n;
	return true;
}

/* The first line, answered. False: the client has to go. */
static bool answer_line(struct client *client)
{
	char *end = memchr(client->in, '\n', client->in_len);
	size_t len = (size_t)(end - client->in);
	bool done = put_reply(client, ctl_request(client->server->sw, client->in, len));

	client->in_len -= len + 1;
	memmove(client->in, end + 1, client->in_len);
	return done;
}

/* All that can be done for it now. False: the client has to go. */
static bool serve(struct client *client)
{
	if (!flush(client))
		return false;
	if (!client->out && !client->eof && client->in_len < CTL_MAX_REQUEST && !fill(client))
		return false;
	for (unsigned int i = 0; i < MAX_TURN && !client->out && has_line(client); i++)
		if (!answer_line(client) || !flush(client))
			return false;
	if (!client->out && !has_line(client) && client->in_len == CTL_MAX_REQUEST) {
		/* Where the next request begins can no longer be told. */
		client->in_len = 0;
		client->eof = true;
		if (!put_reply(client, ctl_refusal("a request is longer than 65536 bytes")) ||
		    !flush(client))
			return false;
	}
	return client->out || has_line(client) || !client->eof;
}

static void on_client(void *arg, uint32_t events)
{
	struct client *client = arg;

	(void)events;
	if (!serve(client)) {
		drop(client);
		return;
	}
	/* A whole request that waits for its turn: a socket that can be written comes up again. */
	loop_set_events(client->source, client->out || has_line(client) ? EPOLLOUT : EPOLLIN);
	if (is_waiting(client)) {
		need_timer(client->server);
	} else {
		free(client->in);
		client->in = NULL;
	}
}

/* A free place, or that of the client that has said nothing for longest. */
static struct client *find_place(struct ctl_server *server)
{
	struct client *oldest = &server->clients[0];

	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &server->clients[i];

		if (!client->server)
			return client;
		if (client->active_ns < oldest->active_ns)
			oldest = client;
	}
	drop(oldest);
	return oldest;
}

static void on_listen(void *arg, uint32_t events)
{
	struct ctl_server *server = arg;
	int fd = vhu_sock_accept(server->fd);
	struct client *client;

	(void)events;
	if (fd == -EMFILE || fd == -ENFILE) {
		/* It would come up again at once: look again in a second. */
		server->is_paused = !loop_set_events(server->source, 0);
		need_timer(server);
	}
	if (fd < 0)
		return;
	client = find_place(server);
	client->fd = fd;
	client->active_ns = loop_now_ns();
	client->server = server;
	if (loop_add_fd(server->loop, fd, EPOLLIN, on_client, client, &client->source))
		drop(client);
}

int ctl_server_new(struct ctl_server **ret_server, struct loop *loop, struct vhu_switch *sw,
		   const char *path, unsigned int mode, const char *group, char *text)
{
	struct ctl_server *server = calloc(1, sizeof(*server));
	int err;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->sw = sw;
	server->fd = vhu_sock_listen(path, mode, group);
	if (server->fd < 0) {
		err = server->fd;
		free(server);
		snprintf(text, SW_ERR_MAX, "%s",
			 err == -EADDRINUSE	 ? "another process listens on it" :
			 err == -EEXIST		 ? "it exists and is no socket" :
			 err == -ENOENT && group ? "there is no such directory or no such group" :
			 err == -ENOENT		 ? "there is no such directory" :
						   strerror(-err));
		return err;
	}
	server->path = strdup(path);
	err = server->path ? loop_add_timer(loop, on_timer, server, &server->timer) : -ENOMEM;
	if (!err)
		err = loop_add_fd(loop, server->fd, EPOLLIN, on_listen, server, &server->source);
	if (err) {
		snprintf(text, SW_ERR_MAX, "%s", strerror(-err));
		unlink(path);
		ctl_server_free(server);
		return err;
	}
	*ret_server = server;
	return 0;
}

void ctl_server_free(struct ctl_server *server)
{
	if (!server)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (server->clients[i].server)
			drop(&server->clients[i]);
	loop_remove(server->source);
	loop_remove(server->timer);
	if (server->path)
		unlink(server->path);
	close(server->fd);
	free(server->path);
	free(server);
}
