/* SPDX-License-Identifier: MIT */
/* The driver and the queue of the tests of plain chains. It knows no test. */
#include "plain_world.h"

#include "ring_device.h"

uint32_t pw_pick(struct plain_world *w, uint32_t below)
{
	return rdev_random(&w->random, below);
}

struct plain_world *pw_new(bool packed, uint32_t num, uint64_t features, bool receive)
{
	struct plain_world *w = calloc(1, sizeof(*w));
	struct vhu_view *v;

	assert_non_null(w);
	w->packed = packed;
	w->num = num;
	w->avail_wrap = true;
	w->random = num * 2 + packed;
	w->bytes = calloc(1, PW_MEM_SIZE + PW_GAP);
	w->mem = calloc(1, sizeof(*w->mem) + 2 * sizeof(w->mem->region[0]));
	assert_true(w->bytes && w->mem);
	/* side by side for the guest, and apart for us */
	w->mem->nr = 2;
	for (unsigned int i = 0; i < 2; i++)
		w->mem->region[i] =
			(struct vhu_mem_region){ .gpa = i * (uint64_t)(PW_MEM_SIZE / 2),
						 .size = PW_MEM_SIZE / 2,
						 .host = w->bytes +
							 i * (PW_MEM_SIZE / 2 + PW_GAP) };
	v = &w->view;
	v->mem = w->mem;
	v->num = num;
	v->desc_gpa = 0;
	v->used_gpa = 0x90000;
	if (packed) {
		/* what lies behind the ring looks as good */
		((struct vhu_desc *)(void *)w->bytes)[num] = (struct vhu_desc){
			.addr = PW_BUFFERS_GPA, .len = 100, .next = receive ? VHU_DESC_F_WRITE : 0
		};
		v->ring = (void *)w->bytes;
		v->driver_event = (void *)(w->bytes + 0x80000);
		v->device_event = (void *)(w->bytes + 0x90000);
	} else {
		v->desc = (void *)w->bytes;
		v->avail = (void *)(w->bytes + 0x80000);
		v->used = (void *)(w->bytes + 0x90000);
	}
	v->call_fd = v->err_fd = -1;
	v->packed = packed;
	v->enabled = v->indirect = true;
	v->in_order = features >> VHU_F_IN_ORDER_BIT & 1;
	v->mergeable = features >> VHU_NET_F_MRG_RXBUF_BIT & 1;
	v->reads_only = !receive;
	v->hdr_len = PW_HDR_LEN;
	v->features = features;
	v->run = &w->q.run;
	w->q.poisoned = &w->poisoned;
	w->q.wake_fd = -1;
	assert_int_equal(vhu_queue_prepare(&w->q, num), 0);
	vhu_queue_start(&w->q, v, packed ? 0x80008000u : 0);
	w->q.view = v;
	return w;
}

void pw_free(struct plain_world *w)
{
	assert_int_equal(w->q.fault, VHU_FAULT_NONE);
	vhu_queue_release(&w->q);
	free(w->mem);
	free(w->bytes);
	free(w);
}

uint8_t *pw_at(struct plain_world *w, uint64_t gpa)
{
	return w->bytes + gpa + (gpa < PW_MEM_SIZE / 2 ? 0 : PW_GAP);
}

static void store_packed(struct plain_world *w, const struct vhu_desc *d, uint16_t id, bool first,
			 uint16_t *ret_flags, struct vhu_packed_desc **ret_first)
{
	struct vhu_packed_desc *p = (struct vhu_packed_desc *)(void *)w->bytes + w->avail_at;
	uint16_t flags = d->flags | (w->avail_wrap ? VHU_DESC_F_AVAIL : VHU_DESC_F_USED);

	p->addr = d->addr;
	p->len = d->len;
	p->id = id;
	if (first) {
		*ret_flags = flags;
		*ret_first = p;
	} else {
		p->flags = flags;
	}
	if (++w->avail_at == w->num) {
		w->avail_at = 0;
		w->avail_wrap = !w->avail_wrap;
	}
}

uint32_t pw_put(struct plain_world *w, struct vhu_desc *list, uint32_t nr, bool indirect)
{
	uint16_t id = (uint16_t)(w->next_id % w->num), flags = 0;
	struct vhu_packed_desc *first = NULL;

	for (uint32_t i = 0; i < nr; i++) {
		list[i].next = (uint16_t)(indirect ? i + 1 : (id + i + 1) % w->num);
		if (i + 1 < nr)
			list[i].flags |= VHU_DESC_F_NEXT;
	}
	if (indirect) {
		uint64_t gpa = PW_TABLES_GPA + id * (uint64_t)256;
		struct vhu_desc *table = (void *)pw_at(w, gpa);

		for (uint32_t i = 0; i < nr; i++) {
			table[i] = list[i];
			if (w->packed) {
				struct vhu_packed_desc *p = (void *)&table[i];

				p->id = 0;
				p->flags = list[i].flags & VHU_DESC_F_WRITE;
			}
		}
		list[0] = (struct vhu_desc){ .addr = gpa,
					     .len = nr * 16,
					     .flags = VHU_DESC_F_INDIRECT };
		nr = 1;
	}
	for (uint32_t i = 0; i < nr; i++) {
		/* of a packed chain only the last one's id counts */
		if (w->packed)
			store_packed(w, &list[i], i + 1 < nr ? UINT16_MAX : id, !i, &flags, &first);
		else
			((struct vhu_desc *)(void *)w->bytes)[(id + i) % w->num] = list[i];
	}
	if (w->packed) {
		first->flags = flags;
	} else {
		((uint16_t *)(void *)pw_at(w, 0x80000))[2 + w->avail % w->num] = id;
		((uint16_t *)(void *)pw_at(w, 0x80000))[1] = (uint16_t)++w->avail;
	}
	w->next_id += w->packed ? 1 : nr;
	return nr;
}

uint64_t pw_buffer(struct plain_world *w)
{
	return PW_BUFFERS_GPA + (w->next_buffer++ % PW_NR_BUFFERS) * (uint64_t)PW_BUFFER_MAX;
}
