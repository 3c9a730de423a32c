/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* timeout: 120 */
/* A backend that is gone in the middle of a burst, and the next: no frame lost, few twice. */
#include <unistd.h>

#include "frontend_fixture.h"

enum {
	NR_CRASHES = 40,
	NR_FRAMES = 6000,
	WINDOW = 40, /* their buffers twice over have room in a ring */
};

struct world {
	struct front front;
	struct fixture fix; /* the backend of now */
	bool front_is_up, fix_is_up, inflight, threaded;
	struct fixture_options options;
	struct vhu_net_burst *burst;
	struct tally before;
	uint32_t random;
	uint32_t sent, received; /* frames; frames that came for the first time */
	uint64_t twice, cut;	 /* came more than once; were in the hands of a backend that died */
	uint16_t times[NR_FRAMES];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	if (!w)
		return -1;
	w->random = 1;
	tally_take(&w->before);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->front_is_up)
		front_free(&w->front);
	if (w->fix_is_up)
		fixture_free(&w->fix);
	vhu_net_burst_free(w->burst);
	drv_mem_share_mapping(false);
	w->before.heap = SIZE_MAX;
	tally_check(&w->before);
	free(w);
	return 0;
}

static uint32_t next_random(struct world *w)
{
	w->random = w->random * 1664525 + 1013904223;
	return w->random >> 10;
}

static void new_backend(struct world *w)
{
	fixture_init(&w->fix, &w->options);
	w->fix_is_up = true;
	assert_int_equal(vhu_backend_connect(w->fix.backend, w->front.path), 0);
}

static void begin(struct world *w, uint64_t features, bool inflight, bool threaded)
{
	const uint64_t more = VHU_MASK(VHU_F_RING_PACKED_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT);

	w->inflight = inflight;
	w->threaded = threaded;
	w->options = (struct fixture_options){
		.no_listen = true,
		.threaded = threaded,
		.features = FIXTURE_NET_FEATURES | more,
		.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES |
				     (inflight ? VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT) : 0),
	};
	assert_int_equal(vhu_net_burst_new(&w->burst), 0);
	drv_mem_share_mapping(threaded);
	front_init(&w->front,
		   &(struct front_options){
			   .listen = true,
			   .features = VHU_MASK(VHU_F_VERSION_1_BIT) | features,
			   .features_needed = VHU_MASK(VHU_F_VERSION_1_BIT) | features,
			   .ring_size = 128,
			   .pieces = 1,
			   .frame_max = 1514,
			   .buffer_size = features & VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) ? 900 : 0,
			   .share_mapping = threaded });
	w->front_is_up = true;
	new_backend(w);
	front_run(&w->front);
	assert_int_equal(!!(vhu_frontend_protocol_features(w->front.fe) &
			    VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT)),
			 inflight);
}

/*
 * ---- Frames ----
 */
static void send_some(struct world *w, uint32_t nr)
{
	struct front_pair *p = &w->front.pair[0];

	for (uint32_t i = 0; i < nr && w->sent < NR_FRAMES; i++) {
		uint8_t *at;

		if (w->sent - w->received >= WINDOW)
			break;
		at = vhu_net_tx_buffer(p->tx);
		if (!at)
			break;
		size_t size = front_frame_size(&w->front, w->sent);

		drv_net_make(at, size, w->sent);
		assert_int_equal(vhu_net_tx_send(p->tx, NULL, (uint32_t)size), 0);
		w->sent++;
	}
	vhu_net_tx_publish(p->tx);
}

