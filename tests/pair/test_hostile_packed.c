/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a guest can put into a packed ring: descriptors, chains, tables and ids that cannot be. */
#include <pthread.h>
#include <unistd.h>

#include "driver_packed.h"
#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

enum {
	FRAME = 200,
	NUM = 50, /* no power of two */
};

static struct dp_ring rings[2];
static struct dp_ring *const rx = &rings[0], *const tx = &rings[1];
static uint64_t without;

/* Each attack begins with packed rings that run, and ends with them gone. */
static void (*the_attack)(struct hostile *h);

static void with_packed_rings(struct hostile *h)
{
	memset(rings, 0, sizeof(rings));
	dp_start(&h->drv, rings, NUM, 0, without);
	fixture_settle();
	the_attack(h);
	dp_free(rx);
	dp_free(tx);
}

static void attack(void **state, void (*what)(struct hostile *h))
{
	struct hostile *h = hostile_begin(state, false, FIXTURE_SINK, NULL);

	the_attack = what;
	hostile_rounds(h, with_packed_rings);
}

/* A good frame at a place of its own in guest memory, with an empty header before it. */
static uint64_t place_frame(struct hostile *h, uint64_t gpa, uint32_t number)
{
	uint8_t bytes[12 + FRAME] = { 0 };

	drv_net_make(bytes + 12, FRAME, number);
	if (!gpa)
		gpa = drv_mem_alloc(&h->drv.mem, 0, sizeof(bytes), 64);
	drv_mem_write(&h->drv.mem, gpa, bytes, sizeof(bytes));
	return gpa;
}

static uint64_t all_drops(const struct hostile *h)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < VHU_NET_DROP_END; i++)
		sum += fixture_drops(&h->victim, i);
	return sum;
}

static void sends(struct hostile *h)
{
	uint64_t frames = fixture_frames(&h->victim);
	uint8_t frame[300];

	drv_net_make(frame, sizeof(frame), ++h->number);
	assert_true(dp_net_add(tx, frame, sizeof(frame), NULL) >= 0);
	dp_kick(tx);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&h->victim) == frames + 1));
	assert_int_equal(dp_net_reap(tx), 1);
	assert_int_equal(h->victim.last_len, sizeof(frame));
	assert_true(drv_net_verify(h->victim.last, sizeof(frame), h->number));
}

/* The raw chain at tx->used has come back: unused, once, with that id. */
static void came_back(unsigned int nr_desc, uint16_t id)
{
	struct dp_desc d;

	tx->nr_free -= nr_desc; /* so that there is something to come back */
	assert_true(check_until(fixture_pump(NULL), dp_has_used(tx)));
	tx->nr_free += nr_desc;
	d = dp_at(tx, tx->used);
	assert_int_equal(d.id, id);
	assert_int_equal(d.flags & DRV_DESC_WRITE, 0);
	dp_skip_used(tx, nr_desc);
}

/* A chain by hand that is refused: it comes back, and the next frame passes. */
static void dropped(struct hostile *h, const struct dp_desc *descs, unsigned int nr,
		    enum vhu_net_drop cause)
{
	uint64_t drops = fixture_drops(&h->victim, cause), sum = all_drops(h);
	uint64_t frames = fixture_frames(&h->victim);

	dp_put_raw(tx, descs, nr);
	dp_kick_always(tx);
	came_back(nr, descs[nr - 1].id);
	assert_int_equal(all_drops(h), sum + 1);
	assert_int_equal(fixture_drops(&h->victim, cause), drops + 1);
	assert_int_equal(fixture_frames(&h->victim), frames);
	drv_check_in_step(&h->drv);
	sends(h);
}

static void dropped_one(struct hostile *h, uint64_t addr, uint32_t len, uint16_t flags,
			enum vhu_net_drop cause)
{
	dropped(h, &(struct dp_desc){ addr, len, 3, flags }, 1, cause);
}

static void delivered(struct hostile *h, const struct dp_desc *descs, unsigned int nr,
		      uint32_t number)
{
	uint64_t frames = fixture_frames(&h->victim);

	dp_put_raw(tx, descs, nr);
	dp_kick_always(tx);
	came_back(nr, descs[nr - 1].id);
	assert_int_equal(fixture_frames(&h->victim), frames + 1);
	assert_int_equal(h->victim.last_len, FRAME);
	assert_true(drv_net_verify(h->victim.last, FRAME, number));
}

