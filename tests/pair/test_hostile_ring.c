/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a guest can put into its rings: chains, tables and indices that cannot be. */
#include <pthread.h>
#include <unistd.h>

#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

enum {
	FRAME = 200
};

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

/* One chain was made available by hand: its head comes back unused, and the next frame passes. */
static void dropped(struct hostile *h, uint16_t head, enum vhu_net_drop cause)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint16_t idx = drv_ring_used_idx(ring);
	uint64_t drops = fixture_drops(&h->victim, cause);
	uint64_t sum = all_drops(h);
	uint64_t frames = fixture_frames(&h->victim);

	drv_ring_kick_always(ring);
	assert_true(
		check_until(fixture_pump(NULL), drv_ring_used_idx(ring) == (uint16_t)(idx + 1)));
	assert_int_equal(drv_ring_used_elem(ring, idx).id, head);
	assert_int_equal(drv_ring_used_elem(ring, idx).len, 0);
	assert_int_equal(all_drops(h), sum + 1);
	assert_int_equal(fixture_drops(&h->victim, cause), drops + 1);
	assert_int_equal(fixture_frames(&h->victim), frames);
	ring->used_idx++;
	drv_check_in_step(&h->drv);
	/* The descriptors that the driver believes free are: the free list was not touched. */
	hostile_sends(h);
}

/* The one chain made available arrives as frame number. */
static void delivered(struct hostile *h, uint32_t number)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint64_t frames = fixture_frames(&h->victim);

	drv_ring_kick_always(ring);
	assert_true(check_until(fixture_pump(NULL), fixture_frames(&h->victim) == frames + 1));
	assert_int_equal(h->victim.last_len, FRAME);
	assert_true(drv_net_verify(h->victim.last, FRAME, number));
	ring->used_idx++;
}

/* Descriptors from the end of the table, which nothing else uses; the head is the first. */
static uint16_t by_hand(struct hostile *h, const struct drv_desc *descs, unsigned int nr)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint16_t head = (uint16_t)(ring->num - nr);

	for (unsigned int i = 0; i < nr; i++)
		ring->desc[head + i] = descs[i];
	drv_ring_add_head(ring, head);
	return head;
}

static uint16_t one(struct hostile *h, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	return by_hand(h, &(struct drv_desc){ addr, len, flags, next }, 1);
}

static void buffers_at_the_edge(struct hostile *h)
{
	const struct drv_region *r0 = &h->drv.mem.region[0];
	const struct drv_region *r1 = &h->drv.mem.region[1];
	uint64_t end = r1->gpa + r1->size;
	static const uint32_t parts[] = { 1, 5, 12, 13, 26, 100, 211 };

	/* Up to the very last byte, and over it by one. */
	place_frame(h, end - 12 - FRAME, 1);
	one(h, end - 12 - FRAME, 12 + FRAME, 0, 0);
	delivered(h, 1);
	dropped(h, one(h, end - 12 - FRAME + 1, 12 + FRAME, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, end, 12 + FRAME, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, 0, 12 + FRAME, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, r0->gpa - 1, 12 + FRAME, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	/* Across two regions that touch in guest addresses only: one buffer for the guest. */
	for (unsigned int i = 0; i < NR(parts); i++) {
		place_frame(h, r1->gpa - parts[i], 50 + i);
		one(h, r1->gpa - parts[i], 12 + FRAME, 0, 0);
		delivered(h, 50 + i);
	}
}

static void b1_buffer_is_translated_with_its_length(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), buffers_at_the_edge);
}

