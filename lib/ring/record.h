/* SPDX-License-Identifier: MIT */
/*
 * Where a queue and its in-flight record meet. What the data side asks for in every burst stands
 * here, so that a queue without a record pays for one branch.
 */
#ifndef VHU_RING_RECORD_H
#define VHU_RING_RECORD_H

#include <base/bits.h>
#include <ring/inflight.h>
#include <ring/ring.h>

/*
 * Begins to record ring number i from here on, and goes on where the region says that an earlier
 * life of the ring ended. After vhu_queue_start(), before the view is published. 0 also if the
 * region does not cover this ring; -EPROTO with a reason if what stands in it cannot be.
 */
VHU_HIDDEN int vhu_record_start(struct vhu_queue *q, const struct vhu_view *view,
				const struct vhu_inflight_area *area, unsigned int i,
				struct vhu_reason *why);
/* Records no more. What the region says then is what it goes on to say. */
VHU_HIDDEN void vhu_record_end(struct vhu_queue *q);

VHU_HIDDEN void vhu_record_returning(struct vhu_queue *q);

/* True if there are chains that have to be handed out again before new ones. */
static inline bool vhu_record_has_again(const struct vhu_queue *q)
{
	return vhu_unlikely(q->inflight != NULL) && vhu_inflight_nr_again(q->inflight);
}

/* A new chain of a split ring was taken. */
static inline void vhu_record_take(struct vhu_queue *q, uint16_t head)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_inflight_take(q->inflight, head);
}

/* The same of a packed ring: begin, each descriptor as it was read, and then it is taken. */
static inline void vhu_record_begin(struct vhu_queue *q)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_inflight_begin(q->inflight);
}

static inline void vhu_record_add(struct vhu_inflight_ring *record, const struct vhu_desc *d)
{
	const struct vhu_packed_desc desc = {
		.addr = d->addr, .len = d->len, .id = d->next, .flags = d->flags
	};

	vhu_inflight_add(record, &desc);
}

static inline void vhu_record_end_chain(struct vhu_queue *q, uint16_t id)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_inflight_end(q->inflight, id);
}

/* Before, and after, what is in the shadow is published. */
static inline void vhu_record_publishing(struct vhu_queue *q)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_record_returning(q);
}

static inline void vhu_record_published(struct vhu_queue *q)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_inflight_returned(q->inflight, q->used_pos);
}

/* The frontend is told where the ring stands; readers have passed after its stop. */
static inline void vhu_record_told(struct vhu_queue *q)
{
	if (q->inflight)
		vhu_inflight_told(q->inflight);
}

/* The newest n chains were given back to be taken again. */
static inline void vhu_record_untake(struct vhu_queue *q, uint32_t n)
{
	if (vhu_unlikely(q->inflight != NULL))
		vhu_inflight_untake(q->inflight, n);
}

#endif
