/* SPDX-License-Identifier: MIT */
/* Frames of all sizes there and back between both halves of the library, in all layouts of rings. */
#include "frontend_fixture.h"
#include "matrix.h"

enum {
	PACKED = 0x1,
	INDIRECT = 0x2,
	EVENT_IDX = 0x4,
	IN_ORDER = 0x8,
	MERGEABLE = 0x10,
	NR_SETS = 0x20,
};

struct combination {
	unsigned int set, nr_pairs;
	char name[80];
};

struct run {
	struct front front;
	struct fixture fix;
	bool front_is_up, fix_is_up;
	struct tally before;
	const struct combination *c;
};

static unsigned int nr_frames;

static uint64_t features_of(unsigned int set)
{
	return VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_NET_F_MQ_BIT) |
	       (set & PACKED ? VHU_MASK(VHU_F_RING_PACKED_BIT) : 0) |
	       (set & INDIRECT ? VHU_MASK(VHU_F_INDIRECT_DESC_BIT) : 0) |
	       (set & EVENT_IDX ? VHU_MASK(VHU_F_EVENT_IDX_BIT) : 0) |
	       (set & IN_ORDER ? VHU_MASK(VHU_F_IN_ORDER_BIT) : 0) |
	       (set & MERGEABLE ? VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) : 0);
}

static int begin(void **state)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return -1;
	run->c = *state;
	*state = run;
	tally_take(&run->before);
	return 0;
}

static int end(void **state)
{
	struct run *run = *state;

	if (run->front_is_up)
		front_free(&run->front);
	if (run->fix_is_up)
		fixture_free(&run->fix);
	drv_mem_share_mapping(false);
	run->before.heap = SIZE_MAX;
	tally_check(&run->before);
	free(run);
	return 0;
}

static void set_up(struct run *run)
{
	const struct combination *c = run->c;
	bool mergeable = c->set & MERGEABLE;

	/* one mapping for both sides, or no race between them would ever be seen */
	drv_mem_share_mapping(true);
	fixture_init(&run->fix,
		     &(struct fixture_options){
			     .nr_rings = 2 * c->nr_pairs,
			     .features = FIXTURE_NET_FEATURES | VHU_MASK(VHU_F_RING_PACKED_BIT) |
					 VHU_MASK(VHU_F_IN_ORDER_BIT),
			     .threaded = true,
		     });
	run->fix_is_up = true;
	front_init(&run->front, &(struct front_options){
					.nr_pairs = c->nr_pairs,
					.features = features_of(c->set),
					.features_needed = features_of(c->set),
					.connect = run->fix.path,
					.region_size = UINT64_C(64) << 20,
					.ring_size = c->set & PACKED ? 200 : 256,
					/* several buffers a frame where that can be */
					.frame_max = 5000,
					.buffer_size = mergeable ? 700 : 0,
					.pieces = 1 + c->set % 3,
					/* buffers too may take 3 entries each, 8 of them a frame */
					.window = 8,
					.share_mapping = true,
				});
	run->front_is_up = true;
	front_run(&run->front);
	assert_int_equal(vhu_frontend_features(run->front.fe) &
				 ~VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT),
			 features_of(c->set));
	assert_true(drv_mem_shared_count() > 0);
}

static void frames_come_back_whole(void **state)
{
	struct run *run = *state;
	const unsigned int nr_pairs = run->c->nr_pairs;

	set_up(run);
	/* asleep until called; then never asleep */
	front_echo(&run->front, nr_frames / nr_pairs, true);
	front_echo(&run->front, nr_frames / nr_pairs, false);
	assert_int_equal(fixture_frames(&run->fix), 2 * (nr_frames / nr_pairs) * nr_pairs);
	assert_int_equal(run->fix.nr_full, 0);
	assert_int_equal(run->fix.complaints, 0);
	assert_int_equal(run->front.gone, 0);
	assert_int_equal(run->front.complaints, 0);
	for (unsigned int i = 0; i < nr_pairs; i++) {
		struct front_pair *p = &run->front.pair[i];
		struct vhu_driver_stats stats;

		assert_int_equal(vhu_net_rx_bad(p->rx), 0);
		assert_true(check_until(front_pump(), (vhu_net_tx_reclaim(p->tx),
						       vhu_net_tx_outstanding(p->tx)) == 0));
		vhu_driver_get_stats(vhu_net_tx_driver(p->tx), &stats);
		assert_int_equal(stats.added, 2 * (nr_frames / nr_pairs));
		assert_int_equal(stats.taken, stats.added);
		assert_int_equal(stats.resubmitted, 0);
	}
}

static void name(struct combination *c)
{
	snprintf(c->name, sizeof(c->name), "%s%s%s%s%s_%u_pair%s",
		 c->set & PACKED ? "packed" : "split", c->set & INDIRECT ? "_indirect" : "",
		 c->set & EVENT_IDX ? "_event_idx" : "", c->set & IN_ORDER ? "_in_order" : "",
		 c->set & MERGEABLE ? "_mergeable" : "", c->nr_pairs, c->nr_pairs > 1 ? "s" : "");
}

int matrix_main(bool all, unsigned int frames)
{
	static const unsigned int pairs[] = { 1, 2, 8 };
	static struct combination list[3 * NR_SETS];
	static struct CMUnitTest tests[3 * NR_SETS];
	unsigned int nr = 0;

	nr_frames = frames;
	for (unsigned int set = 0; set < NR_SETS; set++) {
		for (unsigned int k = 0; k < 3; k++) {
			/* bits that stand 1, 2, 1, 2 apart: each bit meets each count */
			if (!all && k != set % 3)
				continue;
			list[nr] = (struct combination){ .set = set, .nr_pairs = pairs[k] };
			name(&list[nr]);
			tests[nr] = (struct CMUnitTest){ list[nr].name, frames_come_back_whole,
							 begin, end, &list[nr] };
			nr++;
		}
	}
	return _cmocka_run_group_tests("matrix", tests, nr, NULL, NULL);
}
