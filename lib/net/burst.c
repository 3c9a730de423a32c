/* SPDX-License-Identifier: MIT */
/*
 * Frames out of a transmit ring, a burst at a time: taken, walked, judged, given back in order.
 * Knows nothing of where they go.
 */
#include <vhu/net.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/copy.h>
#include <base/fd.h>
#include <net/virtio_hdr.h>
#include <ring/ring.h>

enum {
	IOV_POOL = 4096,
	MIN_FRAME = 14, /* an Ethernet header */
	/* Of a frame without offloads: Ethernet, two tags, the longest headers of IPv4 and TCP. */
	PLAIN_HEAD = 144,
	HDR_READ = 10, /* of the net header: num_buffers says nothing here */
	/* A ring that is started and not yet enabled is left alone for so long: what came before
	 * ENABLE is then forwarded, and only what stays disabled is taken and dropped. */
	ENABLE_GRACE_NS = 20 * 1000 * 1000,
};

struct head {
	uint8_t room[VHU_NET_HEAD_ROOM];
	uint8_t bytes[VHU_NET_HEAD_MAX];
};

struct vhu_net_burst {
	const struct vhu_view *view; /* of the last pull; NULL: nothing to give back */
	uint32_t run;		     /* of the queue, at that pull */
	unsigned int nr_iov;
	uint32_t drops[VHU_NET_DROP_END];
	struct vhu_net_frame frames[VHU_NET_BURST];
	struct head heads[VHU_NET_BURST];
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

		vhu_copy(at, c->seg->host + c->off, part);
		at += part;
		len -= part;
		c->off += part;
		if (c->off == c->seg->len) {
			c->seg++;
			c->off = 0;
		}
	}
}

/*
 * Judges the copy of a net header, and says how much of the frame's beginning is wanted as a copy
 * too; 0 if the header cannot be.
 */
static VHU_ALWAYS_INLINE uint32_t judge_hdr(const struct vhu_view *view,
					    struct vhu_net_frame *frame)
{
	struct vhu_net_hdr *hdr = &frame->hdr;
	bool is_plain = !(hdr->flags & VHU_NET_HDR_NEEDS_CSUM) && !hdr->gso_type;

	if (vhu_unlikely(!is_plain) && vhu_net_hdr_check(hdr, frame->len, view->features, NULL))
		return 0;
	/* A driver cannot vouch for a checksum (virtio 1.2, 5.1.6.2.1): the receiver would believe. */
	hdr->flags &= VHU_NET_HDR_NEEDS_CSUM;
	return vhu_min_u32(frame->len, is_plain ? PLAIN_HEAD : VHU_NET_HEAD_MAX);
}

/* What a frame is made of, and where it is made. */
struct mould {
	struct vhu_net_frame *frame;
	struct head *head;
	struct iovec *iov; /* nr_iov of them will be used */
};

static struct mould next_mould(struct vhu_net_burst *burst, unsigned int nr)
{
	return (struct mould){ &burst->frames[nr], &burst->heads[nr], &burst->iov[burst->nr_iov] };
}

