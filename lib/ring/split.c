/* SPDX-License-Identifier: MIT */
/*
 * The split ring from the device's side: take, walk, publish (virtio 1.2, 2.7). Everything
 * read from the ring is read once and judged as a copy. Knows nothing of what a chain carries.
 */
#include <ring/ring.h>

#include <ring/chain.h>
#include <ring/record.h>

enum {
	AVAIL_IDX = 1,
	AVAIL_RING = 2,
	USED_IDX = 1,
	USED_RING = 2
};

/* Looks what the driver has made available. False: nothing, or an index that cannot be. */
static bool look(struct vhu_queue *q, const struct vhu_view *view)
{
	uint16_t have;

	/* acquire, pairs with the driver's store to avail->idx: entries before the index */
	q->avail_seen = vhu_load_acquire(&view->avail[AVAIL_IDX]);
	have = (uint16_t)(q->avail_seen - q->avail_pos);
	if (vhu_unlikely(have > view->num)) {
		vhu_queue_break(q, view, VHU_FAULT_AVAIL_JUMP, q->avail_seen);
		q->avail_seen = q->avail_pos;
	}
	return q->avail_seen != q->avail_pos;
}

/* Follows the chain of a head. */
static VHU_ALWAYS_INLINE enum vhu_ring_fault walk(const struct vhu_view *view, struct vhu_seg *segs,
						  unsigned int max, struct vhu_chain *chain)
{
	struct desc_table table = {
		.host = view->desc, .mem = view->mem, .gpa = view->desc_gpa, .nr = view->num
	};
	enum vhu_ring_fault fault;
	bool indirect = false;
	uint32_t i = chain->id, steps = 0;
	struct desc_table next;
	struct vhu_desc d, of_table;

	for (;;) {
		chain->steps++;
		if (vhu_unlikely(steps++ >= table.nr || steps > VHU_CHAIN_MAX))
			return refuse(chain, VHU_FAULT_LOOP, chain->id);
		if (vhu_unlikely(!read_desc(&table, i, false, &d)))
			return refuse(chain, VHU_FAULT_ADDRESS, table.gpa);
		if (d.flags & VHU_DESC_F_INDIRECT) {
			if (indirect)
				return refuse(chain, VHU_FAULT_INDIRECT_NESTED, chain->id);
			/* copies' addresses are taken: the others stay in registers */
			of_table = d;
			next = table;
			fault = enter_indirect(view, &of_table, &next, &chain->value);
			if (fault)
				return fault;
			table = next;
			indirect = true;
			i = 0;
			steps = 0;
			continue;
		}
		fault = add_element(view, &d, segs, max, chain);
		if (vhu_unlikely(fault))
			return fault;
		if (!(d.flags & VHU_DESC_F_NEXT))
			return VHU_FAULT_NONE;
		i = d.next;
		if (vhu_unlikely(i >= table.nr))
			return refuse(chain, VHU_FAULT_NEXT_RANGE, i);
	}
}

int vhu_split_take(struct vhu_queue *q, const struct vhu_view *view, struct vhu_seg *segs,
		   unsigned int max, struct vhu_chain *ret)
{
	bool again = vhu_record_has_again(q);

	*ret = (struct vhu_chain){ .nr_desc = 1 };
	if (vhu_unlikely(again)) {
		/* it was taken in an earlier life of the ring: its place lies behind us */
		ret->id = vhu_inflight_take_again(q->inflight)->id;
	} else {
		if (q->avail_pos == q->avail_seen && !look(q, view))
			return vhu_read_once(&q->fault) ? -1 : 0;
		ret->id =
			vhu_read_once(&view->avail[AVAIL_RING + (q->avail_pos & (view->num - 1))]);
	}
	if (!take_id(q, view, ret->id))
		return -1;
	if (vhu_likely(!again)) {
		q->avail_pos++;
		vhu_record_take(q, ret->id);
	}
	ret->fault = walk(view, segs, max, ret);
	return 1;
}

