/* SPDX-License-Identifier: MIT */
/* Two sockets joined, with a bound on what waits between; knows nothing of what messages mean. */
#include "trace/link.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	BURST = 32,	/* messages before the other sources get their turn */
	LAST_MS = 1000, /* that a side which reads slowly has for the last messages */
};

static void on_ready(void *arg, uint32_t events);

static struct link_end *other(struct link_end *end)
{
	return &end->link->ends[end->side == TRACE_FRONTEND ? TRACE_BACKEND : TRACE_FRONTEND];
}

/*
 * Not read while the other side has not taken what came before, so that nothing piles up here. An
 * end that is not watched for anything is taken out of the loop: a hang-up would be reported again
 * and again.
 */
static void watch(struct link_end *end)
{
	struct link *link = end->link;
	uint32_t events = 0;

	if (!link->is_ending && !vhu_sock_has_unsent(other(end)->sock))
		events |= EPOLLIN;
	if (vhu_sock_has_unsent(end->sock) && !(link->is_ending && link->ended_by == end->side))
		events |= EPOLLOUT;
	if (!events) {
		loop_remove(end->source);
		end->source = NULL;
	} else if (end->source) {
		loop_set_events(end->source, events);
	} else {
		loop_add_fd(link->loop, vhu_sock_fd(end->sock), events, on_ready, end,
			    &end->source);
	}
}

static void finish(struct link *link)
{
	link->ops->ended(link, link->ended_by, link->reason.text);
}

static void on_last_moment(void *arg)
{
	finish(arg);
}

/* One side is over. What it sent before still goes to the other, if that takes it soon. */
static void end_link(struct link_end *end, const char *reason)
{
	struct link *link = end->link;

	if (link->is_ending) { /* the other has gone too */
		finish(link);
		return;
	}
	link->is_ending = true;
	link->ended_by = end->side;
	snprintf(link->reason.text, sizeof(link->reason.text), "%s", reason);
	watch(end);
	if (vhu_sock_flush(other(end)->sock) == 1 &&
	    !loop_add_timer(link->loop, on_last_moment, link, &link->timer)) {
		loop_set_timer(link->timer, LAST_MS * LOOP_MS, 0);
		watch(other(end));
		return;
	}
	finish(link);
}

/* True if the link is still there. */
static bool pass(struct link_end *end, struct vhu_msg *msg)
{
	struct link *link = end->link;
	struct link_end *to = other(end);
	struct vhu_reason why;
	int err;

	if (!link->ops->message(link, end->side, msg)) {
		vhu_msg_close_fds(msg);
		return true;
	}
	err = vhu_sock_send(to->sock, msg);
	if (!err)
		link->ops->passed(link, end->side, msg);
	vhu_msg_close_fds(msg);
	if (!err)
		return true;
	vhu_refuse(&why, err, "it takes no more messages: %s", strerror(-err));
	end_link(to, why.text);
	return false;
}

static void note_partial(struct link_end *end)
{
	if (!vhu_sock_is_partial(end->sock)) {
		end->partial_ns = 0;
		end->partial_said = false;
	} else if (!end->partial_ns) {
		end->partial_ns = loop_now_ns();
	}
}

/* True if the link is still there. */
static bool read_from(struct link_end *end)
{
	struct vhu_reason why = { .text = "" };
	struct vhu_msg msg;

	for (int i = 0; i < BURST && !vhu_sock_has_unsent(other(end)->sock); i++) {
		int got = vhu_sock_recv(end->sock, &msg, &why);

		if (got == 0)
			break;
		if (got < 0) {
			if (!why.text[0])
				vhu_refuse(&why, got, "%s", strerror(-got));
			end_link(end, got == -ECONNRESET ? "" : why.text);
			return false;
		}
		if (!pass(end, &msg))
			return false;
	}
	note_partial(end);
	return true;
}

static void on_ready(void *arg, uint32_t events)
{
	struct link_end *end = arg;
	struct link *link = end->link;

	if (vhu_sock_has_unsent(end->sock)) {
		int err = vhu_sock_flush(end->sock);

		if (err < 0) {
			end_link(end, "");
			return;
		}
		if (err == 0 && link->is_ending) {
			finish(link);
			return;
		}
	}
	if (!link->is_ending && (events & ~(uint32_t)EPOLLOUT) && !read_from(end))
		return;
	watch(end);
	watch(other(end));
}

int link_open(struct link *link, struct loop *loop, enum vhu_channel channel,
	      const struct link_ops *ops, int take_frontend_fd, int take_backend_fd)
{
	int fds[2] = { take_frontend_fd, take_backend_fd }, err = 0;

	memset(link, 0, sizeof(*link));
	link->loop = loop;
	link->ops = ops;
	link->channel = channel;
	for (int i = 0; i < 2; i++) {
		int one = vhu_sock_new(&link->ends[i].sock, fds[i], channel, -1);

		link->ends[i].link = link;
		link->ends[i].side = (enum trace_side)i;
		if (one)
			err = one;
	}
	if (err) {
		link_close(link);
		return err;
	}
	watch(&link->ends[0]);
	watch(&link->ends[1]);
	return 0;
}

void link_close(struct link *link)
{
	loop_remove(link->timer);
	link->timer = NULL;
	for (int i = 0; i < 2; i++) {
		loop_remove(link->ends[i].source);
		link->ends[i].source = NULL;
		vhu_sock_free(link->ends[i].sock);
		link->ends[i].sock = NULL;
	}
}

bool link_all_read(const struct link *link, enum trace_side side)
{
	const struct vhu_sock *sock = link->ends[side].sock;
	int left = 0;

	return !vhu_sock_has_unsent(sock) && !ioctl(vhu_sock_fd(sock), SIOCOUTQ, &left) &&
	       left == 0;
}
