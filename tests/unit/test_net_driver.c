/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * virtio-net from the driver's side against a device of the tests' own: what a frame looks like in
 * the ring, what becomes of frames that come back, and which ones are dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_device.h"

#include <vhu/net_driver.h>

#define V1 VHU_MASK(VHU_F_VERSION_1_BIT)
#define MRG VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT)
#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define INDIRECT VHU_MASK(VHU_F_INDIRECT_DESC_BIT)
#define EVENT VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define ORDER VHU_MASK(VHU_F_IN_ORDER_BIT)
#define HOST(name) VHU_MASK(VHU_NET_F_HOST_##name##_BIT)
#define HOST_ALL                                                                                   \
	(VHU_MASK(VHU_NET_F_CSUM_BIT) | HOST(TSO4) | HOST(TSO6) | HOST(ECN) | HOST(UFO) | HOST(USO))
#define GUEST(name) VHU_MASK(VHU_NET_F_GUEST_##name##_BIT)

enum {
	GPA = 0x200000,
	FRAME_ROOM = VHU_NET_FRAME_MAX + 4096,
};

struct bed {
	struct vhu_memory *memory;
	struct vhu_net_tx *tx;
	struct vhu_net_rx *rx;
	struct vhu_driver *driver;
	struct rdev dev;
	uint32_t hdr_len;
	uint64_t random;
};

static uint64_t feature_set(unsigned int i)
{
	return (i & 1 ? PACKED : 0) | (i & 2 ? INDIRECT : 0) | (i & 4 ? EVENT : 0) |
	       (i & 8 ? ORDER : 0) | (i & 16 ? MRG : 0) | (i & 32 ? V1 : 0);
}

static struct vhu_net_ring_options options_of(struct bed *bed, uint64_t features, uint32_t num)
{
	memset(bed, 0, sizeof(*bed));
	assert_int_equal(vhu_memory_new(&bed->memory), 0);
	assert_int_equal(vhu_memory_add(bed->memory, GPA, 8 << 20, 0), 0);
	bed->hdr_len = features & (V1 | MRG) ? 12 : 10;
	return (struct vhu_net_ring_options){ .size = sizeof(struct vhu_net_ring_options),
					      .memory = bed->memory,
					      .num = num,
					      .features = features };
}

static void bed_tx(struct bed *bed, const struct vhu_net_ring_options *options)
{
	assert_int_equal(vhu_net_tx_new(&bed->tx, options), 0);
	bed->driver = vhu_net_tx_driver(bed->tx);
	rdev_init(&bed->dev, bed->memory, bed->driver);
}

static void bed_rx(struct bed *bed, const struct vhu_net_ring_options *options)
{
	assert_int_equal(vhu_net_rx_new(&bed->rx, options), 0);
	bed->driver = vhu_net_rx_driver(bed->rx);
	rdev_init(&bed->dev, bed->memory, bed->driver);
	vhu_net_rx_fill(bed->rx);
}

static void bed_free(struct bed *bed)
{
	vhu_net_tx_free(bed->tx);
	vhu_net_rx_free(bed->rx);
	vhu_memory_free(bed->memory);
}

/* A frame that can be told from any other, IPv4 by its ethertype. */
static void make(uint8_t *frame, uint32_t len, uint32_t number)
{
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
	if (len >= 14) {
		frame[12] = 0x08;
		frame[13] = 0x00;
	}
}

static void use(struct bed *bed, const struct rdev_chain *chain, uint32_t len)
{
	rdev_push(&bed->dev, chain->id, len, 1, chain->entries);
}

/* ---- Transmit ---- */

/* Takes a frame out of the ring as a device does. Its length, the header in front. */
static uint32_t gather(struct bed *bed, const struct rdev_chain *chain, uint8_t *to)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < chain->nr; i++) {
		const struct rdev_piece *p = &chain->piece[i];

		assert_false(p->write);
		assert_true(p->len > 0);
		assert_non_null(vhu_memory_ptr(bed->memory, p->gpa, p->len));
		memcpy(to + len, vhu_memory_ptr(bed->memory, p->gpa, p->len), p->len);
		len += p->len;
	}
	return len;
}