static void receive_buffers_at_the_edge(struct hostile *h)
{
	const struct drv_region *r1 = &h->drv.mem.region[1];
	struct drv_ring *ring = &h->drv.ring[0];
	uint64_t gpa = r1->gpa - 100;
	struct drv_seg seg = { gpa, 2000, true };
	uint8_t frame[FRAME], back[12 + FRAME];
	uint32_t token, len;

	drv_net_make(frame, FRAME, 3);
	assert_true(drv_ring_add(ring, &seg, 1, 0) >= 0);
	drv_ring_publish(ring);
	assert_int_equal(fixture_push(&h->victim, 0, frame, FRAME, NULL), 0);
	assert_int_equal(drv_ring_pop_used(ring, &token, &len), 1);
	assert_int_equal(len, 12 + FRAME);
	drv_mem_read(&h->drv.mem, gpa, back, sizeof(back));
	assert_memory_equal(back + 12, frame, FRAME);
}

static void b1_receive_buffer_across_regions_is_split(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), receive_buffers_at_the_edge);
}

static void table_across_regions(struct hostile *h)
{
	const struct drv_region *r1 = &h->drv.mem.region[1];

	for (unsigned int off = 0; off <= 48; off += 8) {
		uint64_t table = r1->gpa - off;
		uint64_t gpa = place_frame(h, 0, off);
		struct drv_desc descs[3] = {
			{ gpa, 12, DRV_DESC_NEXT, 1 },
			{ gpa + 12, 50, DRV_DESC_NEXT, 2 },
			{ gpa + 62, FRAME - 50, 0, 0 },
		};

		drv_mem_write(&h->drv.mem, table, descs, sizeof(descs));
		one(h, table, sizeof(descs), DRV_DESC_INDIRECT, 0);
		delivered(h, off);
	}
}

static void b2_indirect_table_across_regions_is_read_rightly(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), table_across_regions);
}

static void nothing_at_a_bad_address(struct hostile *h)
{
	static const uint64_t bad[] = { 0, UINT64_MAX, UINT64_C(0x7000000000000000) };
	unsigned int num = h->drv.ring[1].num;

	for (unsigned int i = 0; i < NR(bad); i++) {
		uint64_t gpa = place_frame(h, 0, i);
		struct drv_desc descs[2] = {
			{ gpa, 12 + FRAME, DRV_DESC_NEXT, (uint16_t)(num - 1) },
			{ bad[i], 0, 0, 0 },
		};

		/* Empty pieces are either not allowed or nothing: never is there memory behind. */
		uint64_t frames = fixture_frames(&h->victim);
		uint64_t drops = all_drops(h);

		by_hand(h, descs, 2);
		drv_ring_kick_always(&h->drv.ring[1]);
		assert_true(
			check_until(fixture_pump(NULL), fixture_frames(&h->victim) + all_drops(h) ==
								frames + drops + 1));
		h->drv.ring[1].used_idx++;
		dropped(h, one(h, bad[i], 0, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	}
}

static void b3_bad_address_with_length_0_is_dropped(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), nothing_at_a_bad_address);
}

static void only_a_header(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);

	for (uint32_t len = 1; len < 12 + 14; len++)
		dropped(h, one(h, gpa, len, 0, 0), VHU_NET_DROP_SHORT);
}

static void b4_chain_no_longer_than_the_header_is_dropped(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), only_a_header);
}

