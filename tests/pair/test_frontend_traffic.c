/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* timeout: 120 */
/* Both halves under traffic, asleep between calls, while the frontend changes what it can change. */
#include <unistd.h>

#include "frontend_fixture.h"

enum {
	NR_FRAMES = 6000,
};

struct both {
	struct front front;
	struct fixture fix;
	bool front_is_up, fix_is_up;
	struct tally before;
};

static int setup(void **state)
{
	struct both *b = calloc(1, sizeof(*b));

	*state = b;
	if (!b)
		return -1;
	tally_take(&b->before);
	return 0;
}

static int teardown(void **state)
{
	struct both *b = *state;

	if (b->front_is_up)
		front_free(&b->front);
	if (b->fix_is_up)
		fixture_free(&b->fix);
	drv_mem_share_mapping(false);
	b->before.heap = SIZE_MAX;
	tally_check(&b->before);
	free(b);
	return 0;
}

static void traffic(void **state, uint64_t features, uint64_t without,
		    void (*meddle)(struct front *front))
{
	struct both *b = *state;
	struct vhu_net_rx *rx;

	drv_mem_share_mapping(true);
	fixture_init(&b->fix,
		     &(struct fixture_options){
			     .threaded = true,
			     .features = FIXTURE_NET_FEATURES | VHU_MASK(VHU_F_RING_PACKED_BIT) |
					 VHU_MASK(VHU_F_IN_ORDER_BIT),
			     .protocol_features = VHU_BACKEND_PROTOCOL_FEATURES & ~without });
	b->fix_is_up = true;
	front_init(&b->front, &(struct front_options){ .connect = b->fix.path,
						       .features = features,
						       .features_needed = features,
						       .frame_max = 1514,
						       .share_mapping = true });
	b->front_is_up = true;
	front_run(&b->front);
	b->front.meddle = meddle;
	front_echo(&b->front, NR_FRAMES, true);
	front_settle();
	assert_true(b->front.turn > 20);
	assert_int_equal(fixture_frames(&b->fix), NR_FRAMES);
	assert_int_equal(b->fix.nr_full, 0);
	assert_int_equal(b->fix.complaints, 0);
	assert_int_equal(b->front.complaints, 0);
	assert_int_equal(b->front.gone, 0);
	rx = b->front.pair[0].rx;
	assert_int_equal(vhu_net_rx_bad(rx), 0);
}

/*
 * ---- What is changed ----
 */
static void mask_and_unmask(struct front *front)
{
	unsigned int ring = front->turn % 2;

	/* what comes in between is raised with the unmasking, or told by pending() */
	assert_int_equal(vhu_frontend_mask(front->fe, ring, true), 0);
	for (unsigned int i = 0; i < front->turn % 5; i++)
		front_pump();
	if (front->turn % 3 == 0)
		vhu_frontend_pending(front->fe, ring);
	assert_int_equal(vhu_frontend_mask(front->fe, ring, false), 0);
	for (unsigned int i = 0; i < front->turn % 4; i++)
		front_pump();
}

static void wait_for(int err, const struct front_done *done)
{
	assert_int_equal(err, 0);
	assert_int_equal(front_wait_done(done), 0);
}

/* One more region; or all of those away again. */
static void change_memory(struct front *front)
{
	struct front_done done = { 0 };

	if (front->turn % 4) {
		uint64_t gpa = (UINT64_C(1) << 34) + (front->turn % 4 << 24);

		assert_int_equal(vhu_memory_add(front->memory, gpa, 1 << 20, 0), 0);
	}
	while (front->turn % 4 == 0 && vhu_memory_count(front->memory) > 2) {
		struct vhu_memory_region region;

		assert_int_equal(vhu_memory_region(front->memory, 2, &region), 0);
		assert_int_equal(vhu_memory_remove(front->memory, region.gpa), 0);
	}
	wait_for(vhu_frontend_memory_changed(front->fe, front_note_done, &done), &done);
}

static void log_on_and_off(struct front *front)
{
	struct front_done done = { 0 };
	bool on = front->turn % 2;

	wait_for(vhu_frontend_log(front->fe, on, front_note_done, &done), &done);
	if (on)
		assert_true(vhu_frontend_log_sync(front->fe, NULL, NULL) >= 0);
}

/* A stopped receiver gets nothing: what is on its way has to be back before. */
static void stop_and_start(struct front *front)
{
	struct front_pair *p = &front->pair[0];
	struct front_done stop = { 0 }, start = { 0 };

	while (p->received < p->sent)
		assert_true(check_until((front_pump(), front_receive(front, 0)),
					p->received == p->sent));
	wait_for(vhu_frontend_stop(front->fe, front_note_done, &stop), &stop);
	wait_for(vhu_frontend_start(front->fe, front_note_done, &start), &start);
}

static void everything(struct front *front)
{
	static void (*const deeds[])(struct front * front) = { mask_and_unmask, change_memory,
							       log_on_and_off, stop_and_start };
	unsigned int turn = front->turn;

	/* each deed goes by its own count */
	front->turn = turn / 4;
	deeds[turn % 4](front);
	front->turn = turn;
}

#define SPLIT                                                                                      \
	(VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_EVENT_IDX_BIT) |                           \
	 VHU_MASK(VHU_F_INDIRECT_DESC_BIT) | VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT))
#define PACKED (SPLIT | VHU_MASK(VHU_F_RING_PACKED_BIT))
#define PLAIN VHU_MASK(VHU_F_VERSION_1_BIT)

#define all_layouts(name, without, deed)                                                           \
	static void name##_split(void **state)                                                     \
	{                                                                                          \
		traffic(state, SPLIT, without, deed);                                              \
	}                                                                                          \
	static void name##_packed(void **state)                                                    \
	{                                                                                          \
		traffic(state, PACKED, without, deed);                                             \
	}                                                                                          \
	static void name##_without_event_index(void **state)                                       \
	{                                                                                          \
		traffic(state, PLAIN, without, deed);                                              \
	}

all_layouts(masking_loses_no_call, 0, mask_and_unmask)
	all_layouts(memory_by_slots_loses_no_frame, 0, change_memory)
		all_layouts(memory_by_table_loses_no_frame, VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT),
			    change_memory) all_layouts(log_loses_no_frame, 0, log_on_and_off)
			all_layouts(stop_and_start_lose_no_frame, 0, stop_and_start)
				all_layouts(everything_at_once_loses_no_frame, 0, everything)
					all_layouts(no_acknowledgements_lose_no_frame,
						    VHU_MASK(VHU_P_REPLY_ACK_BIT), everything)

#define traffic_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define traffic_tests(name)                                                                        \
	traffic_test(name##_split), traffic_test(name##_packed),                                   \
		traffic_test(name##_without_event_index)

						int main(void)
{
	const struct CMUnitTest tests[] = {
		traffic_tests(masking_loses_no_call),
		traffic_tests(memory_by_slots_loses_no_frame),
		traffic_tests(memory_by_table_loses_no_frame),
		traffic_tests(log_loses_no_frame),
		traffic_tests(stop_and_start_lose_no_frame),
		traffic_tests(everything_at_once_loses_no_frame),
		traffic_tests(no_acknowledgements_lose_no_frame),
	};

	return cmocka_run_group_tests_name("frontend_traffic", tests, NULL, NULL);
}
