/* SPDX-License-Identifier: MIT */
/* The in-flight world's driver and backend; what is tested with them is not known here. */
#include "inflight_world.h"

enum {
	MAX_SEGS = 16,
	AVAIL = 1 << 7,
	USED = 1 << 15,
};

/* ---- the driver ---- */

/* Places of a packed ring that the first nr chains took. */
static uint32_t place_of(const struct world *w, uint32_t nr)
{
	uint32_t places = 0;

	for (uint32_t i = 0; i < nr; i++)
		places += w->nr[i];
	return places;
}

static void write_slot(struct world *w, uint32_t place, bool next, uint16_t id)
{
	struct vhu_packed_desc *d = &w->ring[place % NUM];
	bool wrap = !(place / NUM % 2);

	d->addr = DATA_GPA + id * 16u;
	d->len = 16;
	d->id = id;
	__atomic_store_n(&d->flags,
			 (uint16_t)((wrap ? AVAIL : USED) | (next ? VHU_DESC_F_NEXT : 0)),
			 __ATOMIC_RELEASE);
}

bool world_make(struct world *w, bool packed)
{
	uint32_t i = w->made;
	uint16_t id = (uint16_t)(i * 3 % NUM), nr = (uint16_t)(packed ? 1 + i % 3 : 1);

	if (i - w->reaped == NUM || place_of(w, i) - place_of(w, w->reaped) + nr > NUM ||
	    i == HISTORY)
		return false;
	w->id[i] = id;
	w->nr[i] = nr;
	__atomic_store_n(&w->making, true, __ATOMIC_SEQ_CST);
	if (packed) {
		for (uint16_t k = nr; k-- > 0;) /* the first one's flags last */
			write_slot(w, place_of(w, i) + k, k + 1 < nr, id);
	} else {
		w->desc[id] = (struct vhu_desc){ .addr = DATA_GPA + id * 16u, .len = 16 };
		w->avail[2 + i % NUM] = id;
		__atomic_store_n(&w->avail[1], (uint16_t)(i + 1), __ATOMIC_RELEASE);
	}
	__atomic_store_n(&w->made, i + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w->making, false, __ATOMIC_SEQ_CST);
	return true;
}

bool world_reap(struct world *w, bool packed)
{
	for (;;) {
		uint32_t i = w->reaped;

		if (packed) {
			uint32_t place = place_of(w, i);
			const struct vhu_packed_desc *d = &w->ring[place % NUM];
			uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
			bool wrap = !(place / NUM % 2);

			if ((flags & (AVAIL | USED)) != (wrap ? AVAIL | USED : 0))
				return true;
			if (i >= w->made || d->id != w->id[i])
				return false;
		} else {
			uint16_t idx = __atomic_load_n(&w->used[1], __ATOMIC_ACQUIRE);

			if (idx == (uint16_t)i)
				return true;
			if (i >= w->made || w->used[2 + 4 * (i % NUM)] != w->id[i])
				return false;
		}
		w->reaped++;
	}
}

uint32_t world_made(const struct world *w, bool packed)
{
	uint32_t place = place_of(w, w->made);
	uint16_t flags = w->ring[place % NUM].flags;

	if (!packed)
		return w->avail[1];
	/* the flags come before the count */
	return w->made +
	       (w->making && (flags & (AVAIL | USED)) == (place / NUM % 2 ? USED : AVAIL));
}

int backend_begin(struct backend *be, struct world *w, uint8_t *region, bool packed,
		  struct vhu_reason *why)
{
	int err;

	memset(be, 0, sizeof(*be));
	be->mem = calloc(1, sizeof(*be->mem) + sizeof(be->mem->region[0]));
	be->mem->nr = 1;
	be->mem->region[0] = (struct vhu_mem_region){ .gpa = DATA_GPA,
						      .size = sizeof(w->data),
						      .host = w->data };
	be->view = (struct vhu_view){ .mem = be->mem,
				      .num = NUM,
				      .packed = packed,
				      .enabled = true,
				      .call_fd = -1,
				      .err_fd = -1,
				      .run = &be->run,
				      .hdr_len = 12 };
	if (packed) {
		be->view.ring = w->ring;
		be->view.driver_event = &w->driver_event;
		be->view.device_event = &w->device_event;
	} else {
		be->view.desc = w->desc;
		be->view.avail = w->avail;
		be->view.used = w->used;
	}
	/* as if it were mapped: one reference too many, so that nobody unmaps it */
	be->mapping = (struct vhu_mapping){ .refs = 1, .bytes = region ? region : w->region };
	be->area = (struct vhu_inflight_area){ .mapping = &be->mapping,
					       .size = sizeof(w->region),
					       .nr_queues = 1,
					       .queue_size = NUM,
					       .fd = -1 };
	be->q.poisoned = &be->poisoned;
	be->q.wake_fd = -1;
	err = vhu_queue_prepare(&be->q, NUM);
	if (err)
		return err;
	vhu_queue_start(&be->q, &be->view, packed ? 0x80008000u : 0);
	be->q.view = &be->view;
	return vhu_record_start(&be->q, &be->view, &be->area, 0, why);
}

void backend_die(struct backend *be)
{
	vhu_inflight_ring_free(be->q.inflight);
	be->q.inflight = NULL;
	vhu_queue_release(&be->q);
	free(be->mem);
}

int backend_take(struct backend *be)
{
	struct vhu_seg segs[MAX_SEGS];
	struct vhu_chain chain;
	int got = vhu_ring_take(&be->q, &be->view, segs, MAX_SEGS, &chain);

	if (got <= 0)
		return got < 0 ? -2 : -1;
	if (chain.fault || chain.read_len != 16u * (be->view.packed ? chain.nr_desc : 1u))
		return -3;
	vhu_ring_return(&be->q, &chain, 0);
	return chain.id;
}
