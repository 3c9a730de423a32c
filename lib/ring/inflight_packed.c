/* SPDX-License-Identifier: MIT */
/*
 * The in-flight record of a packed ring. Knows nothing of how the region came to us, nor of the
 * ring but its slots' flags.
 *
 * The slots of a packed ring are overwritten while chains are in flight, so the region keeps the
 * descriptors themselves, in entries that are either in the chain of a head or in the list of free
 * ones. A chain counts as taken with the store of old_free_head: before it the next backend still
 * finds all its entries in the free list. It counts as returned with the store of the first used
 * slot's flags, which lies elsewhere: so the new free list and used index are stored before it, and
 * the old ones after it. While old and new differ, the flags of the slot at the old used index tell
 * the next backend which of the two is true.
 */
#include <ring/inflight.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BOTH (VHU_DESC_F_AVAIL | VHU_DESC_F_USED)

static uint64_t used_word(struct vhu_inflight_used used)
{
	uint64_t word;

	memcpy(&word, &used, sizeof(word));
	return word;
}

void vhu_inflight_packed_init(struct vhu_inflight_packed *part, uint32_t desc_num,
			      uint16_t used_idx, bool used_wrap)
{
	const struct vhu_inflight_used used = {
		.idx = used_idx, .old_idx = used_idx, .wrap = used_wrap, .old_wrap = used_wrap
	};

	for (uint32_t i = 0; i < desc_num; i++) {
		vhu_write_once(&part->desc[i].inflight, (uint8_t)0);
		vhu_write_once(&part->desc[i].next, (uint16_t)(i + 1));
	}
	vhu_write_once(&part->desc_num, (uint16_t)desc_num);
	vhu_write_once(&part->free_head, (uint16_t)0);
	vhu_write_once(&part->old_free_head, (uint16_t)0);
	vhu_write_once(&part->used, used_word(used));
}

void vhu_inflight_packed_mirror(struct vhu_inflight_ring *ring, uint16_t used_idx, bool used_wrap)
{
	ring->used = (struct vhu_inflight_used){
		.idx = used_idx, .old_idx = used_idx, .wrap = used_wrap, .old_wrap = used_wrap
	};
	ring->free_head = 0;
	for (uint32_t i = 0; i < ring->desc_num; i++)
		ring->next[i] = (uint16_t)(i + 1);
}

/* ---- taken, given back, returned ---- */

void vhu_inflight_begin(struct vhu_inflight_ring *ring)
{
	ring->chain_head = ring->free_head;
	ring->chain_at = ring->free_head;
	if (ring->chain_head < ring->desc_num)
		ring->nr[ring->chain_head] = 0;
}

void vhu_inflight_add(struct vhu_inflight_ring *ring, const struct vhu_packed_desc *from)
{
	struct vhu_inflight_packed_desc *desc;
	uint16_t at = ring->chain_at;

	/* more than the ring has places: it will not be taken */
	if (vhu_unlikely(at >= ring->desc_num))
		return;
	desc = &ring->packed->desc[at];
	vhu_write_once(&desc->addr, from->addr);
	vhu_write_once(&desc->len, from->len);
	vhu_write_once(&desc->id, from->id);
	vhu_write_once(&desc->flags, from->flags);
	ring->last[ring->chain_head] = at;
	ring->nr[ring->chain_head]++;
	ring->chain_at = ring->next[at];
}

void vhu_inflight_end(struct vhu_inflight_ring *ring, uint16_t id)
{
	uint16_t head = ring->chain_head;
	struct vhu_inflight_packed *part = ring->packed;
	struct vhu_inflight_packed_desc *desc = &part->desc[head];

	ring->taken[ring->nr_taken++] = id;
	ring->entry[id] = head;
	ring->free_head = ring->chain_at;
	vhu_write_once(&desc->num, ring->nr[head]);
	vhu_write_once(&desc->last, ring->last[head]);
	vhu_write_once(&desc->counter, ring->counter++);
	vhu_store_release(&desc->inflight, (uint8_t)1);
	vhu_store_release(&part->free_head, ring->free_head);
	/* with this the chain is in flight: a mark in the free list is cleared by who finds it */
	vhu_store_release(&part->old_free_head, ring->free_head);
}

void vhu_inflight_packed_untake(struct vhu_inflight_ring *ring, uint16_t id)
{
	uint16_t head = ring->entry[id];
	struct vhu_inflight_packed *part = ring->packed;

	/* newest first, so the last entry is still linked to what was the free list before */
	ring->free_head = head;
	vhu_store_release(&part->free_head, head);
	vhu_store_release(&part->old_free_head, head);
	vhu_store_release(&part->desc[head].inflight, (uint8_t)0);
}