static void delivered_one(struct hostile *h, uint64_t addr, uint32_t len, uint32_t number)
{
	delivered(h, &(struct dp_desc){ addr, len, 3, 0 }, 1, number);
}

static void broken(struct hostile *h, const char *words)
{
	uint64_t count;

	dp_kick_always(tx);
	hostile_ring_is_broken(h, 1, words);
	assert_int_equal(read(h->drv.ring[1].err_fd, &count, sizeof(count)), sizeof(count));
	fixture_forget_reasons(&h->victim);
	dp_stop_ring(tx);
	dp_reset(tx);
	dp_start_ring(tx, DP_FRESH | (uint32_t)DP_FRESH << 16);
	fixture_settle();
	sends(h);
}

static void buffers_at_the_edge(struct hostile *h)
{
	const struct drv_region *r0 = &h->drv.mem.region[0];
	const struct drv_region *r1 = &h->drv.mem.region[1];
	uint64_t end = r1->gpa + r1->size;
	static const uint32_t parts[] = { 1, 5, 12, 13, 26, 100, 211 };

	place_frame(h, end - 12 - FRAME, 1);
	delivered_one(h, end - 12 - FRAME, 12 + FRAME, 1);
	dropped_one(h, end - 12 - FRAME + 1, 12 + FRAME, 0, VHU_NET_DROP_BAD_CHAIN);
	dropped_one(h, end, 12 + FRAME, 0, VHU_NET_DROP_BAD_CHAIN);
	dropped_one(h, 0, 12 + FRAME, 0, VHU_NET_DROP_BAD_CHAIN);
	dropped_one(h, r0->gpa - 1, 12 + FRAME, 0, VHU_NET_DROP_BAD_CHAIN);
	for (unsigned int i = 0; i < NR(parts); i++) {
		place_frame(h, r1->gpa - parts[i], 50 + i);
		delivered_one(h, r1->gpa - parts[i], 12 + FRAME, 50 + i);
	}
}

static void b1_buffer_is_translated_with_its_length(void **state)
{
	attack(state, buffers_at_the_edge);
}

static void table_across_regions(struct hostile *h)
{
	const struct drv_region *r1 = &h->drv.mem.region[1];
	uint64_t gpa = place_frame(h, 0, 9);
	struct dp_desc inner[3] = { { gpa, 12, 7, DRV_DESC_NEXT },
				    { gpa + 12, 100, 7, 0 },
				    { gpa + 112, FRAME - 100, 7, DRV_DESC_INDIRECT } };

	for (unsigned int before = 1; before < sizeof(inner); before += 5) {
		drv_mem_write(&h->drv.mem, r1->gpa - before, inner, sizeof(inner));
		delivered(h,
			  &(struct dp_desc){ r1->gpa - before, sizeof(inner), 4,
					     DRV_DESC_INDIRECT },
			  1, 9);
	}
}

static void b2_indirect_table_across_regions_is_read_rightly(void **state)
{
	attack(state, table_across_regions);
}

static void nothing_at_a_bad_address(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 9);
	static const uint64_t bad[] = { 0, UINT64_MAX, UINT64_MAX - 10, 0x7000000000 };

	for (unsigned int i = 0; i < NR(bad); i++) {
		struct dp_desc chain[3] = { { gpa, 12 + FRAME, 1, DRV_DESC_NEXT },
					    { bad[i], 0, 2, DRV_DESC_NEXT },
					    { gpa, 20, 3, 0 } };

		dropped_one(h, bad[i], 0, 0, VHU_NET_DROP_BAD_CHAIN);
		/* at the end, in the middle, at the begin: the id is always the last one's */
		dropped(h, chain, 3, VHU_NET_DROP_BAD_CHAIN);
		chain[2] = (struct dp_desc){ bad[i], 0, 9, 0 };
		dropped(h, chain, 3, VHU_NET_DROP_BAD_CHAIN);
		dropped(h, chain + 1, 2, VHU_NET_DROP_BAD_CHAIN);
	}
}

static void b3_bad_address_with_length_0_is_dropped(void **state)
{
	attack(state, nothing_at_a_bad_address);
}

static void only_a_header(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);

	for (uint32_t len = 1; len < 12 + 14; len++)
		dropped_one(h, gpa, len, 0, VHU_NET_DROP_SHORT);
}

static void b4_chain_no_longer_than_the_header_is_dropped(void **state)
{
	attack(state, only_a_header);
}

