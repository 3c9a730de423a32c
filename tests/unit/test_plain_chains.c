/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 120 */
/*
 * Bursts out of and into rings in which plain chains and odd ones follow each other at random: what
 * is taken in one loop, and what is judged one by one, has to come to the same.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <mem/table.h>
#include <ring/ring.h>
#include <vhu/net.h>

#include "ring_device.h"

enum {
	MEM_SIZE = 8 << 20,
	HOLE_GPA = MEM_SIZE + 4096, /* nothing is there */
	HDR_LEN = 12,
	PIECES_MAX = 4,
	FRAME_MAX = 3000,
	BUFFER_MAX = 4096,
	TABLES_GPA = 1 << 20,
	BUFFERS_GPA = (2 << 20) - 64, /* one of the buffers crosses from region to region */
	GAP = 4096,		      /* between the regions, in our address space */
	NR_BUFFERS = 1024,
};

/* What the driver made available and has not got back. */
struct made {
	uint16_t id;
	uint32_t nr_desc, nr_pieces, len;
	struct vhu_desc piece[PIECES_MAX];
	bool is_bad;	/* to be refused */
	uint32_t frame; /* transmit: its number */
};

struct world {
	uint8_t *bytes;
	struct vhu_mem *mem;
	struct vhu_queue q;
	struct vhu_view view;
	bool packed, poisoned;
	uint64_t random;
	uint32_t num, next_id, next_buffer;
	/* where the driver stands */
	uint32_t avail, used, avail_at;
	bool avail_wrap;
	struct made fifo[256];
	uint32_t fifo_in, fifo_out, nr_desc_out;
	uint32_t sent, received;
};

static uint32_t pick(struct world *w, uint32_t below)
{
	return rdev_random(&w->random, below);
}

static struct world *world_new(bool packed, uint32_t num, uint64_t features, bool receive)
{
	struct world *w = calloc(1, sizeof(*w));
	struct vhu_view *v;

