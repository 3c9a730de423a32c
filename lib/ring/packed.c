/* SPDX-License-Identifier: MIT */
/*
 * The packed ring from the device's side: take, walk, publish (virtio 1.2, 2.8). Everything read
 * from the ring is read once and judged as a copy. Knows nothing of what a chain carries.
 *
 * A position is the index of a descriptor with the wrap counter in bit 15, as SET_VRING_BASE has
 * it: positions repeat after two times round, and num need not be a power of two.
 */
#include <ring/ring.h>

#include <base/copy.h>
#include <ring/chain.h>
#include <ring/record.h>

enum {
	WRAP = 1 << 15,

	/* the event areas, 2.8.14: offset and wrap counter in the lower half, flags in the upper */
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_DESC = 2,
	EVENT_FLAGS_SHIFT = 16,
	EVENT_FLAGS_MASK = 3,
};

static VHU_ALWAYS_INLINE uint32_t index_of(uint16_t pos)
{
	return pos & (WRAP - 1u);
}

static VHU_ALWAYS_INLINE uint16_t advance(uint16_t pos, uint32_t n, uint32_t num)
{
	uint32_t i = index_of(pos) + n;

	if (i < num)
		return (uint16_t)(pos + n);
	return (uint16_t)((i - num) | (~(uint32_t)pos & WRAP));
}

/* Places from one position to a later one, below two times num. */
static VHU_ALWAYS_INLINE uint32_t distance(uint16_t from, uint16_t to, uint32_t num)
{
	uint32_t way = index_of(to) + ((from ^ to) & WRAP ? num : 0);

	/* an index that lies behind with the same wrap counter is nearly two rounds ahead */
	return way >= index_of(from) ? way - index_of(from) : way + 2 * num - index_of(from);
}

/* 2.8.1: available if AVAIL is the wrap counter and USED is not. */
static VHU_ALWAYS_INLINE bool is_available(uint16_t flags, uint16_t pos)
{
	const uint16_t both = VHU_DESC_F_AVAIL | VHU_DESC_F_USED;

	return (flags & both) == (pos & WRAP ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED);
}

/*
 * Adds a whole indirect table. Of what is in it but addresses and lengths only WRITE counts, 2.8.7;
 * and not even that where there is nothing to write: DPDK's driver (22.11 as well as 26.11) leaves it
 * set in the first element of a table that it transmits, and in that one whose index in the table is
 * the table's own in the ring.
 */
static __attribute__((noinline)) enum vhu_ring_fault
add_table(const struct vhu_view *view, const struct vhu_desc *d, struct vhu_seg *segs,
	  unsigned int max, struct vhu_chain *chain)
{
	struct desc_table table = { .mem = view->mem };
	enum vhu_ring_fault fault;
	struct vhu_desc inner;

	/* a table stands alone, 2.8.19 */
	if (chain->steps > 1)
		return refuse(chain, VHU_FAULT_INDIRECT_NEXT, d->len);
	fault = enter_indirect(view, d, &table, &chain->value);
	for (uint32_t i = 0; i < table.nr && !fault; i++) {
		if (i == VHU_CHAIN_MAX)
			return refuse(chain, VHU_FAULT_LOOP, chain->id);
		chain->steps++;
		if (!read_desc(&table, i, true, &inner))
			return refuse(chain, VHU_FAULT_ADDRESS, table.gpa);
		if (view->reads_only)
			inner.flags &= (uint16_t)~VHU_DESC_F_WRITE;
		fault = add_element(view, &inner, segs, max, chain);
	}
	return fault;
}

/* Where a chain's descriptors are: in the ring, or copies of what once was in it. */
struct slots {
	const struct vhu_packed_desc *desc;
	uint32_t first, num;
	struct vhu_inflight_ring *record; /* NULL: what is read is not recorded */
};

/*
 * Follows the chain that begins at the first slot to its end, whatever is wrong with its elements:
 * only there are its id and its length. False: it has no end.
 */
static VHU_ALWAYS_INLINE bool walk(const struct slots *slots, const struct vhu_view *view,
				   uint16_t flags, struct vhu_seg *segs, unsigned int max,
				   struct vhu_chain *chain)
{
	uint32_t limit = vhu_min_u32(slots->num, VHU_STEPS_MAX);
	uint32_t i = slots->first, nr = 0;
	enum vhu_ring_fault fault = VHU_FAULT_NONE;
	struct vhu_desc d;

