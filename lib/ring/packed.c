/* SPDX-License-Identifier: MIT */
/*
 * The packed ring from the device's side: take and walk (virtio 1.2, 2.8). Everything read
 * from the ring is read once and judged as a copy. Knows nothing of what a chain carries.
 */
#include <ring/packed.h>

#include <ring/chain.h>
#include <ring/record.h>

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

/* What is compared, or kept, at each plain chain of a burst. */
struct way {
	const struct vhu_view *view;
	struct plain_place place;
	uint64_t num;
	uint16_t now, *stamp;
};

/* Notes a chain as taken, and as used with nothing written. False: its id is none, or is taken. */
static VHU_ALWAYS_INLINE bool note(const struct way *way, uint64_t id, uint32_t places,
				   struct vhu_returned *used)
{
	if (vhu_unlikely(id >= way->num) || vhu_unlikely(way->stamp[id] == way->now))
		return false;
	way->stamp[id] = way->now;
	id |= (uint64_t)places << VHU_USED_PLACES_SHIFT;
	/* both words in one store */
	_Static_assert(sizeof(*used) == sizeof(id), "the id, and above it a length of 0");
	__builtin_memcpy(used, &id, sizeof(id));
	return true;
}

/*
 * Follows a chain from its first descriptor on, whose flags have been judged, through max of them at
 * most. The number of its pieces, which is that of its descriptors; 0: it is not plain, or too long.
 */
static VHU_ALWAYS_INLINE uint32_t follow_several(struct way *way, const struct vhu_packed_desc *d,
						 uint32_t max, struct vhu_seg *seg,
						 const bool write, uint64_t *ret_id)
{
	const struct vhu_packed_desc *const end = way->view->ring + way->num;
	uint32_t flags = VHU_DESC_F_NEXT, left = UINT32_MAX;

	for (uint32_t n = 0; n < max; n++) {
		const uint64_t *word = (const uint64_t *)(const void *)d;
		const uint64_t rest = vhu_read_once(&word[1]);
		const uint32_t len = (uint32_t)rest;

		if (n) {
			flags = (uint32_t)(rest >> 48);
			if ((flags & (VHU_DESC_F_INDIRECT | VHU_DESC_F_WRITE)) !=
			    (write ? VHU_DESC_F_WRITE : 0u))
				return 0;
		}
		if (len > left || !find_plain(&way->place, vhu_read_once(&word[0]), len, &seg[n]))
			return 0;
		left -= len;
		ask_for(seg[n].host, n, write);
		if (!(flags & VHU_DESC_F_NEXT)) {
			*ret_id = (uint16_t)(rest >> 32);
			return n + 1;
		}
		seg[n].more = 1;
		d = d + 1 == end ? way->view->ring : d + 1;
	}
	return 0;
}

/* The same for a table, named by a descriptor whose flags have been judged. */
static VHU_ALWAYS_INLINE uint32_t follow_table(struct way *way, const struct vhu_packed_desc *d,
					       uint32_t max, struct vhu_seg *seg, const bool write,
					       uint64_t *ret_id)
{
	/* see add_table() */
	const uint16_t any = way->view->reads_only ? 0 : VHU_DESC_F_WRITE;
	const uint16_t wanted = write ? any : 0;
	const struct vhu_desc *table;
	uint32_t nr, left = UINT32_MAX;
	struct vhu_desc e;

	read_host((const struct vhu_desc *)(const void *)d, 0, true, &e);
	*ret_id = e.next;
	e.flags = VHU_DESC_F_INDIRECT;
	if (!enter_plain(way->view, &way->place, &e, &table, &nr) || nr > max)
		return 0;
	for (uint32_t n = 0; n < nr; n++) {
		read_host(table, n, true, &e);
		if ((e.flags & any) != wanted || e.len > left ||
		    !find_plain(&way->place, e.addr, e.len, &seg[n]))
			return 0;
		left -= e.len;
		ask_for(seg[n].host, n, write);
		seg[n].more = n + 1 < nr;
	}
	return nr;
}

/*
 * Takes chains from d on as long as they are one descriptor: a loop that keeps to its registers. The
 * number of them; if less than max, *ret_odd is in what the next one's flags differ from wanted.
 */