	assert_non_null(w);
	w->packed = packed;
	w->num = num;
	w->avail_wrap = true;
	w->random = num * 2 + packed;
	w->bytes = calloc(1, MEM_SIZE + GAP);
	w->mem = calloc(1, sizeof(*w->mem) + 2 * sizeof(w->mem->region[0]));
	assert_true(w->bytes && w->mem);
	/* side by side for the guest, and apart for us */
	w->mem->nr = 2;
	for (unsigned int i = 0; i < 2; i++)
		w->mem->region[i] =
			(struct vhu_mem_region){ .gpa = i * (uint64_t)(MEM_SIZE / 2),
						 .size = MEM_SIZE / 2,
						 .host = w->bytes + i * (MEM_SIZE / 2 + GAP) };
	v = &w->view;
	v->mem = w->mem;
	v->num = num;
	v->desc_gpa = 0;
	v->used_gpa = 0x90000;
	if (packed) {
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
	v->hdr_len = HDR_LEN;
	v->features = features;
	v->run = &w->q.run;
	w->q.poisoned = &w->poisoned;
	w->q.wake_fd = -1;
	assert_int_equal(vhu_queue_prepare(&w->q, num), 0);
	vhu_queue_start(&w->q, v, packed ? 0x80008000u : 0);
	w->q.view = v;
	return w;
}

static void world_free(struct world *w)
{
	assert_int_equal(w->q.fault, VHU_FAULT_NONE);
	vhu_queue_release(&w->q);
	free(w->mem);
	free(w->bytes);
	free(w);
}

static uint8_t *at(struct world *w, uint64_t gpa)
{
	return w->bytes + gpa + (gpa < MEM_SIZE / 2 ? 0 : GAP);
}

static void store_packed(struct world *w, const struct vhu_desc *d, uint16_t id, bool first,
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

/* Makes a chain available: as it is, or through a table. */
static void offer(struct world *w, struct made *made, bool indirect)
{
	uint16_t id = (uint16_t)(w->next_id % w->num), flags = 0;
	uint32_t nr = made->nr_pieces;
	struct vhu_packed_desc *first = NULL;
	struct vhu_desc list[PIECES_MAX];

	made->id = id;
	memcpy(list, made->piece, sizeof(list));
	for (uint32_t i = 0; i < nr; i++) {
		list[i].next = (uint16_t)(indirect ? i + 1 : (id + i + 1) % w->num);
		if (i + 1 < nr)
			list[i].flags |= VHU_DESC_F_NEXT;
	}
	if (indirect) {
		uint64_t gpa = TABLES_GPA + id * (uint64_t)256;
		struct vhu_desc *table = (void *)at(w, gpa);

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
	made->nr_desc = nr;
	for (uint32_t i = 0; i < nr; i++) {
		if (w->packed)
			store_packed(w, &list[i], id, !i, &flags, &first);
		else
			((struct vhu_desc *)(void *)w->bytes)[(id + i) % w->num] = list[i];
	}
	if (w->packed) {
		first->flags = flags;
	} else {
		((uint16_t *)(void *)at(w, 0x80000))[2 + w->avail % w->num] = id;
		((uint16_t *)(void *)at(w, 0x80000))[1] = (uint16_t)++w->avail;
	}
	w->next_id += w->packed ? 1 : nr;
	w->nr_desc_out += nr;
	w->fifo[w->fifo_in++ % 256] = *made;
}

static uint64_t next_buffer(struct world *w)
{
	return BUFFERS_GPA + (w->next_buffer++ % NR_BUFFERS) * (uint64_t)BUFFER_MAX;
}

static bool has_room(const struct world *w)
{
	return w->nr_desc_out + PIECES_MAX <= w->num && w->fifo_in - w->fifo_out < 256;
}

static uint32_t frame_len(uint32_t number)
{
	return 14 + number * 37 % (FRAME_MAX - 14);
}

static uint8_t byte_of(uint32_t number, uint32_t i)
{
	return (uint8_t)(number * 7 + i * 3 + (i >> 8));
}

/* A frame to be sent, in some pieces, or something that is none. */
static void send(struct world *w)
{
	struct made made = { .frame = w->sent };
	uint32_t len = HDR_LEN + frame_len(w->sent), put = 0, kind = pick(w, 12);

	made.nr_pieces = 1 + pick(w, 3) % PIECES_MAX;
	for (uint32_t i = 0; i < made.nr_pieces; i++) {
		uint32_t part = i + 1 == made.nr_pieces ? len - put : pick(w, (len - put) / 2) + 1;
		uint64_t gpa = next_buffer(w);

		for (uint32_t k = 0; k < part; k++)
			*at(w, gpa + k) =
				put + k < HDR_LEN ? 0 : byte_of(w->sent, put + k - HDR_LEN);
		made.piece[i] = (struct vhu_desc){ .addr = gpa, .len = part };
		put += part;
	}
	if (kind == 0)
		made.piece[made.nr_pieces - 1].addr = HOLE_GPA;
	else if (kind == 1)
		made.piece[0].addr = UINT64_MAX - 3;
	else if (kind == 2 && made.nr_pieces < PIECES_MAX) /* of no length, but nowhere */
		made.piece[made.nr_pieces++] = (struct vhu_desc){ .addr = HOLE_GPA };
	else if (kind == 3)
		made.piece[0].len = 5, made.nr_pieces = 1;
	else
		w->sent++;
	made.is_bad = kind < 4 && (kind != 2 || made.piece[made.nr_pieces - 1].addr == HOLE_GPA);
	if (kind == 2 && !made.is_bad)
		w->sent++;
	offer(w, &made, pick(w, 3) == 0);
}

/* Takes back what was used, in order; the written length of each goes to ret_len. The number. */
static uint32_t reap(struct world *w, uint32_t nr, uint32_t *ret_len)
{
	for (uint32_t i = 0; i < nr; i++) {
		const struct made *made = &w->fifo[w->fifo_out % 256];

		assert_true(w->fifo_out != w->fifo_in);
		if (!w->packed) {
			const uint32_t *e =
				(const void *)(at(w, 0x90000) + 4 + 8 * (w->used % w->num));

			assert_int_equal(e[0], made->id);
			ret_len[i] = e[1];
			w->used++;
		} else {
			const struct vhu_packed_desc *p =
				(const struct vhu_packed_desc *)(void *)w->bytes + w->used % w->num;
			bool wrap = !(w->used / w->num & 1);

			assert_int_equal(p->id, made->id);
			assert_int_equal(!!(p->flags & VHU_DESC_F_AVAIL), wrap);
			assert_int_equal(!!(p->flags & VHU_DESC_F_USED), wrap);
			assert_int_equal(!!(p->flags & VHU_DESC_F_WRITE), ret_len && p->len != 0);
			ret_len[i] = p->len;
			w->used += made->nr_desc;
		}
		w->nr_desc_out -= made->nr_desc;
		w->fifo_out++;
	}
	if (!w->packed)
		assert_int_equal(((const uint16_t *)(const void *)at(w, 0x90000))[1],
				 (uint16_t)w->used);
	return nr;
}

static void check_frame(const struct vhu_net_frame *f, uint32_t number)
{
	uint32_t i = 0;

	assert_int_equal(f->len, frame_len(number));
	for (; i < f->head_len; i++)
		assert_int_equal(f->head[i], byte_of(number, i));
	for (unsigned int k = 0; k < f->nr_iov; k++) {
		const uint8_t *bytes = f->iov[k].iov_base;

		for (size_t b = 0; b < f->iov[k].iov_len; b++, i++)
			assert_int_equal(bytes[b], byte_of(number, i));
	}
	assert_int_equal(i, f->len);
}

static void transmit(bool packed, uint32_t num, uint32_t bursts)
{
	struct world *w = world_new(packed, num, VHU_MASK(VHU_F_VERSION_1_BIT), false);
	struct vhu_net_burst *burst;
	uint32_t lens[VHU_NET_BURST];

	assert_int_equal(vhu_net_burst_new(&burst), 0);
	while (bursts--) {
		uint32_t nr_new = pick(w, 20), nr_bad = 0, nr_good = 0, dropped = 0;
		int nr;

		while (nr_new-- && has_room(w))
			send(w);
		for (uint32_t i = w->fifo_out; i != w->fifo_in && i - w->fifo_out < VHU_NET_BURST;
		     i++)
			w->fifo[i % 256].is_bad ? nr_bad++ : nr_good++;
		nr = vhu_net_pull(&w->q, burst, VHU_NET_BURST);
		assert_int_equal(nr, nr_good);
		for (int i = 0; i < nr; i++)
			check_frame(&vhu_net_burst_frames(burst)[i], w->received++);
		for (unsigned int i = 0; i < VHU_NET_DROP_END; i++)
			dropped += vhu_net_burst_drops(burst)[i];
		assert_int_equal(dropped, nr_bad);
		if (nr && !pick(w, 8)) { /* as if it had not been taken */
			w->received -= (uint32_t)nr;
			vhu_ring_rewind(&w->q);
			vhu_net_done(&w->q, burst);
			continue;
		}
		vhu_net_done(&w->q, burst);
		reap(w, nr_good + nr_bad, lens);
	}
	assert_true(w->received > 100);
	vhu_net_burst_free(burst);
	world_free(w);
}

static void plain_and_odd_chains_come_out_alike_and_in_order(void **state)
{
	(void)state;
	for (uint32_t num = 4; num <= 2048; num *= 2)
		transmit(false, num, 1500);
	for (uint32_t num = 4; num <= 2048; num = num * 2 + 1)
		transmit(true, num, 1500);
}

/* Stamps go round after 65,535 publications: no id counts as taken for that. */
static void ids_are_told_apart_for_ever(void **state)
{
	(void)state;
	transmit(false, 8, 90000);
	transmit(true, 7, 90000);
}

/* Also an id that was in the first burst and in none since. */
static void an_old_stamp_is_none_when_they_go_round(void **state)
{
	struct world *w = world_new(false, 8, VHU_MASK(VHU_F_VERSION_1_BIT), false);
	struct vhu_net_burst *burst;
	uint32_t lens[8];

	(void)state;
	assert_int_equal(vhu_net_burst_new(&burst), 0);
	for (unsigned int round = 0; round < 3; round++) {
		/* one, one before they go round, then all others and the first once more */
		for (unsigned int i = 0; i < (round < 2 ? 1 : 7); i++) {
			struct made made = { .nr_pieces = 1 };

			made.piece[0] = (struct vhu_desc){ .addr = 0x200000, .len = 100 };
			offer(w, &made, false);
		}
		assert_int_equal(vhu_net_pull(&w->q, burst, 32), round < 2 ? 1 : 7);
		vhu_net_done(&w->q, burst);
		reap(w, round < 2 ? 1 : 7, lens);
		if (!round)
			w->q.now = UINT16_MAX;
	}
	vhu_net_burst_free(burst);
	world_free(w);
}

/* A buffer to be filled: in some pieces, or one that is no buffer. */
static void give_buffer(struct world *w, uint32_t max)
{
	struct made made = { .nr_pieces = 1 + pick(w, 2) };

	for (uint32_t i = 0; i < made.nr_pieces; i++) {
		made.piece[i] = (struct vhu_desc){ .addr = next_buffer(w),
						   .len = 1 + pick(w, max),
						   .flags = VHU_DESC_F_WRITE };
		for (uint32_t k = 0; k < made.piece[i].len; k++)
			*at(w, made.piece[i].addr + k) = 0xee;
		made.len += made.piece[i].len;
	}
	switch (pick(w, 15)) {
	case 0:
		made.piece[0].flags = 0; /* to be read */
		made.is_bad = true;
		break;
	case 1:
		made.piece[made.nr_pieces - 1].addr = HOLE_GPA;
		made.is_bad = true;
		break;
	default:
		break;
	}
	offer(w, &made, pick(w, 3) == 0);
}

/* Reads a frame out of the buffers that it was put into, and compares it. */
static uint32_t check_received(struct world *w, const struct made *list, const uint32_t *lens,
			       uint32_t nr, uint32_t number)
{
	uint32_t left = HDR_LEN + frame_len(number), i = 0, off = 0, nr_buffers;

	for (nr_buffers = 0; left; nr_buffers++) {
		const struct made *m = &list[nr_buffers];
		uint32_t share = lens[nr_buffers], in = 0;

		assert_true(nr_buffers < nr);
		assert_false(m->is_bad);
		assert_int_equal(share, left < m->len ? left : m->len);
		for (uint32_t p = 0; p < m->nr_pieces; p++) {
			for (uint32_t k = 0; k < m->piece[p].len; k++, in++) {
				uint8_t byte = *at(w, m->piece[p].addr + k);

				if (in >= share)
					assert_int_equal(byte, 0xee); /* not a byte more */
				else if (off++ >= HDR_LEN)
					assert_int_equal(byte, byte_of(number, i++));
			}
		}
		left -= share;
	}
	return nr_buffers;
}

static void receive(bool packed, uint32_t num, bool mergeable, uint32_t bursts)
{
	uint64_t features =
		VHU_MASK(VHU_F_VERSION_1_BIT) | (mergeable ? VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) : 0);
	struct world *w = world_new(packed, num, features, true);
	static uint8_t bytes[40][FRAME_MAX];
	struct vhu_net_frame frames[40];
	const struct vhu_net_frame *list[40];
	struct iovec iov[40];
	static uint32_t lens[256];
	struct made made[256];
	uint32_t nr_pushed = 0;

	while (bursts--) {
		uint32_t nr = 1 + pick(w, 40), nr_used, n = 0, k = 0, big = pick(w, 2) ? 4000 : 300;
		int pushed;

		for (uint32_t i = pick(w, 60); i && has_room(w); i--)
			give_buffer(w, big);
		for (uint32_t i = 0; i < nr; i++) {
			uint32_t len = frame_len(w->sent + i);
			uint32_t head = len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX;

			for (uint32_t b = 0; b < len; b++)
				bytes[i][b] = byte_of(w->sent + i, b);
			iov[i] = (struct iovec){ bytes[i] + head, len - head };
			frames[i] = (struct vhu_net_frame){ .len = len,
							    .head_len = (uint16_t)head,
							    .nr_iov = len > head,
							    .head = bytes[i],
							    .iov = &iov[i] };
			list[i] = &frames[i];
		}
		pushed = vhu_net_push_burst(&w->q, list, nr);
		if (pushed <= 0) {
			/* the next buffer is too small for ever, or there are too few: another frame */
			assert_true(pushed == -ENOSPC || pushed == -EMSGSIZE);
			pushed = 0;
		}
		nr_used = w->q.nr_shadow;
		assert_int_equal(vhu_net_commit(&w->q), 0);
		for (uint32_t i = 0; i < nr_used; i++)
			made[i] = w->fifo[(w->fifo_out + i) % 256];
		reap(w, nr_used, lens);
		while (n < nr_used) {
			if (!lens[n]) { /* refused, or given up with one that was */
				n++;
				continue;
			}
			n += check_received(w, &made[n], &lens[n], nr_used - n, w->sent + k++);
		}
		assert_int_equal(k, pushed);
		nr_pushed += k;
		/* the one that could not go is dropped, as a switch would */
		w->sent += k + 1;
		if (!pushed && !mergeable && !pick(w, 4)) {
			/* a buffer that is too small stays for ever: begin anew */
			nr_used = w->sent;
			world_free(w);
			w = world_new(packed, num, features, true);
			w->random += bursts;
			w->sent = nr_used;
		}
	}
	assert_true(nr_pushed > 100);
	world_free(w);
}

static void frames_fill_plain_and_odd_buffers_alike(void **state)
{
	(void)state;
	for (uint32_t num = 8; num <= 2048; num *= 4) {
		receive(false, num, true, 1000);
		receive(true, num + 1, true, 1000);
		receive(false, num, false, 1000);
		receive(true, num + 1, false, 1000);
	}
}

/* The last buffer there is, and too small: that is no full ring, which would be waited for. */
static void a_frame_too_big_for_the_last_buffer_is_told_from_a_full_ring(void **state)
{
	static const uint8_t bytes[100];
	const struct vhu_net_frame frame = { .len = 100, .head_len = 100, .head = bytes };

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct world *w = world_new(packed, 8, VHU_MASK(VHU_F_VERSION_1_BIT), true);
		struct made made = { .nr_pieces = 1 };

		made.piece[0] = (struct vhu_desc){ .addr = next_buffer(w),
						   .len = 50,
						   .flags = VHU_DESC_F_WRITE };
		assert_int_equal(vhu_net_push(&w->q, &frame), -ENOSPC);
		offer(w, &made, false);
		assert_int_equal(vhu_net_push(&w->q, &frame), -EMSGSIZE);
		assert_int_equal(w->q.nr_shadow, 0);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_odd_chains_come_out_alike_and_in_order),
		cmocka_unit_test(ids_are_told_apart_for_ever),
		cmocka_unit_test(an_old_stamp_is_none_when_they_go_round),
		cmocka_unit_test(frames_fill_plain_and_odd_buffers_alike),
		cmocka_unit_test(a_frame_too_big_for_the_last_buffer_is_told_from_a_full_ring),
	};

	return cmocka_run_group_tests_name("plain chains", tests, NULL, NULL);
}