static void sent_frames_arrive_whole_behind_their_header(void **state)
{
	static const uint32_t lens[] = { 1, 2, 14, 60, 61, 1514, 1522 };
	static uint8_t frame[FRAME_ROOM], seen[FRAME_ROOM];
	const struct vhu_net_hdr hdr = { .flags = 1,
					 .gso_type = 4,
					 .hdr_len = 0x1234,
					 .gso_size = 0x2345,
					 .csum_start = 0x3456,
					 .csum_offset = 0x4567 };
	static const uint8_t raw[12] = { 1, 4, 0x34, 0x12, 0x45, 0x23, 0x56, 0x34, 0x67, 0x45 };
	static const uint8_t zero[12];

	(void)state;
	for (unsigned int i = 0; i < 64; i++)
		for (uint32_t pieces = 0; pieces < 6; pieces++) {
			struct bed bed;
			struct vhu_net_ring_options o = options_of(&bed, feature_set(i), 32);

			o.pieces = pieces;
			bed_tx(&bed, &o);
			for (uint32_t n = 0; n < 7 * 40; n++) {
				const uint32_t len = lens[n % 7];
				const bool with = n & 1;
				uint8_t *to = vhu_net_tx_buffer(bed.tx);
				struct rdev_chain chain;
				uint32_t want = 1;

				assert_non_null(to);
				make(frame, len, n);
				memcpy(to, frame, len);
				assert_int_equal(vhu_net_tx_send(bed.tx, with ? &hdr : NULL, len),
						 0);
				vhu_net_tx_publish(bed.tx);
				assert_true(rdev_pop(&bed.dev, &chain));
				if (pieces > 1)
					want = len < pieces - 1 ? len + 1 : pieces;
				assert_int_equal(chain.nr, want);
				assert_int_equal(chain.entries, i & 2 ? 1 : want);
				assert_int_equal(gather(&bed, &chain, seen), bed.hdr_len + len);
				assert_memory_equal(seen, with ? raw : zero, bed.hdr_len);
				assert_memory_equal(seen + bed.hdr_len, frame, len);
				use(&bed, &chain, 0);
				rdev_publish(&bed.dev);
				if (n % 3 == 0)
					assert_true(vhu_net_tx_reclaim(bed.tx) > 0);
			}
			bed_free(&bed);
		}
}

static void buffer_is_the_same_until_sent_and_none_when_all_are_on_their_way(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct bed bed;
		struct vhu_net_ring_options o = options_of(&bed, feature_set(i), 16);
		uint8_t *buffers[16] = { NULL }, *to;
		struct rdev_chain chain;
		uint32_t nr = 0;

		o.pieces = 3;
		/* more than the ring takes: it is the ring that is full then */
		o.nr_buffers = i & 1 ? 40 : 0;
		bed_tx(&bed, &o);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), -ENOSPC);
		to = vhu_net_tx_buffer(bed.tx);
		assert_ptr_equal(vhu_net_tx_buffer(bed.tx), to);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 0), -EMSGSIZE);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 1523), -EMSGSIZE);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, UINT32_MAX), -EMSGSIZE);
		assert_ptr_equal(vhu_net_tx_buffer(bed.tx), to);
		while ((to = vhu_net_tx_buffer(bed.tx))) {
			memset(to, (int)nr, 1522);
			for (uint32_t k = 0; k < nr; k++)
				assert_true(to + 1522 <= buffers[k] || buffers[k] + 1522 <= to);
			buffers[nr++] = to;
			assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 1522), 0);
			assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), -ENOSPC);
		}
		assert_int_equal(nr, i & 2 ? 16 : 5);
		assert_int_equal(vhu_net_tx_outstanding(bed.tx), nr);
		vhu_net_tx_publish(bed.tx);
		assert_null(vhu_net_tx_buffer(bed.tx));
		assert_true(rdev_pop(&bed.dev, &chain));
		use(&bed, &chain, 0);
		rdev_publish(&bed.dev);
		assert_ptr_equal(vhu_net_tx_buffer(bed.tx), buffers[0]);
		assert_int_equal(vhu_net_tx_reclaim(bed.tx), 0);
		/* the device forgets all: so does this */
		vhu_driver_reset(bed.driver);
		rdev_init(&bed.dev, bed.memory, bed.driver);
		assert_int_equal(vhu_net_tx_outstanding(bed.tx), 0);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), -ENOSPC);
		for (uint32_t k = 0; k < nr; k++) {
			assert_non_null(vhu_net_tx_buffer(bed.tx));
			assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), 0);
		}
		assert_null(vhu_net_tx_buffer(bed.tx));
		bed_free(&bed);
	}
}