static void take_frame(struct world *w, const struct vhu_net_frame *frame)
{
	static uint8_t bytes[VHU_NET_FRAME_MAX];
	size_t at = frame->head_len;
	uint32_t number;

	memcpy(bytes, frame->head, at);
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		memcpy(bytes + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
	assert_true(at >= 18);
	memcpy(&number, bytes + 14, sizeof(number));
	assert_true(number < w->sent);
	assert_int_equal(at, front_frame_size(&w->front, number));
	assert_true(drv_net_verify(bytes, at, number));
	if (w->times[number]++)
		w->twice++;
	else
		w->received++;
}

static bool take_some(struct world *w)
{
	struct front_pair *p = &w->front.pair[0];
	int nr = vhu_net_rx_pull(p->rx, VHU_NET_BURST);

	if (nr < 0)
		fail_msg("receive ring: %s", vhu_driver_fault(vhu_net_rx_driver(p->rx)));
	for (int i = 0; i < nr; i++)
		take_frame(w, &vhu_net_rx_frames(p->rx)[i]);
	vhu_net_rx_done(p->rx);
	vhu_net_tx_reclaim(p->tx);
	if (vhu_driver_fault(vhu_net_tx_driver(p->tx)))
		fail_msg("transmit ring: %s", vhu_driver_fault(vhu_net_tx_driver(p->tx)));
	return nr > 0;
}

static void finish(struct world *w)
{
	struct front_pair *p = &w->front.pair[0];

	while (w->sent < NR_FRAMES || w->received < w->sent) {
		uint32_t before = w->received;

		send_some(w, UINT32_MAX);
		if (!check_until((front_pump(), send_some(w, UINT32_MAX), take_some(w)),
				 w->received > before))
			fail_msg("%u of %u frames came back, %u are on their way", w->received,
				 w->sent, vhu_net_tx_outstanding(p->tx));
	}
	/* every chain is back, each once: or the ring would be broken */
	assert_true(check_until((front_pump(), take_some(w)), vhu_net_tx_outstanding(p->tx) == 0));
	assert_int_equal(vhu_driver_outstanding(vhu_net_rx_driver(p->rx)), 128);
	assert_int_equal(vhu_net_rx_bad(p->rx), 0);
	struct vhu_driver_stats stats;

	vhu_driver_get_stats(vhu_net_tx_driver(p->tx), &stats);
	assert_int_equal(stats.taken, NR_FRAMES);
	if (w->inflight)
		assert_int_equal(stats.resubmitted, 0);
	else if (!w->threaded) /* a thread may have been quick enough each time */
		assert_true(stats.resubmitted > 0);
}

/*
 * ---- Crashes ----
 */
static void crash(struct world *w)
{
	unsigned int gone = w->front.gone, back = w->front.back;

	/* whoever dies drops nothing first, as an echo does whose receive ring is stopped already */
	__atomic_store_n(&w->fix.hold, true, __ATOMIC_RELEASE);
	if (w->threaded)
		vhu_domain_wait(w->fix.domain, vhu_domain_ticket(w->fix.domain));
	fixture_free(&w->fix);
	w->fix_is_up = false;
	assert_true(check_until(front_pump(), w->front.gone == gone + 1));
	new_backend(w);
	assert_true(check_until(front_pump(), w->front.back == back + 1));
	assert_int_equal(vhu_frontend_state(w->front.fe), VHU_DEVICE_RUNNING);
}

/* A burst that goes as far as that; the rest of it never happens. */
static void part_of_a_burst(struct world *w, unsigned int steps)
{
	struct vhu_queue *tx = vhu_backend_queue(w->fix.backend, 1);
	struct vhu_queue *rx = vhu_backend_queue(w->fix.backend, 0);
	int nr;

	if (!vhu_queue_is_running(tx) || !vhu_queue_is_running(rx))
		return;
	nr = vhu_net_pull(tx, w->burst, 1 + next_random(w) % VHU_NET_BURST);
	if (nr > 0 && steps > 0) {
		assert_true(vhu_queue_trylock(rx));
		for (int i = 0; i < nr; i++) {
			int err = vhu_net_push(rx, &vhu_net_burst_frames(w->burst)[i]);

			assert_true(err == 0 || err == -ENOSPC);
			/* a frame without room would be lost by the backend, and not by its death */
			if (err) {
				vhu_net_rewind(rx);
				steps = 0;
				break;
			}
		}
		if (steps > 1)
			assert_int_equal(vhu_net_commit(rx), 0);
		vhu_queue_unlock(rx);
	}
	if (steps > 2)
		vhu_net_done(tx, w->burst);
	else if (nr > 0)
		w->cut += (uint64_t)nr;
}

static void crashes_in_mid_burst(void **state, uint64_t features, bool inflight)
{
	struct world *w = *state;

	begin(w, features, inflight, false);
	for (unsigned int i = 0; i < NR_CRASHES; i++) {
		for (uint32_t rounds = next_random(w) % 6; rounds > 0; rounds--) {
			send_some(w, next_random(w) % 40);
			front_pump();
			if (next_random(w) % 3)
				take_some(w);
		}
		w->fix.hold = true;
		while (take_some(w))
			;
		send_some(w, 20 + next_random(w) % 20);
		/* some bursts whole, and one that is not */
		if (next_random(w) % 2)
			part_of_a_burst(w, 3);
		part_of_a_burst(w, next_random(w) % 4);
		if (next_random(w) % 2)
			take_some(w);
		crash(w);
	}
	finish(w);
	print_message("# %u crashes, %llu frames in hand then, %llu came twice\n", NR_CRASHES,
		      (unsigned long long)w->cut, (unsigned long long)w->twice);
	assert_true(w->cut > 5 * NR_CRASHES && w->twice > NR_CRASHES);
	/* at most one burst a crash */
	assert_true(w->twice <= (uint64_t)NR_CRASHES * VHU_NET_BURST);
	assert_int_equal(w->front.complaints, 0);
}

static void crashes_under_traffic(void **state, uint64_t features, bool inflight)
{
	struct world *w = *state;
	unsigned int crashes = 0;

	begin(w, features, inflight, true);
	while (crashes < NR_CRASHES / 2) {
		uint32_t until = w->received + 20 + next_random(w) % 100;

		assert_true(check_until((front_pump(), send_some(w, 8), take_some(w)),
					w->received >= until));
		send_some(w, UINT32_MAX);
		crash(w);
		crashes++;
	}
	finish(w);
	assert_true(w->twice <= (uint64_t)crashes * VHU_NET_BURST);
	assert_int_equal(w->front.complaints, 0);
}

#define SPLIT VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define PACKED (SPLIT | VHU_MASK(VHU_F_RING_PACKED_BIT))
#define IN_ORDER VHU_MASK(VHU_F_IN_ORDER_BIT)
#define MERGEABLE VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT)

#define both_kinds(name, features)                                                                 \
	static void name##_with_an_inflight_region(void **state)                                   \
	{                                                                                          \
		crashes_in_mid_burst(state, features, true);                                       \
	}                                                                                          \
	static void name##_submitted_again(void **state)                                           \
	{                                                                                          \
		crashes_in_mid_burst(state, features, false);                                      \
	}

both_kinds(split, SPLIT) both_kinds(split_mergeable, SPLIT | MERGEABLE)
	both_kinds(split_in_order, SPLIT | IN_ORDER) both_kinds(packed, PACKED) both_kinds(
		packed_mergeable, PACKED | MERGEABLE) both_kinds(packed_in_order, PACKED | IN_ORDER)
		both_kinds(packed_in_order_mergeable, PACKED | IN_ORDER | MERGEABLE)

			static void split_under_traffic_with_an_inflight_region(void **state)
{
	crashes_under_traffic(state, SPLIT | MERGEABLE, true);
}

static void split_under_traffic_submitted_again(void **state)
{
	crashes_under_traffic(state, SPLIT, false);
}

static void packed_under_traffic_with_an_inflight_region(void **state)
{
	crashes_under_traffic(state, PACKED | MERGEABLE, true);
}

static void packed_under_traffic_submitted_again(void **state)
{
	crashes_under_traffic(state, PACKED | MERGEABLE, false);
}

#define crash_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define crash_tests(name)                                                                          \
	crash_test(name##_with_an_inflight_region), crash_test(name##_submitted_again)

int main(void)
{
	const struct CMUnitTest tests[] = {
		crash_tests(split),
		crash_tests(split_mergeable),
		crash_tests(split_in_order),
		crash_tests(packed),
		crash_tests(packed_mergeable),
		crash_tests(packed_in_order),
		crash_tests(packed_in_order_mergeable),
		crash_tests(split_under_traffic),
		crash_tests(packed_under_traffic),
	};

	return cmocka_run_group_tests_name("frontend_crash", tests, NULL, NULL);
}