static void chains_without_an_end(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);
	struct dp_desc chain[NUM];

	for (unsigned int i = 0; i < NUM; i++)
		chain[i] = (struct dp_desc){ gpa, i % 2 ? 20 : 0, (uint16_t)i, DRV_DESC_NEXT };
	dp_put_raw(tx, chain, NUM);
	broken(h, "longer than the ring");
	/* From the middle: what follows is still there, and goes on for ever. */
	for (unsigned int i = 0; i < 7; i++)
		sends(h);
	dp_put_raw(tx, chain, NUM);
	broken(h, "longer than the ring");
	/* One that ends with the ring's last place is a chain. */
	chain[NUM - 1].flags = 0;
	for (unsigned int i = 0; i < NUM; i++)
		chain[i].len = i ? 4 : 16;
	sends(h);
	dp_put_raw(tx, chain, NUM);
	dp_kick_always(tx);
	came_back(NUM, NUM - 1);
	assert_int_equal(h->victim.last_len, 16 + 4 * (NUM - 1) - 12);
	sends(h);
}

static void b6_chain_without_an_end_breaks_the_ring(void **state)
{
	attack(state, chains_without_an_end);
}

static void available_ahead_of_used(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	struct dp_desc one = { gpa, 12 + FRAME, 0, 0 };
	int nr = 0;

	/* more than the ring holds, while nothing is given back */
	h->victim.hold = true;
	for (unsigned int i = 0; i < NUM; i++) {
		one.id = (uint16_t)i;
		dp_put_raw(tx, &one, 1);
	}
	/* taken and not yet given back: 31 chains; then they are available again */
	nr = vhu_net_pull(queue, h->victim.burst, 31);
	assert_int_equal(nr, 31);
	for (unsigned int i = 0; i < NUM; i++) {
		one.id = (uint16_t)i;
		dp_put_raw(tx, &one, 1);
	}
	vhu_net_done(queue, h->victim.burst);
	h->victim.hold = false;
	/* the 19 in between are overwritten with a later round's: nothing is available there */
	while (fixture_pump(NULL))
		;
	assert_int_equal(h->victim.closed + 1, h->victim.connected);
	dp_stop_ring(tx);
	dp_reset(tx);
	dp_start_ring(tx, DP_FRESH | (uint32_t)DP_FRESH << 16);
	fixture_settle();
	sends(h);
}

/* More than the ring holds is available at once: only who overwrites what we still have can do so. */
static void more_than_the_ring_holds(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 0);
	uint8_t bytes[VHU_NET_HEAD_ROOM + 60] = { 0 };
	struct vhu_net_frame frame = { .len = 60,
				       .head_len = 60,
				       .head = bytes + VHU_NET_HEAD_ROOM };
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 4096, 64);
	struct dp_desc chain[30];

	for (uint16_t id = 0; id < 2; id++) {
		for (unsigned int i = 0; i < NR(chain); i++)
			chain[i] =
				(struct dp_desc){ gpa, 40, id,
						  DRV_DESC_WRITE |
							  (i + 1 < NR(chain) ? DRV_DESC_NEXT : 0) };
		dp_put_raw(rx, chain, NR(chain));
		assert_int_equal(vhu_net_push(queue, &frame), id ? -ENOTCONN : 0);
	}
	hostile_ring_is_broken(h, 0, "ahead");
	assert_int_equal(vhu_net_commit(queue), -ENOTCONN);
}

static void b7_more_available_than_the_ring_holds_breaks_it(void **state)
{
	attack(state, more_than_the_ring_holds);
}

static void b7_descriptors_overwritten_before_they_are_used_do_no_harm(void **state)
{
	attack(state, available_ahead_of_used);
}

static void wild_ids(struct hostile *h)
{
	static const uint16_t ids[] = { NUM, NUM + 1, 255, 32768, UINT16_MAX };
	uint64_t gpa = place_frame(h, 0, 1);

	for (unsigned int i = 0; i < NR(ids); i++) {
		struct dp_desc chain[2] = { { gpa, 12 + FRAME, 1, DRV_DESC_NEXT },
					    { gpa, 12, ids[i], 0 } };

		dp_put_raw(tx, &chain[1], 1);
		broken(h, "id|not below");
		dp_put_raw(tx, chain, 2);
		broken(h, "id|not below");
		/* in any but the last it has no meaning */
		chain[0] = (struct dp_desc){ gpa, 12, ids[i], DRV_DESC_NEXT };
		chain[1] = (struct dp_desc){ gpa + 12, FRAME, 6, 0 };
		delivered(h, chain, 2, 1);
	}
}

