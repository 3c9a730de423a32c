/* SPDX-License-Identifier: MIT */
/*
 * The split ring from the device's side: take, walk, return, publish (virtio 1.2, 2.7). Everything
 * read from the ring is read once and judged as a copy. Knows nothing of what a chain carries.
 */
#include <ring/ring.h>

#include <base/bits.h>

enum {
	AVAIL_IDX = 1,
	AVAIL_RING = 2,
	USED_IDX = 1,
	USED_RING = 2
};

uint32_t vhu_split_available(struct vhu_queue *q, const struct vhu_view *view, uint32_t max)
{
	uint16_t have = (uint16_t)(q->avail_seen - q->last_avail);

	if (have < max) {
		/* acquire, pairs with the driver's store to avail->idx: entries before the index */
		q->avail_seen = vhu_load_acquire(&view->avail[AVAIL_IDX]);
		have = (uint16_t)(q->avail_seen - q->last_avail);
		if (vhu_unlikely(have > view->num)) {
			vhu_queue_break(q, view, VHU_FAULT_AVAIL_JUMP, q->avail_seen);
			q->avail_seen = q->last_avail;
			return 0;
		}
	}
	return vhu_min_u32(have, max);
}

int vhu_split_take(struct vhu_queue *q, const struct vhu_view *view)
{
	uint16_t head = vhu_read_once(&view->avail[AVAIL_RING + (q->last_avail & (view->num - 1))]);
	uint8_t bit = (uint8_t)(1u << (head & 7));

	if (vhu_unlikely(head >= view->num)) {
		vhu_queue_break(q, view, VHU_FAULT_HEAD_RANGE, head);
		return -1;
	}
	if (vhu_unlikely(q->taken[head >> 3] & bit)) {
		vhu_queue_break(q, view, VHU_FAULT_HEAD_TWICE, head);
		return -1;
	}
	q->taken[head >> 3] |= bit;
	q->last_avail++;
	return head;
}

/* Where descriptors of a chain are read from: the ring's table, or an indirect one. */
struct desc_table {
	const struct vhu_desc *host; /* NULL: in pieces, read through mem */
	const struct vhu_mem *mem;
	uint64_t gpa;
	uint32_t nr;
};

static VHU_ALWAYS_INLINE bool read_desc(const struct desc_table *t, uint32_t i,
					struct vhu_desc *ret)
{
	if (vhu_likely(t->host != NULL)) {
		const uint64_t *word = (const uint64_t *)(const void *)&t->host[i];
		uint64_t rest;

		ret->addr = vhu_read_once(&word[0]);
		rest = vhu_read_once(&word[1]);
		ret->len = (uint32_t)rest;
		ret->flags = (uint16_t)(rest >> 32);
		ret->next = (uint16_t)(rest >> 48);
		return true;
	}
	return vhu_mem_read(t->mem, t->gpa + (uint64_t)i * sizeof(*ret), ret, sizeof(*ret)) == 0;
}

/* Turns to an indirect table, judged from the copy of the descriptor that names it. */
static enum vhu_ring_fault enter_indirect(const struct vhu_view *view, const struct vhu_desc *d,
					  struct desc_table *t, uint64_t *ret_value)
{
	uint32_t limit = view->num > VHU_CHAIN_MAX ? view->num : VHU_CHAIN_MAX;
	uint64_t contiguous = d->len;
	const uint8_t *host;

	*ret_value = d->len;
	if (!view->indirect)
		return VHU_FAULT_INDIRECT_OFF;
	if (d->flags & VHU_DESC_F_NEXT)
		return VHU_FAULT_INDIRECT_NEXT;
	if (d->flags & VHU_DESC_F_WRITE)
		return VHU_FAULT_INDIRECT_WRITE;
	if (!d->len || d->len % sizeof(*d) || d->len / sizeof(*d) > limit)
		return VHU_FAULT_INDIRECT_SIZE;
	*ret_value = d->addr;
	if (vhu_range_wraps(d->addr, d->len))
		return VHU_FAULT_ADDRESS;
	host = vhu_mem_gpa(view->mem, d->addr, &contiguous);
	if (!host)
		return VHU_FAULT_ADDRESS;
	/* an odd address or a table across regions is read in pieces */
	if (contiguous < d->len || (uintptr_t)host % _Alignof(uint64_t))
		host = NULL;
	t->host = (const struct vhu_desc *)(const void *)host;
	t->gpa = d->addr;
	t->nr = d->len / (uint32_t)sizeof(*d);
	return VHU_FAULT_NONE;
}

/* Adds the pieces of one buffer. Its address is judged even if its length is 0. */
static VHU_ALWAYS_INLINE enum vhu_ring_fault
add_buffer(const struct vhu_view *view, const struct vhu_desc *d, struct vhu_seg *segs,
	   unsigned int max, struct vhu_chain *chain, uint64_t *ret_value)
{
	unsigned int nr = (unsigned int)chain->nr_read + chain->nr_write;
	uint32_t *total = d->flags & VHU_DESC_F_WRITE ? &chain->write_len : &chain->read_len;
	uint64_t gpa = d->addr;
	uint32_t left = d->len;

	*ret_value = gpa;
	if (vhu_range_wraps(gpa, left))
		return VHU_FAULT_ADDRESS;
	if (left > UINT32_MAX - *total)
		return VHU_FAULT_LENGTH;
	*total += left;
	do {
		uint64_t part = left ? left : 1;
		uint8_t *host = vhu_mem_gpa(view->mem, gpa, &part);

		*ret_value = gpa;
		if (vhu_unlikely(!host))
			return VHU_FAULT_ADDRESS;
		if (!left)
			return VHU_FAULT_NONE;
		if (vhu_unlikely(nr >= max))
			return VHU_FAULT_PIECES;
		segs[nr++] = (struct vhu_seg){ .host = host, .gpa = gpa, .len = (uint32_t)part };
		if (d->flags & VHU_DESC_F_WRITE)
			chain->nr_write++;
		else
			chain->nr_read++;
		gpa += part;
		left -= (uint32_t)part;
	} while (left);
	return VHU_FAULT_NONE;
}