/* Follows a plain chain that is more than one descriptor. Its pieces; 0: it is none, or has no end. */
static unsigned int follow_plain(const struct vhu_view *view, uint32_t head, struct vhu_seg *segs,
				 unsigned int nr_segs, bool write)
{
	const uint16_t kind = write ? VHU_DESC_F_WRITE : 0;
	const struct vhu_desc *table = view->desc;
	struct plain_place place = { .mem = view->mem };
	uint32_t i = head, num = view->num, left = UINT32_MAX;
	struct vhu_desc d;

	read_host(table, i, false, &d);
	if (d.flags & VHU_DESC_F_INDIRECT) {
		if (!enter_plain(view, &place, &d, &table, &num))
			return 0;
		i = 0;
		read_host(table, i, false, &d);
	}
	/* no longer than its table, or it has no end */
	nr_segs = vhu_min_u32(nr_segs, num);
	for (unsigned int n = 0; n < nr_segs; n++) {
		if (d.flags & VHU_DESC_F_INDIRECT || (d.flags & VHU_DESC_F_WRITE) != kind ||
		    d.len > left || !find_plain(&place, d.addr, d.len, &segs[n]))
			return 0;
		left -= d.len;
		ask_for(segs[n].host, n, write);
		if (!(d.flags & VHU_DESC_F_NEXT))
			return n + 1;
		segs[n].more = 1;
		i = d.next;
		if (i >= num)
			return 0;
		read_host(table, i, false, &d);
	}
	return 0;
}

/* Takes chains as long as they are one descriptor: a loop that keeps to its registers. */
static __attribute__((noinline)) unsigned int take_singles(struct vhu_queue *q,
							   const struct vhu_view *view,
							   struct vhu_seg *segs, unsigned int max,
							   uint32_t kind)
{
	const uint32_t any = VHU_DESC_F_NEXT | VHU_DESC_F_WRITE | VHU_DESC_F_INDIRECT;
	struct plain_place place = { .mem = view->mem };
	struct vhu_returned *used = q->shadow + q->nr_shadow;
	const uint16_t *ring = &view->avail[AVAIL_RING];
	const struct vhu_desc *desc = view->desc;
	const uint32_t mask = view->num - 1;
	uint32_t pos = q->avail_pos;
	uint16_t *stamp = q->stamp, now = q->now;
	unsigned int n;

	for (n = 0; n < max; n++, pos++) {
		uint32_t id = vhu_read_once(&ring[pos & mask]);
		const uint64_t *word = (const uint64_t *)(const void *)&desc[id];
		uint64_t rest;

		if (vhu_unlikely(id > mask) || vhu_unlikely(stamp[id] == now))
			break;
		rest = vhu_read_once(&word[1]);
		if (((uint32_t)(rest >> 32) & any) != kind ||
		    vhu_unlikely(
			    !find_plain(&place, vhu_read_once(&word[0]), (uint32_t)rest, &segs[n])))
			break;
		ask_for(segs[n].host, 0, kind != 0);
		stamp[id] = now;
		used[n] = (struct vhu_returned){ .id = id };
	}
	q->avail_pos = (uint16_t)pos;
	q->nr_shadow += n;
	return n;
}

/* Takes one plain chain of several descriptors, or of a table. Its pieces; 0: there is none. */
static unsigned int take_several(struct vhu_queue *q, const struct vhu_view *view,
				 struct vhu_seg *segs, unsigned int nr_segs, bool write)
{
	uint32_t id = vhu_read_once(&view->avail[AVAIL_RING + (q->avail_pos & (view->num - 1))]);
	unsigned int nr;

	if (id >= view->num || q->stamp[id] == q->now)
		return 0;
	nr = follow_plain(view, id, segs, nr_segs, write);
	if (!nr)
		return 0;
	q->stamp[id] = q->now;
	q->shadow[q->nr_shadow++] = (struct vhu_returned){ .id = id };
	q->avail_pos++;
	return nr;
}

