/* SPDX-License-Identifier: MIT */
/*
 * Frames into a receive ring: the one copy, from the sender's memory into the receiver's. Knows
 * nothing of where a frame came from.
 */
#include <vhu/net.h>

#include <errno.h>
#include <string.h>

#include <net/virtio_hdr.h>
#include <ring/ring.h>

/* Refused chains that one frame puts up with: the sender's time is not the receiver's to spend. */
enum {
	BAD_MAX = 16
};

/* The buffers taken for one frame. */
struct target {
	unsigned int nr_segs;
	struct vhu_seg segs[VHU_CHAIN_MAX];
};

/* A position in the receiver's pieces, with the log that the stores keep. */
struct sink {
	const struct vhu_dirty *dirty;
	const struct vhu_seg *seg;
	uint32_t off;
};

static VHU_ALWAYS_INLINE void put(struct sink *s, const void *from, size_t len)
{
	const uint8_t *at = from;

	while (len) {
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): hdr_len is not 0, so there are buffers */
		uint32_t part = (uint32_t)vhu_min_u64(len, s->seg->len - s->off);

		vhu_guest_store(s->dirty, s->seg->host + s->off, s->seg->gpa + s->off, at, part);
		at += part;
		len -= part;
		s->off += part;
		if (s->off == s->seg->len) {
			s->seg++;
			s->off = 0;
		}
	}
}

/* How far a push that cannot be finished is undone. */
struct mark {
	uint32_t nr_shadow;
	uint16_t last_avail;
};

static struct mark mark_here(const struct vhu_queue *q)
{
	return (struct mark){ .nr_shadow = q->nr_shadow, .last_avail = q->last_avail };
}

static void undo(struct vhu_queue *q, struct mark mark)
{
	for (uint32_t i = mark.nr_shadow; i < q->nr_shadow; i++) {
		uint32_t id = q->shadow[i].id;

		q->taken[id >> 3] &= (uint8_t) ~(1u << (id & 7));
	}
	q->nr_shadow = mark.nr_shadow;
	q->last_avail = mark.last_avail;
}

/*
 * A chain of a frame's buffers was refused. The buffers of one frame have to follow each other in
 * the used ring, so those before it go back unused together with it, and the frame begins afresh
 * with the next.
 */
static struct mark give_up_buffers(struct vhu_queue *q, struct mark mark)
{
	for (uint32_t i = mark.nr_shadow; i < q->nr_shadow; i++)
		q->shadow[i].len = 0;
	return mark_here(q);
}

/*
 * Takes chains until they hold need bytes, and notes each as used with its share. The number of
 * buffers, or -errno with nothing kept but chains that were refused.
 */
static int take_buffers(struct vhu_queue *q, const struct vhu_view *view, uint32_t need,
			struct target *t)
{
	struct mark mark = mark_here(q);
	unsigned int nr_buffers = 0, nr_bad = 0;
	uint32_t left = need, steps = 0;
	int err;

	t->nr_segs = 0;
	while (left) {
		enum vhu_ring_fault fault;
		struct vhu_chain chain;
		uint64_t value = 0;
		uint32_t share;
		int head;

		err = -ENOSPC;
		if (nr_bad == BAD_MAX || q->nr_shadow == q->shadow_max ||
		    !vhu_split_available(q, view, 1))
			goto fail;
		head = vhu_split_take(q, view);
		if (head < 0)
			goto fail;
		vhu_split_return(q, (uint16_t)head, 0);
		fault = vhu_split_walk(view, (uint16_t)head, &t->segs[t->nr_segs],
				       VHU_CHAIN_MAX - t->nr_segs, &chain, &value);
		steps += chain.steps;
		if (vhu_unlikely(!fault && (chain.nr_read || !chain.write_len))) {
			fault = VHU_FAULT_ORDER;
			value = (uint64_t)head;
		}
		err = -EMSGSIZE;
		if (vhu_unlikely((fault == VHU_FAULT_PIECES && t->nr_segs) ||
				 steps > VHU_STEPS_MAX))
			goto fail;
		if (vhu_unlikely(fault)) {
			vhu_split_bad_chain(q, fault, value);
			mark = give_up_buffers(q, mark);
			left = need;
			nr_buffers = 0;
			nr_bad++;
			t->nr_segs = 0;
			continue;
		}
		if (!view->mergeable && chain.write_len < left)
			goto fail;
		share = vhu_min_u32(chain.write_len, left);
		q->shadow[q->nr_shadow - 1].len = share;
		t->nr_segs += chain.nr_write;
		left -= share;
		nr_buffers++;
	}
	return (int)nr_buffers;
fail:
	undo(q, mark);
	return vhu_read_once(&q->fault) ? -ENOTCONN : err;
}

int vhu_net_push(struct vhu_queue *queue, const struct vhu_net_frame *frame)
{
	const struct vhu_view *view = vhu_queue_view(queue);
	struct vhu_virtio_net_hdr raw;
	struct target target;
	struct sink sink;
	int nr;

	if (!view || !view->enabled)
		return -ENOTCONN;
	nr = take_buffers(queue, view, view->hdr_len + frame->len, &target);
	if (vhu_unlikely(nr < 0))
		return nr;
	vhu_virtio_hdr_pack(&frame->hdr, (uint16_t)nr, &raw);
	sink = (struct sink){ .dirty = view->log_data, .seg = target.segs, .off = 0 };
	put(&sink, &raw, view->hdr_len);
	put(&sink, frame->head, frame->head_len);
	for (unsigned int i = 0; i < frame->nr_iov; i++)
		put(&sink, frame->iov[i].iov_base, frame->iov[i].iov_len);
	return 0;
}

int vhu_net_commit(struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	if (!view)
		return -ENOTCONN;
	if (vhu_net_is_poisoned(queue)) {
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
		return -EFAULT;
	}
	/* a ring that is disabled is not called either */
	if (queue->nr_shadow || view->enabled)
		vhu_split_publish(queue, view);
	/* the used ring itself may be what vanished */
	if (vhu_net_is_poisoned(queue)) {
		vhu_queue_break(queue, view, VHU_FAULT_POISONED, 0);
		return -EFAULT;
	}
	return 0;
}

void vhu_net_rewind(struct vhu_queue *queue)
{
	vhu_split_rewind(queue);
}

uint32_t vhu_net_queue_caps(const struct vhu_queue *queue)
{
	const struct vhu_view *view = vhu_queue_view(queue);

	return view ? vhu_net_caps(view->features) : 0;
}
