// SPDX-License-Identifier: MIT
/*
 * Frames in and out of one queue pair, as its driver or as its device; knows nothing of connections.
 */

#include "bench/lane.h"

#include <errno.h>
#include <string.h>

int lane_pull(struct lane *lane)
{
	int nr;

	if (!lane->is_up)
		return 0;
	if (!lane->is_device) {
		nr = vhu_net_rx_pull(lane->rx, LANE_BURST);
		lane->frames = vhu_net_rx_frames(lane->rx);
	} else {
		nr = vhu_net_pull(lane->in, lane->burst, LANE_BURST);
		lane->frames = vhu_net_burst_frames(lane->burst);
		for (int i = 0; i < VHU_NET_DROP_END; i++)
			lane->refused += vhu_net_burst_drops(lane->burst)[i];
		if (nr == -ENOTCONN)
			nr = 0;
	}
	if (nr > 0) {
		lane->nr = (unsigned int)nr;
		lane->done = 0;
		if (lane->skip) {
			lane->done = lane->skip < lane->nr ? lane->skip : lane->nr;
			lane->skip -= lane->done;
		}
		for (int i = 0; i < nr; i++)
			lane->received.bytes += lane->frames[i].len;
		lane->received.frames += (unsigned int)nr;
	} else {
		lane_done(lane);
	}
	return nr;
}

void lane_done(struct lane *lane)
{
	lane->nr = 0;
	lane->done = 0;
	if (lane->is_device)
		vhu_net_done(lane->in, lane->burst);
	else
		vhu_net_rx_done(lane->rx);
}

void lane_put_back(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr; i++)
		lane->received.bytes -= lane->frames[i].len;
	lane->received.frames -= lane->nr;
	lane->skip += lane->done;
	vhu_net_rewind(lane->in);
	lane_done(lane);
}

/* The frame that lies in buf, into the device's receive ring. */
static int push_bytes(struct lane *lane, const uint8_t *buf, uint32_t len)
{
	struct iovec rest = {
		.iov_base = (void *)(uintptr_t)(buf + VHU_NET_HEAD_MAX),
		.iov_len = len > VHU_NET_HEAD_MAX ? len - VHU_NET_HEAD_MAX : 0,
	};
	struct vhu_net_frame frame = {
		.hdr = lane->made_hdr,
		.len = len,
		.head_len = (uint16_t)(len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX),
		.nr_iov = len > VHU_NET_HEAD_MAX,
		.head = buf,
		.iov = &rest,
	};

	return lane_send_on(lane, &frame, false);
}

uint32_t lane_send_own(struct lane *lane)
{
	uint8_t *buf;
	uint32_t len;
	int err;

	if (!lane->is_up)
		return 0;
	buf = lane->is_device ? lane->stage : vhu_net_tx_buffer(lane->tx);
	if (!buf)
		return 0;
	if (!lane->made_len)
		lane->made_len = traffic_make(&lane->flow, buf, &lane->made_hdr);
	len = lane->made_len;
	if (lane->is_device) {
		err = push_bytes(lane, buf, len);
	} else {
		err = vhu_net_tx_send(lane->tx, &lane->made_hdr, len);
		if (!err) {
			lane->sent.frames++;
			lane->sent.bytes += len;
			lane->out_dirty = true;
		}
	}
	if (err == -ENOSPC || err == -ENOTCONN || err == -EPROTO)
		return 0;
	/* one that cannot be sent at all is gone: the next one may be shorter */
	if (err)
		lane->refused++;
	lane->made_len = 0;
	lane->sent_cells = lane->flow.next;
	return len;
}

static int push_piece(void *arg, const struct vhu_net_frame *frame)
{
	struct lane *lane = arg;
	int err;

	if (lane->is_device) {
		err = vhu_net_push(lane->out, frame);
		/* no more before what is there is given out: as with a full ring */
		err = err == -EAGAIN ? -ENOSPC : err;
	} else {
		uint8_t *buf = vhu_net_tx_buffer(lane->tx), *at = buf;

		if (!buf)
			return -ENOSPC;
		if (frame->len > lane->out_max)
			return -EMSGSIZE;
		memcpy(at, frame->head, frame->head_len);
		at += frame->head_len;
		for (unsigned int i = 0; i < frame->nr_iov; i++) {
			memcpy(at, frame->iov[i].iov_base, frame->iov[i].iov_len);
			at += frame->iov[i].iov_len;
		}
		err = vhu_net_tx_send(lane->tx, &frame->hdr, frame->len);
	}
	if (!err) {
		lane->out_dirty = true;
		lane->sent.frames++;
		lane->sent.bytes += frame->len;
	}
	return err;
}

int lane_send_on(struct lane *lane, const struct vhu_net_frame *frame, bool swap)
{
	struct vhu_net_frame swapped;
	uint8_t head[VHU_NET_HEAD_MAX];
	uint64_t before = lane->sent.frames;
	int err;

	if (!lane->is_up)
		return -ENOTCONN;
	if (swap) {
		swapped = *frame;
		swapped.head = head;
		memcpy(head, frame->head, frame->head_len);
		memcpy(head, frame->head + 6, 6);
		memcpy(head + 6, frame->head, 6);
		frame = &swapped;
	}
	if (vhu_net_fits(frame, lane->out_caps))
		return push_piece(lane, frame);
	err = vhu_net_fit(frame, lane->out_caps, push_piece, lane);
	/* once some of its segments are out it cannot be begun again */
	return err == -ENOSPC && lane->sent.frames != before ? -ENOBUFS : err;
}

void lane_flush(struct lane *lane, const struct lane *from)
{
	if (!lane->out_dirty || !lane->is_up)
		return;
	lane->out_dirty = false;
	if (!lane->is_device) {
		vhu_net_tx_publish(lane->tx);
		return;
	}
	/* what vanished under us while it was copied is nobody's frame */
	if (from && from->is_device && vhu_net_is_poisoned(from->in))
		vhu_net_rewind(lane->out);
	vhu_net_commit(lane->out);
}

bool lane_arm_in(struct lane *lane)
{
	if (!lane->is_up)
		return false;
	lane->in_armed = true;
	return lane->is_device ? vhu_queue_arm(lane->in) :
				 vhu_driver_arm(vhu_net_rx_driver(lane->rx));
}

bool lane_arm_out(struct lane *lane)
{
	if (!lane->is_up)
		return false;
	lane->out_armed = true;
	if (lane->is_device)
		return vhu_queue_arm(lane->out);
	return vhu_driver_arm(vhu_net_tx_driver(lane->tx));
}

void lane_disarm(struct lane *lane)
{
	bool in = lane->in_armed, out = lane->out_armed;

	lane->in_armed = false;
	lane->out_armed = false;
	if (!lane->is_up)
		return;
	if (in && lane->is_device)
		vhu_queue_disarm(lane->in);
	else if (in)
		vhu_driver_disarm(vhu_net_rx_driver(lane->rx));
	if (out && lane->is_device)
		vhu_queue_disarm(lane->out);
	else if (out)
		vhu_driver_disarm(vhu_net_tx_driver(lane->tx));
}

uint32_t lane_on_the_way(struct lane *lane)
{
	if (lane->is_device || !lane->is_up)
		return 0;
	vhu_net_tx_reclaim(lane->tx);
	return vhu_net_tx_outstanding(lane->tx);
}
