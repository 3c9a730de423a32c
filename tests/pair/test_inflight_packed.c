/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * The in-flight region of packed rings. As in test_inflight.c a death is played: region and rings
 * are put back to what they were at that moment, after the backend has been freed.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "backend_fixture.h"
#include "driver_packed.h"

#define WITH_INFLIGHT (VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT))
#define BASE (DP_FRESH | (uint32_t)DP_FRESH << 16)
#define NR(array) (sizeof(array) / sizeof((array)[0]))

/* A ring's part of the region, "Inflight I/O tracking", written down a second time. */
struct entry {
	uint8_t inflight, pad;
	uint16_t next, last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};

struct part {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap, pad[10];
	struct entry desc[];
};

enum {
	SIZE = 10,  /* of the rings: no power of two */
	PART = 384, /* 32 + 32 * SIZE up to a multiple of 64 */
};

struct world {
	struct pair *pair;
	struct drv *drv;
	struct fixture *fix;
	struct dp_ring ring[2];
	uint64_t without;
	int fd;
	struct vhu_inflight desc;
	uint8_t *bytes;
	uint8_t region[2 * PART]; /* at the moment of death */
	struct dp_desc slots[2][SIZE];
	uint32_t number;
};

static struct part *part(const struct world *w, unsigned int ring)
{
	return (struct part *)(void *)(w->bytes + (size_t)ring * PART);
}

static struct part *dead_part(struct world *w, unsigned int ring)
{
	return (struct part *)(void *)(w->region + (size_t)ring * PART);
}

static const struct fixture_options fix_options = { .mode = FIXTURE_IDLE,
						    .protocol_features = WITH_INFLIGHT };

static void say_hello(struct world *w)
{
	drv_negotiate(w->drv);
	drv_set_all_features(w->drv, w->drv->offered & ~(VHU_MASK(VHU_F_LOG_ALL_BIT) | w->without));
	for (unsigned int i = 0; i < 2; i++)
		w->ring[i].in_order = w->drv->features & VHU_MASK(VHU_F_IN_ORDER_BIT);
}

static int set_inflight(struct world *w)
{
	return drv_ack(w->drv, VHU_SET_INFLIGHT_FD, &w->desc, sizeof(w->desc), &w->fd, 1);
}

/* A packed ring says nothing of where it stands: the base is that of a frontend that lost it. */
static void start_rings(struct world *w, uint32_t base)
{
	drv_set_mem(w->drv);
	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(w->drv, i, true);
		dp_start_ring(&w->ring[i], base);
	}
	drv_check_in_step(w->drv);
}

static void get_inflight(struct world *w)
{
	struct vhu_inflight ask = { .nr_queues = 2, .queue_size = SIZE };
	struct vhu_msg reply;

	assert_int_equal(drv_send(w->drv, VHU_GET_INFLIGHT_FD, 0, &ask, sizeof(ask), NULL, 0), 0);
	assert_int_equal(drv_recv(w->drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.nr_fds, 1);
	w->desc = reply.inflight;
	w->fd = reply.fds[0];
	w->bytes =
		mmap(NULL, (size_t)w->desc.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	assert_true(w->bytes != MAP_FAILED);
}

static struct world *connected(void **state, uint64_t without)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fd = -1;
	w->without = without;
	w->pair = pair_up(state, &fix_options, &(struct drv_options){ .need_reply = true });
	w->drv = &w->pair->drv;
	w->fix = &w->pair->fix;
	for (unsigned int i = 0; i < 2; i++)
		dp_init(&w->ring[i], w->drv, i, SIZE);
	say_hello(w);
	get_inflight(w);
	return w;
}

static struct world *running(void **state, uint64_t without)
{
	struct world *w = connected(state, without);

	assert_int_equal(set_inflight(w), 0);
	start_rings(w, BASE);
	return w;
}

static void end(struct world *w)
{
	munmap(w->bytes, (size_t)w->desc.mmap_size);
	close(w->fd);
	dp_free(&w->ring[0]);
	dp_free(&w->ring[1]);
	free(w);
}

/* ---- death ---- */

static void remember(struct world *w)
{
	memcpy(w->region, w->bytes, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->slots[i], w->ring[i].desc, sizeof(w->slots[i]));
}

static void bury(struct world *w)
{
	drv_disconnect(w->drv);
	assert_true(check_until(fixture_pump(NULL), w->fix->closed == w->fix->connected));
	fixture_free(w->fix);
	w->pair->fix_is_up = false;
	memcpy(w->bytes, w->region, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->ring[i].desc, w->slots[i], sizeof(w->slots[i]));
}

static void next_backend(struct world *w)
{
	fixture_init(w->fix, &fix_options);
	w->pair->fix_is_up = true;
	assert_int_equal(drv_connect(w->drv, w->fix->path), 0);
	say_hello(w);
}

static void resume(struct world *w)
{
	next_backend(w);
	assert_int_equal(set_inflight(w), 0);
	start_rings(w, BASE);
}

static void crash(struct world *w)
{
	remember(w);
	bury(w);
	resume(w);
}

/* ---- traffic ---- */

static struct vhu_queue *queue(const struct world *w, unsigned int ring)
{
	return vhu_backend_queue(w->fix->backend, ring);
}

/* Frames in one to three pieces, as many as find room, at most nr. The count. */
static unsigned int send_frames(struct world *w, unsigned int nr)
{
	uint8_t frame[64];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct drv_layout layout = { .nr = w->number % 3, .cut = { 20, 30 } };

		drv_net_make(frame, sizeof(frame), w->number);
		if (dp_net_add(&w->ring[1], frame, sizeof(frame), &layout) < 0)
			break;
		w->number++;
	}
	return i;
}