static void transmit_ring_that_is_broken_says_so_until_it_is_mended(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct bed bed;
		struct vhu_net_ring_options o = options_of(&bed, feature_set(i), 16);
		struct rdev_chain chain;

		bed_tx(&bed, &o);
		assert_non_null(vhu_net_tx_buffer(bed.tx));
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), 0);
		assert_non_null(vhu_net_tx_buffer(bed.tx));
		vhu_net_tx_publish(bed.tx);
		assert_true(rdev_pop(&bed.dev, &chain));
		use(&bed, &chain, 1);
		rdev_publish(&bed.dev);
		assert_int_equal(vhu_net_tx_reclaim(bed.tx), 0);
		assert_non_null(vhu_driver_fault(bed.driver));
		assert_null(vhu_net_tx_buffer(bed.tx));
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), -EPROTO);
		assert_false(vhu_net_tx_publish(bed.tx));
		vhu_driver_resubmit(bed.driver);
		rdev_init(&bed.dev, bed.memory, bed.driver);
		assert_int_equal(vhu_net_tx_outstanding(bed.tx), 1);
		assert_true(rdev_pop(&bed.dev, &chain));
		use(&bed, &chain, 0);
		rdev_publish(&bed.dev);
		assert_int_equal(vhu_net_tx_reclaim(bed.tx), 1);
		assert_int_equal(vhu_net_tx_send(bed.tx, NULL, 60), 0);
		bed_free(&bed);
	}
}

/* ---- Receive ---- */

struct raw_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static uint32_t room_of(const struct rdev_chain *chain)
{
	for (uint32_t i = 0; i < chain->nr; i++)
		assert_true(chain->piece[i].write);
	return chain->write_len;
}

/* Writes len bytes into a buffer's pieces. */
static void scatter(struct bed *bed, const struct rdev_chain *chain, const uint8_t *from,
		    uint32_t len)
{
	for (uint32_t i = 0; len; i++) {
		uint32_t part = chain->piece[i].len < len ? chain->piece[i].len : len;

		assert_true(i < chain->nr);
		memcpy(vhu_memory_ptr(bed->memory, chain->piece[i].gpa, part), from, part);
		from += part;
		len -= part;
	}
}

/*
 * Writes hdr and frame into as many buffers as it takes, each filled up to so many bytes (0: all).
 * hdr.num_buffers is filled in if it is 0xffff. False: there are not enough, nothing was used.
 */
static bool deliver(struct bed *bed, struct raw_hdr hdr, const uint8_t *frame, uint32_t len,
		    uint32_t part_max)
{
	static uint8_t bytes[FRAME_ROOM + 12];
	static struct rdev_chain chains[256];
	const struct rdev before = bed->dev;
	uint32_t nr = 0, done = 0, parts[256];
	const bool count = hdr.num_buffers == 0xffff;

	memcpy(bytes + bed->hdr_len, frame, len);
	len += bed->hdr_len;
	while (done < len) {
		uint32_t room;

		if (nr == 256 || !rdev_pop(&bed->dev, &chains[nr])) {
			bed->dev = before;
			return false;
		}
		room = room_of(&chains[nr]);
		if (part_max && room > part_max)
			room = part_max;
		parts[nr] = len - done < room ? len - done : room;
		done += parts[nr++];
	}
	if (count)
		hdr.num_buffers = (uint16_t)nr;
	memcpy(bytes, &hdr, bed->hdr_len);
	done = 0;
	for (uint32_t i = 0; i < nr; i++) {
		scatter(bed, &chains[i], bytes + done, parts[i]);
		use(bed, &chains[i], parts[i]);
		done += parts[i];
	}
	return true;
}