unsigned int vhu_split_take_plain(struct vhu_queue *q, const struct vhu_view *view,
				  struct vhu_seg *segs, unsigned int nr_segs, unsigned int max,
				  bool write)
{
	uint16_t have = (uint16_t)(q->avail_seen - q->avail_pos);
	unsigned int n = 0;
	uint32_t nr;

	if (have < max) {
		if (!look(q, view)) {
			q->dry = true;
			return 0;
		}
		have = (uint16_t)(q->avail_seen - q->avail_pos);
		q->dry = have <= max;
	}
	max = vhu_min_u32(max, have);
	for (; n < max && nr_segs; n++, segs += nr, nr_segs -= nr) {
		nr = take_singles(q, view, segs, vhu_min_u32(max - n, nr_segs),
				  write ? VHU_DESC_F_WRITE : 0);
		n += nr;
		segs += nr;
		nr_segs -= nr;
		if (n == max)
			break;
		nr = take_several(q, view, segs, nr_segs, write);
		if (!nr)
			break;
	}
	q->dry &= n == max;
	q->any_writable |= write && n;
	return n;
}

static uint64_t used_offset(uint32_t index)
{
	return 4 + (uint64_t)index * sizeof(struct vhu_returned);
}

/* The index fields and flags of the used ring are 16-bit words. */
static void store_used16(const struct vhu_view *view, uint32_t word, uint16_t value)
{
	vhu_guest_store16(view->log_used, &view->used[word], view->used_gpa + word * 2ull, value);
}

static uint32_t avail_event_word(const struct vhu_view *view)
{
	return USED_RING + view->num * 4;
}

/* nr used elements, which lie in the ring as they lie in the shadow, from a slot on. */
static VHU_ALWAYS_INLINE void store_entries(const struct vhu_view *view, uint32_t slot,
					    const struct vhu_returned *e, uint32_t nr)
{
	uint32_t first = slot & (view->num - 1), part = vhu_min_u32(nr, view->num - first);
	uint8_t *used = (uint8_t *)view->used;

	for (; nr; nr -= part, e += part, part = nr, first = 0)
		vhu_guest_store(view->log_used, used + used_offset(first),
				view->used_gpa + used_offset(first), e, part * sizeof(*e));
}

void vhu_split_publish(struct vhu_queue *q, const struct vhu_view *view)
{
	uint32_t left_out = vhu_ring_one_stands_for_all(q, view) ? q->nr_shadow - 1 : 0;

	store_entries(view, q->used_pos, q->shadow + left_out, q->nr_shadow - left_out);
	q->used_pos = (uint16_t)(q->used_pos + q->nr_shadow);
	/* pairs with the driver's load of used->idx: entries and buffers before the index */
	store_used16(view, USED_IDX, q->used_pos);
}

bool vhu_split_wants_call(struct vhu_queue *q, const struct vhu_view *view)
{
	uint16_t old = q->signalled, now = q->used_pos, event;
	bool valid = q->signalled_valid;

	/*
	 * Publish, then look. Pairs with the driver's barrier between its store to used_event (or
	 * avail->flags) and its load of used->idx.
	 */
	vhu_full_barrier();
	if (!view->event_idx)
		return !(vhu_read_once(&view->avail[0]) & VHU_AVAIL_F_NO_INTERRUPT);
	event = vhu_read_once(&view->avail[AVAIL_RING + view->num]);
	q->signalled = now;
	q->signalled_valid = true;
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void vhu_split_set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted)
{
	if (view->event_idx) {
		if (wanted)
			store_used16(view, avail_event_word(view), q->avail_pos);
	} else {
		store_used16(view, 0, wanted ? 0 : VHU_USED_F_NO_NOTIFY);
	}
}

bool vhu_split_has_more(const struct vhu_queue *q, const struct vhu_view *view)
{
	return vhu_load_acquire(&view->avail[AVAIL_IDX]) != q->avail_pos;
}

void vhu_split_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base)
{
	q->avail_pos = (uint16_t)base;
	q->avail_seen = (uint16_t)base;
	q->used_pos = vhu_read_once(&view->used[USED_IDX]);
}
