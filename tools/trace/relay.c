/* SPDX-License-Identifier: MIT */
/* One frontend and one backend joined, and what passes between them told; knows nothing of paths. */
#include "trace/relay.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "trace/asked.h"
#include "trace/fds.h"
#include "trace/link.h"
#include "trace/show.h"
#include "trace/steps.h"

enum {
	LONG_MS = 1000
}; /* what is waited for this long is said */

struct relay {
	struct relay_options options;
	struct loop_source *tick;
	bool ticking;
	struct link main, back; /* back: the backend's channel, if there is one */
	struct asked asked[2];	/* [enum vhu_channel] */
	struct steps steps;
	uint64_t protocol_features;
	uint64_t seq; /* of the frontend's last request */
	unsigned long nr_messages, nr_violations;
	bool is_fruitful;
	bool table_came_back; /* postcopy: the frontend acknowledges that */

	/* The message at hand, from its coming in to its having been passed on. */
	struct trace_record now;
	struct asked_one asked_by;
	bool is_answer;
	unsigned int nr_skipped;
	struct vhu_reason why;
	char fds[VHU_MSG_MAX_FDS][TRACE_FD_TEXT];
};

static uint64_t since_start(const struct relay *relay)
{
	return loop_now_ns() - relay->options.start_ns;
}

static void emit(void *arg, struct trace_record *record)
{
	struct relay *relay = arg;

	if (!record->time_ns)
		record->time_ns = relay->now.time_ns;
	relay->options.emit(relay->options.arg, record);
}

static void VHU_PRINTF(2, 3) say(struct relay *relay, const char *fmt, ...)
{
	char text[256];
	struct trace_record record = {
		.kind = TRACE_NOTE, .side = TRACE_PROXY, .ring = -1, .us = -1, .text = text
	};
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	emit(relay, &record);
}

static const char *name_of_side(enum trace_side side)
{
	return side == TRACE_FRONTEND ? "the frontend" : "the backend";
}

/* ---- Time ---- */

static bool is_waiting(const struct relay *relay)
{
	const struct link *links[2] = { &relay->main, &relay->back };

	for (int i = 0; i < 2; i++) {
		if (relay->asked[i].nr && !relay->asked[i].list[0].said)
			return true;
		for (int side = 0; side < 2; side++)
			if (links[i]->ends[side].partial_ns && !links[i]->ends[side].partial_said)
				return true;
	}
	return steps_wait_for_time(&relay->steps);
}

/* The timer runs only while there is something that time can tell. */
static void set_tick(struct relay *relay)
{
	bool wanted = is_waiting(relay);

	if (wanted == relay->ticking)
		return;
	relay->ticking = wanted;
	loop_set_timer(relay->tick, wanted ? STEPS_TICK_MS * LOOP_MS : 0, STEPS_TICK_MS * LOOP_MS);
}

static void say_partial(struct relay *relay, struct link *link)
{
	for (int side = 0; side < 2; side++) {
		struct link_end *end = &link->ends[side];

		if (!end->partial_ns || end->partial_said ||
		    loop_now_ns() - end->partial_ns < LONG_MS * LOOP_MS)
			continue;
		end->partial_said = true;
		say(relay, "%s has begun a message and not ended it for 1 s",
		    name_of_side(end->side));
	}
}

static void say_unanswered(struct relay *relay, enum vhu_channel channel)
{
	struct asked *asked = &relay->asked[channel];
	char name[48];

	if (!asked->nr || asked->list[0].said ||
	    relay->now.time_ns - asked->list[0].time_ns < LONG_MS * LOOP_MS)
		return;
	asked->list[0].said = true;
	say(relay, "%s has not been replied to for 1 s",
	    show_name(name, sizeof(name), channel, asked->list[0].request));
}

static void on_tick(void *arg)
{
	struct relay *relay = arg;

	relay->now.time_ns = since_start(relay);
	steps_on_time(&relay->steps, link_all_read(&relay->main, TRACE_BACKEND),
		      relay->now.time_ns);
	say_unanswered(relay, VHU_CHANNEL_MAIN);
	say_unanswered(relay, VHU_CHANNEL_BACKEND);
	say_partial(relay, &relay->main);
	say_partial(relay, &relay->back);
	set_tick(relay);
}

/* ---- Messages ---- */

/* Who asks on a channel. */
static enum trace_side asker(enum vhu_channel channel)
{
	return channel == VHU_CHANNEL_MAIN ? TRACE_FRONTEND : TRACE_BACKEND;
}