/* The frame that came is this one, head and rest. */
static void same(const struct vhu_net_frame *frame, const uint8_t *want, uint32_t len)
{
	uint32_t at = frame->head_len;

	assert_int_equal(frame->len, len);
	assert_int_equal(frame->head_len, len < VHU_NET_HEAD_MAX ? len : VHU_NET_HEAD_MAX);
	assert_memory_equal(frame->head, want, frame->head_len);
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		assert_true(frame->iov[i].iov_len > 0);
		assert_memory_equal(frame->iov[i].iov_base, want + at, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	assert_int_equal(at, len);
}

static const struct raw_hdr plain = { .num_buffers = 0xffff };

static void received_frames_are_gathered_from_their_buffers(void **state)
{
	static uint8_t frame[FRAME_ROOM];

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		struct bed bed;
		struct vhu_net_ring_options o = options_of(&bed, feature_set(i), 64);
		uint32_t sent = 0, got = 0, lens[64] = { 0 }, nr_out = 0;

		o.buffer_size = 300;
		o.frame_max = 4000;
		o.pieces = i % 4;
		bed_rx(&bed, &o);
		for (unsigned int round = 0; round < 400; round++) {
			uint32_t len = 14 + rdev_random(&bed.random,
							rdev_random(&bed.random, 2) ? 300 : 3986);
			uint32_t part = rdev_random(&bed.random, 3) ? 0 : 200;
			int n;

			make(frame, len, sent);
			if (nr_out < 64 &&
			    deliver(&bed, plain, frame, len, o.features & MRG ? part : 0)) {
				lens[(sent++) % 64] = len;
				nr_out++;
			}
			rdev_publish(&bed.dev);
			n = vhu_net_rx_pull(bed.rx, 1 + rdev_random(&bed.random, 40));
			assert_true(n >= 0 && n <= VHU_NET_BURST);
			for (int k = 0; k < n; k++, got++, nr_out--) {
				make(frame, lens[got % 64], got);
				same(&vhu_net_rx_frames(bed.rx)[k], frame, lens[got % 64]);
			}
			if (rdev_random(&bed.random, 4))
				vhu_net_rx_done(bed.rx);
		}
		assert_true(got > 100);
		assert_int_equal(vhu_net_rx_bad(bed.rx), 0);
		assert_null(vhu_driver_fault(bed.driver));
		bed_free(&bed);
	}
}

static void head_is_a_private_copy_and_all_buffers_go_back(void **state)
{
	uint8_t frame[1000];

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct bed bed;
		struct vhu_net_ring_options o =
			options_of(&bed, V1 | (i & 1 ? PACKED : 0) | (i & 2 ? MRG : 0), 8);

		/* as many as the ring takes are there at any time */
		o.nr_buffers = i & 1 ? 20 : 0;
		bed_rx(&bed, &o);
		for (unsigned int n = 0; n < 100; n++) {
			assert_int_equal(vhu_driver_outstanding(bed.driver), 8);
			make(frame, sizeof(frame), n);
			assert_true(deliver(&bed, plain, frame, sizeof(frame), 0));
			rdev_publish(&bed.dev);
			assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 1);
			/* what the device writes afterwards does not reach what was judged */
			memset((uint8_t *)vhu_net_rx_frames(bed.rx)[0].iov[0].iov_base - 256 - 12,
			       0xee, 256 + 12);
			same(&vhu_net_rx_frames(bed.rx)[0], frame, sizeof(frame));
			assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 0);
			vhu_net_rx_done(bed.rx);
		}
		bed_free(&bed);
	}
}

