/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/*
 * The in-flight region of split rings: handed out, taken back, and what the backend after a dead one
 * makes of it. A death is played: region and used rings are put back to what they were at that
 * moment, after the backend has been freed.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend_fixture.h"

#define WITH_INFLIGHT (VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT))
#define NR(array) (sizeof(array) / sizeof((array)[0]))

/* A ring's part of the region, "Inflight I/O tracking", written down a second time. */
struct entry {
	uint8_t inflight, pad[5];
	uint16_t next;
	uint64_t counter;
};

struct part {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct entry desc[];
};

enum {
	SIZE = 16,		    /* of the rings */
	PART = 16 + 16 * SIZE + 48, /* up to a multiple of 64 */
};

struct world {
	struct pair *pair;
	struct drv *drv;
	struct fixture *fix;
	int fd;
	struct vhu_inflight desc;
	uint8_t *bytes;
	/* at the moment of death */
	uint8_t region[2 * PART];
	uint8_t used[2][6 + 8 * SIZE];
	uint32_t number; /* frames sent */
};

static struct part *part(const struct world *w, unsigned int ring)
{
	return (struct part *)(void *)(w->bytes + (size_t)ring * PART);
}

/* ---- messages ---- */

static int get_inflight(struct drv *drv, uint16_t queues, uint16_t queue_size, uint32_t size,
			struct vhu_inflight *ret)
{
	struct vhu_inflight ask = { .nr_queues = queues, .queue_size = queue_size };
	struct vhu_msg reply;

	assert_int_equal(drv_send(drv, VHU_GET_INFLIGHT_FD, 0, &ask, size, NULL, 0), 0);
	assert_int_equal(drv_recv(drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.hdr.request, VHU_GET_INFLIGHT_FD);
	assert_int_equal(reply.hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
	assert_int_equal(reply.hdr.size, size);
	assert_int_equal(reply.nr_fds, 1);
	memcpy(ret, &reply.inflight, sizeof(*ret));
	return reply.fds[0];
}

static int set_inflight(struct world *w)
{
	return drv_ack(w->drv, VHU_SET_INFLIGHT_FD, &w->desc, sizeof(w->desc), &w->fd, 1);
}

/* Everything up to the region: what QEMU says before GET_INFLIGHT_FD. */
static void say_hello(struct world *w)
{
	const uint64_t not = VHU_MASK(VHU_F_LOG_ALL_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT) |
			     VHU_MASK(VHU_F_IN_ORDER_BIT);
	struct drv *drv = w->drv;

	drv_negotiate(drv);
	assert_true(drv->protocol_features & VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT));
	drv_set_features(drv, drv->offered & ~not );
}

static void start_rings(struct world *w, uint16_t base)
{
	drv_set_mem(w->drv);
	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(w->drv, i, true);
		drv_start_ring(w->drv, i, base);
	}
	drv_check_in_step(w->drv);
}

static const struct fixture_options fix_options = { .mode = FIXTURE_IDLE,
						    .protocol_features = WITH_INFLIGHT };

static struct world *connected(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fd = -1;
	w->pair = pair_up(state, &fix_options,
			  &(struct drv_options){ .ring_size = SIZE, .need_reply = true });
	w->drv = &w->pair->drv;
	w->fix = &w->pair->fix;
	say_hello(w);
	return w;
}

static void map_region(struct world *w)
{
	w->bytes = mmap(NULL, (size_t)w->desc.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd,
			(off_t)w->desc.mmap_offset);
	assert_true(w->bytes != MAP_FAILED);
}

static struct world *running(void **state)
{
	struct world *w = connected(state);

	w->fd = get_inflight(w->drv, 2, SIZE, sizeof(w->desc), &w->desc);
	map_region(w);
	assert_int_equal(set_inflight(w), 0);
	start_rings(w, 0);
	return w;
}