static void loops(struct hostile *h)
{
	uint16_t num = (uint16_t)h->drv.ring[1].num;
	uint64_t gpa = place_frame(h, 0, 1);
	uint16_t last = (uint16_t)(num - 1);
	struct drv_desc two[2] = { { gpa, 20, DRV_DESC_NEXT, last },
				   { gpa, 20, DRV_DESC_NEXT, (uint16_t)(num - 2) } };
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct drv_desc in_table[2] = { { gpa, 20, DRV_DESC_NEXT, 1 },
					{ gpa, 20, DRV_DESC_NEXT, 0 } };

	dropped(h, one(h, gpa, 20, DRV_DESC_NEXT, last), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, by_hand(h, two, 2), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, gpa, 20, DRV_DESC_NEXT, num), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, gpa, 20, DRV_DESC_NEXT, UINT16_MAX), VHU_NET_DROP_BAD_CHAIN);
	drv_mem_write(&h->drv.mem, table, in_table, sizeof(in_table));
	dropped(h, one(h, table, 32, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
	in_table[1].next = 2;
	drv_mem_write(&h->drv.mem, table, in_table, sizeof(in_table));
	dropped(h, one(h, table, 32, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
}

static void b6_loops_and_wild_next_are_bounded(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), loops);
}

/* Pieces of length 0 use nothing up: the number of steps has to be what ends them. */
static void empty_loops(struct hostile *h)
{
	uint16_t last = (uint16_t)(h->drv.ring[1].num - 1);
	uint64_t gpa = place_frame(h, 0, 1);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct drv_desc in_table = { gpa, 0, DRV_DESC_NEXT, 0 };

	dropped(h, one(h, gpa, 0, DRV_DESC_NEXT, last), VHU_NET_DROP_BAD_CHAIN);
	drv_mem_write(&h->drv.mem, table, &in_table, sizeof(in_table));
	dropped(h, one(h, table, 16, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
}

static void b6_empty_loops_are_bounded(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), empty_loops);
}

/* Behind the end of a table lies what would be the rest of a good frame. */
static void good_rest_behind_the_table(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 1);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct drv_desc first = { gpa, 12, DRV_DESC_NEXT, UINT16_MAX };
	struct drv_desc rest = { gpa + 12, FRAME, 0, 0 };
	uint64_t behind = h->drv.ring[1].desc_gpa + UINT16_MAX * sizeof(rest);

	drv_mem_write(&h->drv.mem, behind, &rest, sizeof(rest));
	dropped(h, by_hand(h, &first, 1), VHU_NET_DROP_BAD_CHAIN);
	for (uint16_t nr = 1; nr < 3; nr++) {
		first.next = nr;
		drv_mem_write(&h->drv.mem, table, &first, sizeof(first));
		drv_mem_write(&h->drv.mem, table + nr * sizeof(rest), &rest, sizeof(rest));
		dropped(h, one(h, table, nr * (uint32_t)sizeof(rest), DRV_DESC_INDIRECT, 0),
			VHU_NET_DROP_BAD_CHAIN);
		/* And as soon as the table is said to be that long, it is. */
		one(h, table, (nr + 1U) * (uint32_t)sizeof(rest), DRV_DESC_INDIRECT, 0);
		delivered(h, 1);
	}
}

static void b6_next_behind_the_table_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), good_rest_behind_the_table);
}

static void avail_jumps(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	static const int jumps[] = { 257, 300, 32768, -1, -100 };

	for (unsigned int i = 0; i < NR(jumps); i++) {
		hostile_sends(h);
		fixture_forget_reasons(&h->victim);
		ring->avail_idx = (uint16_t)(ring->avail_idx + jumps[i]);
		drv_ring_kick_always(ring);
		hostile_ring_is_broken(h, 1, "available index");
		fixture_forget_reasons(&h->victim);
		uint64_t count;

		assert_int_equal(read(ring->err_fd, &count, sizeof(count)), sizeof(count));
		hostile_ring_works_after_restart(h);
	}
}

static void b7_avail_index_that_jumps_breaks_the_ring(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), avail_jumps);
}

static void receive_avail_jumps(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[0];

	drv_net_fill(&h->drv, 0, 4);
	ring->avail_idx = (uint16_t)(ring->avail_idx + 300);
	drv_ring_publish(ring);
	assert_int_equal(fixture_push(&h->victim, 0, (const uint8_t[60]){ 0 }, 60, NULL),
			 -ENOTCONN);
	hostile_ring_is_broken(h, 0, "available index");
}

static void b7_receive_ring_that_jumps_breaks_too(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), receive_avail_jumps);
}