static void take_frames(struct world *w, unsigned int max, unsigned int nr, uint32_t first)
{
	const struct vhu_net_frame *frames = vhu_net_burst_frames(w->fix->burst);

	assert_int_equal(vhu_net_pull(queue(w, 1), w->fix->burst, max), nr);
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(frames[i].len, 64);
		assert_true(drv_net_verify(frames[i].head, 64, first + i));
	}
}

static void give_back(struct world *w)
{
	vhu_net_done(queue(w, 1), w->fix->burst);
}

static void all_came_back(struct world *w, unsigned int nr)
{
	assert_int_equal(dp_net_reap(&w->ring[1]), nr);
	assert_int_equal(w->ring[1].nr_free, SIZE);
	assert_int_equal(w->ring[1].used, w->ring[1].avail);
}

static unsigned int nr_marks(const struct world *w, unsigned int ring)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < SIZE; i++)
		nr += part(w, ring)->desc[i].inflight;
	return nr;
}

/* ---- tests ---- */

static void region_has_its_free_lists_from_the_begin(void **state)
{
	struct world *w = connected(state, 0);

	assert_int_equal(w->desc.mmap_size, 2 * PART);
	for (unsigned int i = 0; i < 2; i++) {
		const struct part *p = part(w, i);

		assert_int_equal(p->version, 0);
		assert_int_equal(p->free_head, 0);
		assert_int_equal(p->old_free_head, 0);
		assert_int_equal(p->used_wrap, 1);
		assert_int_equal(p->old_used_wrap, 1);
		for (unsigned int k = 0; k < SIZE; k++)
			assert_int_equal(p->desc[k].next, k + 1);
	}
	end(w);
}

static void descriptors_are_kept_while_they_are_in_flight(void **state)
{
	struct world *w = running(state, 0);
	const struct part *p = part(w, 1);

	assert_int_equal(send_frames(w, 4), 4); /* of 1, 2, 3 and 1 descriptors */
	take_frames(w, 3, 3, 0);
	assert_int_equal(nr_marks(w, 1), 3);
	assert_int_equal(p->desc[0].num, 1);
	assert_int_equal(p->desc[1].num, 2);
	assert_int_equal(p->desc[1].last, 2);
	assert_int_equal(p->desc[3].num, 3);
	assert_int_equal(p->desc[3].last, 5);
	assert_int_equal(p->free_head, 6);
	assert_int_equal(p->old_free_head, 6);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(p->desc[i].addr, w->ring[1].desc[i].addr);
		assert_int_equal(p->desc[i].len, w->ring[1].desc[i].len);
	}
	assert_true(p->desc[0].counter < p->desc[1].counter);
	assert_true(p->desc[1].counter < p->desc[3].counter);
	give_back(w);
	assert_int_equal(nr_marks(w, 1), 0);
	assert_int_equal(p->used_idx, 6);
	assert_int_equal(p->old_used_idx, 6);
	end(w);
}