static void end(struct world *w)
{
	if (w->bytes)
		munmap(w->bytes, (size_t)w->desc.mmap_size);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

/* ---- death ---- */

static void remember(struct world *w)
{
	memcpy(w->region, w->bytes, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->used[i], w->drv->ring[i].used, sizeof(w->used[i]));
}

/* The backend is gone, and what it did after remember() never happened. */
static void bury(struct world *w)
{
	drv_disconnect(w->drv);
	assert_true(check_until(fixture_pump(NULL), w->fix->closed == w->fix->connected));
	fixture_free(w->fix);
	w->pair->fix_is_up = false;
	memcpy(w->bytes, w->region, sizeof(w->region));
	for (unsigned int i = 0; i < 2; i++)
		memcpy(w->drv->ring[i].used, w->used[i], sizeof(w->used[i]));
}

static void next_backend(struct world *w)
{
	fixture_init(w->fix, &fix_options);
	w->pair->fix_is_up = true;
	assert_int_equal(drv_connect(w->drv, w->fix->path), 0);
	say_hello(w);
	assert_int_equal(set_inflight(w), 0);
}

/* As the frontend knows it after a crash: from the used index. */
static void resume(struct world *w)
{
	next_backend(w);
	start_rings(w, 0);
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

/* Makes frames available. Their numbers go on from those before. */
static void send_frames(struct world *w, unsigned int nr)
{
	uint8_t frame[64];

	for (unsigned int i = 0; i < nr; i++) {
		drv_net_make(frame, sizeof(frame), w->number++);
		assert_true(drv_net_add(w->drv, 1, frame, sizeof(frame), NULL) >= 0);
	}
	drv_ring_publish(&w->drv->ring[1]);
}

/* Takes up to max frames, which have to be nr, from number first on; gives none back. */
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

/* All that was made available has come back, each once: drv_ring_pop_used() sees to that. */
static void all_came_back(struct world *w, unsigned int nr)
{
	assert_int_equal(drv_net_reap(w->drv, 1), nr);
	assert_int_equal(w->drv->ring[1].nr_free_slots, w->drv->ring[1].nr_slots);
	assert_int_equal(w->drv->ring[1].used_idx, w->drv->ring[1].avail_idx);
}

static unsigned int nr_marks(const struct world *w, unsigned int ring)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < SIZE; i++)
		nr += part(w, ring)->desc[i].inflight;
	return nr;
}

/* ---- the region ---- */

static void region_is_made_sealed_and_zero(void **state)
{
	static const uint32_t sizes[] = { 20, 24 }; /* with the padding of a C compiler or not */
	struct world *w = connected(state);

	for (unsigned int i = 0; i < NR(sizes); i++) {
		struct vhu_inflight desc;
		int fd = get_inflight(w->drv, 2, SIZE, sizes[i], &desc);
		uint8_t *bytes;

		assert_int_equal(desc.nr_queues, 2);
		assert_int_equal(desc.queue_size, SIZE);
		assert_int_equal(desc.mmap_offset, 0);
		assert_int_equal(desc.mmap_size, 2 * PART);
		assert_int_equal(lseek(fd, 0, SEEK_END), 2 * PART);
		assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		bytes = mmap(NULL, 2 * PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(bytes != MAP_FAILED);
		for (unsigned int k = 0; k < 2 * PART; k++)
			assert_int_equal(bytes[k], 0);
		munmap(bytes, 2 * PART);
		close(fd);
	}
	drv_check_in_step(w->drv);
	end(w);
}

static void region_of_unknown_layout_has_room_for_both(void **state)
{
	struct pair *p = pair_up(state, &fix_options, NULL);
	struct vhu_inflight desc;

	drv_negotiate(&p->drv);
	close(get_inflight(&p->drv, 2, 256, sizeof(desc), &desc));
	/* 32 bytes an entry, 32 before them, up to a multiple of 64 */
	assert_int_equal(desc.mmap_size, 2 * (32 * 256 + 64));
	drv_check_in_step(&p->drv);
}

static void region_is_in_force_as_soon_as_it_is_handed_out(void **state)
{
	struct world *w = connected(state);

	w->fd = get_inflight(w->drv, 2, SIZE, sizeof(w->desc), &w->desc);
	map_region(w);
	start_rings(w, 0);
	assert_int_equal(part(w, 1)->version, 1);
	assert_int_equal(part(w, 1)->desc_num, SIZE);
	send_frames(w, 2);
	take_frames(w, 8, 2, 0);
	assert_int_equal(nr_marks(w, 1), 2);
	end(w);
}

static void region_is_not_exchanged_under_running_rings(void **state)
{
	struct world *w = running(state);

	fixture_forget_reasons(w->fix);
	assert_int_equal(set_inflight(w), 1);
	fixture_check_reason(w->fix, "SET_INFLIGHT_FD|ring 0 is started");
	drv_check_in_step(w->drv);
	drv_stop_ring(w->drv, 0);
	assert_int_equal(set_inflight(w), 1);
	drv_stop_ring(w->drv, 1);
	assert_int_equal(set_inflight(w), 0);
	end(w);
}

static void requests_need_the_feature(void **state)
{
	struct pair *p = pair_up(state, NULL, &(struct drv_options){ .need_reply = true });
	struct vhu_inflight desc = { .nr_queues = 2, .queue_size = 256 };

	drv_negotiate(&p->drv);
	assert_false(p->drv.protocol_offered & VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT));
	assert_int_equal(drv_send(&p->drv, VHU_GET_INFLIGHT_FD, 0, &desc, sizeof(desc), NULL, 0),
			 0);
	assert_true(drv_is_closed(&p->drv));
	fixture_check_reason(&p->fix, "GET_INFLIGHT_FD|INFLIGHT_SHMFD was not agreed");
}

