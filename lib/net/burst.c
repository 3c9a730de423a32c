/* SPDX-License-Identifier: MIT */
/*
 * Frames out of a transmit ring, a burst at a time: taken, walked, judged, given back in order.
 * Knows nothing of where they go.
 */
#include <vhu/net.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/fd.h>
#include <net/virtio_hdr.h>
#include <ring/ring.h>

enum {
	IOV_POOL = 4096,
	MIN_FRAME = 14, /* an Ethernet header */
	/* A ring that is started and not yet enabled is left alone for so long: what came before
	 * ENABLE is then forwarded, and only what stays disabled is taken and dropped. */
	ENABLE_GRACE_NS = 20 * 1000 * 1000,
};

struct vhu_net_burst {
	const struct vhu_view *view; /* of the last pull; NULL: nothing to give back */
	uint32_t run;		     /* of the queue, at that pull */
	unsigned int nr_iov;
	uint32_t drops[VHU_NET_DROP_END];
	struct vhu_net_frame frames[VHU_NET_BURST];
	uint8_t heads[VHU_NET_BURST][VHU_NET_HEAD_ROOM + VHU_NET_HEAD_MAX];
	struct vhu_seg segs[VHU_CHAIN_MAX];
	struct iovec iov[IOV_POOL];
};

int vhu_net_burst_new(struct vhu_net_burst **ret_burst)
{
	struct vhu_net_burst *burst = calloc(1, sizeof(*burst));

	if (!burst)
		return -ENOMEM;
	*ret_burst = burst;
	return 0;
}

void vhu_net_burst_free(struct vhu_net_burst *burst)
{
	free(burst);
}

struct vhu_net_frame *vhu_net_burst_frames(struct vhu_net_burst *burst)
{
	return burst->frames;
}

const uint32_t *vhu_net_burst_drops(const struct vhu_net_burst *burst)
{
	return burst->drops;
}

/* A position in the pieces of a chain. */
struct cursor {
	const struct vhu_seg *seg;
	uint32_t off;
};

/* Copies len bytes, which the chain is known to have, into private memory. */
static VHU_ALWAYS_INLINE void gather(struct cursor *c, void *to, uint32_t len)
{
	uint8_t *at = to;

	while (len) {
		uint32_t part = vhu_min_u32(len, c->seg->len - c->off);

		memcpy(at, c->seg->host + c->off, part);
		at += part;
		len -= part;
		c->off += part;
		if (c->off == c->seg->len) {
			c->seg++;
			c->off = 0;
		}
	}
}

/* Makes frame number i of the burst out of a chain; the drop cause, or VHU_NET_DROP_END. */
static enum vhu_net_drop make_frame(struct vhu_net_burst *burst, unsigned int i,
				    const struct vhu_chain *chain)
{
	const struct vhu_view *view = burst->view;
	struct vhu_net_frame *frame = &burst->frames[i];
	struct cursor cursor = { .seg = burst->segs, .off = 0 };
	uint8_t *head = burst->heads[i] + VHU_NET_HEAD_ROOM;
	struct vhu_virtio_net_hdr raw;
	struct iovec *iov;
	uint32_t left;

	if (chain->nr_write)
		return VHU_NET_DROP_BAD_CHAIN;
	if (chain->read_len < view->hdr_len || chain->read_len - view->hdr_len < MIN_FRAME)
		return VHU_NET_DROP_SHORT;
	frame->len = chain->read_len - view->hdr_len;
	if (frame->len > VHU_NET_FRAME_MAX || chain->nr_read > VHU_NET_IOV_MAX)
		return VHU_NET_DROP_LONG;
	gather(&cursor, &raw, view->hdr_len);
	vhu_virtio_hdr_unpack(&raw, &frame->hdr);
	frame->head_len = (uint16_t)vhu_min_u32(frame->len, VHU_NET_HEAD_MAX);
	gather(&cursor, head, frame->head_len);
	frame->head = head;
	if (vhu_net_hdr_check(&frame->hdr, frame->len, view->features, NULL))
		return VHU_NET_DROP_BAD_HDR;
	/* A driver cannot vouch for a checksum (virtio 1.2, 5.1.6.2.1): the receiver would believe. */
	frame->hdr.flags &= VHU_NET_HDR_NEEDS_CSUM;
	iov = &burst->iov[burst->nr_iov];
	frame->iov = iov;
	for (left = frame->len - frame->head_len; left; cursor.seg++, cursor.off = 0) {
		uint32_t part = cursor.seg->len - cursor.off;

		iov->iov_base = cursor.seg->host + cursor.off;
		iov->iov_len = part;
		iov++;
		left -= part;
	}
	frame->nr_iov = (uint16_t)(iov - frame->iov);
	burst->nr_iov += frame->nr_iov;
	return VHU_NET_DROP_END;
}