static void b8_id_beyond_the_ring_breaks_it(void **state)
{
	attack(state, wild_ids);
}

static void same_id_again(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);
	struct dp_desc one = { gpa, 12 + FRAME, 6, 0 };

	h->victim.hold = true;
	for (unsigned int i = 0; i < 10; i++)
		dp_put_raw(tx, &one, 1);
	h->victim.hold = false;
	broken(h, "twice");
	/* One after the other is as it should be. */
	for (unsigned int i = 0; i < 10; i++)
		delivered(h, &one, 1, 1);
}

static void b8_same_id_twice_breaks_the_ring(void **state)
{
	attack(state, same_id_again);
}

static void bad_tables(struct hostile *h)
{
	static const uint32_t lengths[] = { 0, 1, 8, 15, 17, 31, 0xfffffff0, UINT32_MAX };
	const struct drv_region *r1 = &h->drv.mem.region[1];
	uint64_t gpa = place_frame(h, 0, 7);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 1026 * sizeof(struct dp_desc), 16);
	struct dp_desc good = { gpa, 12 + FRAME, 0, 0 };
	struct dp_desc chain[2] = { { gpa, 12, 1, DRV_DESC_NEXT },
				    { table, 16, 2, DRV_DESC_INDIRECT } };
	const enum vhu_net_drop bad = VHU_NET_DROP_BAD_CHAIN;

	drv_mem_write(&h->drv.mem, table, &good, sizeof(good));
	for (unsigned int i = 0; i < NR(lengths); i++)
		dropped_one(h, table, lengths[i], DRV_DESC_INDIRECT, bad);
	dropped_one(h, r1->gpa + r1->size - 8, 16, DRV_DESC_INDIRECT, bad);
	dropped_one(h, 0, 16, DRV_DESC_INDIRECT, bad);
	dropped_one(h, UINT64_MAX - 8, 16, DRV_DESC_INDIRECT, bad);
	/* A table stands alone: neither before nor behind others. */
	dropped(h, chain, 2, bad);
	chain[0] = (struct dp_desc){ table, 16, 1, DRV_DESC_INDIRECT | DRV_DESC_NEXT };
	chain[1] = (struct dp_desc){ gpa, 20, 2, 0 };
	dropped(h, chain, 2, bad);
	/* More than 1024 elements, each good. */
	for (unsigned int i = 0; i < 1026; i++) {
		struct dp_desc d = { gpa, i ? 0 : 12 + FRAME, 0, 0 };

		drv_mem_write(&h->drv.mem, table + i * sizeof(d), &d, sizeof(d));
	}
	dropped_one(h, table, 1025 * sizeof(struct dp_desc), DRV_DESC_INDIRECT, bad);
	delivered(h,
		  &(struct dp_desc){ table, 1024 * sizeof(struct dp_desc), 4, DRV_DESC_INDIRECT },
		  1, 7);
	/* Flags in a table but WRITE have no meaning: this is no table within a table. */
	good.flags = DRV_DESC_INDIRECT | DRV_DESC_NEXT | DP_USED | DP_AVAIL;
	drv_mem_write(&h->drv.mem, table, &good, sizeof(good));
	delivered(h, &(struct dp_desc){ table, 16, 4, DRV_DESC_INDIRECT }, 1, 7);
}

static void b9_indirect_tables_that_cannot_be_are_refused(void **state)
{
	attack(state, bad_tables);
}

static void table_not_agreed(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 7);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct dp_desc good = { gpa, 12 + FRAME, 0, 0 };

	drv_mem_write(&h->drv.mem, table, &good, sizeof(good));
	dropped_one(h, table, 16, DRV_DESC_INDIRECT, VHU_NET_DROP_BAD_CHAIN);
}

static void b9_indirect_that_was_not_agreed_is_refused(void **state)
{
	without = VHU_MASK(VHU_F_INDIRECT_DESC_BIT);
	attack(state, table_not_agreed);
	without = 0;
}