/* ---- recording ---- */

static void chains_are_marked_while_they_are_taken(void **state)
{
	struct world *w = running(state);
	uint64_t last = 0;

	send_frames(w, 5);
	take_frames(w, 3, 3, 0);
	for (unsigned int i = 0; i < 5; i++) {
		const struct entry *e = &part(w, 1)->desc[w->drv->ring[1].avail[2 + i]];

		assert_int_equal(e->inflight, i < 3);
		assert_true(i == 0 || i >= 3 || e->counter > last);
		last = e->counter;
	}
	assert_int_equal(part(w, 1)->used_idx, 0);
	give_back(w);
	assert_int_equal(nr_marks(w, 1), 0);
	assert_int_equal(part(w, 1)->used_idx, 3);
	/* the other ring's part was not touched but for its begin */
	assert_int_equal(nr_marks(w, 0), 0);
	assert_int_equal(part(w, 0)->version, 1);
	end(w);
}

static void ring_beyond_the_region_is_served_without_a_record(void **state)
{
	static const uint16_t sizes[][2] = { { 1, SIZE }, { 2, SIZE / 2 } };

	for (unsigned int i = 0; i < NR(sizes); i++) {
		struct world *w = connected(state);
		uint8_t zero[PART] = { 0 };

		w->fd = get_inflight(w->drv, sizes[i][0], sizes[i][1], sizeof(w->desc), &w->desc);
		map_region(w);
		assert_int_equal(set_inflight(w), 0);
		start_rings(w, 0);
		send_frames(w, 4);
		take_frames(w, 8, 4, 0);
		if (i == 1) /* both rings are larger than what there is room for */
			assert_memory_equal(w->bytes, zero, PART / 2);
		if (i == 1)
			fixture_check_reason(w->fix, "ring 1: 16 entries|has 8: not recorded");
		give_back(w);
		all_came_back(w, 4);
		end(w);
		pair_teardown(state);
		pair_setup(state);
	}
}

static void buffers_given_back_to_be_taken_again_lose_their_mark(void **state)
{
	struct world *w = running(state);
	uint8_t frame[64] = { 0 };
	struct vhu_net_frame f = { .len = 64, .head_len = 64, .head = frame };
	struct part *rx = part(w, 0);

	drv_net_fill(w->drv, 0, 4);
	assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	assert_int_equal(nr_marks(w, 0), 2);
	vhu_net_rewind(queue(w, 0));
	assert_int_equal(nr_marks(w, 0), 0);
	/* and the same buffers are taken, and are marked, again */
	assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	assert_int_equal(rx->desc[w->drv->ring[0].avail[2]].inflight, 1);
	assert_int_equal(nr_marks(w, 0), 1);
	assert_int_equal(vhu_net_commit(queue(w, 0)), 0);
	assert_int_equal(nr_marks(w, 0), 0);
	assert_int_equal(rx->used_idx, 1);
	end(w);
}

