/* SPDX-License-Identifier: MIT */
/*
 * One request at a time: judged by its row, handled, held until readers have let go of what it
 * replaced, answered. Knows no request by name but through the tables.
 */
#include <backend/device.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/fd.h>

void vhu_be_emit(struct vhu_backend *be, enum vhu_event_kind kind, const struct vhu_msg *msg,
		 int ring, const char *text)
{
	struct vhu_event event = { .kind = (uint8_t)kind,
				   .ring = (int16_t)ring,
				   .request = msg ? msg->hdr.request : 0,
				   .msg = msg,
				   .text = text };

	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): msg within be is not NULL because be is not */
	if (!be->ops.event)
		return;
	event.time_ns = vhu_now_ns();
	be->ops.event(be->arg, &event);
}

static const struct handler *find_handler(uint32_t request)
{
	const struct handler *h = vhu_be_device_handler(request);

	if (!h)
		h = vhu_be_memory_handler(request);
	if (!h)
		h = vhu_be_vring_handler(request);
	if (!h)
		h = vhu_be_inflight_handler(request);
	return h;
}

static int send_reply(struct vhu_backend *be, const struct vhu_msg *reply, struct vhu_reason *why)
{
	int err;

	vhu_be_emit(be, VHU_EVENT_REPLY_OUT, reply, vhu_wire_ring(VHU_CHANNEL_MAIN, &be->request),
		    NULL);
	err = vhu_sock_send(be->sock, reply);
	if (err)
		return vhu_refuse(why, err, "the reply to request %u cannot be sent: %s",
				  reply->hdr.request, strerror(-err));
	return 0;
}

/* Whether the plain u64 is sent after a request that has no payload of its own to reply. */
static bool wants_ack(const struct vhu_backend *be, const struct vhu_msg *msg)
{
	return vhu_wire_wants_reply(VHU_CHANNEL_MAIN, msg, be->protocol_features);
}

/*
 * A refused request changed nothing. Where the frontend waits for a plain acknowledgement it gets
 * an error and the connection goes on; where it waits for something that we cannot give, or for
 * nothing, it would go on in the belief that all is well: the connection is closed.
 */
static int refuse(struct vhu_backend *be, const struct vhu_msg *msg, int err,
		  struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, msg->hdr.request);
	/* SET_LOG_BASE has a reply that means success whatever it says */
	bool can_ack = wants_ack(be, msg) && (!row || row->reply == VHU_REPLY_ACK);
	struct vhu_msg reply;

	vhu_be_emit(be, VHU_EVENT_REFUSED, msg, vhu_wire_ring(VHU_CHANNEL_MAIN, msg), why->text);
	if (can_ack) {
		vhu_be_complain(be, why->text);
		vhu_msg_init_reply(&reply, msg, sizeof(uint64_t));
		reply.u64 = 1;
		return send_reply(be, &reply, why);
	}
	return err;
}

/* Reasons of the layers below name the thing and the rule; the message is named here. */
static void name_request(const struct vhu_request_row *row, struct vhu_reason *why)
{
	struct vhu_reason inner = *why;
	size_t len = strlen(row->name);

	if (strncmp(inner.text, row->name, len) != 0)
		snprintf(why->text, sizeof(why->text), "%s: %.*s", row->name,
			 (int)(sizeof(why->text) - len - 3), inner.text);
}

static int complete(struct vhu_backend *be, struct vhu_msg *msg, struct vhu_msg *reply,
		    struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, msg->hdr.request);
	int err = 0;

	if (row->reply == VHU_REPLY_ALWAYS || wants_ack(be, msg))
		err = send_reply(be, reply, why);
	/* sent, or copied for sending later */
	vhu_msg_close_fds(reply);
	return err;
}

int vhu_be_finish(struct vhu_backend *be, struct vhu_reason *why)
{
	const struct handler *h = find_handler(be->request.hdr.request);
	struct vhu_msg reply;

	if (be->refused) {
		int err = be->refused;

		be->refused = 0;
		*why = be->refused_why;
		return refuse(be, &be->request, err, why);
	}
	vhu_msg_init_reply(&reply, &be->request, sizeof(uint64_t));
	if (h && h->finish)
		h->finish(be, &be->request, &reply);
	return complete(be, &be->request, &reply, why);
}

static int handle(struct vhu_backend *be, struct vhu_reason *why)
{
	struct vhu_msg *msg = &be->request;
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, msg->hdr.request);
	const struct handler *h;
	struct vhu_msg reply;
	int err;

	err = vhu_wire_check(VHU_CHANNEL_MAIN, msg, false, be->protocol_features, be->nr_rings,
			     why);
	if (err == -EPROTO)
		return err; /* malformed: who knows what else is */
	if (err)
		return refuse(be, msg, err, why);
	h = row->flags & VHU_ROW_IMPLEMENTED ? find_handler(msg->hdr.request) : NULL;
	if (!h) {
		vhu_refuse(why, -EOPNOTSUPP, "%s: not supported by this backend", row->name);
		return refuse(be, msg, -EOPNOTSUPP, why);
	}
	vhu_msg_init_reply(&reply, msg, sizeof(uint64_t));
	err = h->handle(be, msg, &reply, why);
	if (err)
		name_request(row, why);
	if (err && !be->retired)
		return refuse(be, msg, err, why);
	be->refused = err;
	be->refused_why = *why;
	if (!err && !(row->flags & VHU_ROW_QUIET))
		return complete(be, msg, &reply, why);
	be->phase = PHASE_PARKED;
	return 0;
}

int vhu_be_dispatch(struct vhu_backend *be, struct vhu_reason *why)
{
	int err;

	vhu_be_emit(be, VHU_EVENT_REQUEST_IN, &be->request,
		    vhu_wire_ring(VHU_CHANNEL_MAIN, &be->request), NULL);
	err = handle(be, why);
	/* whatever no handler took is closed here, on every path */
	vhu_msg_close_fds(&be->request);
	return err;
}