/* Makes a frame out of pieces that hold len bytes; the drop cause, or VHU_NET_DROP_END. */
static enum vhu_net_drop make_frame(const struct vhu_view *view, const struct vhu_seg *segs,
				    uint32_t len, uint32_t nr_segs, const struct mould *mould)
{
	struct cursor cursor = { .seg = segs, .off = 0 };
	struct vhu_net_frame *frame = mould->frame;
	struct iovec *iov = mould->iov;
	struct vhu_virtio_net_hdr raw = { 0 };
	uint32_t left;

	if (len < view->hdr_len || len - view->hdr_len < MIN_FRAME)
		return VHU_NET_DROP_SHORT;
	len -= view->hdr_len;
	if (len > VHU_NET_FRAME_MAX || nr_segs > VHU_NET_IOV_MAX)
		return VHU_NET_DROP_LONG;
	frame->len = len;
	gather(&cursor, &raw, view->hdr_len);
	vhu_virtio_hdr_unpack(&raw, &frame->hdr);
	frame->head_len = (uint16_t)judge_hdr(view, frame);
	if (!frame->head_len)
		return VHU_NET_DROP_BAD_HDR;
	gather(&cursor, mould->head->bytes, frame->head_len);
	frame->head = mould->head->bytes;
	frame->iov = iov;
	for (left = frame->len - frame->head_len; left; cursor.seg++, cursor.off = 0) {
		uint32_t part = cursor.seg->len - cursor.off;

		iov->iov_base = cursor.seg->host + cursor.off;
		iov->iov_len = part;
		iov++;
		left -= part;
	}
	frame->nr_iov = (uint16_t)(iov - frame->iov);
	return VHU_NET_DROP_END;
}

/* Of the first bytes of a net header, as a number: what makes it ask for anything. */
static const uint64_t asks = VHU_NET_HDR_NEEDS_CSUM | UINT64_C(0xff) << 8 /* gso_type */;

/* judge_hdr(), apart. */
static __attribute__((noinline)) uint32_t judge_asking(const struct vhu_view *view,
						       struct vhu_net_frame *frame)
{
	return judge_hdr(view, frame);
}