	*chain = (struct vhu_chain){ 0 };
	for (;;) {
		const uint64_t *word = (const uint64_t *)(const void *)&slots->desc[i];

		unpack_desc(vhu_read_once(&word[0]), vhu_read_once(&word[1]), true, &d);
		/*
		 * The first one's flags are those that said that it is available. The driver stores
		 * them last: the rest is there, and nothing need be asked of its AVAIL bits.
		 */
		if (!nr)
			d.flags = flags;
		if (vhu_unlikely(slots->record != NULL)) {
			/* a copy's address is taken, here and below: d stays in registers */
			struct vhu_desc kept = d;

			vhu_record_add(slots->record, &kept);
		}
		nr++;
		chain->steps++;
		chain->id = d.next;
		if (d.flags & VHU_DESC_F_WRITE)
			chain->writable |= !!fault;
		if (vhu_likely(!fault)) {
			if (d.flags & VHU_DESC_F_INDIRECT) {
				struct vhu_desc of_table = d;

				fault = add_table(view, &of_table, segs, max, chain);
			} else if (nr > VHU_CHAIN_MAX) {
				fault = VHU_FAULT_LOOP;
			} else {
				fault = add_element(view, &d, segs, max, chain);
			}
		}
		if (!(d.flags & VHU_DESC_F_NEXT))
			break;
		if (vhu_unlikely(nr == limit))
			return false;
		i = i + 1 == slots->num ? 0 : i + 1;
	}
	if (vhu_unlikely(fault) && (fault == VHU_FAULT_ORDER || fault == VHU_FAULT_LOOP))
		chain->value = chain->id; /* known only now */
	chain->nr_desc = (uint16_t)nr;
	chain->fault = fault;
	return true;
}

/* A chain that was in flight when an earlier life of the ring ended: its place lies behind us. */
static __attribute__((noinline)) int take_again(struct vhu_queue *q, const struct vhu_view *view,
						struct vhu_seg *segs, unsigned int max,
						struct vhu_chain *ret)
{
	const struct vhu_inflight_again *again = vhu_inflight_take_again(q->inflight);
	const struct vhu_packed_desc *desc = &q->inflight->copies[again->first];
	const struct slots slots = { .desc = desc, .num = again->nr };

	if (!walk(&slots, view, desc->flags, segs, max, ret)) {
		vhu_queue_break(q, view, VHU_FAULT_ENDLESS, again->id);
		return -1;
	}
	if (!take_id(q, view, ret->id))
		return -1;
	return 1;
}

int vhu_packed_take(struct vhu_queue *q, const struct vhu_view *view, struct vhu_seg *segs,
		    unsigned int max, struct vhu_chain *ret)
{
	uint16_t pos = q->avail_pos;
	const struct slots slots = {
		.desc = view->ring, .first = index_of(pos), .num = view->num, .record = q->inflight
	};
	uint16_t flags;

	if (vhu_record_has_again(q))
		return take_again(q, view, segs, max, ret);
	/* acquire, pairs with the driver's store to the flags: descriptors before those */
	flags = vhu_load_acquire(&view->ring[index_of(pos)].flags);
	if (!is_available(flags, pos))
		return 0;
	vhu_record_begin(q);
	if (vhu_unlikely(!walk(&slots, view, flags, segs, max, ret))) {
		vhu_queue_break(q, view, VHU_FAULT_ENDLESS, index_of(pos));
		return -1;
	}
	/* what is not published yet cannot be available again */
	if (vhu_unlikely(distance(q->used_pos, pos, view->num) + ret->nr_desc > view->num)) {
		vhu_queue_break(q, view, VHU_FAULT_AVAIL_JUMP, index_of(pos));
		return -1;
	}
	if (!take_id(q, view, ret->id))
		return -1;
	vhu_record_end_chain(q, ret->id);
	q->avail_pos = advance(pos, ret->nr_desc, view->num);
	return 1;
}

uint16_t vhu_packed_retreat(uint16_t pos, uint32_t n, uint32_t num)
{
	if (index_of(pos) >= n)
		return (uint16_t)(pos - n);
	return (uint16_t)((index_of(pos) + num - n) | (~(uint32_t)pos & WRAP));
}