static void wild_heads(struct hostile *h)
{
	static const uint16_t heads[] = { 256, 257, 32768, UINT16_MAX };

	for (unsigned int i = 0; i < NR(heads); i++) {
		uint64_t count;

		hostile_sends(h);
		fixture_forget_reasons(&h->victim);
		drv_ring_add_head(&h->drv.ring[1], heads[i]);
		drv_ring_kick_always(&h->drv.ring[1]);
		hostile_ring_is_broken(h, 1, "head");
		assert_int_equal(read(h->drv.ring[1].err_fd, &count, sizeof(count)), sizeof(count));
		hostile_ring_works_after_restart(h);
	}
}

static void b8_head_beyond_the_ring_breaks_it(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), wild_heads);
}

static void same_head_again(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	uint64_t gpa = place_frame(h, 0, 1);
	uint16_t idx = drv_ring_used_idx(ring);
	uint16_t head = one(h, gpa, 12 + FRAME, 0, 0);

	for (unsigned int i = 1; i < 40; i++)
		drv_ring_add_head(ring, head);
	drv_ring_kick_always(ring);
	hostile_ring_is_broken(h, 1, "twice");
	/* At most the first of them was served. */
	assert_true((uint16_t)(drv_ring_used_idx(ring) - idx) <= 1);
	hostile_ring_works_after_restart(h);
}

static void b8_same_head_twice_breaks_the_ring(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), same_head_again);
}

static void bad_tables(struct hostile *h)
{
	static const uint32_t lengths[] = { 0, 1, 8, 15, 17, 31, 0xfffffff0, UINT32_MAX };
	uint64_t gpa = place_frame(h, 0, 7);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct drv_desc good = { gpa, 12 + FRAME, 0, 0 };
	struct drv_desc nested = { table, 16, DRV_DESC_INDIRECT, 0 };
	const struct drv_region *r1 = &h->drv.mem.region[1];
	uint64_t frames, drops;

	drv_mem_write(&h->drv.mem, table, &good, sizeof(good));
	for (unsigned int i = 0; i < NR(lengths); i++)
		dropped(h, one(h, table, lengths[i], DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, table, 16, DRV_DESC_INDIRECT | DRV_DESC_NEXT, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, r1->gpa + r1->size - 8, 16, DRV_DESC_INDIRECT, 0),
		VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, 0, 16, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
	/* WRITE on the descriptor of a table is to be ignored (2.7.5.3.2); refusing would do. */
	frames = fixture_frames(&h->victim);
	drops = all_drops(h);
	one(h, table, 16, DRV_DESC_INDIRECT | DRV_DESC_WRITE, 0);
	drv_ring_kick_always(&h->drv.ring[1]);
	assert_true(check_until(fixture_pump(NULL),
				fixture_frames(&h->victim) + all_drops(h) == frames + drops + 1));
	h->drv.ring[1].used_idx++;
	drv_mem_write(&h->drv.mem, table, &nested, sizeof(nested));
	dropped(h, one(h, table, 16, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
}

static void b9_indirect_tables_that_cannot_be_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), bad_tables);
}

static void table_not_agreed(struct hostile *h)
{
	uint64_t gpa = place_frame(h, 0, 7);
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	struct drv_desc good = { gpa, 12 + FRAME, 0, 0 };

	drv_mem_write(&h->drv.mem, table, &good, sizeof(good));
	dropped(h, one(h, table, 16, DRV_DESC_INDIRECT, 0), VHU_NET_DROP_BAD_CHAIN);
}

static void b9_indirect_that_was_not_agreed_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK,
				     &(struct drv_options){
					     .no_features = VHU_MASK(VHU_F_INDIRECT_DESC_BIT) }),
		       table_not_agreed);
}