enum vhu_ring_fault vhu_split_walk(const struct vhu_view *view, uint16_t head, struct vhu_seg *segs,
				   unsigned int max, struct vhu_chain *ret_chain,
				   uint64_t *ret_value)
{
	struct desc_table table = {
		.host = view->desc, .mem = view->mem, .gpa = view->desc_gpa, .nr = view->num
	};
	struct vhu_chain chain = { 0 };
	enum vhu_ring_fault fault;
	bool indirect = false, writable = false;
	uint32_t i = head, steps = 0;
	struct vhu_desc d;

	ret_chain->steps = 0;
	for (;;) {
		ret_chain->steps++;
		if (vhu_unlikely(steps++ >= table.nr || steps > VHU_CHAIN_MAX)) {
			*ret_value = head;
			return VHU_FAULT_LOOP;
		}
		if (vhu_unlikely(!read_desc(&table, i, &d))) {
			*ret_value = table.gpa;
			return VHU_FAULT_ADDRESS;
		}
		if (d.flags & VHU_DESC_F_INDIRECT) {
			*ret_value = head;
			if (indirect)
				return VHU_FAULT_INDIRECT_NESTED;
			fault = enter_indirect(view, &d, &table, ret_value);
			if (fault)
				return fault;
			indirect = true;
			i = 0;
			steps = 0;
			continue;
		}
		if (d.flags & VHU_DESC_F_WRITE) {
			writable = true;
		} else if (vhu_unlikely(writable)) {
			*ret_value = head;
			return VHU_FAULT_ORDER;
		}
		fault = add_buffer(view, &d, segs, max, &chain, ret_value);
		if (vhu_unlikely(fault))
			return fault;
		if (!(d.flags & VHU_DESC_F_NEXT))
			break;
		i = d.next;
		if (vhu_unlikely(i >= table.nr)) {
			*ret_value = i;
			return VHU_FAULT_NEXT_RANGE;
		}
	}
	chain.steps = ret_chain->steps;
	*ret_chain = chain;
	return VHU_FAULT_NONE;
}

void vhu_split_bad_chain(struct vhu_queue *q, enum vhu_ring_fault fault, uint64_t value)
{
	vhu_count(&q->stats.bad_chains, 1);
	if (vhu_read_once(&q->chain_fault))
		return;
	vhu_write_once(&q->chain_value, value);
	vhu_store_release(&q->chain_fault, (uint32_t)fault);
	vhu_queue_wake_control(q);
}

static uint64_t used_offset(uint32_t index)
{
	return 4 + (uint64_t)index * sizeof(struct vhu_used_entry);
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

void vhu_split_publish(struct vhu_queue *q, const struct vhu_view *view)
{
	uint32_t mask = view->num - 1;
	uint32_t n = q->nr_shadow;

	for (uint32_t i = 0; i < n; i++) {
		const struct vhu_used_entry *e = &q->shadow[i];
		uint64_t off = used_offset((q->used_idx + i) & mask);

		vhu_guest_store64(view->log_used, (uint8_t *)view->used + off, view->used_gpa + off,
				  (uint64_t)e->len << 32 | e->id);
		q->taken[e->id >> 3] &= (uint8_t) ~(1u << (e->id & 7));
	}
	if (n) {
		q->used_idx = (uint16_t)(q->used_idx + n);
		q->nr_shadow = 0;
		vhu_count(&q->stats.chains, n);
		/* pairs with the driver's load of used->idx: entries and buffers before the index */
		store_used16(view, USED_IDX, q->used_idx);
	}
	q->committed = q->last_avail;
	vhu_queue_notify(q, view, n);
}

void vhu_split_rewind(struct vhu_queue *q)
{
	for (uint32_t i = 0; i < q->nr_shadow; i++) {
		uint32_t id = q->shadow[i].id;

		q->taken[id >> 3] &= (uint8_t) ~(1u << (id & 7));
	}
	q->nr_shadow = 0;
	q->last_avail = q->committed;
}

/* True if the driver asked to be called for what was just published. */
bool vhu_split_wants_call(struct vhu_queue *q, const struct vhu_view *view)
{
	uint16_t old = q->signalled, now = q->used_idx, event;
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
			store_used16(view, avail_event_word(view), q->last_avail);
	} else {
		store_used16(view, 0, wanted ? 0 : VHU_USED_F_NO_NOTIFY);
	}
}

bool vhu_split_has_more(const struct vhu_queue *q, const struct vhu_view *view)
{
	return vhu_load_acquire(&view->avail[AVAIL_IDX]) != q->last_avail;
}

uint16_t vhu_split_read_used_idx(const struct vhu_view *view)
{
	return vhu_read_once(&view->used[USED_IDX]);
}
