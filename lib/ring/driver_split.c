/* SPDX-License-Identifier: MIT */
/*
 * The split ring from the driver's side (virtio 1.2, 2.7). What it needs to judge the device it
 * keeps in struct vhu_driver; here it only lies in the ring. Knows nothing of what a chain carries.
 */
#include <ring/driver.h>

enum {
	/* words of 16 bits */
	AVAIL_FLAGS = 0,
	AVAIL_IDX = 1,
	AVAIL_RING = 2,
	USED_FLAGS = 0,
	USED_IDX = 1,
	USED_RING = 2,
	USED_WORDS = 4, /* of an element */

	AVAIL_F_NO_INTERRUPT = 1,
	USED_F_NO_NOTIFY = 1,
};

static VHU_ALWAYS_INLINE uint64_t rest_word(uint32_t len, uint32_t flags, uint32_t next)
{
	return (uint64_t)next << 48 | (uint64_t)flags << 32 | len;
}

static VHU_ALWAYS_INLINE uint32_t piece_flags(unsigned int i, unsigned int nr_read, unsigned int nr)
{
	return (i + 1 < nr ? VHU_DRV_NEXT : 0u) | (i >= nr_read ? VHU_DRV_WRITE : 0u);
}

void vhu_driver_split_lay(struct vhu_driver *d)
{
	d->next_avail = 0;
	d->shown = 0;
	d->last_used = 0;
	d->used_seen = 0;
	vhu_driver_split_set_calls(d, false);
}

/* Writes the pieces into the chain's table, and the table into its descriptor. */
static void write_table(struct vhu_driver *d, uint32_t id, const struct vhu_buffer *buffers,
			unsigned int nr_read, unsigned int nr)
{
	struct vhu_driver_desc *table;
	uint64_t gpa;

	table = vhu_driver_table(d, id, &gpa);
	for (unsigned int i = 0; i < nr; i++)
		vhu_driver_store_desc(&table[i], buffers[i].gpa,
				      rest_word(buffers[i].len, piece_flags(i, nr_read, nr),
						i + 1));
	vhu_driver_store_desc(&d->desc[id], gpa,
			      rest_word(nr * VHU_DRV_DESC_SIZE, VHU_DRV_INDIRECT, 0));
}

static VHU_ALWAYS_INLINE int add(struct vhu_driver *d, const struct vhu_buffer *buffers,
				 unsigned int nr_read, unsigned int nr_write, uint32_t token,
				 bool single)
{
	struct vhu_driver_slot *slots = d->store.slots;
	const unsigned int nr = single ? 1 : nr_read + nr_write;
	uint16_t id = d->free_head, last = id;
	uint32_t entries, write_len;
	int err;

	err = vhu_driver_judge(d, buffers, nr_read, nr_write, single, &entries, &write_len);
	if (vhu_unlikely(err))
		return err;
	if (vhu_likely(entries == nr)) {
		uint16_t at = id;

		for (unsigned int i = 0; i < nr; i++) {
			struct vhu_driver_slot *slot = &slots[at];

			slot->gpa = buffers[i].gpa;
			slot->len = buffers[i].len;
			vhu_driver_store_desc(&d->desc[at], slot->gpa,
					      rest_word(slot->len, piece_flags(i, nr_read, nr),
							slot->next));
			last = at;
			at = slot->next;
		}
	} else {
		struct vhu_buffer *copy = vhu_driver_table_copy(&d->store, d->indirect_max, id);

		for (unsigned int i = 0; i < nr; i++)
			copy[i] = buffers[i];
		write_table(d, id, buffers, nr_read, nr);
	}
	vhu_driver_note(d, last, entries, nr_read, nr_write, write_len, token);
	vhu_write_once(&d->avail[AVAIL_RING + (d->next_avail & (d->num - 1))], id);
	d->next_avail++;
	return 0;
}

int vhu_driver_split_add(struct vhu_driver *d, const struct vhu_buffer *buffers,
			 unsigned int nr_read, unsigned int nr_write, uint32_t token)
{
	if (vhu_driver_is_single(nr_read, nr_write))
		return add(d, buffers, nr_read, nr_write, token, true);
	return add(d, buffers, nr_read, nr_write, token, false);
}

void vhu_driver_split_show(struct vhu_driver *d)
{
	/* release, pairs with the device's load of avail->idx: entries and tables before the index */
	vhu_store_release(&d->avail[AVAIL_IDX], d->next_avail);
	d->shown = d->next_avail;
}