/* Makes a frame that lies in one piece, as its net header does: most do. */
static VHU_ALWAYS_INLINE enum vhu_net_drop make_plain(const struct vhu_view *view,
						      const uint8_t *hdr, uint8_t *bytes,
						      uint32_t len, struct vhu_net_frame *frame,
						      uint8_t *head, struct iovec *iov)
{
	uint32_t head_len = PLAIN_HEAD;
	uint64_t first;

	frame->len = len;
	frame->head = head;
	frame->iov = iov;
	/* as it lies there: little-endian */
	_Static_assert(sizeof(frame->hdr) == HDR_READ, "the header is copied whole");
	__builtin_memcpy(&first, hdr, sizeof(first));
	__builtin_memcpy(&frame->hdr.csum_offset, hdr + sizeof(first), HDR_READ - sizeof(first));
	if (vhu_likely(!(first & asks))) {
		first &= ~UINT64_C(0xff); /* the flags; see judge_hdr() */
		__builtin_memcpy(&frame->hdr, &first, sizeof(first));
		if (vhu_likely(len <= PLAIN_HEAD)) {
			vhu_copy(head, bytes, len);
			frame->head_len = (uint16_t)len;
			frame->nr_iov = 0;
			return VHU_NET_DROP_END;
		}
		vhu_copy(head, bytes, PLAIN_HEAD);
	} else {
		__builtin_memcpy(&frame->hdr, &first, sizeof(first));
		head_len = judge_asking(view, frame);
		if (vhu_unlikely(!head_len))
			return VHU_NET_DROP_BAD_HDR;
		vhu_copy(head, bytes, head_len);
	}
	frame->head_len = (uint16_t)head_len;
	frame->nr_iov = head_len < len;
	if (head_len < len)
		*iov = (struct iovec){ bytes + head_len, len - head_len };
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

/*
 * The frame of a plain chain, if it lies in one piece: behind its net header, or apart, as drivers have
 * it that find no room before a frame. The next chain's first piece; NULL: it lies in some other way.
 */
static VHU_ALWAYS_INLINE const struct vhu_seg *frame_of(const struct vhu_seg *seg, size_t hdr_len,
							uint8_t **ret_bytes, uint32_t *ret_len)
{
	if (vhu_likely(!seg->more)) {
		/* wraps to huge if there is not even a header */
		*ret_len = seg->len - (uint32_t)hdr_len;
		*ret_bytes = seg->host + hdr_len;
	} else if (seg->len == hdr_len && !seg[1].more) {
		seg++;
		*ret_len = seg->len;
		*ret_bytes = seg->host;
	} else {
		return NULL;
	}
	return *ret_len - MIN_FRAME <= VHU_NET_FRAME_MAX - MIN_FRAME ? seg + 1 : NULL;
}

/*
 * Takes up to max plain chains; the number taken. Their frames are numbered from *nr on, and their
 * pieces added to *steps.
 */
static unsigned int pull_plain(struct vhu_queue *queue, struct vhu_net_burst *burst,
			       unsigned int max, unsigned int *nr, uint32_t *steps)
{
	const struct vhu_view *view = burst->view;
	const size_t hdr_len = view->hdr_len;
	struct vhu_net_frame *frame = &burst->frames[*nr];
	struct head *head = &burst->heads[*nr];
	struct iovec *iov = &burst->iov[burst->nr_iov];
	const struct vhu_seg *seg = burst->segs, *next;
	unsigned int taken =
		vhu_ring_take_plain(queue, view, burst->segs, VHU_CHAIN_MAX, max, false);

	for (unsigned int left = taken; left; left--, seg = next) {
		enum vhu_net_drop drop;
		uint8_t *bytes;
		uint32_t len;

		next = frame_of(seg, hdr_len, &bytes, &len);
		if (vhu_likely(next != NULL)) {
			drop = make_plain(view, seg->host, bytes, len, frame, head->bytes, iov);
		} else {
			const struct mould mould = { frame, head, iov };

			next = vhu_plain_end(seg, &len);
			drop = make_frame(view, seg, len, (uint32_t)(next - seg), &mould);
		}
		if (vhu_likely(drop == VHU_NET_DROP_END)) {
			iov += frame->nr_iov;
			frame++;
			head++;
		} else {
			burst->drops[drop]++;
		}
	}
	burst->nr_iov = (unsigned int)(iov - burst->iov);
	*nr = (unsigned int)(frame - burst->frames);
	*steps += (uint32_t)(seg - burst->segs);
	return taken;
}

/* Takes one chain, whatever it is. The descriptors that were read; 0: there is none. */
static uint32_t pull_any(struct vhu_queue *queue, struct vhu_net_burst *burst, unsigned int *nr)
{
	const struct mould mould = next_mould(burst, *nr);
	enum vhu_net_drop drop = VHU_NET_DROP_BAD_CHAIN;
	struct vhu_chain chain;

	if (vhu_ring_take(queue, burst->view, burst->segs, VHU_CHAIN_MAX, &chain) <= 0)
		return 0;
	vhu_ring_return(queue, &chain, 0);
	if (vhu_unlikely(chain.fault))
		vhu_ring_bad_chain(queue, chain.fault, chain.value);
	else if (!chain.nr_write)
		drop = make_frame(burst->view, burst->segs, chain.read_len, chain.nr_read, &mould);
	if (vhu_likely(drop == VHU_NET_DROP_END)) {
		burst->nr_iov += mould.frame->nr_iov;
		++*nr;
	} else {
		burst->drops[drop]++;
	}
	return chain.steps;
}

/* Whether whatever chain comes next finds room for its pieces. */
static bool has_room(const struct vhu_net_burst *burst)
{
	return burst->nr_iov <= IOV_POOL - VHU_CHAIN_MAX;
}

int vhu_net_pull(struct vhu_queue *queue, struct vhu_net_burst *burst, unsigned int max)
{
	const struct vhu_view *view = vhu_queue_view(queue);
	unsigned int nr = 0;
	uint32_t steps = 0, step;

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
	/* what finds no room, or takes too long, comes with the next pull */
	for (uint32_t i = 0; i < max && steps <= VHU_STEPS_MAX && has_room(burst); i++) {
		i += pull_plain(queue, burst, max - i, &nr, &steps);
		if (i == max || queue->dry || !has_room(burst))
			break;
		step = pull_any(queue, burst, &nr);
		if (!step)
			break;
		steps += step;
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
