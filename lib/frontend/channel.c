/* SPDX-License-Identifier: MIT */
/*
 * The backend's own channel: its requests judged, served or refused by name. A backend that
 * misbehaves here loses the channel, and keeps the device.
 */
#include <frontend/device.h>

#include <errno.h>
#include <stdio.h>

enum {
	BUDGET = 16 /* requests for each call of process */
};

void vhu_fe_drop_channel(struct vhu_frontend *fe)
{
	if (!fe->channel)
		return;
	vhu_fe_unwatch(fe, vhu_sock_fd(fe->channel));
	vhu_sock_free(fe->channel);
	fe->channel = NULL;
}

static int serve(struct vhu_frontend *fe, const struct vhu_msg *msg, struct vhu_reason *why)
{
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_BACKEND, msg->hdr.request);
	int err = vhu_wire_check(VHU_CHANNEL_BACKEND, msg, false, fe->protocol_features,
				 fe->nr_rings, why);

	if (err)
		return err;
	if (msg->hdr.request != VHU_BACKEND_CONFIG_CHANGE)
		return vhu_refuse(why, -EOPNOTSUPP, "%s: not supported by this frontend",
				  row->name);
	if (fe->ops.config_changed)
		fe->ops.config_changed(fe->arg);
	return 0;
}

static int answer(struct vhu_frontend *fe, const struct vhu_msg *msg, int err)
{
	struct vhu_msg reply;

	if (!fe->channel || !vhu_wire_wants_reply(VHU_CHANNEL_BACKEND, msg, fe->protocol_features))
		return 0;
	vhu_msg_init_reply(&reply, msg, sizeof(uint64_t));
	reply.u64 = err ? 1 : 0;
	vhu_fe_emit(fe, VHU_EVENT_REPLY_OUT, &reply, -1, NULL);
	return vhu_sock_send(fe->channel, &reply);
}

void vhu_fe_read_channel(struct vhu_frontend *fe)
{
	struct vhu_reason why;
	struct vhu_msg msg;

	for (int i = 0; i < BUDGET && fe->channel; i++) {
		int got, err;

		why.text[0] = 0;
		got = vhu_sock_recv(fe->channel, &msg, &why);
		if (!got)
			return;
		if (got < 0) {
			if (got != -ECONNRESET)
				vhu_fe_complain(fe, why.text);
			vhu_fe_drop_channel(fe);
			return;
		}
		vhu_fe_emit(fe, VHU_EVENT_REQUEST_IN, &msg, -1, NULL);
		err = serve(fe, &msg, &why);
		vhu_msg_close_fds(&msg);
		if (err) {
			vhu_fe_emit(fe, VHU_EVENT_REFUSED, &msg, -1, why.text);
			vhu_fe_complain(fe, why.text);
		}
		/* a malformed one: who knows what comes next; a backend that does not read: no more */
		if (err == -EPROTO || answer(fe, &msg, err) < 0)
			vhu_fe_drop_channel(fe);
	}
}