/* What a plain chain of several descriptors, or of a table, takes. */
struct several {
	uint32_t id, places, nr_segs;
};

/* Follows one from pos on, where a descriptor is available. False: it is none, or has no end. */
static bool follow_plain(const struct vhu_view *view, uint16_t pos, struct vhu_seg *segs,
			 const struct several *max, bool write, struct several *ret)
{
	const uint16_t kind = write ? VHU_DESC_F_WRITE : 0;
	const struct vhu_desc *ring = (const struct vhu_desc *)(const void *)view->ring, *table;
	struct plain_place place = { .mem = view->mem };
	struct vhu_desc d;
	uint32_t n = 0, nr, left = UINT32_MAX;

	read_host(ring, index_of(pos), true, &d);
	*ret = (struct several){ .id = d.next, .places = 1 };
	if (d.flags & VHU_DESC_F_INDIRECT) {
		if (!enter_plain(view, &place, &d, &table, &nr) || nr > max->nr_segs)
			return false;
		for (; n < nr; n++) {
			read_host(table, n, true, &d);
			if (view->reads_only)
				d.flags &= (uint16_t)~VHU_DESC_F_WRITE; /* see add_table() */
			if ((d.flags & VHU_DESC_F_WRITE) != kind || d.len > left ||
			    !find_plain(&place, d.addr, d.len, &segs[n]))
				return false;
			left -= d.len;
			segs[n].more = n + 1 < nr;
		}
		ret->nr_segs = nr;
		return true;
	}
	while (n < max->nr_segs && n < max->places) {
		if (d.flags & VHU_DESC_F_INDIRECT || (d.flags & VHU_DESC_F_WRITE) != kind ||
		    d.len > left || !find_plain(&place, d.addr, d.len, &segs[n]))
			return false;
		left -= d.len;
		n++;
		if (!(d.flags & VHU_DESC_F_NEXT)) {
			*ret = (struct several){ .id = d.next, .places = n, .nr_segs = n };
			return true;
		}
		segs[n - 1].more = 1;
		pos = advance(pos, 1, view->num);
		read_host(ring, index_of(pos), true, &d);
	}
	return false;
}

/*
 * Takes chains as long as they are one descriptor and the wrap counter stays: a loop that keeps to
 * its registers.
 */
static __attribute__((noinline)) unsigned int take_singles(struct vhu_queue *q,
							   const struct vhu_view *view,
							   struct vhu_seg *segs, unsigned int max,
							   uint16_t wanted)
{
	const uint16_t any = VHU_DESC_F_NEXT | VHU_DESC_F_WRITE | VHU_DESC_F_INDIRECT |
			     VHU_DESC_F_AVAIL | VHU_DESC_F_USED;
	const struct vhu_packed_desc *d = view->ring + index_of(q->avail_pos);
	struct plain_place place = { .mem = view->mem };
	struct vhu_returned *used = q->shadow + q->nr_shadow;
	uint16_t *stamp = q->stamp, now = q->now;
	const uint32_t num = view->num;
	unsigned int n;

	for (n = 0; n < max; n++, d++) {
		const uint64_t *word = (const uint64_t *)(const void *)d;
		uint64_t rest;
		/* acquire, pairs with the driver's store to the flags: the rest before those */
		uint32_t flags = vhu_load_acquire(&d->flags), id;

		if ((flags & any) != wanted) {
			q->dry = (flags ^ wanted) & (VHU_DESC_F_AVAIL | VHU_DESC_F_USED);
			break;
		}
		rest = vhu_read_once(&word[1]);
		id = (uint16_t)(rest >> 32);
		if (vhu_unlikely(id >= num) || vhu_unlikely(stamp[id] == now) ||
		    vhu_unlikely(
			    !find_plain(&place, vhu_read_once(&word[0]), (uint32_t)rest, &segs[n])))
			break;
		if (wanted & VHU_DESC_F_WRITE)
			vhu_prefetch_write(segs[n].host);
		else
			vhu_prefetch_read(segs[n].host);
		stamp[id] = now;
		used[n] = (struct vhu_returned){ .id = id | 1 << VHU_USED_PLACES_SHIFT };
	}
	q->nr_shadow += n;
	q->avail_pos = advance(q->avail_pos, n, num);
	return n;
}