static void push_that_finds_too_few_buffers_leaves_no_mark(void **state)
{
	struct world *w = running(state);
	static uint8_t bytes[8000];
	struct iovec iov = { bytes, sizeof(bytes) - 64 };
	struct vhu_net_frame f = {
		.len = sizeof(bytes), .head_len = 64, .head = bytes, .iov = &iov, .nr_iov = 1
	};

	drv_net_fill(w->drv, 0, 3); /* of 2048 bytes */
	assert_int_equal(vhu_net_push(queue(w, 0), &f), -ENOSPC);
	assert_int_equal(nr_marks(w, 0), 0);
	drv_net_fill(w->drv, 0, 1);
	assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	assert_int_equal(nr_marks(w, 0), 4);
	assert_int_equal(vhu_net_commit(queue(w, 0)), 0);
	assert_int_equal(nr_marks(w, 0), 0);
	end(w);
}

/* ---- after a death ---- */

static void chains_not_returned_come_again_before_new_ones(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 2, 2, 0);
	give_back(w);
	take_frames(w, 3, 3, 2);
	crash(w);
	send_frames(w, 2);
	/* three again, one that nobody had taken, two that are new */
	take_frames(w, 4, 4, 2);
	give_back(w);
	take_frames(w, 8, 2, 6);
	give_back(w);
	all_came_back(w, 8);
	assert_int_equal(nr_marks(w, 1), 0);
	end(w);
}

static void base_of_the_frontend_counts_for_nothing_beside_a_record(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 4, 4, 0);
	remember(w);
	bury(w);
	next_backend(w);
	start_rings(w, 3);
	take_frames(w, 8, 6, 0);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void a_second_death_loses_nothing(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 4, 4, 0);
	crash(w);
	crash(w); /* before anything was taken again */
	take_frames(w, 2, 2, 0);
	crash(w); /* two handed out again, two not yet */
	take_frames(w, 2, 2, 0);
	give_back(w);
	crash(w);
	take_frames(w, 3, 3, 2);
	crash(w);
	take_frames(w, 8, 4, 2);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void rings_go_round_across_deaths(void **state)
{
	struct world *w = running(state);
	uint32_t taken = 0;

	for (unsigned int i = 0; i < 40; i++) {
		send_frames(w, 1 + i % SIZE);
		take_frames(w, 1 + i % 5, 1 + (i % 5 < i % SIZE ? i % 5 : i % SIZE), taken);
		if (i % 3 == 0)
			crash(w);
		else
			give_back(w);
		if (i % 3 != 0)
			taken += 1 + (i % 5 < i % SIZE ? i % 5 : i % SIZE);
		while (taken < w->number) {
			take_frames(w, 1, 1, taken++);
			give_back(w);
		}
		all_came_back(w, 1 + i % SIZE);
	}
	end(w);
}

