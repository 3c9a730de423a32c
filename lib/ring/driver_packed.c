/* SPDX-License-Identifier: MIT */
/*
 * The packed ring from the driver's side (virtio 1.2, 2.8). What it needs to judge the device it
 * keeps in struct vhu_driver; here it only lies in the ring. Knows nothing of what a chain carries.
 *
 * Descriptors are written as chains are added, but for the flags of the first one that is not
 * published: the device looks at descriptors one after the other, and stops there.
 */
#include <ring/driver.h>

enum {
	F_AVAIL = 0x80,
	F_USED = 0x8000,

	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_DESC = 2,
	EVENT_FLAGS = 3,
	EVENT_WRAP = 0x8000,
};

static VHU_ALWAYS_INLINE uint64_t rest_word(uint32_t len, uint32_t id, uint32_t flags)
{
	return (uint64_t)flags << 48 | (uint64_t)id << 32 | len;
}

/* The upper half of a descriptor's second word. */
static VHU_ALWAYS_INLINE uint16_t *flags_of(struct vhu_driver_desc *desc)
{
	return (uint16_t *)(void *)&desc->rest + 3;
}

static VHU_ALWAYS_INLINE uint32_t piece_flags(unsigned int i, unsigned int nr_read)
{
	return i >= nr_read ? VHU_DRV_WRITE : 0u;
}

/* A position in the ring, with its wrap counter; a chain is written through it. */
struct writer {
	uint16_t at;
	bool wrap;
};

/* Writes one descriptor; the flags of the first hidden one are kept back. */
static VHU_ALWAYS_INLINE void write_desc(struct vhu_driver *d, struct writer *w, uint64_t addr,
					 uint32_t len, uint32_t id, uint32_t flags)
{
	struct vhu_driver_desc *desc = &d->desc[w->at];

	flags |= w->wrap ? F_AVAIL : F_USED;
	if (d->nr_hidden++) {
		vhu_driver_store_desc(desc, addr, rest_word(len, id, flags));
	} else {
		uint16_t *id_at = (uint16_t *)(void *)&desc->rest + 2;

		d->shown = w->at;
		d->withheld = (uint16_t)flags;
		vhu_write_once(&desc->addr, addr);
		vhu_write_once((uint32_t *)(void *)&desc->rest, len);
		vhu_write_once(id_at, (uint16_t)id);
	}
	if (vhu_unlikely(++w->at == d->num)) {
		w->at = 0;
		w->wrap = !w->wrap;
	}
}

void vhu_driver_packed_lay(struct vhu_driver *d)
{
	d->next_avail = 0;
	d->avail_wrap = true;
	d->last_used = 0;
	d->used_wrap = true;
	d->nr_hidden = 0;
	vhu_driver_packed_set_calls(d, false);
}

/* Writes the pieces into the chain's table. Its address. */
static uint64_t write_table(struct vhu_driver *d, uint32_t id, const struct vhu_buffer *buffers,
			    unsigned int nr_read, unsigned int nr)
{
	struct vhu_driver_desc *table;
	uint64_t gpa;

	/* 2.8.19: WRITE is the one flag that counts in there */
	table = vhu_driver_table(d, id, &gpa);
	for (unsigned int i = 0; i < nr; i++)
		vhu_driver_store_desc(&table[i], buffers[i].gpa,
				      rest_word(buffers[i].len, 0, piece_flags(i, nr_read)));
	return gpa;
}

static VHU_ALWAYS_INLINE int add(struct vhu_driver *d, const struct vhu_buffer *buffers,
				 unsigned int nr_read, unsigned int nr_write, uint32_t token,
				 bool single)
{
	struct vhu_driver_slot *slots = d->store.slots;
	const unsigned int nr = single ? 1 : nr_read + nr_write;
	uint16_t id = d->free_head, last = id;
	struct writer w = { .at = d->next_avail, .wrap = d->avail_wrap };
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
			write_desc(d, &w, slot->gpa, slot->len, id,
				   piece_flags(i, nr_read) | (i + 1 < nr ? VHU_DRV_NEXT : 0u));
			last = at;
			at = slot->next;
		}
	} else {
		struct vhu_buffer *copy = vhu_driver_table_copy(&d->store, d->indirect_max, id);

		for (unsigned int i = 0; i < nr; i++)
			copy[i] = buffers[i];
		write_desc(d, &w, write_table(d, id, buffers, nr_read, nr), nr * VHU_DRV_DESC_SIZE,
			   id, VHU_DRV_INDIRECT);
	}
	vhu_driver_note(d, last, entries, nr_read, nr_write, write_len, token);
	d->next_avail = w.at;
	d->avail_wrap = w.wrap;
	return 0;
}

int vhu_driver_packed_add(struct vhu_driver *d, const struct vhu_buffer *buffers,
			  unsigned int nr_read, unsigned int nr_write, uint32_t token)
{
	if (vhu_driver_is_single(nr_read, nr_write))
		return add(d, buffers, nr_read, nr_write, token, true);
	return add(d, buffers, nr_read, nr_write, token, false);
}