/* Takes everything there is, and keeps nothing: a ring that stays disabled. */
static int take_and_drop(struct vhu_queue *q, struct vhu_net_burst *burst, unsigned int max)
{
	const struct vhu_view *view = burst->view;
	uint32_t steps = 0;

	for (uint32_t i = 0; i < max && steps <= VHU_STEPS_MAX; i++) {
		struct vhu_chain chain;
		int taken = vhu_ring_take(q, view, burst->segs, VHU_CHAIN_MAX, &chain);

		if (!taken)
			break;
		if (taken < 0)
			return -ENOTCONN;
		vhu_ring_return(q, &chain, 0);
		steps += chain.steps;
		burst->drops[VHU_NET_DROP_DISABLED]++;
	}
	return 0;
}

int vhu_net_pull(struct vhu_queue *queue, struct vhu_net_burst *burst, unsigned int max)
{
	const struct vhu_view *view = vhu_queue_view(queue);
	unsigned int nr = 0;
	uint32_t steps = 0;

	memset(burst->drops, 0, sizeof(burst->drops));
	burst->nr_iov = 0;
	burst->view = view;
	burst->run = vhu_load_acquire(&queue->run);
	if (!view)
		return -ENOTCONN;
	max = vhu_min_u32(vhu_min_u32(max, VHU_NET_BURST), queue->shadow_max);
	if (vhu_unlikely(!view->enabled)) {
		if (vhu_now_ns() - view->born_ns < ENABLE_GRACE_NS)
			return -EAGAIN;
		return take_and_drop(queue, burst, max);
	}
	for (uint32_t i = 0; i < max; i++) {
		enum vhu_net_drop drop = VHU_NET_DROP_BAD_CHAIN;
		struct vhu_chain chain;

		if (burst->nr_iov > IOV_POOL - VHU_NET_IOV_MAX || steps > VHU_STEPS_MAX)
			break; /* the rest with the next pull */
		if (vhu_ring_take(queue, view, burst->segs, VHU_CHAIN_MAX, &chain) <= 0)
			break;
		vhu_ring_return(queue, &chain, 0);
		steps += chain.steps;
		if (vhu_likely(!chain.fault))
			drop = make_frame(burst, nr, &chain);
		else
			vhu_ring_bad_chain(queue, chain.fault, chain.value);
		if (vhu_likely(drop == VHU_NET_DROP_END))
			nr++;
		else
			burst->drops[drop]++;
	}
	return (int)nr;
}

bool vhu_net_is_poisoned(const struct vhu_queue *queue)
{
	return vhu_unlikely(vhu_load_acquire(queue->poisoned));
}

/*
 * The view to give a burst back by: the newest, or, while the ring is being stopped, that of the
 * pull. NULL if the ring was stopped since: the burst is over, and its memory may be gone.
 */
static const struct vhu_view *burst_view(const struct vhu_queue *queue,
					 const struct vhu_net_burst *burst)
{
	const struct vhu_view *view = vhu_load_acquire(&queue->view);

	if (!burst->view || vhu_load_acquire(&queue->run) != burst->run)
		return NULL;
	return view ? view : burst->view;
}

void vhu_net_done(struct vhu_queue *queue, struct vhu_net_burst *burst)
{
	const struct vhu_view *view = burst_view(queue, burst);

	burst->view = NULL;
	if (!view || vhu_read_once(&queue->fault))
		return;
	if (vhu_net_is_poisoned(queue)) {
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
		return;
	}
	vhu_ring_publish(queue, view);
	/* the used ring itself may be what vanished */
	if (vhu_net_is_poisoned(queue))
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
}
