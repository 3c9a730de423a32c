/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 120 */
/*
 * Bursts out of and into rings in which plain chains and odd ones follow each other at random: what
 * is taken in one loop, and what is judged one by one, has to come to the same.
 */
#include <errno.h>

#include <vhu/net.h>

#include "plain_world.h"

enum {
	FRAME_MAX = 3000,
};

/* Makes a chain available, and remembers it. */
static void offer(struct plain_world *w, struct plain_made *made, bool indirect)
{
	struct vhu_desc list[PW_PIECES_MAX];

	memcpy(list, made->piece, sizeof(list));
	made->id = (uint16_t)(w->next_id % w->num);
	made->nr_desc = pw_put(w, list, made->nr_pieces, indirect);
	w->nr_desc_out += made->nr_desc;
	w->fifo[w->fifo_in++ % 256] = *made;
}

static bool has_room(const struct plain_world *w)
{
	return w->nr_desc_out + PW_PIECES_MAX <= w->num && w->fifo_in - w->fifo_out < 256;
}

static uint32_t frame_len(uint32_t number)
{
	return 14 + number * 37 % (FRAME_MAX - 14);
}

/* Of the net header of what is sent: a claim that nobody may make, and numbers without a meaning. */
static uint8_t hdr_byte(uint32_t i)
{
	return i ? i > 1 ? (uint8_t)i : VHU_NET_GSO_NONE : VHU_NET_HDR_DATA_VALID;
}

static uint8_t byte_of(uint32_t number, uint32_t i)
{
	return (uint8_t)(number * 7 + i * 3 + (i >> 8));
}

/* What is wrong with a chain that is sent. */
enum flaw {
	LAST_NOWHERE,
	FIRST_WRAPS,
	EMPTY_NOWHERE, /* of no length, but its address is judged */
	NO_HEADER,
	LAST_WRITABLE,
	LAST_A_TABLE, /* or would be, if that were its length */
	SHORT,
	LONG,
	NR_FLAWS,
};

/* Makes a chain a bad one; false: not this chain. */
static bool spoil(struct plain_made *made, enum flaw flaw)
{
	struct vhu_desc *last = &made->piece[made->nr_pieces - 1];

	switch (flaw) {
	case LAST_NOWHERE:
		last->addr = PW_HOLE_GPA;
		return true;
	case FIRST_WRAPS:
		made->piece[0].addr = UINT64_MAX - 3;
		return true;
	case EMPTY_NOWHERE:
		if (made->nr_pieces == PW_PIECES_MAX)
			return false;
		made->piece[made->nr_pieces++] = (struct vhu_desc){ .addr = PW_HOLE_GPA };
		return true;
	case NO_HEADER:
		made->piece[0].len = 5;
		made->nr_pieces = 1;
		return true;
	case LAST_WRITABLE:
		last->flags = VHU_DESC_F_WRITE;
		return true;
	case LAST_A_TABLE:
		last->flags = VHU_DESC_F_INDIRECT;
		last->len = 17;
		return true;
	default:
		if (made->nr_pieces != 2)
			return false;
		/* the header apart, as good frames have it too */
		made->piece[0].len = PW_HDR_LEN;
		last->len = flaw == SHORT ? 13 : VHU_NET_FRAME_MAX + 1;
		return true;
	}
}

/* A frame to be sent, in some pieces, or something that is none. */
static void send(struct plain_world *w)
{
	struct plain_made made = { .frame = w->sent };
	uint32_t len = PW_HDR_LEN + frame_len(w->sent), put = 0, flaw = pw_pick(w, 3 * NR_FLAWS);

	made.nr_pieces = 1 + pw_pick(w, 3) % PW_PIECES_MAX;
	for (uint32_t i = 0; i < made.nr_pieces; i++) {
		uint32_t part =
			i + 1 == made.nr_pieces ? len - put : pw_pick(w, (len - put) / 2) + 1;
		uint64_t gpa = pw_buffer(w);

		if (!i && made.nr_pieces > 1 && pw_pick(w, 2))
			part = PW_HDR_LEN;
		for (uint32_t k = 0; k < part; k++)
			*pw_at(w, gpa + k) = put + k < PW_HDR_LEN ?
						     hdr_byte(put + k) :
						     byte_of(w->sent, put + k - PW_HDR_LEN);
		made.piece[i] = (struct vhu_desc){ .addr = gpa, .len = part };
		put += part;
	}
	made.is_bad = flaw < NR_FLAWS && spoil(&made, flaw);
	w->sent += !made.is_bad;
	/* what of its flags would be wrong in a table is another matter */
	offer(w, &made, pw_pick(w, 3) == 0 && !(made.is_bad && flaw >= LAST_WRITABLE));
}