static void sums_that_wrap(struct hostile *h)
{
	const struct drv_region *r0 = &h->drv.mem.region[0];
	uint64_t gpa = place_frame(h, 0, 7);
	unsigned int nr = 257;
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, nr * sizeof(struct dp_desc), 16);

	dropped_one(h, UINT64_MAX - 10, 100, 0, VHU_NET_DROP_BAD_CHAIN);
	dropped_one(h, gpa, UINT32_MAX, 0, VHU_NET_DROP_BAD_CHAIN);
	/* A good frame and 256 times 16 MiB: in 32 bits nothing but the frame. */
	for (unsigned int i = 0; i < nr; i++) {
		struct dp_desc d = { r0->gpa, (uint32_t)r0->size, 0, 0 };

		if (i == 0) {
			d.addr = gpa;
			d.len = 12 + FRAME;
		}
		drv_mem_write(&h->drv.mem, table + i * sizeof(d), &d, sizeof(d));
	}
	dropped_one(h, table, nr * (uint32_t)sizeof(struct dp_desc), DRV_DESC_INDIRECT,
		    VHU_NET_DROP_BAD_CHAIN);
}

static void b10_sums_that_wrap_are_refused(void **state)
{
	attack(state, sums_that_wrap);
}

static void writable_parts(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 7);
	struct dp_desc chain[2] = { { gpa, 100, 1, DRV_DESC_NEXT | DRV_DESC_WRITE },
				    { gpa, 12 + FRAME, 2, 0 } };

	/* write before read; then right, but not for a transmit ring */
	fixture_forget_reasons(&h->victim);
	dropped(h, chain, 2, VHU_NET_DROP_BAD_CHAIN);
	fixture_check_reason(&h->victim, "ring 1|readable part after a writable one");
	chain[0].flags = DRV_DESC_NEXT;
	chain[1].flags = DRV_DESC_WRITE;
	dropped(h, chain, 2, VHU_NET_DROP_BAD_CHAIN);
	assert_true(drv_net_verify(drv_mem_ptr(&h->drv.mem, gpa + 12), FRAME, 7));
}

/*
 * The one exception is DPDK's: in the tables that it transmits some elements bear WRITE and are not
 * meant to. A receive ring has no such exception.
 */
static void write_in_a_table(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 7);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	uint8_t frame[FRAME] = { 0 };

	for (unsigned int bits = 0; bits < 8; bits++) {
		const struct dp_desc inner[3] = {
			{ gpa, 12, 0, bits & 1 ? DRV_DESC_WRITE : 0 },
			{ gpa + 12, 50, 0, bits & 2 ? DRV_DESC_WRITE : 0 },
			{ gpa + 62, FRAME - 50, 0, bits & 4 ? DRV_DESC_WRITE : 0 },
		};
		const struct dp_desc outer = { table, sizeof(inner), 5, DRV_DESC_INDIRECT };

		drv_mem_write(&h->drv.mem, table, inner, sizeof(inner));
		delivered(h, &outer, 1, 7);
		assert_true(drv_net_verify(drv_mem_ptr(&h->drv.mem, gpa + 12), FRAME, 7));
		dp_put_raw(rx, &outer, 1);
		if (bits == 7) {
			assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), 0);
			assert_int_equal(dp_at(rx, rx->used).flags & DRV_DESC_WRITE,
					 DRV_DESC_WRITE);
			assert_int_equal(dp_at(rx, rx->used).len, 12 + FRAME);
			assert_memory_equal(drv_mem_ptr(&h->drv.mem, gpa + 12), frame, FRAME);
			continue;
		}
		assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), -ENOSPC);
		assert_int_equal(vhu_net_commit(vhu_backend_queue(h->victim.backend, 0)), 0);
		assert_int_equal(dp_at(rx, rx->used).flags & DRV_DESC_WRITE, 0);
		dp_skip_used(rx, 1);
		assert_true(drv_net_verify(drv_mem_ptr(&h->drv.mem, gpa + 12), FRAME, 7));
	}
}

static void write_in_a_transmitted_table_means_nothing(void **state)
{
	attack(state, write_in_a_table);
}

static void write_before_read_is_refused(void **state)
{
	attack(state, writable_parts);
}