static void frames_beyond_the_burst_stay_for_the_next(void **state)
{
	struct bed bed;
	struct vhu_net_ring_options o = options_of(&bed, V1, 64);
	uint8_t frame[60];

	(void)state;
	bed_rx(&bed, &o);
	make(frame, sizeof(frame), 1);
	while (deliver(&bed, plain, frame, sizeof(frame), 0))
		;
	rdev_publish(&bed.dev);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 1000), VHU_NET_BURST);
	vhu_net_rx_done(bed.rx);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 5), 5);
	vhu_net_rx_done(bed.rx);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 1000), 27);
	vhu_net_rx_done(bed.rx);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 1000), 0);
	bed_free(&bed);
}

/* Delivers one frame that may be bad, and then a good one. */
static void judged(struct bed *bed, struct raw_hdr hdr, const uint8_t *frame, uint32_t len,
		   bool good)
{
	const uint64_t bad = vhu_net_rx_bad(bed->rx);
	uint8_t after[100];

	make(after, sizeof(after), 77);
	assert_true(deliver(bed, hdr, frame, len, 0));
	assert_true(deliver(bed, plain, after, sizeof(after), 0));
	rdev_publish(&bed->dev);
	assert_int_equal(vhu_net_rx_pull(bed->rx, 32), good ? 2 : 1);
	assert_int_equal(vhu_net_rx_bad(bed->rx), bad + !good);
	same(&vhu_net_rx_frames(bed->rx)[good], after, sizeof(after));
	if (good)
		same(&vhu_net_rx_frames(bed->rx)[0], frame, len);
	vhu_net_rx_done(bed->rx);
	assert_int_equal(vhu_driver_outstanding(bed->driver), vhu_driver_num(bed->driver));
}

static void frames_without_an_ethernet_header_are_dropped(void **state)
{
	static uint8_t frame[64];

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		struct bed bed;
		struct vhu_net_ring_options o = options_of(&bed, feature_set(i), 8);
		struct rdev_chain chain;

		bed_rx(&bed, &o);
		judged(&bed, plain, frame, 0, false);
		judged(&bed, plain, frame, 13, false);
		judged(&bed, plain, frame, 14, true);
		/* not even a header; what lies behind what was used says nothing */
		for (uint32_t len = 0; len < bed.hdr_len; len++) {
			const uint64_t bad = vhu_net_rx_bad(bed.rx);
			const struct raw_hdr old = { .num_buffers = 3 };

			assert_true(rdev_pop(&bed.dev, &chain));
			scatter(&bed, &chain, (const uint8_t *)&old, sizeof(old));
			use(&bed, &chain, len);
			assert_true(deliver(&bed, plain, frame, 14, 0));
			rdev_publish(&bed.dev);
			assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 1);
			assert_int_equal(vhu_net_rx_bad(bed.rx), bad + 1);
			vhu_net_rx_done(bed.rx);
		}
		assert_int_equal(vhu_driver_outstanding(bed.driver), 8);
		bed_free(&bed);
	}
}

