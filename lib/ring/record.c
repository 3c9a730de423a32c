/* SPDX-License-Identifier: MIT */
/*
 * A queue's in-flight record: begun with the ring, ended with it, told what the queue publishes.
 * Knows both the queue and the record, so that neither has to know the other.
 */
#include <ring/record.h>

enum {
	WRAP = 1 << 15 /* of a packed ring's position */
};

static uint16_t position(uint16_t index, bool wrap)
{
	return (uint16_t)(index | (wrap ? WRAP : 0));
}

int vhu_record_start(struct vhu_queue *q, const struct vhu_view *view,
		     const struct vhu_inflight_area *area, unsigned int i, struct vhu_reason *why)
{
	struct vhu_inflight_driver driver = { .log = view->log_used, .slots_gpa = view->desc_gpa };
	struct vhu_inflight_at at = { .avail = q->avail_pos, .used = q->used_pos };
	int err;

	if (view->packed) {
		driver.slots = view->ring;
		at.avail_wrap = at.avail & WRAP;
		at.used_wrap = at.used & WRAP;
		at.avail &= WRAP - 1;
		at.used &= WRAP - 1;
	} else {
		driver.avail_idx = vhu_load_acquire(&view->avail[1]);
	}
	err = vhu_inflight_start(&q->inflight, area, i, view->packed, view->num, &driver, &at, why);
	if (err || !q->inflight)
		return err;
	q->avail_pos = view->packed ? position(at.avail, at.avail_wrap) : at.avail;
	q->used_pos = view->packed ? position(at.used, at.used_wrap) : at.used;
	q->committed = q->avail_pos;
	q->avail_seen = q->avail_pos;
	return 0;
}

void vhu_record_end(struct vhu_queue *q)
{
	vhu_inflight_ring_free(q->inflight);
	q->inflight = NULL;
}

void vhu_record_returning(struct vhu_queue *q)
{
	for (uint32_t i = 0; i < q->nr_shadow; i++)
		vhu_inflight_return(q->inflight, (uint16_t)q->shadow[i].id);
	vhu_inflight_batch_end(q->inflight);
}
