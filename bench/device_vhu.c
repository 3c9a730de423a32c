/* SPDX-License-Identifier: MIT */
/* The device side by libvhu, through its public headers, as a switch with one thread would use it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vhu/backend.h>
#include <vhu/net.h>

#include "device.h"
#include "guest.h"

enum {
	PIECE = 4096, /* of a frame of 64 KiB behind its head: a page of a guest */
	PIECES = 17,
};

static struct {
	struct vhu_domain *domain;
	struct vhu_backend *backend[DEVICE_PORTS];
	struct vhu_net_burst *burst;
	unsigned int size; /* frames in a burst */
	bool quiet[DEVICE_PORTS];
	/* Frames to give: heads apart, as those of a pulled burst are. */
	struct vhu_net_frame frames[VHU_NET_BURST];
	struct iovec iov[VHU_NET_BURST][PIECES];
	uint8_t heads[VHU_NET_BURST][VHU_NET_HEAD_MAX];
	uint8_t *bytes;
} dev;

static void lay_out(struct vhu_net_frame *frame, unsigned int i, uint32_t len, bool tso)
{
	uint8_t *bytes = dev.bytes + (size_t)i * VHU_NET_FRAME_MAX;
	uint32_t at = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;

	guest_make_frame(bytes, len, tso);
	memcpy(dev.heads[i], bytes, at);
	*frame = (struct vhu_net_frame){ .hdr = guest_frame_hdr(tso),
					 .len = len,
					 .head_len = (uint16_t)at,
					 .head = dev.heads[i],
					 .iov = dev.iov[i] };
	while (at < len) {
		const uint32_t n = len - at < PIECE ? len - at : PIECE;

		dev.iov[i][frame->nr_iov++] = (struct iovec){ bytes + at, n };
		at += n;
	}
}

int device_open(const struct device_options *options, const char *const paths[DEVICE_PORTS])
{
	struct vhu_backend_options o = {
		.size = sizeof(o),
		.nr_rings = 2,
		.queue_num = 1,
		.features = options->features | VHU_BACKEND_RING_FEATURES,
		.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES,
	};
	int err = vhu_domain_new(&dev.domain);

	if (!err)
		err = vhu_net_burst_new(&dev.burst);
	o.domain = dev.domain;
	for (unsigned int i = 0; i < DEVICE_PORTS && !err; i++) {
		err = vhu_backend_new(&dev.backend[i], &o);
		if (!err)
			err = vhu_backend_listen(dev.backend[i], paths[i], 0600, NULL);
	}
	dev.bytes = calloc(VHU_NET_BURST, VHU_NET_FRAME_MAX);
	if (!err && !dev.bytes)
		err = -ENOMEM;
	if (err)
		return err;
	dev.size = options->burst;
	for (unsigned int i = 0; i < VHU_NET_BURST; i++)
		lay_out(&dev.frames[i], i, options->frame_len, options->tso);
	return 0;
}

int device_look(void)
{
	int running = 1;

	for (unsigned int i = 0; i < DEVICE_PORTS; i++) {
		const int err = vhu_backend_process(dev.backend[i]);

		if (err)
			return err;
		for (unsigned int ring = 0; ring < 2; ring++) {
			struct vhu_queue *queue = vhu_backend_queue(dev.backend[i], ring);

			if (vhu_backend_ring_state(dev.backend[i], ring) !=
			    VHU_RING_STARTED_ENABLED)
				running = 0;
			else
				vhu_queue_disarm(queue);
		}
	}
	return running;
}

void device_close(void)
{
	for (unsigned int i = 0; i < DEVICE_PORTS; i++)
		vhu_backend_free(dev.backend[i]);
	vhu_net_burst_free(dev.burst);
	vhu_domain_free(dev.domain);
	free(dev.bytes);
}

void device_prepare(bool give)
{
	(void)give;
}

void device_clean(void)
{
}

__attribute__((noinline)) unsigned int device_take(unsigned int port)
{
	struct vhu_queue *tx = vhu_backend_queue(dev.backend[port], 1);
	const int nr = vhu_net_pull(tx, dev.burst, dev.size);

	vhu_net_done(tx, dev.burst);
	return nr < 0 ? 0 : (unsigned int)nr;
}

static int push(struct vhu_queue *rx, const struct vhu_net_frame *frames, unsigned int nr)
{
	const struct vhu_net_frame *list[VHU_NET_BURST];

	for (unsigned int i = 0; i < nr; i++)
		list[i] = &frames[i];
	return vhu_net_push_burst(rx, list, nr);
}

__attribute__((noinline)) unsigned int device_give(unsigned int port)
{
	struct vhu_queue *rx = vhu_backend_queue(dev.backend[port], 0);
	const int nr = push(rx, dev.frames, dev.size);

	return vhu_net_commit(rx) == 0 && nr > 0 ? (unsigned int)nr : 0;
}

__attribute__((noinline)) unsigned int device_forward(unsigned int from, unsigned int to)
{
	struct vhu_queue *tx = vhu_backend_queue(dev.backend[from], 1);
	struct vhu_queue *rx = vhu_backend_queue(dev.backend[to], 0);
	const struct vhu_net_frame *frames = vhu_net_burst_frames(dev.burst);
	const int pulled = vhu_net_pull(tx, dev.burst, dev.size);
	int nr = pulled > 0 ? push(rx, frames, (unsigned int)pulled) : 0;

	if (vhu_net_is_poisoned(tx) || vhu_net_commit(rx) != 0)
		nr = 0;
	vhu_net_done(tx, dev.burst);
	return nr > 0 ? (unsigned int)nr : 0;
}
