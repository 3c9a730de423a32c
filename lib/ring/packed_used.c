/* SPDX-License-Identifier: MIT */
/*
 * The packed ring from the device's side: used descriptors, notifications both ways, where the ring begins (virtio 1.2,
 * 2.8). Knows nothing of how chains are taken.
 */
#include <ring/packed.h>

enum {
	/* the event areas, 2.8.14: offset and wrap counter in the lower half, flags in the upper */
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_DESC = 2,
	EVENT_FLAGS_SHIFT = 16,
	EVENT_FLAGS_MASK = 3,
};

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

/* Used descriptors from a position on, which the driver does not look at yet, 2.8.4. */
static VHU_ALWAYS_INLINE void store_each(const struct vhu_view *view, uint16_t pos,
					 const struct vhu_returned *e,
					 const struct vhu_returned *end,
					 const struct vhu_dirty *log)
{
	const uint64_t places_mask = UINT64_MAX << 48;
	uint64_t flags = (uint64_t)used_flags(pos & WRAP, 0) << 48;
	uint32_t i = index_of(pos);

	for (; e < end; e++) {
		const uint32_t at = i;
		uint64_t *word = (uint64_t *)(void *)&view->ring[at];
		uint64_t value;

		/* as it lies in the ring, but for the number of places, where the flags have to be */
		__builtin_memcpy(&value, e, sizeof(value));
		value = value << 32 | value >> 32;
		i += (uint32_t)(value >> 48);
		value = (value & ~places_mask) | flags;
		if (e->len)
			value |= (uint64_t)VHU_DESC_F_WRITE << 48;
		vhu_guest_store64(log, &word[1], desc_gpa(view, at) + sizeof(*word), value);
		if (i >= view->num) {
			i -= view->num;
			flags ^= (uint64_t)(VHU_DESC_F_AVAIL | VHU_DESC_F_USED) << 48;
		}
	}
}

static void store_behind(const struct vhu_view *view, uint16_t pos, const struct vhu_returned *e,
			 const struct vhu_returned *end)
{
	if (vhu_likely(!view->log_used))
		store_each(view, pos, e, end, NULL);
	else
		store_each(view, pos, e, end, view->log_used);
}

/* The same of nr chains of one place each, where nothing is logged. */
static void store_singles(const struct vhu_view *view, uint16_t pos, const struct vhu_returned *e,
			  uint32_t nr)
{
	uint32_t i = index_of(pos), part = vhu_min_u32(nr, view->num - i);
	bool wrap = pos & WRAP;

	for (; nr; nr -= part, part = nr, i = 0, wrap = !wrap) {
		uint64_t *word = (uint64_t *)(void *)&view->ring[i] + 1;
		const struct vhu_returned *const end = e + part;
		/* the number of places comes to lie where the flags have to be, and is 1 */
		const uint64_t flags = (uint64_t)(used_flags(wrap, 0) ^ 1) << 48;

		for (; e < end; e++, word += 2) {
			uint64_t value;

			__builtin_memcpy(&value, e, sizeof(value));
			value = (value << 32 | value >> 32) ^ flags;
			if (e->len)
				value |= (uint64_t)VHU_DESC_F_WRITE << 48;
			vhu_guest_store64(NULL, word, 0, value);
		}
	}
}

/* How many places all that was returned takes. */
static uint32_t places_returned(const struct vhu_queue *q, const struct vhu_view *view)
{
	uint32_t sum = 0;

	if (vhu_likely(!q->inflight))
		return distance(q->committed, q->avail_pos, view->num);
	/* some may be from an earlier life of the ring: avail_pos did not move for them */
	for (uint32_t i = 0; i < q->nr_shadow; i++)
		sum += q->shadow[i].id >> VHU_USED_PLACES_SHIFT;
	return sum;
}

/*
 * Whether that many are used is seen by the flags of the first: they are stored last (2.8.10), so
 * that the driver sees all buffers of a frame or none, and the burst at once.
 */
void vhu_packed_publish(struct vhu_queue *q, const struct vhu_view *view)
{
	const struct vhu_returned *first = q->shadow, *end = first + q->nr_shadow;
	const uint32_t places = places_returned(q, view);
	uint16_t start = q->used_pos, second;

	q->used_pos = advance(start, places, view->num);
	if (vhu_ring_one_stands_for_all(q, view)) {
		first = end - 1;
	} else {
		second = advance(start, first->id >> VHU_USED_PLACES_SHIFT, view->num);
		if (vhu_likely(places == q->nr_shadow && !view->log_used))
			store_singles(view, second, first + 1, q->nr_shadow - 1);
		else
			store_behind(view, second, first + 1, end);
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