static void offloads_that_were_not_agreed_are_dropped(void **state)
{
	static const struct {
		uint64_t need; /* besides GUEST_CSUM */
		struct raw_hdr hdr;
		uint16_t ethertype;
	} rows[] = {
		{ 0, { .flags = 1, .csum_start = 34, .csum_offset = 16 }, 0x0800 },
		{ GUEST(TSO4), { 1, 1, 54, 1000, 34, 16, 0 }, 0x0800 },
		{ GUEST(TSO6), { 1, 4, 74, 1000, 54, 16, 0 }, 0x86dd },
		{ GUEST(TSO4) | GUEST(ECN), { 1, 0x81, 54, 1000, 34, 16, 0 }, 0x0800 },
		{ GUEST(UFO), { 1, 3, 42, 1000, 34, 6, 0 }, 0x0800 },
		{ GUEST(USO4), { 1, 5, 42, 1000, 34, 6, 0 }, 0x0800 },
		{ GUEST(USO6), { 1, 5, 62, 1000, 54, 6, 0 }, 0x86dd },
	};
	const uint64_t all = GUEST(CSUM) | GUEST(TSO4) | GUEST(TSO6) | GUEST(ECN) | GUEST(UFO) |
			     GUEST(USO4) | GUEST(USO6);
	static uint8_t frame[1500];

	(void)state;
	for (unsigned int r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		const uint64_t need = rows[r].need | GUEST(CSUM);

		make(frame, sizeof(frame), r);
		frame[12] = (uint8_t)(rows[r].ethertype >> 8);
		frame[13] = (uint8_t)rows[r].ethertype;
		/* just these, all, all but one of them, none but one; the other direction's */
		const uint64_t agreed[] = { need,
					    all,
					    all & ~GUEST(CSUM),
					    all & ~(rows[r].need & -rows[r].need),
					    all & ~(rows[r].need & ~GUEST(TSO4)),
					    rows[r].need,
					    GUEST(CSUM),
					    HOST_ALL };

		for (unsigned int k = 0; k < sizeof(agreed) / sizeof(agreed[0]); k++) {
			struct vhu_net_ring_options o;
			struct raw_hdr hdr = rows[r].hdr;
			struct bed bed;
			const bool good = (agreed[k] & need) == need;

			hdr.num_buffers = 0xffff;
			o = options_of(&bed, V1 | MRG | agreed[k], 8);
			bed_rx(&bed, &o);
			judged(&bed, hdr, frame, sizeof(frame), good);
			/* fields that cannot be */
			hdr.csum_start = 1499;
			judged(&bed, hdr, frame, sizeof(frame), false);
			hdr.csum_start = 34;
			hdr.gso_size = 0;
			judged(&bed, hdr, frame, sizeof(frame), good && !hdr.gso_type);
			hdr.gso_type = 9;
			judged(&bed, hdr, frame, sizeof(frame), false);
			bed_free(&bed);
		}
	}
}

static void header_comes_as_it_was_but_for_flags_that_were_not_agreed(void **state)
{
	static uint8_t frame[1500];

	(void)state;
	make(frame, sizeof(frame), 1);
	for (unsigned int agreed = 0; agreed < 2; agreed++) {
		struct bed bed;
		struct vhu_net_ring_options o =
			options_of(&bed, V1 | (agreed ? GUEST(CSUM) | GUEST(TSO4) : 0), 8);
		struct raw_hdr hdr = { 0xff & ~1, 0, 54, 1000, 34, 16, 1 };
		const struct vhu_net_frame *f;

		bed_rx(&bed, &o);
		f = vhu_net_rx_frames(bed.rx);
		judged(&bed, hdr, frame, sizeof(frame), true);
		assert_int_equal(f->hdr.flags, agreed ? VHU_NET_HDR_DATA_VALID : 0);
		if (agreed) {
			hdr.flags = 1;
			hdr.gso_type = 1;
			judged(&bed, hdr, frame, sizeof(frame), true);
			assert_int_equal(f->hdr.flags, 1);
			assert_int_equal(f->hdr.gso_type, 1);
			assert_int_equal(f->hdr.hdr_len, 54);
			assert_int_equal(f->hdr.gso_size, 1000);
			assert_int_equal(f->hdr.csum_start, 34);
			assert_int_equal(f->hdr.csum_offset, 16);
		}
		bed_free(&bed);
	}
}

static void num_buffers_that_cannot_be_costs_its_own_buffer_alone(void **state)
{
	static const uint16_t lies[] = { 0, 9, 0x7fff, 0xffff - 1 };
	static uint8_t frame[100];

	(void)state;
	make(frame, sizeof(frame), 3);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < 4; k++) {
			struct bed bed;
			struct vhu_net_ring_options o = options_of(&bed, MRG | (i ? PACKED : 0), 8);
			const struct raw_hdr hdr = { .num_buffers = lies[k] };

			bed_rx(&bed, &o);
			judged(&bed, hdr, frame, sizeof(frame), false);
			bed_free(&bed);
			/* without MRG_RXBUF the field is not looked at */
			o = options_of(&bed, V1 | (i ? PACKED : 0), 8);
			bed_rx(&bed, &o);
			judged(&bed, hdr, frame, sizeof(frame), true);
			bed_free(&bed);
		}
}