static void sums_that_wrap(struct hostile *h)
{
	const struct drv_region *r0 = &h->drv.mem.region[0];
	uint64_t gpa = place_frame(h, 0, 7);
	unsigned int nr = 257;
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, nr * sizeof(struct drv_desc), 16);
	uint64_t sum, frames;

	dropped(h, one(h, UINT64_MAX - 10, 100, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	dropped(h, one(h, gpa, UINT32_MAX, 0, 0), VHU_NET_DROP_BAD_CHAIN);
	/* A good frame and 256 times 16 MiB: in 32 bits nothing but the frame. */
	for (unsigned int i = 0; i < nr; i++) {
		struct drv_desc desc = { r0->gpa, (uint32_t)r0->size,
					 i + 1 < nr ? DRV_DESC_NEXT : 0, (uint16_t)(i + 1) };

		if (i == 0) {
			desc.addr = gpa;
			desc.len = 12 + FRAME;
		}
		drv_mem_write(&h->drv.mem, table + i * sizeof(desc), &desc, sizeof(desc));
	}
	sum = all_drops(h);
	frames = fixture_frames(&h->victim);
	one(h, table, nr * (uint32_t)sizeof(struct drv_desc), DRV_DESC_INDIRECT, 0);
	drv_ring_kick_always(&h->drv.ring[1]);
	assert_true(check_until(fixture_pump(NULL),
				all_drops(h) == sum + 1 || fixture_frames(&h->victim) > frames));
	assert_int_equal(fixture_frames(&h->victim), frames);
	h->drv.ring[1].used_idx++;
	hostile_sends(h);
}

static void b10_sums_that_wrap_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), sums_that_wrap);
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
	struct drv_ring *ring = &f->h->drv.ring[1];
	volatile struct drv_desc *direct = &ring->desc[ring->num - 1];
	volatile struct drv_desc *inner = drv_mem_ptr(&f->h->drv.mem, f->table);
	volatile uint8_t *hdr = drv_mem_ptr(&f->h->drv.mem, f->gpa);
	static const uint64_t addrs[] = { 0, UINT64_MAX - 5, 0x7000000000 };
	unsigned int n = 0;

	while (!__atomic_load_n(&f->quit, __ATOMIC_RELAXED)) {
		bool good = n++ % 2;

		inner->addr = good ? f->gpa : addrs[n % 3];
		inner->len = good ? 12 + FRAME : UINT32_MAX - n;
		inner->flags = good ? 0 : (uint16_t)n;
		inner->next = (uint16_t)n;
		direct->addr = good ? f->table : addrs[n % 3];
		direct->len = good ? 16 : 16 * n;
		direct->flags = good ? DRV_DESC_INDIRECT : (uint16_t)(n % 8);
		hdr[0] = (uint8_t)(n % 4);
		hdr[1] = (uint8_t)n;
		hdr[4] = (uint8_t)n;
	}
	return NULL;
}

static void flipped_contents(struct hostile *h)
{
	struct drv_ring *ring = &h->drv.ring[1];
	struct flipper f = { .h = h, .gpa = place_frame(h, 0, 1) };
	int64_t end = check_now_ms() + 300;
	pthread_t thread;

	f.table = drv_mem_alloc(&h->drv.mem, 0, 64, 16);
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	while (check_now_ms() < end) {
		/* One at a time: the same head twice would break the ring. */
		if (drv_ring_used_idx(ring) == ring->avail_idx)
			drv_ring_add_head(ring, (uint16_t)(ring->num - 1));
		drv_ring_kick_always(ring);
		fixture_pump(NULL);
	}
	__atomic_store_n(&f.quit, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(check_until(fixture_pump(NULL), drv_ring_used_idx(ring) == ring->avail_idx));
	drv_check_in_step(&h->drv);
}

static void b11_contents_that_change_between_reads_do_no_harm(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), flipped_contents);
}