void vhu_inflight_packed_return(struct vhu_inflight_ring *ring, uint16_t id)
{
	uint16_t head = ring->entry[id], last = ring->last[head];
	uint32_t used = (uint32_t)ring->used.idx + ring->nr[head];

	/* before the chain is free again its last entry's link means nothing */
	vhu_write_once(&ring->packed->desc[last].next, ring->free_head);
	ring->next[last] = ring->free_head;
	ring->free_head = head;
	if (used >= ring->num) {
		used -= ring->num;
		ring->used.wrap ^= 1;
	}
	ring->used.idx = (uint16_t)used;
}

void vhu_inflight_batch_end(struct vhu_inflight_ring *ring)
{
	if (!ring->packed || !ring->nr_batch)
		return;
	vhu_store_release(&ring->packed->free_head, ring->free_head);
	/* new beside old from here on: the flags in the ring decide. Index and wrap in one store */
	vhu_store_release(&ring->packed->used, used_word(ring->used));
}

void vhu_inflight_packed_returned(struct vhu_inflight_ring *ring)
{
	ring->used.old_idx = ring->used.idx;
	ring->used.old_wrap = ring->used.wrap;
	vhu_store_release(&ring->packed->old_free_head, ring->free_head);
	/* last, and in one store: with an index of the one and a wrap of the other round the next
	 * backend would look at the wrong flags */
	vhu_store_release(&ring->packed->used, used_word(ring->used));
}

/* ---- after a crash ---- */

/* AVAIL and USED of a slot that the driver made available, virtio 1.2, 2.8.1. */
static uint16_t available_flags(bool wrap)
{
	return wrap ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED;
}

/*
 * The batch was not published, but those behind its first may bear used flags already: they are
 * stored before the first one's. They would be seen as used with the first that is, though their
 * chains are handed out again: so they become what they were.
 */
static void unwrite(const struct vhu_inflight_ring *ring, const struct vhu_inflight_driver *driver,
		    struct vhu_inflight_used used)
{
	uint16_t i = used.old_idx;
	bool wrap = used.old_wrap;

	while (i != used.idx || wrap != used.wrap) {
		uint16_t *flags = &driver->slots[i].flags;
		uint64_t gpa = driver->slots_gpa + i * sizeof(struct vhu_packed_desc) +
			       offsetof(struct vhu_packed_desc, flags);

		if ((vhu_read_once(flags) & BOTH) == (wrap ? BOTH : 0))
			vhu_guest_store16(driver->log, flags, gpa, available_flags(wrap));
		if (++i == ring->num) {
			i = 0;
			wrap = !wrap;
		}
	}
}

/* Decides between old and new, and makes both the same. */
static int settle(struct vhu_inflight_ring *ring, const struct vhu_inflight_driver *driver,
		  struct vhu_reason *why)
{
	struct vhu_inflight_packed *part = ring->packed;
	uint64_t word = vhu_read_once(&part->used);
	struct vhu_inflight_used used;
	uint16_t free_head = vhu_read_once(&part->free_head);
	uint16_t old_free_head = vhu_read_once(&part->old_free_head);
	bool published = false;

	memcpy(&used, &word, sizeof(used));
	if (used.idx >= ring->num || used.old_idx >= ring->num || used.wrap > 1 ||
	    used.old_wrap > 1)
		return vhu_refuse(why, -EPROTO,
				  "used index %u (%u), wrap %u (%u), the ring has %u slots",
				  used.idx, used.old_idx, used.wrap, used.old_wrap, ring->num);
	if (used.wrap == used.old_wrap ? used.idx < used.old_idx : used.idx > used.old_idx)
		return vhu_refuse(why, -EPROTO,
				  "used index went from %u to %u: more than the ring's %u slots",
				  used.old_idx, used.idx, ring->num);
	if (used.idx != used.old_idx || used.wrap != used.old_wrap) {
		uint16_t flags = vhu_load_acquire(&driver->slots[used.old_idx].flags);

		published = (flags & BOTH) != available_flags(used.old_wrap);
		if (!published)
			unwrite(ring, driver, used);
	}
	if (published) {
		used.old_idx = used.idx;
		used.old_wrap = used.wrap;
	} else {
		used.idx = used.old_idx;
		used.wrap = used.old_wrap;
		free_head = old_free_head;
	}
	used.pad[0] = used.pad[1] = 0;
	ring->used = used;
	ring->free_head = free_head;
	/* as in a return: the indices last, in one store */
	vhu_store_release(&part->free_head, free_head);
	vhu_store_release(&part->old_free_head, free_head);
	vhu_store_release(&part->used, used_word(used));
	return 0;
}