static void judge(struct relay *relay, const struct vhu_msg *msg)
{
	struct trace_record *now = &relay->now;
	bool is_answerer = now->side != asker(now->channel);
	int err = vhu_wire_check(now->channel, msg, is_answerer, relay->protocol_features,
				 VHU_MAX_RINGS, &relay->why);

	if (now->channel == VHU_CHANNEL_MAIN && msg->hdr.request == VHU_SET_MEM_TABLE) {
		if (relay->table_came_back && !is_answerer && msg->hdr.size == sizeof(msg->u64))
			err = 0;
		relay->table_came_back = is_answerer && msg->hdr.size > sizeof(msg->u64);
	}
	/*
	 * A number that we do not know may well be known to the two. A feature that was not agreed
	 * is the asker's fault and has been named.
	 */
	if (err && err != -EOPNOTSUPP && !(err == -EACCES && is_answerer))
		now->text = relay->why.text;
	else if (now->is_reply && is_answerer && !relay->is_answer) {
		vhu_refuse(&relay->why, 0, "nobody waits for this reply");
		now->text = relay->why.text;
	}
	relay->nr_messages++;
	relay->nr_violations += now->text != NULL;
}

static const struct link_ops back_ops;

/* Puts ourselves between: the backend gets an end of a socket pair of ours. */
static void split_channel(struct relay *relay, struct vhu_msg *msg)
{
	int pair[2], fd, type = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (msg->nr_fds != 1)
		return;
	if (getsockopt(msg->fds[0], SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(msg->fds[0], SOL_SOCKET, SO_TYPE, &type, &len) < 0 || domain != AF_UNIX ||
	    type != SOCK_STREAM)
		return; /* the backend's affair */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return;
	fd = vhu_msg_take_fd(msg, 0);
	msg->fds[0] = pair[1];
	link_close(&relay->back);
	relay->asked[VHU_CHANNEL_BACKEND].nr = 0;
	link_open(&relay->back, relay->options.loop, VHU_CHANNEL_BACKEND, &back_ops, fd, pair[0]);
}

static void on_request_in(struct relay *relay, struct vhu_msg *msg)
{
	if (relay->now.channel == VHU_CHANNEL_MAIN) {
		relay->seq++;
		if (msg->hdr.request == VHU_SET_PROTOCOL_FEATURES &&
		    msg->hdr.size == sizeof(msg->u64))
			relay->protocol_features = msg->u64;
		if (msg->hdr.request == VHU_SET_BACKEND_REQ_FD)
			split_channel(relay, msg);
	}
	if (vhu_wire_wants_reply(relay->now.channel, msg, relay->protocol_features))
		asked_add(&relay->asked[relay->now.channel], relay->now.channel, msg, relay->seq,
			  relay->now.time_ns);
}

static bool on_message(struct relay *relay, enum vhu_channel channel, enum trace_side side,
		       struct vhu_msg *msg)
{
	struct trace_record *now = &relay->now;

	*now = (struct trace_record){
		.kind = TRACE_MESSAGE,
		.time_ns = since_start(relay),
		.side = side,
		.channel = channel,
		.is_reply = msg->hdr.flags & VHU_MSG_REPLY,
		.ring = vhu_wire_ring(channel, msg),
		.us = -1,
	};
	if (now->ring >= VHU_MAX_RINGS)
		now->ring = -1;
	if (channel == VHU_CHANNEL_MAIN && side == TRACE_BACKEND)
		relay->is_fruitful = true;
	for (unsigned int i = 0; i < msg->nr_fds; i++)
		fds_describe(msg->fds[i], relay->fds[i]);
	relay->is_answer = now->is_reply && side != asker(channel) &&
			   asked_take(&relay->asked[channel], msg->hdr.request, &relay->asked_by,
				      &relay->nr_skipped);
	if (relay->is_answer) {
		now->us = (int64_t)((now->time_ns - relay->asked_by.time_ns) / 1000);
		if (now->ring < 0)
			now->ring = relay->asked_by.ring;
	}
	judge(relay, msg);
	if (!now->is_reply && side == asker(channel))
		on_request_in(relay, msg);
	return true;
}

static void on_passed(struct relay *relay, enum vhu_channel channel, enum trace_side side,
		      const struct vhu_msg *msg)
{
	struct trace_record now = relay->now;

	if (relay->is_answer && relay->nr_skipped)
		say(relay, "%u earlier request%s got no reply", relay->nr_skipped,
		    relay->nr_skipped == 1 ? "" : "s");
	now.msg = msg;
	now.fds = (const char(*)[TRACE_FD_TEXT])relay->fds;
	emit(relay, &now);
	if (channel == VHU_CHANNEL_MAIN) {
		if (side == TRACE_FRONTEND && !now.is_reply) {
			steps_on_request(&relay->steps, msg, relay->seq, now.time_ns);
		} else if (relay->is_answer) {
			struct steps_request request = {
				.request = relay->asked_by.request,
				.seq = relay->asked_by.seq,
				.ring = relay->asked_by.ring,
				.num = relay->asked_by.num,
			};

			steps_on_reply(&relay->steps, &request, msg, now.time_ns);
		}
	}
	relay->is_answer = false;
	set_tick(relay);
}

/* ---- The two links ---- */

static struct relay *relay_of_main(struct link *link)
{
	return (struct relay *)(void *)((char *)link - offsetof(struct relay, main));
}

static struct relay *relay_of_back(struct link *link)
{
	return (struct relay *)(void *)((char *)link - offsetof(struct relay, back));
}

static bool main_message(struct link *link, enum trace_side side, struct vhu_msg *msg)
{
	return on_message(relay_of_main(link), VHU_CHANNEL_MAIN, side, msg);
}

static void main_passed(struct link *link, enum trace_side side, const struct vhu_msg *msg)
{
	on_passed(relay_of_main(link), VHU_CHANNEL_MAIN, side, msg);
}

static bool back_message(struct link *link, enum trace_side side, struct vhu_msg *msg)
{
	return on_message(relay_of_back(link), VHU_CHANNEL_BACKEND, side, msg);
}

static void back_passed(struct link *link, enum trace_side side, const struct vhu_msg *msg)
{
	on_passed(relay_of_back(link), VHU_CHANNEL_BACKEND, side, msg);
}

static void say_closed(struct relay *relay, enum trace_side side, const char *reason)
{
	const struct asked *asked = &relay->asked[VHU_CHANNEL_MAIN];
	char text[512], name[48], waiting[96] = "";
	struct trace_record record = {
		.kind = TRACE_CLOSED, .side = side, .ring = -1, .us = -1, .text = text
	};

	if (asked->nr)
		snprintf(waiting, sizeof(waiting), ", %s without its reply",
			 show_name(name, sizeof(name), VHU_CHANNEL_MAIN, asked->list[0].request));
	snprintf(text, sizeof(text), "%s; %lu messages, %lu against the protocol%s", reason,
		 relay->nr_messages, relay->nr_violations, waiting);
	relay->now.time_ns = since_start(relay);
	emit(relay, &record);
}

static void main_ended(struct link *link, enum trace_side side, const char *reason)
{
	struct relay *relay = relay_of_main(link);
	char text[256];

	if (*reason)
		snprintf(text, sizeof(text), "%s cannot be followed any more: %s",
			 name_of_side(side), reason);
	else
		snprintf(text, sizeof(text), "%s closed the connection", name_of_side(side));
	say_closed(relay, side, text);
	relay->options.ended(relay->options.arg, relay->is_fruitful);
}

static void back_ended(struct link *link, enum trace_side side, const char *reason)
{
	struct relay *relay = relay_of_back(link);

	relay->now.time_ns = since_start(relay);
	say(relay, "the backend's channel is closed by %s%s%s", name_of_side(side),
	    *reason ? ": " : "", reason);
	link_close(link);
	relay->asked[VHU_CHANNEL_BACKEND].nr = 0;
}

static const struct link_ops main_ops = {
	.message = main_message,
	.passed = main_passed,
	.ended = main_ended,
};

static const struct link_ops back_ops = {
	.message = back_message,
	.passed = back_passed,
	.ended = back_ended,
};

int relay_new(struct relay **ret_relay, const struct relay_options *options)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	int err;

	if (!relay) {
		close(options->take_frontend_fd);
		close(options->take_backend_fd);
		return -ENOMEM;
	}
	relay->options = *options;
	steps_begin(&relay->steps, emit, relay);
	err = link_open(&relay->main, options->loop, VHU_CHANNEL_MAIN, &main_ops,
			options->take_frontend_fd, options->take_backend_fd);
	if (!err)
		err = loop_add_timer(options->loop, on_tick, relay, &relay->tick);
	if (err) {
		relay_free(relay);
		return err;
	}
	*ret_relay = relay;
	return 0;
}

void relay_free(struct relay *relay)
{
	if (!relay)
		return;
	loop_remove(relay->tick);
	link_close(&relay->back);
	link_close(&relay->main);
	free(relay);
}

void relay_stop(struct relay *relay)
{
	say_closed(relay, TRACE_PROXY, "this program ends");
}