static void chains_not_returned_come_again(void **state)
{
	static const uint64_t without[] = { 0, VHU_MASK(VHU_F_IN_ORDER_BIT) };

	for (unsigned int i = 0; i < NR(without); i++) {
		struct world *w = running(state, without[i]);
		uint32_t taken = 0;

		/* several times round, and the wrap counter with it */
		for (unsigned int round = 0; round < 30; round++) {
			unsigned int nr = send_frames(w, 1 + round % 5);
			unsigned int first = nr < 2 ? nr : 2;

			take_frames(w, first, first, taken);
			crash(w);
			if (round % 3 == 0) {
				take_frames(w, 1, 1, taken);
				crash(w);
			}
			take_frames(w, 32, nr, taken);
			give_back(w);
			taken += nr;
			all_came_back(w, nr);
			assert_int_equal(nr_marks(w, 1), 0);
		}
		end(w);
		pair_teardown(state);
		pair_setup(state);
	}
}

/* The second was returned before the first: its used descriptor lies where the first one was. */
static void chain_whose_slot_was_overwritten_comes_again(void **state)
{
	struct world *w = running(state, VHU_MASK(VHU_F_IN_ORDER_BIT));
	const struct vhu_net_frame *frames;
	struct part *p = dead_part(w, 1);
	uint16_t id[4];

	assert_int_equal(send_frames(w, 4), 4);
	take_frames(w, 2, 2, 0);
	remember(w);
	/* the driver's ids stand in the last descriptor of each chain */
	id[0] = w->ring[1].desc[0].id;
	id[1] = w->ring[1].desc[2].id;
	id[2] = w->ring[1].desc[5].id;
	id[3] = w->ring[1].desc[6].id;
	/* entries: the first has 0, the second 1 and 2, and 3 is free */
	p->desc[2].next = p->free_head;
	p->free_head = p->old_free_head = 1;
	p->desc[1].inflight = 0;
	p->used_idx = p->old_used_idx = 2;
	w->slots[1][0] = (struct dp_desc){ .id = id[1], .flags = DP_AVAIL | DP_USED };
	bury(w);
	resume(w);
	frames = vhu_net_burst_frames(w->fix->burst);
	assert_int_equal(vhu_net_pull(queue(w, 1), w->fix->burst, 32), 3);
	assert_true(drv_net_verify(frames[0].head, 64, 0));
	assert_true(drv_net_verify(frames[1].head, 64, 2));
	assert_true(drv_net_verify(frames[2].head, 64, 3));
	give_back(w);
	/* each takes as many slots as the chain that it returns */
	assert_int_equal(w->ring[1].desc[2].id, id[0]);
	assert_int_equal(w->ring[1].desc[3].id, id[2]);
	assert_int_equal(w->ring[1].desc[6].id, id[3]);
	for (unsigned int i = 0; i < 7; i++) {
		bool used = i != 1 && i != 4 && i != 5;
		uint16_t flags = w->ring[1].desc[i].flags & (DP_AVAIL | DP_USED);

		assert_int_equal(flags, used ? DP_AVAIL | DP_USED : DP_AVAIL);
	}
	assert_int_equal(part(w, 1)->used_idx, 7);
	end(w);
}