/* Copies a chain; each entry is in one list only. */
static int copy_chain(struct vhu_inflight_ring *ring, uint16_t head, uint8_t *seen,
		      uint32_t *nr_copies, struct vhu_reason *why)
{
	struct vhu_inflight_packed *part = ring->packed;
	struct vhu_inflight_again *again = &ring->again[ring->nr_again];
	uint16_t nr = vhu_read_once(&part->desc[head].num), at = head, id = 0, last = head;

	if (!nr || nr > ring->num - *nr_copies)
		return vhu_refuse(why, -EPROTO,
				  "chain at entry %u has %u descriptors, the ring %u slots", head,
				  nr, ring->num);
	*again = (struct vhu_inflight_again){ .counter = vhu_read_once(&part->desc[head].counter),
					      .entry = head,
					      .nr = nr,
					      .first = *nr_copies };
	for (uint16_t k = 0; k < nr; k++) {
		const struct vhu_inflight_packed_desc *desc;

		if (at >= ring->desc_num || seen[at])
			return vhu_refuse(why, -EPROTO, "chain at entry %u goes on to entry %u",
					  head, at);
		seen[at] = 1;
		last = at;
		desc = &part->desc[at];
		id = vhu_read_once(&desc->id);
		ring->copies[*nr_copies] =
			(struct vhu_packed_desc){ .addr = vhu_read_once(&desc->addr),
						  .len = vhu_read_once(&desc->len),
						  .id = id,
						  .flags = vhu_read_once(&desc->flags) };
		*nr_copies += 1;
		ring->next[at] = vhu_read_once(&desc->next);
		at = ring->next[at];
	}
	if (vhu_read_once(&part->desc[head].last) != last)
		return vhu_refuse(why, -EPROTO, "chain at entry %u does not end at its last", head);
	/* how long it is has been said: its flags are not to say anything else */
	for (uint16_t k = 0; k < nr; k++) {
		uint16_t *flags = &ring->copies[again->first + k].flags;

		*flags = (uint16_t)(k + 1 < nr ? *flags | VHU_DESC_F_NEXT :
						 *flags & ~VHU_DESC_F_NEXT);
	}
	/* virtio 1.2, 2.8.6: the buffer's id stands in the last descriptor */
	if (id >= ring->num || ring->old[id])
		return vhu_refuse(why, -EPROTO,
				  "chain at entry %u has id %u, out of range or twice", head, id);
	ring->old[id] = 1;
	again->id = id;
	ring->entry[id] = head;
	ring->last[head] = last;
	ring->nr[head] = nr;
	ring->nr_again++;
	return 0;
}

/* Goes through the free list; what is in it is not in flight whatever its mark says. */
static int walk_free(struct vhu_inflight_ring *ring, uint8_t *seen, uint32_t *ret_nr,
		     struct vhu_reason *why)
{
	struct vhu_inflight_packed *part = ring->packed;
	uint16_t at = ring->free_head;
	uint32_t nr = 0;

	while (at != ring->desc_num) {
		if (at > ring->desc_num || seen[at])
			return vhu_refuse(why, -EPROTO, "free list goes on to entry %u", at);
		seen[at] = 1;
		nr++;
		vhu_store_release(&part->desc[at].inflight, (uint8_t)0);
		ring->next[at] = vhu_read_once(&part->desc[at].next);
		at = ring->next[at];
	}
	*ret_nr = nr;
	return 0;
}

int vhu_inflight_packed_recover(struct vhu_inflight_ring *ring,
				const struct vhu_inflight_driver *driver,
				struct vhu_inflight_at *at, struct vhu_reason *why)
{
	uint8_t *seen = calloc(ring->desc_num, 1);
	uint32_t nr_free = 0, nr_copies = 0, avail;
	int err;

	if (!seen)
		return vhu_refuse(why, -ENOMEM, "out of memory");
	err = settle(ring, driver, why);
	if (!err)
		err = walk_free(ring, seen, &nr_free, why);
	for (uint32_t i = 0; i < ring->desc_num && !err; i++) {
		if (!seen[i] && vhu_read_once(&ring->packed->desc[i].inflight) == 1)
			err = copy_chain(ring, (uint16_t)i, seen, &nr_copies, why);
	}
	free(seen);
	if (!err && nr_free + nr_copies != ring->desc_num)
		err = vhu_refuse(why, -EPROTO,
				 "%u entries free and %u in flight, there should be %u in all",
				 nr_free, nr_copies, ring->desc_num);
	if (err)
		return err;
	/* it served to tell ids apart; from here on it says what is handed out again */
	memset(ring->old, 0, ring->num);
	ring->left = nr_copies;
	vhu_inflight_sort(ring);
	at->used = ring->used.idx;
	at->used_wrap = ring->used.wrap;
	avail = (uint32_t)at->used + nr_copies;
	at->avail_wrap = at->used_wrap ^ (avail >= ring->num);
	at->avail = (uint16_t)(avail >= ring->num ? avail - ring->num : avail);
	return 0;
}
