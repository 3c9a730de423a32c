/* SPDX-License-Identifier: MIT */
/*
 * The in-flight record of a split ring. Knows nothing of how the region came to us, nor of the ring
 * but its indices.
 *
 * A chain is in flight by the mark of its head. It counts as taken with the store of that mark: the
 * next backend goes on in the available ring at the used index plus the number of marks. It counts
 * as returned with the store of the used ring's index, which lies elsewhere: so before that store
 * the batch is linked up, and until the marks are cleared and the region's own used_idx has caught
 * up, the difference of the two indices says how many links of that list are marks that lie.
 */
#include <ring/inflight.h>

#include <errno.h>
#include <stdlib.h>

void vhu_inflight_split_init(struct vhu_inflight_split *part, uint32_t desc_num, uint16_t used_idx)
{
	for (uint32_t i = 0; i < desc_num; i++) {
		/* what was never stored to takes no memory, and that is to stay so */
		if (vhu_read_once(&part->desc[i].inflight))
			vhu_write_once(&part->desc[i].inflight, (uint8_t)0);
	}
	vhu_write_once(&part->desc_num, (uint16_t)desc_num);
	vhu_write_once(&part->last_batch_head, (uint16_t)0);
	vhu_write_once(&part->used_idx, used_idx);
}

/*
 * Clears the marks of the batch whose return the last backend was killed over. The list is judged
 * before anything is stored, and no longer than the ring.
 */
static int finish_batch(struct vhu_inflight_ring *ring, uint16_t ring_used, struct vhu_reason *why)
{
	struct vhu_inflight_split *part = ring->split;
	uint16_t region_used = vhu_read_once(&part->used_idx);
	uint16_t batch = (uint16_t)(ring_used - region_used);
	uint16_t head = vhu_read_once(&part->last_batch_head);

	ring->last_batch = head < ring->desc_num ? head : 0;
	if (batch > ring->num)
		return vhu_refuse(why, -EPROTO,
				  "used index %u here and %u in the ring: more than its size apart",
				  region_used, ring_used);
	for (ring->nr_batch = 0; ring->nr_batch < batch; ring->nr_batch++) {
		if (head >= ring->num)
			return vhu_refuse(why, -EPROTO,
					  "head %u in the last batch, the ring has %u entries",
					  head, ring->num);
		ring->batch[ring->nr_batch] = head;
		head = vhu_read_once(&part->desc[head].next);
	}
	for (uint32_t i = 0; i < ring->nr_batch; i++)
		vhu_store_release(&part->desc[ring->batch[i]].inflight, (uint8_t)0);
	ring->nr_batch = 0;
	/* after the marks: a stop before it finds the same batch once more */
	vhu_store_release(&part->used_idx, ring_used);
	return 0;
}

static bool is_marked(const struct vhu_inflight_ring *ring, uint32_t i)
{
	return vhu_read_once(&ring->split->desc[i].inflight) == 1;
}

static bool has_marks(const struct vhu_inflight_ring *ring)
{
	for (uint32_t i = 0; i < ring->desc_num; i++) {
		if (is_marked(ring, i))
			return true;
	}
	return false;
}

int vhu_inflight_split_recover(struct vhu_inflight_ring *ring,
			       const struct vhu_inflight_driver *driver, struct vhu_inflight_at *at,
			       struct vhu_reason *why)
{
	struct vhu_inflight_split *part = ring->split;
	uint16_t outstanding = (uint16_t)(driver->avail_idx - at->used);
	int err;

	/* without a mark the two indices may differ: the driver began the ring anew */
	if (!has_marks(ring)) {
		vhu_store_release(&part->used_idx, at->used);
		at->avail = at->used;
		return 0;
	}
	err = finish_batch(ring, at->used, why);
	if (err)
		return err;
	/* no more than num of them: each i once */
	for (uint32_t i = 0; i < ring->desc_num; i++) {
		if (!is_marked(ring, i))
			continue;
		if (i >= ring->num)
			return vhu_refuse(why, -EPROTO,
					  "head %u is in flight, the ring has %u entries", i,
					  ring->num);
		ring->again[ring->nr_again++] = (struct vhu_inflight_again){
			.counter = vhu_read_once(&part->desc[i].counter), .id = (uint16_t)i, .nr = 1
		};
	}
	if (ring->nr_again > outstanding || (ring->nr_again && outstanding > ring->num))
		return vhu_refuse(why, -EPROTO,
				  "%u chains are in flight, the driver has made %u available",
				  ring->nr_again, outstanding);
	ring->left = ring->nr_again;
	vhu_inflight_sort(ring);
	at->avail = (uint16_t)(at->used + ring->nr_again);
	return 0;
}

void vhu_inflight_take(struct vhu_inflight_ring *ring, uint16_t head)
{
	struct vhu_inflight_split_desc *desc = &ring->split->desc[head];

	ring->taken[ring->nr_taken++] = head;
	vhu_write_once(&desc->counter, ring->counter++);
	/* with this the chain is in flight: its place in the order before it */
	vhu_store_release(&desc->inflight, (uint8_t)1);
}

void vhu_inflight_return(struct vhu_inflight_ring *ring, uint16_t id)
{
	ring->batch[ring->nr_batch++] = id;
	if (ring->packed) {
		vhu_inflight_packed_return(ring, id);
		return;
	}
	/*
	 * The link before the head of the list. A batch that is never published leaves links that
	 * nobody follows: only as many are as the indices differ by.
	 */
	vhu_write_once(&ring->split->desc[id].next, ring->last_batch);
	vhu_store_release(&ring->split->last_batch_head, id);
	ring->last_batch = id;
}