static void frame_longer_than_any_is_dropped_as_a_whole(void **state)
{
	static uint8_t frame[FRAME_ROOM];
	struct bed bed;
	struct vhu_net_ring_options o = options_of(&bed, MRG, 64);

	(void)state;
	bed_rx(&bed, &o);
	judged(&bed, plain, frame, VHU_NET_FRAME_MAX + 1, false);
	judged(&bed, plain, frame, VHU_NET_FRAME_MAX, true);
	bed_free(&bed);
}

static void frame_whose_buffers_come_one_by_one_is_waited_for(void **state)
{
	static uint8_t frame[1000];

	(void)state;
	make(frame, sizeof(frame), 5);
	for (unsigned int i = 0; i < 8; i++) {
		struct bed bed;
		struct vhu_net_ring_options o =
			options_of(&bed, MRG | (i & 1 ? PACKED : 0) | (i & 2 ? EVENT : 0), 8);
		struct raw_hdr hdr = { .num_buffers = 3 };
		struct rdev_chain chain;
		uint8_t bytes[1012];

		o.buffer_size = 400;
		bed_rx(&bed, &o);
		memcpy(bytes, &hdr, 12);
		memcpy(bytes + 12, frame, 1000);
		for (unsigned int k = 0; k < 3; k++) {
			const uint32_t len = k < 2 ? 400 : 212;

			assert_true(rdev_pop(&bed.dev, &chain));
			scatter(&bed, &chain, bytes + 400 * k, len);
			use(&bed, &chain, len);
			rdev_publish(&bed.dev);
			if (i & 4 && k == 1)
				break;
			assert_int_equal(vhu_net_rx_pull(bed.rx, 32), k == 2);
			if (k < 2)
				vhu_net_rx_done(bed.rx);
		}
		if (i & 4) {
			/* the device dies in the middle: nobody will ever send the rest */
			vhu_driver_resubmit(bed.driver);
			rdev_init(&bed.dev, bed.memory, bed.driver);
			assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 0);
			assert_int_equal(vhu_net_rx_bad(bed.rx), 1);
			vhu_net_rx_done(bed.rx);
			judged(&bed, plain, frame, sizeof(frame), true);
		} else {
			same(vhu_net_rx_frames(bed.rx), frame, sizeof(frame));
			vhu_net_rx_done(bed.rx);
		}
		assert_int_equal(vhu_driver_outstanding(bed.driver), 8);
		bed_free(&bed);
	}
}

static void frames_used_before_the_device_died_still_come_out(void **state)
{
	static uint8_t frame[1000];

	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct bed bed;
		struct vhu_net_ring_options o = options_of(&bed, MRG | feature_set(i), 16);

		o.buffer_size = 400;
		bed_rx(&bed, &o);
		for (unsigned int n = 0; n < 3; n++) {
			make(frame, sizeof(frame), n);
			assert_true(deliver(&bed, plain, frame, sizeof(frame), 0));
		}
		rdev_publish(&bed.dev);
		assert_int_equal(vhu_net_rx_pull(bed.rx, 1), 1);
		vhu_net_rx_done(bed.rx);
		vhu_driver_resubmit(bed.driver);
		rdev_init(&bed.dev, bed.memory, bed.driver);
		make(frame, sizeof(frame), 3);
		assert_true(deliver(&bed, plain, frame, sizeof(frame), 0));
		rdev_publish(&bed.dev);
		assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 3);
		for (unsigned int n = 1; n < 4; n++) {
			make(frame, sizeof(frame), n);
			same(&vhu_net_rx_frames(bed.rx)[n - 1], frame, sizeof(frame));
		}
		vhu_net_rx_done(bed.rx);
		assert_int_equal(vhu_driver_outstanding(bed.driver), 16);
		/* and after a reset there is nothing, and all buffers are free */
		assert_true(deliver(&bed, plain, frame, sizeof(frame), 0));
		rdev_publish(&bed.dev);
		vhu_driver_reset(bed.driver);
		rdev_init(&bed.dev, bed.memory, bed.driver);
		assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 0);
		vhu_net_rx_fill(bed.rx);
		assert_int_equal(vhu_driver_outstanding(bed.driver), 16);
		bed_free(&bed);
	}
}