static void buffers_given_back_can_be_taken_again(void **state)
{
	struct world *w = running(state, 0);
	uint8_t frame[64] = { 0 }, back[2048];
	struct vhu_net_frame f = { .len = 64, .head_len = 64, .head = frame };
	size_t len;

	dp_net_fill(&w->ring[0], 4, DP_BUF);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	assert_int_equal(nr_marks(w, 0), 2);
	vhu_net_rewind(queue(w, 0));
	assert_int_equal(nr_marks(w, 0), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	crash(w);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	vhu_net_rewind(queue(w, 0));
	assert_int_equal(nr_marks(w, 0), 3);
	for (unsigned int i = 0; i < 4; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	}
	assert_int_equal(vhu_net_commit(queue(w, 0)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(dp_net_receive(&w->ring[0], back, sizeof(back), &len), 1);
		assert_true(drv_net_verify(back, len, i));
	}
	assert_int_equal(nr_marks(w, 0), 0);
	end(w);
}

static void orderly_stop_tells_the_base(void **state)
{
	struct world *w = running(state, 0);
	uint32_t base;

	assert_int_equal(send_frames(w, 4), 4);
	take_frames(w, 2, 2, 0);
	give_back(w);
	take_frames(w, 1, 1, 2);
	base = dp_stop_ring(&w->ring[1]);
	assert_int_equal(base, (DP_FRESH | 3) | (uint32_t)(DP_FRESH | 3) << 16);
	assert_int_equal(part(w, 1)->version, 0);
	assert_int_equal(nr_marks(w, 1), 0);
	give_back(w); /* too late */
	dp_start_ring(&w->ring[1], base);
	drv_check_in_step(w->drv);
	take_frames(w, 32, 2, 2);
	crash(w);
	take_frames(w, 1, 1, 2);
	give_back(w);
	/* one has come again and has not been returned, nor has it been taken by now */
	base = dp_stop_ring(&w->ring[1]);
	assert_int_equal(base, (DP_FRESH | 6) | (uint32_t)(DP_FRESH | 6) << 16);
	assert_int_equal(nr_marks(w, 1), 1);
	dp_start_ring(&w->ring[1], base);
	drv_check_in_step(w->drv);
	take_frames(w, 32, 1, 3);
	give_back(w);
	all_came_back(w, 4);
	end(w);
}

static void reset_forgets_what_was_in_flight(void **state)
{
	struct world *w = running(state, 0);

	assert_int_equal(send_frames(w, 4), 4);
	take_frames(w, 3, 3, 0);
	crash(w);
	take_frames(w, 1, 1, 0);
	drv_do_u64(w->drv, VHU_SET_STATUS, 0);
	assert_int_equal(part(w, 1)->version, 0);
	assert_int_equal(nr_marks(w, 1), 0);
	dp_reset(&w->ring[1]);
	dp_start_ring(&w->ring[1], BASE);
	drv_check_in_step(w->drv);
	w->number = 50;
	assert_int_equal(send_frames(w, 2), 2);
	take_frames(w, 32, 2, 50);
	give_back(w);
	all_came_back(w, 2);
	end(w);
}

/* ---- hostile.md A9: what stands in the region ---- */

struct spoilt {
	unsigned int offset, width;
	uint64_t value;
};

#define AT(member, value)                                                                          \
	{                                                                                          \
		offsetof(struct part, member), sizeof(((struct part *)0)->member), value           \
	}
#define ENTRY(i, member, value)                                                                    \
	{                                                                                          \
		offsetof(struct part, desc) + (i) * sizeof(struct entry) +                         \
			offsetof(struct entry, member),                                            \
			sizeof(((struct entry *)0)->member), value                                 \
	}

/* All of a start but the kick. */
static void prepare_ring(struct world *w)
{
	struct vhu_vring_addr addr;

	drv_set_mem(w->drv);
	drv_enable_ring(w->drv, 1, true);
	dp_fill_addr(&w->ring[1], &addr);
	drv_do_state(w->drv, VHU_SET_VRING_NUM, 1, SIZE);
	drv_do_state(w->drv, VHU_SET_VRING_BASE, 1, BASE);
	drv_do(w->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

/* Three chains in flight: entries 0, 1 and 2, 3 to 5. The rest is free. */
static void a9_records_that_cannot_be_keep_the_ring_from_starting(void **state)
{
	static const struct {
		struct spoilt spoilt[2];
		const char *words;
	} rows[] = {
		{ { AT(used_idx, SIZE), AT(old_used_idx, SIZE) }, "used index 10 (10)" },
		{ { AT(old_used_idx, 0xffff) }, "used index 0 (65535)" },
		{ { AT(used_wrap, 2), AT(old_used_wrap, 2) }, "wrap 2 (2)" },
		{ { AT(used_idx, 3), AT(old_used_idx, 4) }, "used index went from 4 to 3" },
		{ { AT(used_idx, 5), AT(used_wrap, 0) }, "used index went from 0 to 5" },
		{ { AT(old_free_head, SIZE + 1) }, "free list goes on to entry 11" },
		{ { AT(old_free_head, 0xffff) }, "free list goes on to entry 65535" },
		{ { AT(old_free_head, SIZE) }, "0 entries free and 6 in flight" },
		{ { AT(old_free_head, 7) }, "3 entries free and 6 in flight" },
		{ { ENTRY(9, next, 6) }, "free list goes on to entry 6" },
		{ { ENTRY(7, next, 7) }, "free list goes on to entry 7" },
		{ { ENTRY(9, next, 0x8000) }, "free list goes on to entry 32768" },
		/* a free list that runs into a chain in flight */
		{ { ENTRY(9, next, 4) }, "free list goes on to entry 6" },
		{ { ENTRY(0, num, 0) }, "chain at entry 0 has 0 descriptors" },
		{ { ENTRY(0, num, SIZE + 1) }, "chain at entry 0 has 11 descriptors" },
		{ { ENTRY(3, num, 0xffff) }, "chain at entry 3 has 65535 descriptors" },
		{ { ENTRY(3, num, 9) }, "chain at entry 3 has 9 descriptors" },
		{ { ENTRY(1, next, SIZE) }, "chain at entry 1 goes on to entry 10" },
		{ { ENTRY(1, next, 0xfffe) }, "chain at entry 1 goes on to entry 65534" },
		{ { ENTRY(1, next, 1) }, "chain at entry 1 goes on to entry 1" },
		{ { ENTRY(3, next, 0) }, "chain at entry 3 goes on to entry 0" },
		{ { ENTRY(1, next, 8) }, "chain at entry 1 goes on to entry 8" },
		{ { ENTRY(1, last, 1) }, "chain at entry 1 does not end at its last" },
		{ { ENTRY(3, last, 0xffff) }, "chain at entry 3 does not end at its last" },
		{ { ENTRY(5, id, SIZE) }, "chain at entry 3 has id 10" },
		{ { ENTRY(5, id, 0xffff) }, "chain at entry 3 has id 65535" },
		{ { ENTRY(0, inflight, 0) }, "4 entries free and 5 in flight" },
		{ { ENTRY(0, inflight, 2) }, "4 entries free and 5 in flight" },
		{ { ENTRY(2, inflight, 1), ENTRY(1, num, 1) }, "chain at entry 1 does not end" },
	};
	struct world *w = running(state, 0);
	uint16_t first_id;

	assert_int_equal(send_frames(w, 4), 4);
	take_frames(w, 3, 3, 0);
	remember(w);
	first_id = dead_part(w, 1)->desc[0].id;
	bury(w);
	next_backend(w);
	prepare_ring(w);
	for (unsigned int i = 0; i <= NR(rows); i++) {
		const struct spoilt twice[2] = { ENTRY(5, id, first_id) };
		const struct spoilt *spoilt = i < NR(rows) ? rows[i].spoilt : twice;
		const char *words = i < NR(rows) ? rows[i].words : "out of range or twice";
		uint64_t index = 1;
		int kick = w->drv->ring[1].kick_fd;

		memcpy(w->bytes, w->region, sizeof(w->region));
		for (unsigned int k = 0; k < 2; k++)
			memcpy((uint8_t *)part(w, 1) + spoilt[k].offset, &spoilt[k].value,
			       spoilt[k].width);
		assert_int_equal(set_inflight(w), 0);
		fixture_forget_reasons(w->fix);
		assert_int_equal(drv_ack(w->drv, VHU_SET_VRING_KICK, &index, 8, &kick, 1), 1);
		fixture_check_reason(w->fix, "SET_VRING_KICK|in-flight region: ring 1, ");
		fixture_check_reason(w->fix, words);
		assert_false(w->fix->ring[1].running);
		drv_check_in_step(w->drv);
	}
	/* and as it was it is taken up */
	memcpy(w->bytes, w->region, sizeof(w->region));
	assert_int_equal(set_inflight(w), 0);
	start_rings(w, BASE);
	take_frames(w, 32, 4, 0);
	give_back(w);
	all_came_back(w, 4);
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(region_has_its_free_lists_from_the_begin),
		pair_test(descriptors_are_kept_while_they_are_in_flight),
		pair_test(chains_not_returned_come_again),
		pair_test(chain_whose_slot_was_overwritten_comes_again),
		pair_test(buffers_given_back_can_be_taken_again),
		pair_test(orderly_stop_tells_the_base),
		pair_test(reset_forgets_what_was_in_flight),
		pair_test(a9_records_that_cannot_be_keep_the_ring_from_starting),
	};

	return cmocka_run_group_tests_name("in flight, packed", tests, NULL, NULL);
}