/* A receive ring: readable buffers, none, bad ones before good ones. */
static void bad_receive_buffers(struct hostile *h)
{
	uint8_t frame[FRAME], back[4096];
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 0, 4096, 64);
	size_t len;

	drv_net_make(frame, FRAME, 3);
	for (unsigned int round = 0; round < 30; round++) {
		const struct dp_desc bad[3] = { { gpa, 1000, 0, 0 },
						{ 5, 1000, 1, DRV_DESC_WRITE },
						{ gpa, 0, 2, DRV_DESC_WRITE } };

		assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), -ENOSPC);
		for (unsigned int i = 0; i < 3; i++)
			dp_put_raw(rx, &bad[i], 1);
		dp_net_fill(rx, 1, 1000);
		assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), 0);
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(dp_at(rx, rx->used).id, i);
			assert_int_equal(dp_at(rx, rx->used).flags & DRV_DESC_WRITE, 0);
			dp_skip_used(rx, 1);
		}
		assert_int_equal(dp_net_receive(rx, back, sizeof(back), &len), 1);
		assert_int_equal(len, FRAME);
		assert_true(drv_net_verify(back, len, 3));
	}
}

static void b24_bad_receive_buffers_come_back_and_the_frame_passes(void **state)
{
	attack(state, bad_receive_buffers);
}

/*
 * ---- Contents that change under the device's eyes ----
 */
struct flipper {
	struct hostile *h;
	uint64_t gpa, table;
	bool quit;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	volatile struct dp_desc *inner = drv_mem_ptr(&f->h->drv.mem, f->table);
	volatile uint32_t *event = (volatile uint32_t *)tx->driver;
	volatile uint8_t *hdr = drv_mem_ptr(&f->h->drv.mem, f->gpa);
	static const uint64_t addrs[] = { 0, UINT64_MAX - 5, 0x7000000000 };
	unsigned int n = 0;

	while (!__atomic_load_n(&f->quit, __ATOMIC_RELAXED)) {
		bool good = n++ % 2;

		inner->addr = good ? f->gpa : addrs[n % 3];
		inner->len = good ? 12 + FRAME : UINT32_MAX - n;
		inner->flags = good ? 0 : (uint16_t)n;
		/* all descriptors of the ring but for their AVAIL and USED */
		for (unsigned int i = 0; i < NUM; i++) {
			volatile struct dp_desc *d = &tx->desc[i];

			d->addr = good ? f->table : addrs[n % 3];
			d->len = good ? 16 : 16 * n;
		}
		*event = n * 2654435761;
		hdr[0] = (uint8_t)(n % 4);
		hdr[1] = (uint8_t)n;
	}
	return NULL;
}

static void flipped_contents(struct hostile *h)
{
	struct flipper f = { .h = h, .gpa = place_frame(h, 0, 1) };
	struct dp_desc one = { 0, 16, 0, DRV_DESC_INDIRECT };
	int64_t end = check_now_ms() + 300;
	pthread_t thread;

	f.table = one.addr = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (unsigned int n = 0; check_now_ms() < end; n++) {
		one.id = (uint16_t)(n % NUM);
		one.flags = n % 3 ? DRV_DESC_INDIRECT : 0;
		dp_put_raw(tx, &one, 1);
		dp_kick_always(tx);
		came_back(1, one.id);
	}
	__atomic_store_n(&f.quit, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	drv_check_in_step(&h->drv);
	dp_want_calls(tx, false);
	sends(h);
}

static void b11_contents_that_change_between_reads_do_no_harm(void **state)
{
	attack(state, flipped_contents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(b1_buffer_is_translated_with_its_length),
		hostile_test(b2_indirect_table_across_regions_is_read_rightly),
		hostile_test(b3_bad_address_with_length_0_is_dropped),
		hostile_test(b4_chain_no_longer_than_the_header_is_dropped),
		hostile_test(b6_chain_without_an_end_breaks_the_ring),
		hostile_test(b7_more_available_than_the_ring_holds_breaks_it),
		hostile_test(b7_descriptors_overwritten_before_they_are_used_do_no_harm),
		hostile_test(b8_id_beyond_the_ring_breaks_it),
		hostile_test(b8_same_id_twice_breaks_the_ring),
		hostile_test(b9_indirect_tables_that_cannot_be_are_refused),
		hostile_test(b9_indirect_that_was_not_agreed_is_refused),
		hostile_test(b10_sums_that_wrap_are_refused),
		hostile_test(write_before_read_is_refused),
		hostile_test(write_in_a_transmitted_table_means_nothing),
		hostile_test(b24_bad_receive_buffers_come_back_and_the_frame_passes),
		hostile_test(b11_contents_that_change_between_reads_do_no_harm),
	};

	return cmocka_run_group_tests_name("hostile packed rings", tests, NULL, NULL);
}