static void published_and_not_cleared_is_not_returned_twice(void **state)
{
	struct world *w = running(state);
	struct part *p = part(w, 1);

	send_frames(w, 6);
	take_frames(w, 2, 2, 0);
	give_back(w);
	take_frames(w, 3, 3, 2);
	give_back(w);
	/* the moment after the store of the ring's index: three linked, marked, used_idx behind */
	remember(w);
	p = (struct part *)(void *)(w->region + PART);
	assert_int_equal(p->last_batch_head, w->drv->ring[1].avail[2 + 4]);
	p->used_idx = 2;
	for (unsigned int i = 2; i < 5; i++)
		p->desc[w->drv->ring[1].avail[2 + i]].inflight = 1;
	bury(w);
	resume(w);
	assert_int_equal(nr_marks(w, 1), 0);
	assert_int_equal(part(w, 1)->used_idx, 5);
	take_frames(w, 8, 1, 5);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void linked_and_not_published_comes_again(void **state)
{
	struct world *w = running(state);
	struct part *p;
	const uint16_t *avail = &w->drv->ring[1].avail[2];

	send_frames(w, 6);
	take_frames(w, 3, 3, 0);
	remember(w);
	p = (struct part *)(void *)(w->region + PART);
	p->desc[avail[0]].next = 0;
	p->desc[avail[1]].next = avail[0];
	p->last_batch_head = avail[1];
	bury(w);
	resume(w);
	take_frames(w, 8, 6, 0);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

/* What a backend that completes out of order leaves: it had returned 1 and 3, and was at 5. */
static void record_of_a_foreign_backend_is_taken_up(void **state)
{
	static const unsigned int held[] = { 0, 2, 4 };
	struct world *w = running(state);
	const struct drv_ring *r = &w->drv->ring[1];
	struct part *p;
	uint32_t elems[2][2];
	const struct vhu_net_frame *frames;

	send_frames(w, 7);
	remember(w);
	p = (struct part *)(void *)(w->region + PART);
	for (unsigned int i = 0; i < NR(held); i++) {
		p->desc[r->avail[2 + held[i]]].inflight = 1;
		p->desc[r->avail[2 + held[i]]].counter = 1000 + held[i];
	}
	p->used_idx = 2;
	p->last_batch_head = r->avail[2 + 3];
	for (unsigned int i = 0; i < 2; i++) {
		elems[i][0] = r->avail[2 + 1 + 2 * i];
		elems[i][1] = 0;
	}
	memcpy(w->used[1] + 4, elems, sizeof(elems));
	w->used[1][2] = 2; /* idx */
	bury(w);
	resume(w);
	frames = vhu_net_burst_frames(w->fix->burst);
	assert_int_equal(vhu_net_pull(queue(w, 1), w->fix->burst, 8), 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(drv_net_verify(frames[i].head, 64, i < 3 ? held[i] : 2 + i));
	/* the counter went on */
	assert_true(part(w, 1)->desc[r->avail[2 + 5]].counter > 1004);
	give_back(w);
	all_came_back(w, 7);
	end(w);
}

static void order_is_that_of_the_counters(void **state)
{
	struct world *w = running(state);
	const struct drv_ring *r = &w->drv->ring[1];
	const struct vhu_net_frame *frames;
	struct part *p;

	send_frames(w, 3);
	take_frames(w, 3, 3, 0);
	remember(w);
	p = (struct part *)(void *)(w->region + PART);
	p->desc[r->avail[2]].counter = 9;
	p->desc[r->avail[3]].counter = 7;
	p->desc[r->avail[4]].counter = 8;
	bury(w);
	resume(w);
	frames = vhu_net_burst_frames(w->fix->burst);
	assert_int_equal(vhu_net_pull(queue(w, 1), w->fix->burst, 8), 3);
	assert_true(drv_net_verify(frames[0].head, 64, 1));
	assert_true(drv_net_verify(frames[1].head, 64, 2));
	assert_true(drv_net_verify(frames[2].head, 64, 0));
	give_back(w);
	all_came_back(w, 3);
	end(w);
}

static void buffers_handed_out_again_can_be_given_back(void **state)
{
	struct world *w = running(state);
	uint8_t frame[64] = { 0 }, back[64];
	struct vhu_net_frame f = { .len = 64, .head_len = 64, .head = frame };
	size_t len;

	drv_net_fill(w->drv, 0, 4);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	crash(w);
	assert_int_equal(nr_marks(w, 0), 3);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	vhu_net_rewind(queue(w, 0));
	/* three are still those of before, the fourth is as it was */
	assert_int_equal(nr_marks(w, 0), 3);
	for (unsigned int i = 0; i < 4; i++) {
		drv_net_make(frame, sizeof(frame), i);
		assert_int_equal(vhu_net_push(queue(w, 0), &f), 0);
	}
	assert_int_equal(vhu_net_commit(queue(w, 0)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(drv_net_receive(w->drv, 0, back, sizeof(back), &len, NULL), 1);
		assert_true(drv_net_verify(back, len, i));
	}
	assert_int_equal(w->drv->ring[0].used_idx, w->drv->ring[0].avail_idx);
	assert_int_equal(nr_marks(w, 0), 0);
	end(w);
}

/* A data thread sleeps only if there is nothing, and what comes again is something. */
static void chains_that_come_again_need_no_kick(void **state)
{
	struct world *w = running(state);

	send_frames(w, 2);
	take_frames(w, 8, 2, 0);
	crash(w);
	assert_true(vhu_queue_arm(queue(w, 1)));
	take_frames(w, 8, 2, 0);
	give_back(w);
	assert_false(vhu_queue_arm(queue(w, 1)));
	end(w);
}

/* ---- orderly ends ---- */

static void orderly_stop_leaves_nothing_in_flight(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 2, 2, 0);
	give_back(w);
	take_frames(w, 3, 3, 2);
	/* what was taken and not returned is taken anew after the next start, record or not */
	assert_int_equal(drv_stop_ring(w->drv, 1), 2);
	assert_int_equal(nr_marks(w, 1), 0);
	assert_int_equal(part(w, 1)->version, 0);
	give_back(w); /* too late: nothing happens */
	drv_start_ring(w->drv, 1, 2);
	drv_check_in_step(w->drv);
	assert_int_equal(part(w, 1)->version, 1);
	assert_int_equal(part(w, 1)->used_idx, 2);
	take_frames(w, 8, 4, 2);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void orderly_stop_keeps_what_is_still_to_come_again(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 4, 4, 0);
	crash(w);
	take_frames(w, 1, 1, 0);
	give_back(w);
	/* for who goes on without the region: the three are available */
	assert_int_equal(drv_stop_ring(w->drv, 1), 1);
	assert_int_equal(nr_marks(w, 1), 3);
	drv_start_ring(w->drv, 1, 1);
	drv_check_in_step(w->drv);
	take_frames(w, 8, 5, 1);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void frontend_that_comes_back_to_the_same_backend_goes_on(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 4, 4, 0);
	drv_disconnect(w->drv);
	assert_true(check_until(fixture_pump(NULL), w->fix->closed == w->fix->connected));
	assert_int_equal(drv_connect(w->drv, w->fix->path), 0);
	say_hello(w);
	assert_int_equal(set_inflight(w), 0);
	start_rings(w, 0);
	take_frames(w, 8, 6, 0);
	give_back(w);
	all_came_back(w, 6);
	end(w);
}

static void reset_forgets_what_was_in_flight(void **state)
{
	static const uint32_t resets[] = { VHU_SET_STATUS, VHU_RESET_DEVICE, VHU_RESET_OWNER };

	for (unsigned int i = 0; i < NR(resets); i++) {
		struct world *w = running(state);
		uint64_t zero = 0;

		send_frames(w, 6);
		take_frames(w, 4, 4, 0);
		crash(w); /* so that there are some to be handed out again */
		take_frames(w, 1, 1, 0);
		drv_do(w->drv, resets[i], &zero, resets[i] == VHU_SET_STATUS ? 8 : 0, NULL, 0);
		assert_int_equal(nr_marks(w, 1), 0);
		assert_int_equal(part(w, 1)->version, 0);
		/* the driver begins the ring anew, with the same region */
		drv_ring_reset(&w->drv->ring[1]);
		drv_enable_ring(w->drv, 1, true);
		drv_start_ring(w->drv, 1, 0);
		drv_check_in_step(w->drv);
		assert_int_equal(vhu_net_pull(queue(w, 1), w->fix->burst, 8), 0);
		give_back(w);
		w->number = 50;
		send_frames(w, 2);
		take_frames(w, 8, 2, 50);
		give_back(w);
		all_came_back(w, 2);
		end(w);
		pair_teardown(state);
		pair_setup(state);
	}
}

static void ring_begun_anew_while_nobody_was_there_is_served(void **state)
{
	struct world *w = running(state);

	send_frames(w, 6);
	take_frames(w, 8, 6, 0);
	give_back(w);
	all_came_back(w, 6);
	remember(w);
	bury(w);
	drv_ring_reset(&w->drv->ring[1]);
	resume(w);
	send_frames(w, 2);
	take_frames(w, 8, 2, 6);
	give_back(w);
	all_came_back(w, 2);
	end(w);
}

/* ---- with a data thread of its own ---- */

static void traffic_is_recorded_by_its_thread(void **state)
{
	const struct fixture_options threaded = { .mode = FIXTURE_ECHO,
						  .threaded = true,
						  .protocol_features = WITH_INFLIGHT };
	struct world *w = calloc(1, sizeof(*w));
	struct vhu_inflight other;

	assert_non_null(w);
	drv_mem_share_mapping(true);
	w->pair = pair_up(state, &threaded,
			  &(struct drv_options){ .ring_size = SIZE, .need_reply = true });
	w->drv = &w->pair->drv;
	w->fix = &w->pair->fix;
	say_hello(w);
	w->fd = get_inflight(w->drv, 2, SIZE, sizeof(w->desc), &w->desc);
	map_region(w);
	assert_int_equal(set_inflight(w), 0);
	start_rings(w, 0);
	for (unsigned int i = 0; i < 6; i++) {
		drv_net_echo(w->drv, 1, 20 * i, 20);
		if (i % 3 == 0) {
			/* stopped, and the region exchanged and forgotten, under the thread's hands */
			assert_int_equal(drv_stop_ring(w->drv, 1), w->drv->ring[1].used_idx);
			assert_int_equal(drv_stop_ring(w->drv, 0), w->drv->ring[0].used_idx);
			close(get_inflight(w->drv, 2, SIZE, sizeof(other), &other));
			assert_int_equal(set_inflight(w), 0);
		} else if (i % 3 == 1) {
			drv_do_u64(w->drv, VHU_SET_STATUS, 0);
		} else {
			continue;
		}
		for (unsigned int k = 0; k < 2; k++)
			drv_start_ring(w->drv, k, w->drv->ring[k].used_idx);
		drv_check_in_step(w->drv);
	}
	/* frames are on their way while the ring is stopped: none is lost by it */
	for (unsigned int i = 0; i < 20; i++) {
		uint16_t base;

		send_frames(w, 8);
		drv_ring_kick_always(&w->drv->ring[1]);
		base = drv_stop_ring(w->drv, 1);
		assert_true((uint16_t)(base - w->drv->ring[1].used_idx) <= 8);
		assert_int_equal(nr_marks(w, 1), 0);
		drv_start_ring(w->drv, 1, base);
		assert_true(check_until(fixture_pump(NULL), drv_ring_used_idx(&w->drv->ring[1]) ==
								    w->drv->ring[1].avail_idx));
		all_came_back(w, 8);
	}
	drv_mem_share_mapping(false);
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(region_is_made_sealed_and_zero),
		pair_test(region_of_unknown_layout_has_room_for_both),
		pair_test(region_is_in_force_as_soon_as_it_is_handed_out),
		pair_test(region_is_not_exchanged_under_running_rings),
		pair_test(requests_need_the_feature),
		pair_test(chains_are_marked_while_they_are_taken),
		pair_test(ring_beyond_the_region_is_served_without_a_record),
		pair_test(buffers_given_back_to_be_taken_again_lose_their_mark),
		pair_test(push_that_finds_too_few_buffers_leaves_no_mark),
		pair_test(chains_not_returned_come_again_before_new_ones),
		pair_test(base_of_the_frontend_counts_for_nothing_beside_a_record),
		pair_test(a_second_death_loses_nothing),
		pair_test(rings_go_round_across_deaths),
		pair_test(published_and_not_cleared_is_not_returned_twice),
		pair_test(linked_and_not_published_comes_again),
		pair_test(record_of_a_foreign_backend_is_taken_up),
		pair_test(order_is_that_of_the_counters),
		pair_test(buffers_handed_out_again_can_be_given_back),
		pair_test(chains_that_come_again_need_no_kick),
		pair_test(orderly_stop_leaves_nothing_in_flight),
		pair_test(orderly_stop_keeps_what_is_still_to_come_again),
		pair_test(frontend_that_comes_back_to_the_same_backend_goes_on),
		pair_test(reset_forgets_what_was_in_flight),
		pair_test(ring_begun_anew_while_nobody_was_there_is_served),
		pair_test(traffic_is_recorded_by_its_thread),
	};

	return cmocka_run_group_tests_name("in flight", tests, NULL, NULL);
}