/* Takes one plain chain that is not. False: there is none. */
static bool take_several(struct vhu_queue *q, const struct vhu_view *view, struct vhu_seg *segs,
			 const struct several *max, bool write, struct several *ret)
{
	uint16_t pos = q->avail_pos;

	if (!is_available(vhu_load_acquire(&view->ring[index_of(pos)].flags), pos) ||
	    !follow_plain(view, pos, segs, max, write, ret) || ret->id >= view->num ||
	    q->stamp[ret->id] == q->now)
		return false;
	q->stamp[ret->id] = q->now;
	q->shadow[q->nr_shadow++] =
		(struct vhu_returned){ .id = ret->id | ret->places << VHU_USED_PLACES_SHIFT };
	q->avail_pos = advance(pos, ret->places, view->num);
	return true;
}

unsigned int vhu_packed_take_plain(struct vhu_queue *q, const struct vhu_view *view,
				   struct vhu_seg *segs, unsigned int nr_segs, unsigned int max,
				   bool write)
{
	/* what is not published yet cannot be available again */
	struct several left = {
		.places = view->num - distance(q->used_pos, q->avail_pos, view->num),
		.nr_segs = nr_segs,
	};
	struct several took;
	unsigned int n = 0;

	while (n < max && left.nr_segs && left.places) {
		uint16_t pos = q->avail_pos;
		uint32_t run = vhu_min_u32(view->num - index_of(pos), left.places), nr;

		run = vhu_min_u32(run, vhu_min_u32(max - n, left.nr_segs));
		nr = take_singles(q, view, segs, run,
				  (uint16_t)((write ? VHU_DESC_F_WRITE : 0) |
					     (pos & WRAP ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED)));
		took = (struct several){ .places = nr, .nr_segs = nr };
		n += nr;
		if (nr < run) {
			segs += nr;
			left.places -= nr;
			left.nr_segs -= nr;
			if (q->dry || !take_several(q, view, segs, &left, write, &took))
				break;
			n++;
		}
		segs += took.nr_segs;
		left.places -= took.places;
		left.nr_segs -= took.nr_segs;
	}
	q->any_writable |= write && n;
	return n;
}

/* What makes a descriptor used, 2.8.1; and whether anything was written to its buffer, 2.8.3. */
static VHU_ALWAYS_INLINE uint32_t used_flags(bool wrap, uint32_t len)
{
	return (wrap ? VHU_DESC_F_AVAIL | VHU_DESC_F_USED : 0) | (len ? VHU_DESC_F_WRITE : 0);
}

static VHU_ALWAYS_INLINE uint64_t desc_gpa(const struct vhu_view *view, uint32_t i)
{
	return view->desc_gpa + i * sizeof(struct vhu_packed_desc);
}

/* The first of a publication: with its flags the driver sees it, and all that were stored before. */
static void store_first(const struct vhu_view *view, uint16_t pos, const struct vhu_returned *e)
{
	struct vhu_packed_desc *d = &view->ring[index_of(pos)];
	uint64_t gpa = desc_gpa(view, index_of(pos));

	vhu_guest_store32(view->log_used, &d->len, gpa + offsetof(struct vhu_packed_desc, len),
			  e->len);
	vhu_guest_store16(view->log_used, &d->id, gpa + offsetof(struct vhu_packed_desc, id),
			  (uint16_t)e->id);
	/* pairs with the driver's load of these flags: ids, lengths, buffers before them */
	vhu_guest_store16(view->log_used, &d->flags, gpa + offsetof(struct vhu_packed_desc, flags),
			  (uint16_t)used_flags(pos & WRAP, e->len));
}