/* Takes back what was used, in order; the written length of each goes to ret_len. The number. */
static uint32_t reap(struct plain_world *w, uint32_t nr, uint32_t *ret_len)
{
	for (uint32_t i = 0; i < nr; i++) {
		const struct plain_made *made = &w->fifo[w->fifo_out % 256];

		assert_true(w->fifo_out != w->fifo_in);
		if (!w->packed) {
			const uint32_t *e =
				(const void *)(pw_at(w, 0x90000) + 4 + 8 * (w->used % w->num));

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
		assert_int_equal(((const uint16_t *)(const void *)pw_at(w, 0x90000))[1],
				 (uint16_t)w->used);
	return nr;
}

static void check_frame(const struct vhu_net_frame *f, uint32_t number)
{
	uint32_t i = 0;

	assert_int_equal(f->len, frame_len(number));
	assert_int_equal(f->hdr.flags, 0);
	assert_int_equal(f->hdr.gso_type, VHU_NET_GSO_NONE);
	assert_int_equal(f->hdr.hdr_len, 0x0302);
	assert_int_equal(f->hdr.gso_size, 0x0504);
	assert_int_equal(f->hdr.csum_start, 0x0706);
	assert_int_equal(f->hdr.csum_offset, 0x0908);
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
	struct plain_world *w = pw_new(packed, num, VHU_MASK(VHU_F_VERSION_1_BIT), false);
	struct vhu_net_burst *burst;
	uint32_t lens[VHU_NET_BURST];

	assert_int_equal(vhu_net_burst_new(&burst), 0);
	while (bursts--) {
		uint32_t nr_new = pw_pick(w, 20), nr_bad = 0, nr_good = 0, dropped = 0;
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
		if (nr && !pw_pick(w, 8)) { /* as if it had not been taken */
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
	pw_free(w);
}

static void plain_and_odd_chains_come_out_alike_and_in_order(void **state)
{
	(void)state;
	for (uint32_t num = 4; num <= 2048; num *= 2)
		transmit(false, num, 1500);
	for (uint32_t num = 4; num <= 2048; num = num < 8 ? num + 1 : num * 2 + 1)
		transmit(true, num, 1500);
}

/* Stamps go round after 65,535 publications: no id counts as taken for that. */
static void ids_are_told_apart_for_ever(void **state)
{
	(void)state;
	transmit(false, 8, 90000);
	transmit(true, 7, 90000);
}

/* A buffer to be filled: in some pieces, or one that is no buffer. */
static void give_buffer(struct plain_world *w, uint32_t max)
{
	struct plain_made made = { .nr_pieces = 1 + pw_pick(w, 2) };

	for (uint32_t i = 0; i < made.nr_pieces; i++) {
		made.piece[i] = (struct vhu_desc){ .addr = pw_buffer(w),
						   .len = 1 + pw_pick(w, max),
						   .flags = VHU_DESC_F_WRITE };
		for (uint32_t k = 0; k < made.piece[i].len; k++)
			*pw_at(w, made.piece[i].addr + k) = 0xee;
		made.len += made.piece[i].len;
	}
	switch (pw_pick(w, 15)) {
	case 0:
		made.piece[0].flags = 0; /* to be read */
		made.is_bad = true;
		break;
	case 1:
		made.piece[made.nr_pieces - 1].addr = PW_HOLE_GPA;
		made.is_bad = true;
		break;
	default:
		break;
	}
	offer(w, &made, pw_pick(w, 3) == 0);
}

/* Reads a frame out of the buffers that it was put into, and compares it. */
static uint32_t check_received(struct plain_world *w, const struct plain_made *list,
			       const uint32_t *lens, uint32_t nr, uint32_t number)
{
	uint32_t left = PW_HDR_LEN + frame_len(number), i = 0, off = 0, nr_buffers;

	for (nr_buffers = 0; left; nr_buffers++) {
		const struct plain_made *m = &list[nr_buffers];
		uint32_t share = lens[nr_buffers], in = 0;

		assert_true(nr_buffers < nr);
		assert_false(m->is_bad);
		assert_int_equal(share, left < m->len ? left : m->len);
		for (uint32_t p = 0; p < m->nr_pieces; p++) {
			for (uint32_t k = 0; k < m->piece[p].len; k++, in++) {
				uint8_t byte = *pw_at(w, m->piece[p].addr + k);

				if (in >= share)
					assert_int_equal(byte, 0xee); /* not a byte more */
				else if (off++ >= PW_HDR_LEN)
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
	struct plain_world *w = pw_new(packed, num, features, true);
	static uint8_t bytes[40][FRAME_MAX];
	struct vhu_net_frame frames[40];
	const struct vhu_net_frame *list[40];
	struct iovec iov[40];
	static uint32_t lens[256];
	struct plain_made made[256];
	uint32_t nr_pushed = 0;

	while (bursts--) {
		uint32_t nr = 1 + pw_pick(w, 40), nr_used, n = 0, k = 0,
			 big = pw_pick(w, 2) ? 4000 : 300;
		int pushed;

		for (uint32_t i = pw_pick(w, 60); i && has_room(w); i--)
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
			nr = check_received(w, &made[n], &lens[n], nr_used - n, w->sent + k++);
			assert_true(nr == 1 || mergeable);
			n += nr;
		}
		assert_int_equal(k, pushed);
		nr_pushed += k;
		/* the one that could not go is dropped, as a switch would */
		w->sent += k + 1;
		if (!pushed && !mergeable && !pw_pick(w, 4)) {
			/* a buffer that is too small stays for ever: begin anew */
			nr_used = w->sent;
			pw_free(w);
			w = pw_new(packed, num, features, true);
			w->random += bursts;
			w->sent = nr_used;
		}
	}
	assert_true(nr_pushed > 100);
	pw_free(w);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_and_odd_chains_come_out_alike_and_in_order),
		cmocka_unit_test(ids_are_told_apart_for_ever),
		cmocka_unit_test(frames_fill_plain_and_odd_buffers_alike),
	};

	return cmocka_run_group_tests_name("plain chains", tests, NULL, NULL);
}