static VHU_ALWAYS_INLINE uint32_t take_singles(struct way *way, const struct vhu_packed_desc *d,
					       uint32_t max, struct vhu_seg *seg,
					       struct vhu_returned *used, uint32_t wanted,
					       const bool write, uint32_t *ret_odd)
{
	const uint32_t any = VHU_DESC_F_NEXT | VHU_DESC_F_WRITE | VHU_DESC_F_INDIRECT |
			     VHU_DESC_F_AVAIL | VHU_DESC_F_USED;
	const struct vhu_packed_desc *const first = d, *const end = d + max;
	uint32_t flags = wanted;

	for (; d < end; d++, seg++, used++) {
		const uint64_t *word = (const uint64_t *)(const void *)d;
		uint64_t rest;
		uint8_t *host;

		/* acquire, pairs with the driver's store to the flags: the rest before those */
		flags = vhu_load_acquire(&d->flags) & any;
		if (flags != wanted)
			break;
		rest = vhu_read_once(&word[1]);
		if (vhu_unlikely(
			    !find_plain(&way->place, vhu_read_once(&word[0]), (uint32_t)rest, seg)))
			break;
		host = seg->host;
		if (!note(way, (uint16_t)(rest >> 32), 1, used))
			break;
		ask_for(host, 0, write);
	}
	*ret_odd = flags ^ wanted;
	return (uint32_t)(d - first);
}

/* How much may be taken. */
struct room {
	uint32_t chains, places, pieces;
};

static VHU_ALWAYS_INLINE void spend(struct room *room, uint32_t chains, uint32_t places,
				    uint32_t pieces)
{
	room->chains -= chains;
	room->places -= places;
	room->pieces -= pieces;
}

/*
 * Takes the chain that begins at d, which is more than one descriptor, or something else: odd is from
 * take_singles(). The number of its pieces; 0: it is not plain, or there is no room for it.
 */
static VHU_ALWAYS_INLINE uint32_t take_several(struct way *way, const struct vhu_packed_desc *d,
					       uint32_t odd, const struct room *room,
					       struct vhu_seg *seg, struct vhu_returned *used,
					       const bool write, uint32_t *ret_places)
{
	uint32_t nr;
	uint64_t id;

	if (odd == VHU_DESC_F_NEXT) {
		nr = follow_several(way, d, vhu_min_u32(room->places, room->pieces), seg, write,
				    &id);
		*ret_places = nr;
	} else if (odd == (VHU_DESC_F_INDIRECT | (write ? VHU_DESC_F_WRITE : 0))) {
		nr = follow_table(way, d, room->pieces, seg, write, &id);
		*ret_places = 1;
	} else {
		return 0;
	}
	return nr && note(way, id, *ret_places, used) ? nr : 0;
}

static VHU_ALWAYS_INLINE unsigned int take_plain(struct vhu_queue *q, const struct vhu_view *view,
						 struct vhu_seg *seg, struct room room,
						 const bool write)
{
	struct way way = { .view = view,
			   .place.mem = view->mem,
			   .num = view->num,
			   .now = q->now,
			   .stamp = q->stamp };
	struct vhu_returned *const first = q->shadow + q->nr_shadow, *used = first;
	uint32_t i = index_of(q->avail_pos), odd, run, places, nr;
	/* the flags of a chain of one descriptor */
	uint32_t wanted = (write ? VHU_DESC_F_WRITE : 0) |
			  (q->avail_pos & WRAP ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED);

	while (room.chains && room.places && room.pieces) {
		run = vhu_min_u32(vhu_min_u32(room.chains, room.pieces),
				  vhu_min_u32(room.places, view->num - i));
		nr = take_singles(&way, &view->ring[i], run, seg, used, wanted, write, &odd);
		spend(&room, nr, nr, nr);
		used += nr;
		seg += nr;
		i += nr;
		if (nr < run) {
			nr = take_several(&way, &view->ring[i], odd, &room, seg, used, write,
					  &places);
			q->dry = odd & (VHU_DESC_F_AVAIL | VHU_DESC_F_USED);
			if (!nr)
				break;
			spend(&room, 1, places, nr);
			used++;
			seg += nr;
			i += places;
		}
		if (i >= view->num) {
			i -= view->num;
			wanted ^= VHU_DESC_F_AVAIL | VHU_DESC_F_USED;
		}
	}
	q->avail_pos = (uint16_t)(i | (wanted & VHU_DESC_F_AVAIL ? WRAP : 0));
	q->nr_shadow = (uint32_t)(used - q->shadow);
	q->any_writable |= write && used != first;
	return (unsigned int)(used - first);
}

unsigned int vhu_packed_take_plain(struct vhu_queue *q, const struct vhu_view *view,
				   struct vhu_seg *segs, unsigned int nr_segs, unsigned int max,
				   bool write)
{
	const struct room room = {
		.chains = max,
		/* what is not published yet cannot be available again */
		.places = view->num - distance(q->used_pos, q->avail_pos, view->num),
		.pieces = nr_segs,
	};

	return write ? take_plain(q, view, segs, room, true) :
		       take_plain(q, view, segs, room, false);
}