/* Used descriptors from a position on, which the driver does not look at yet, 2.8.4. Where they end. */
static VHU_ALWAYS_INLINE uint16_t store_behind(const struct vhu_view *view, uint16_t pos,
					       const struct vhu_returned *e,
					       const struct vhu_returned *end,
					       const struct vhu_dirty *log, const bool only_count)
{
	uint64_t flags = (uint64_t)used_flags(pos & WRAP, 0) << 48;
	struct vhu_packed_desc *ring = view->ring;
	const uint32_t num = view->num;
	uint32_t i = index_of(pos);

	for (; e < end; e++) {
		uint64_t *word = (uint64_t *)(void *)&ring[i];
		uint64_t value = flags | (uint64_t)(uint16_t)e->id << 32 | e->len;

		value |= (uint64_t)(e->len != 0) << (48 + 1); /* VHU_DESC_F_WRITE */
		if (!only_count)
			vhu_guest_store64(log, &word[1], desc_gpa(view, i) + sizeof(*word), value);
		i += e->id >> VHU_USED_PLACES_SHIFT;
		if (vhu_unlikely(i >= num)) {
			i -= num;
			flags ^= (uint64_t)used_flags(true, 0) << 48;
		}
	}
	return (uint16_t)(i | (flags ? WRAP : 0));
}

/*
 * Whether that many are used is seen by the flags of the first: they are stored last (2.8.10), so
 * that the driver sees all buffers of a frame or none, and the burst at once.
 */
void vhu_packed_publish(struct vhu_queue *q, const struct vhu_view *view)
{
	const struct vhu_returned *first = q->shadow, *end = first + q->nr_shadow;
	uint16_t start = q->used_pos;

	if (one_stands_for_all(q, view)) {
		q->used_pos = store_behind(view, start, first, end, NULL, true);
		first = end - 1;
	} else {
		q->used_pos = advance(start, first->id >> VHU_USED_PLACES_SHIFT, view->num);
		if (vhu_likely(!view->log_used))
			q->used_pos = store_behind(view, q->used_pos, first + 1, end, NULL, false);
		else
			q->used_pos = store_behind(view, q->used_pos, first + 1, end,
						   view->log_used, false);
	}
	store_first(view, start, first);
}

bool vhu_packed_wants_call(struct vhu_queue *q, const struct vhu_view *view)
{
	uint16_t old = q->signalled, now = q->used_pos, event;
	bool valid = q->signalled_valid;
	uint32_t area;

	/*
	 * Publish, then look. Pairs with the driver's barrier between its store to its event area and
	 * its load of a descriptor's flags.
	 */
	vhu_full_barrier();
	area = vhu_read_once(view->driver_event);
	q->signalled = now;
	q->signalled_valid = true;
	switch (area >> EVENT_FLAGS_SHIFT & EVENT_FLAGS_MASK) {
	case EVENT_DISABLE:
		return false;
	case EVENT_DESC:
		break;
	default:
		return true;
	}
	event = (uint16_t)area;
	/* what cannot be is a call too many at worst */
	if (!view->event_idx || !valid || index_of(event) >= view->num)
		return true;
	/* the place of the event is among those just published: no more than num of them */
	return distance(old, event, view->num) < distance(old, now, view->num);
}

void vhu_packed_set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted)
{
	uint32_t area = (uint32_t)EVENT_DISABLE << EVENT_FLAGS_SHIFT;

	if (wanted && view->event_idx)
		area = (uint32_t)EVENT_DESC << EVENT_FLAGS_SHIFT | q->avail_pos;
	else if (wanted)
		area = (uint32_t)EVENT_ENABLE << EVENT_FLAGS_SHIFT;
	vhu_guest_store32(view->log_used, view->device_event, view->used_gpa, area);
}

bool vhu_packed_has_more(const struct vhu_queue *q, const struct vhu_view *view)
{
	return is_available(vhu_load_acquire(&view->ring[index_of(q->avail_pos)].flags),
			    q->avail_pos);
}

/*
 * The upper half of a base is the position of the used side. Frontends that know only the lower one
 * leave it 0, as the answer of DPDK's backend does: then nothing is in flight.
 */
static uint16_t base_used(uint32_t base)
{
	return base >> 16 ? (uint16_t)(base >> 16) : (uint16_t)base;
}

bool vhu_packed_base_is_good(uint32_t base, uint32_t num)
{
	uint16_t avail = (uint16_t)base, used = base_used(base);

	return index_of(avail) < num && index_of(used) < num && distance(used, avail, num) <= num;
}

void vhu_packed_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base)
{
	(void)view;
	q->avail_pos = (uint16_t)base;
	q->used_pos = base_used(base);
}