static void broken_receive_ring_is_told_after_the_frames_before_it(void **state)
{
	uint8_t frame[100];
	struct bed bed;
	struct vhu_net_ring_options o = options_of(&bed, V1, 8);
	struct rdev_chain chain;

	(void)state;
	bed_rx(&bed, &o);
	make(frame, sizeof(frame), 1);
	assert_true(deliver(&bed, plain, frame, sizeof(frame), 0));
	assert_true(rdev_pop(&bed.dev, &chain));
	use(&bed, &chain, chain.write_len + 1);
	rdev_publish(&bed.dev);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 32), 1);
	same(vhu_net_rx_frames(bed.rx), frame, sizeof(frame));
	vhu_net_rx_done(bed.rx);
	assert_int_equal(vhu_net_rx_pull(bed.rx, 32), -EPROTO);
	bed_free(&bed);
}

static void options_that_cannot_be_are_refused(void **state)
{
	struct vhu_net_tx *tx = NULL;
	struct vhu_net_rx *rx = NULL;
	struct bed bed;
	const struct vhu_net_ring_options good = options_of(&bed, V1 | MRG, 16);
	struct vhu_net_ring_options bad[8];

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		bad[i] = good;
	bad[0].size--;
	bad[1].num = 0;
	bad[2].num = 24;
	bad[3].frame_max = VHU_NET_FRAME_MAX + 1;
	bad[4].pieces = 17;
	bad[5].memory = NULL;
	bad[6].frame_max = 13;
	bad[7].nr_buffers = UINT32_MAX;
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(vhu_net_tx_new(&tx, &bad[i]), -EINVAL);
		assert_int_equal(vhu_net_rx_new(&rx, &bad[i]), -EINVAL);
	}
	bad[0] = good;
	bad[0].buffer_size = 12;
	assert_int_equal(vhu_net_rx_new(&rx, &bad[0]), -EINVAL);
	bad[0] = good;
	bad[0].nr_buffers = 10000;
	assert_int_equal(vhu_net_tx_new(&tx, &bad[0]), -ENOSPC);
	assert_int_equal(vhu_net_rx_new(&rx, &bad[0]), -ENOSPC);
	assert_null(tx);
	assert_null(rx);
	vhu_net_tx_free(NULL);
	vhu_net_rx_free(NULL);
	bed_free(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_that_cannot_be_are_refused),
		cmocka_unit_test(sent_frames_arrive_whole_behind_their_header),
		cmocka_unit_test(buffer_is_the_same_until_sent_and_none_when_all_are_on_their_way),
		cmocka_unit_test(transmit_ring_that_is_broken_says_so_until_it_is_mended),
		cmocka_unit_test(received_frames_are_gathered_from_their_buffers),
		cmocka_unit_test(head_is_a_private_copy_and_all_buffers_go_back),
		cmocka_unit_test(frames_beyond_the_burst_stay_for_the_next),
		cmocka_unit_test(frames_without_an_ethernet_header_are_dropped),
		cmocka_unit_test(offloads_that_were_not_agreed_are_dropped),
		cmocka_unit_test(header_comes_as_it_was_but_for_flags_that_were_not_agreed),
		cmocka_unit_test(num_buffers_that_cannot_be_costs_its_own_buffer_alone),
		cmocka_unit_test(frame_longer_than_any_is_dropped_as_a_whole),
		cmocka_unit_test(frame_whose_buffers_come_one_by_one_is_waited_for),
		cmocka_unit_test(frames_used_before_the_device_died_still_come_out),
		cmocka_unit_test(broken_receive_ring_is_told_after_the_frames_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