void vhu_driver_packed_show(struct vhu_driver *d)
{
	/* release, pairs with the device's load of the flags: all that was added before them */
	vhu_store_release(flags_of(&d->desc[d->shown]), d->withheld);
	d->nr_hidden = 0;
}

bool vhu_driver_packed_publish(struct vhu_driver *d)
{
	/* positions as if the ring went on below 0: what was added is [now - added, now) */
	const int32_t now = d->next_avail, added = (int32_t)d->nr_hidden;
	uint32_t event, flags;
	int32_t at;

	vhu_driver_packed_show(d);
	/*
	 * Publish, then look. Pairs with the device's barrier between its store to the device event
	 * structure and its load of the next descriptor's flags.
	 */
	vhu_full_barrier();
	event = vhu_read_once(d->device_event);
	flags = event >> 16 & EVENT_FLAGS;
	if (flags != EVENT_DESC || !d->event_idx)
		return flags != EVENT_DISABLE;
	at = (int32_t)(event & (EVENT_WRAP - 1));
	if (!!(event & EVENT_WRAP) != d->avail_wrap)
		at -= (int32_t)d->num;
	return at >= now - added && at < now;
}

static VHU_ALWAYS_INLINE bool is_used(const struct vhu_driver *d, uint16_t flags)
{
	return !!(flags & F_AVAIL) == d->used_wrap && !!(flags & F_USED) == d->used_wrap;
}

static VHU_ALWAYS_INLINE void pass(struct vhu_driver *d, uint32_t nr)
{
	uint32_t at = d->last_used + nr;

	if (vhu_unlikely(at >= d->num)) {
		at -= d->num;
		d->used_wrap = !d->used_wrap;
	}
	d->last_used = (uint16_t)at;
}

int vhu_driver_packed_take(struct vhu_driver *d, struct vhu_used *ret_used)
{
	struct vhu_driver_desc *desc;
	uint32_t id, len = 0;
	uint16_t flags;
	int err;

	if (d->batch_left) {
		pass(d, vhu_driver_complete_oldest(d, ret_used));
		return 1;
	}
	desc = &d->desc[d->last_used];
	/* acquire, pairs with the device's store of the flags: id, length and buffers before them */
	flags = vhu_load_acquire(flags_of(desc));
	if (!is_used(d, flags))
		return 0;
	id = vhu_read_once((uint16_t *)(void *)&desc->rest + 2);
	/* 2.8.4: without the flag, the length means nothing */
	if (flags & VHU_DRV_WRITE)
		len = vhu_read_once((uint32_t *)(void *)&desc->rest);
	err = vhu_driver_judge_used(d, id, len);
	if (vhu_unlikely(err))
		return err;
	if (d->in_order) {
		d->batch_left = (uint32_t)vhu_driver_batch(d, id);
		d->batch_len = len;
		pass(d, vhu_driver_complete_oldest(d, ret_used));
	} else {
		pass(d, vhu_driver_complete(d, id, len, ret_used));
	}
	return 1;
}

void vhu_driver_packed_set_calls(struct vhu_driver *d, bool wanted)
{
	uint32_t event = (uint32_t)EVENT_DISABLE << 16;

	if (wanted && d->event_idx)
		event = (uint32_t)EVENT_DESC << 16 | (d->used_wrap ? EVENT_WRAP : 0u) |
			d->last_used;
	else if (wanted)
		event = (uint32_t)EVENT_ENABLE << 16;
	vhu_write_once(d->driver_event, event);
}

bool vhu_driver_packed_has_used(const struct vhu_driver *d)
{
	/* judged when it is taken */
	return d->batch_left || is_used(d, vhu_read_once(flags_of(&d->desc[d->last_used])));
}

void vhu_driver_packed_rewrite(struct vhu_driver *d, uint32_t nr)
{
	struct writer w = { .at = d->last_used, .wrap = d->used_wrap };
	bool is_shown = false;

	d->nr_hidden = 0;
	for (uint32_t i = 0; i < nr; i++) {
		uint16_t id = d->order[i].id, at = id;
		const struct vhu_driver_chain *chain = &d->store.chains[id];
		const unsigned int pieces = (unsigned int)chain->nr_read + chain->nr_write;

		if (is_shown && chain->seq >= d->seq_shown) {
			vhu_driver_packed_show(d);
			is_shown = false;
		}
		is_shown |= chain->seq < d->seq_shown;
		if (vhu_driver_is_indirect(chain)) {
			const struct vhu_buffer *copy =
				vhu_driver_table_copy(&d->store, d->indirect_max, id);

			write_desc(d, &w, write_table(d, id, copy, chain->nr_read, pieces),
				   pieces * VHU_DRV_DESC_SIZE, id, VHU_DRV_INDIRECT);
			continue;
		}
		for (unsigned int k = 0; k < pieces; k++) {
			const struct vhu_driver_slot *slot = &d->store.slots[at];

			write_desc(d, &w, slot->gpa, slot->len, id,
				   piece_flags(k, chain->nr_read) |
					   (k + 1 < pieces ? VHU_DRV_NEXT : 0u));
			at = slot->next;
		}
	}
	if (is_shown)
		vhu_driver_packed_show(d);
}