static void bad_headers(struct hostile *h)
{
	static const struct drv_net_hdr rows[] = {
		{ .flags = 1, .csum_start = 60000, .csum_offset = 16 },
		{ .flags = 1, .csum_start = FRAME - 1, .csum_offset = 0 },
		{ .flags = 1, .csum_start = FRAME - 2, .csum_offset = 1 },
		{ .flags = 1, .csum_start = 34, .csum_offset = 60000 },
		{ .flags = 1, .csum_start = UINT16_MAX, .csum_offset = UINT16_MAX },
		{ .flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 0, .gso_type = 1, .gso_size = 100 },
		{ .flags = 1, .gso_type = 2, .gso_size = 100, .csum_start = 34, .csum_offset = 16 },
		{ .flags = 1,
		  .gso_type = 77,
		  .gso_size = 100,
		  .csum_start = 34,
		  .csum_offset = 16 },
		/* Not agreed: UFO, TSO over IPv6, USO. */
		{ .flags = 1, .gso_type = 3, .gso_size = 100, .csum_start = 34, .csum_offset = 6 },
		{ .flags = 1, .gso_type = 4, .gso_size = 100, .csum_start = 54, .csum_offset = 16 },
		{ .flags = 1, .gso_type = 5, .gso_size = 100, .csum_start = 34, .csum_offset = 6 },
	};

	for (unsigned int i = 0; i < NR(rows); i++) {
		uint64_t gpa = place_frame(h, 0, i);

		drv_mem_write(&h->drv.mem, gpa, &rows[i], sizeof(rows[i]));
		dropped(h, one(h, gpa, 12 + FRAME, 0, 0), VHU_NET_DROP_BAD_HDR);
	}
}

static void b12_b13_headers_that_cannot_be_are_dropped(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), bad_headers);
}

static void odd_headers(struct hostile *h)
{
	static const struct drv_net_hdr rows[] = {
		{ .num_buffers = UINT16_MAX },
		{ .num_buffers = 0 },
		{ .hdr_len = UINT16_MAX },
		{ .csum_start = UINT16_MAX, .csum_offset = UINT16_MAX },
		/* A driver cannot vouch for a checksum (virtio 1.2, 5.1.6.2.1). */
		{ .flags = VHU_NET_HDR_DATA_VALID },
	};

	/* Fields without meaning here: the frame is good. */
	for (unsigned int i = 0; i < NR(rows); i++) {
		uint64_t gpa = place_frame(h, 0, i);

		drv_mem_write(&h->drv.mem, gpa, &rows[i], sizeof(rows[i]));
		one(h, gpa, 12 + FRAME, 0, 0);
		delivered(h, i);
		assert_int_equal(h->victim.last_hdr.flags, 0);
	}
}

static void b13_fields_without_meaning_are_ignored(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), odd_headers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(b1_buffer_is_translated_with_its_length),
		hostile_test(b1_receive_buffer_across_regions_is_split),
		hostile_test(b2_indirect_table_across_regions_is_read_rightly),
		hostile_test(b3_bad_address_with_length_0_is_dropped),
		hostile_test(b4_chain_no_longer_than_the_header_is_dropped),
		hostile_test(b6_loops_and_wild_next_are_bounded),
		hostile_test(b6_empty_loops_are_bounded),
		hostile_test(b6_next_behind_the_table_is_refused),
		hostile_test(b7_avail_index_that_jumps_breaks_the_ring),
		hostile_test(b7_receive_ring_that_jumps_breaks_too),
		hostile_test(b8_head_beyond_the_ring_breaks_it),
		hostile_test(b8_same_head_twice_breaks_the_ring),
		hostile_test(b9_indirect_tables_that_cannot_be_are_refused),
		hostile_test(b9_indirect_that_was_not_agreed_is_refused),
		hostile_test(b10_sums_that_wrap_are_refused),
		hostile_test(b11_contents_that_change_between_reads_do_no_harm),
		hostile_test(b12_b13_headers_that_cannot_be_are_dropped),
		hostile_test(b13_fields_without_meaning_are_ignored),
	};

	return cmocka_run_group_tests_name("hostile rings", tests, NULL, NULL);
}