bool vhu_driver_split_publish(struct vhu_driver *d)
{
	uint16_t old = d->shown, now = d->next_avail, event;

	vhu_driver_split_show(d);
	/*
	 * Publish, then look. Pairs with the device's barrier between its store to avail_event (or
	 * used->flags) and its load of avail->idx.
	 */
	vhu_full_barrier();
	if (!d->event_idx)
		return !(vhu_read_once(&d->used[USED_FLAGS]) & USED_F_NO_NOTIFY);
	event = vhu_read_once(&d->used[USED_RING + d->num * USED_WORDS]);
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* Looks how far the device is. The number of used elements, or -EPROTO. */
static VHU_ALWAYS_INLINE int look(struct vhu_driver *d)
{
	uint16_t have = (uint16_t)(d->used_seen - d->last_used);

	if (vhu_likely(have))
		return have;
	/* acquire, pairs with the device's store to used->idx: elements and buffers before it */
	d->used_seen = vhu_load_acquire(&d->used[USED_IDX]);
	have = (uint16_t)(d->used_seen - d->last_used);
	if (vhu_unlikely(have > d->nr_shown)) {
		uint16_t seen = d->used_seen;

		d->used_seen = d->last_used;
		return vhu_driver_break(d, VHU_DRV_USED_JUMP, seen);
	}
	return have;
}

int vhu_driver_split_take(struct vhu_driver *d, struct vhu_used *ret_used)
{
	const uint32_t *element;
	uint32_t id, len;
	int have, err;

	if (d->batch_left) {
		vhu_driver_complete_oldest(d, ret_used);
		d->last_used++;
		return 1;
	}
	have = look(d);
	if (have <= 0)
		return have;
	element = (const uint32_t *)(const void *)&d
			  ->used[USED_RING + (d->last_used & (d->num - 1)) * USED_WORDS];
	id = vhu_read_once(&element[0]);
	len = vhu_read_once(&element[1]);
	err = vhu_driver_judge_used(d, id, len);
	if (vhu_unlikely(err))
		return err;
	if (d->in_order) {
		uint64_t batch = vhu_driver_batch(d, id);

		if (vhu_unlikely(batch > (uint32_t)have))
			return vhu_driver_break(d, VHU_DRV_USED_BATCH, id);
		d->batch_left = (uint32_t)batch;
		d->batch_len = len;
		vhu_driver_complete_oldest(d, ret_used);
	} else {
		vhu_driver_complete(d, id, len, ret_used);
	}
	d->last_used++;
	return 1;
}

void vhu_driver_split_set_calls(struct vhu_driver *d, bool wanted)
{
	uint16_t *flags = &d->avail[AVAIL_FLAGS];
	uint16_t *used_event = &d->avail[AVAIL_RING + d->num];

	/* the flag has to be 0 with EVENT_IDX (2.7.7.1); an index just passed is the farthest one */
	if (d->event_idx)
		vhu_write_once(used_event, (uint16_t)(d->last_used - !wanted));
	else
		vhu_write_once(flags, (uint16_t)(wanted ? 0 : AVAIL_F_NO_INTERRUPT));
}

bool vhu_driver_split_has_used(const struct vhu_driver *d)
{
	/* judged when it is taken */
	return d->batch_left || vhu_read_once(&d->used[USED_IDX]) != d->last_used;
}

void vhu_driver_split_rewrite(struct vhu_driver *d, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		uint16_t id = d->order[i].id, at = id;
		const struct vhu_driver_chain *chain = &d->store.chains[id];

		if (vhu_driver_is_indirect(chain)) {
			write_table(d, id, vhu_driver_table_copy(&d->store, d->indirect_max, id),
				    chain->nr_read, (uint32_t)chain->nr_read + chain->nr_write);
		} else {
			for (unsigned int k = 0; k < chain->nr; k++) {
				const struct vhu_driver_slot *slot = &d->store.slots[at];

				vhu_driver_store_desc(
					&d->desc[at], slot->gpa,
					rest_word(slot->len,
						  piece_flags(k, chain->nr_read, chain->nr),
						  slot->next));
				at = slot->next;
			}
		}
		vhu_write_once(&d->avail[AVAIL_RING + ((d->last_used + i) & (d->num - 1))], id);
	}
	vhu_store_release(&d->avail[AVAIL_IDX], d->shown);
}
