/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What a frontend says to a backend that comes, and when it starts: order, contents, going back. */
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend_fixture.h"

/*
 * ---- Greeting ----
 */
static void greeting_learns_what_the_backend_is(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .queue_num = 5 });
	struct vhu_frontend *fe = lab->front.fe;

	assert_int_equal(vhu_frontend_offered(fe), 0);
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(lab->front.connected, 1);
	lab_check_order(lab, 0,
			"GET_FEATURES GET_PROTOCOL_FEATURES SET_PROTOCOL_FEATURES GET_QUEUE_NUM");
	lab_check_order(lab, 0, "SET_PROTOCOL_FEATURES GET_MAX_MEM_SLOTS");
	lab_check_order(lab, 0, "SET_PROTOCOL_FEATURES SET_OWNER");
	lab_check_order(lab, 0, "SET_PROTOCOL_FEATURES SET_BACKEND_REQ_FD");
	assert_int_equal(liar_count(&lab->liar, VHU_SET_OWNER, 0), 1);
	assert_int_equal(vhu_frontend_offered(fe), LIAR_FEATURES);
	/* as far as asked for, and the bit without which there is no protocol feature */
	assert_int_equal(vhu_frontend_features(fe),
			 FRONT_FEATURES | VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	assert_int_equal(vhu_frontend_protocol_features(fe), VHU_FRONTEND_PROTOCOL_FEATURES);
	assert_int_equal(lab->liar.protocol_features, VHU_FRONTEND_PROTOCOL_FEATURES);
	assert_int_equal(vhu_frontend_queue_num(fe), 5);
	assert_int_equal(vhu_frontend_max_mem_slots(fe), 16);
	/* no ring was touched */
	for (unsigned int i = 0; i < 2; i++)
		assert_false(lab->liar.ring[i].started || lab->liar.ring[i].enabled);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_FEATURES, 0), 0);
	assert_int_equal(lab->front.complaints, 0);
}

static void old_backend_hears_nothing_of_the_protocol_features(void **state)
{
	struct lab *lab = lab_up(
		state, NULL,
		&(struct liar_options){ .no_features = VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT) });

	front_run(&lab->front);
	assert_int_equal(vhu_frontend_protocol_features(lab->front.fe), 0);
	assert_int_equal(vhu_frontend_queue_num(lab->front.fe), 0);
	assert_int_equal(vhu_frontend_max_mem_slots(lab->front.fe), VHU_MAX_MSG_REGIONS);
	for (uint32_t request = VHU_GET_PROTOCOL_FEATURES; request < VHU_REQUEST_END; request++)
		assert_int_equal(liar_count(&lab->liar, request, 0), 0);
	assert_int_equal(lab->liar.features, FRONT_FEATURES);
	/* rings are enabled by SET_FEATURES then */
	assert_true(lab->liar.ring[0].started && lab->liar.ring[1].started);
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 0, 1, false, NULL, NULL), -EOPNOTSUPP);
}

static void only_what_both_know_is_agreed(void **state)
{
	const uint64_t few = VHU_MASK(VHU_P_MQ_BIT) | VHU_MASK(VHU_P_STATUS_BIT);
	struct lab *lab =
		lab_up(state,
		       &(struct front_options){ .features = FRONT_FEATURES |
							    VHU_MASK(VHU_NET_F_CSUM_BIT) },
		       &(struct liar_options){
			       .no_features = VHU_MASK(VHU_F_EVENT_IDX_BIT),
			       .protocol_features = few | VHU_MASK(VHU_P_INBAND_NOTIFICATIONS_BIT) |
						    VHU_MASK(VHU_P_XEN_MMAP_BIT) |
						    VHU_MASK(UINT64_C(63)) });

	front_run(&lab->front);
	assert_int_equal(vhu_frontend_protocol_features(lab->front.fe), few);
	assert_int_equal(lab->liar.protocol_features, few);
	assert_int_equal(lab->liar.features, (FRONT_FEATURES & ~VHU_MASK(VHU_F_EVENT_IDX_BIT)) |
						     VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	assert_int_equal(liar_count(&lab->liar, VHU_GET_INFLIGHT_FD, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_BACKEND_REQ_FD, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_GET_MAX_MEM_SLOTS, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), 1);
}

/*
 * ---- Start: what is said ----
 */
static void check_ring(const struct lab *lab, unsigned int i)
{
	struct vhu_driver *driver = i % 2 ? vhu_net_tx_driver(lab->front.pair[i / 2].tx) :
					    vhu_net_rx_driver(lab->front.pair[i / 2].rx);
	const struct liar_ring *r = &lab->liar.ring[i];
	struct vhu_ring_addr addr;

	vhu_driver_addr(driver, &addr);
	assert_int_equal(r->num, vhu_driver_num(driver));
	assert_int_equal(liar_gpa(&lab->liar, r->addr.desc), addr.desc_gpa);
	assert_int_equal(liar_gpa(&lab->liar, r->addr.avail), addr.avail_gpa);
	assert_int_equal(liar_gpa(&lab->liar, r->addr.used), addr.used_gpa);
	assert_int_equal(r->addr.flags, 0);
	assert_true(r->started);
	assert_true(r->call_fd >= 0 && r->kick_fd >= 0 && r->err_fd >= 0);
}

static void check_wakes(const struct lab *lab, unsigned int ring)
{
	struct pollfd p = { vhu_frontend_call_fd(lab->front.fe, ring), POLLIN, 0 };
	uint64_t count, one = 1;

	assert_true(p.fd >= 0);
	while (read(p.fd, &count, sizeof(count)) > 0)
		;
	liar_call(&lab->liar, ring);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
	/* and the way there */
	while (liar_was_kicked(&lab->liar, ring))
		;
	p.fd = vhu_frontend_kick_fd(lab->front.fe, ring);
	assert_int_equal(write(p.fd, &one, sizeof(one)), sizeof(one));
	assert_true(liar_was_kicked(&lab->liar, ring));
}

static void each_ring_gets_its_call_fd_before_its_kick_fd(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .nr_pairs = 3 }, NULL);
	unsigned int first;
	char words[256];

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	first = lab->liar.nr_records;
	front_run(&lab->front);
	for (unsigned int i = 0; i < 6; i++) {
		/* call first: a backend may start by the kick fd, and needs the rest by then */
		snprintf(words, sizeof(words),
			 "SET_VRING_CALL-%u SET_VRING_NUM-%u SET_VRING_BASE-%u SET_VRING_ADDR-%u "
			 "SET_VRING_ERR-%u SET_VRING_ENABLE-%u SET_VRING_KICK-%u SET_STATUS",
			 i, i, i, i, i, i, i);
		lab_check_order(lab, first, words);
		check_ring(lab, i);
		assert_true(lab->liar.ring[i].enabled);
		check_wakes(lab, i);
	}
	assert_int_equal(lab->front.complaints, 0);
}

static void device_is_set_up_before_its_rings(void **state)
{
	struct lab *lab = lab_up(state, NULL,
				 &(struct liar_options){ .no_protocol_features = VHU_MASK(
								 VHU_P_CONFIGURE_MEM_SLOTS_BIT) });
	unsigned int first;

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(vhu_frontend_log(lab->front.fe, true, NULL, NULL), 0);
	first = lab->liar.nr_records;
	front_run(&lab->front);
	lab_check_order(lab, first,
			"SET_FEATURES SET_VRING_CALL-0 SET_VRING_CALL-1 SET_MEM_TABLE SET_LOG_BASE "
			"GET_INFLIGHT_FD SET_INFLIGHT_FD SET_VRING_KICK-0 SET_VRING_KICK-1 "
			"SET_STATUS");
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), 1);
}

static void memory_goes_by_slots_where_they_are_agreed(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .nr_regions = 5 }, NULL);
	struct vhu_memory_region region;
	struct stat st;

	front_run(&lab->front);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_MEM_TABLE, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_ADD_MEM_REG, 0), 5);
	lab_check_order(lab, 0, "SET_FEATURES ADD_MEM_REG ADD_MEM_REG SET_VRING_NUM-0");
	for (unsigned int i = 0; i < 5; i++) {
		const struct vhu_region *wire = &lab->liar.region[i].wire;

		assert_int_equal(vhu_memory_region(lab->front.memory, i, &region), 0);
		assert_int_equal(wire->gpa, region.gpa);
		assert_int_equal(wire->size, region.size);
		assert_int_equal(wire->mmap_offset, region.offset);
		assert_return_code(fstat(region.fd, &st), errno);
		struct stat other;

		assert_return_code(fstat(lab->liar.region[i].fd, &other), errno);
		assert_int_equal(other.st_ino, st.st_ino);
	}
}

static void start_kicks_each_ring(void **state)
{
	struct lab *lab =
		lab_up(state, &(struct front_options){ .nr_pairs = 2, .guest_rings = true }, NULL);
	struct front_done done = { 0 };

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(liar_was_kicked(&lab->liar, i));
}

static void status_is_told_only_where_agreed(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);

	front_run(&lab->front);
	/* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK: virtio 1.2, 2.1 */
	assert_int_equal(lab->liar.status, 15);
	lab_check_order(lab, 0, "SET_FEATURES SET_VRING_ENABLE-1 SET_VRING_KICK-1 SET_STATUS");
	for (unsigned int i = 0; i + 1 < lab->liar.nr_records; i++) {
		/* DRIVER_OK comes last: DPDK begins with it */
		if (lab->liar.record[i].hdr.request == VHU_SET_STATUS)
			assert_false(lab->liar.record[i].u64 & 4);
	}
	lab_down(lab);

	lab = lab_up(state, NULL,
		     &(struct liar_options){ .no_protocol_features = VHU_MASK(VHU_P_STATUS_BIT) });
	front_run(&lab->front);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_STATUS, 0), 0);
	assert_int_equal(liar_count(&lab->liar, VHU_GET_STATUS, 0), 0);
	assert_true(lab->liar.ring[1].started);
}

static void start_works_without_acknowledgements(void **state)
{
	struct lab *lab = lab_up(state, NULL,
				 &(struct liar_options){ .no_protocol_features =
								 VHU_MASK(VHU_P_REPLY_ACK_BIT) });

	front_run(&lab->front);
	for (unsigned int i = 0; i < lab->liar.nr_records; i++)
		assert_false(lab->liar.record[i].hdr.flags & VHU_MSG_NEED_REPLY);
	/* when it is told that the device runs, the backend has heard of all */
	assert_true(lab->liar.ring[0].started && lab->liar.ring[1].enabled);
	assert_int_equal(lab->liar.status, 15);
}

static void start_asks_for_acknowledgements_where_agreed(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);

	unsigned int i = 0;

	front_run(&lab->front);
	/* some backends acknowledge nothing before SET_FEATURES: they are not asked to */
	for (; lab->liar.record[i].hdr.request != VHU_SET_FEATURES; i++)
		assert_false(lab->liar.record[i].hdr.flags & VHU_MSG_NEED_REPLY);
	for (; i < lab->liar.nr_records; i++) {
		const struct liar_record *r = &lab->liar.record[i];
		const struct vhu_request_row *row =
			vhu_request_row(VHU_CHANNEL_MAIN, r->hdr.request);

		/* not for what is replied to anyway */
		if (row->reply == VHU_REPLY_ACK)
			assert_true(r->hdr.flags & VHU_MSG_NEED_REPLY);
	}
}

static void ring_that_is_polled_has_no_call_fd(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .polled = true }, NULL);

	front_run(&lab->front);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(lab->liar.ring[i].call_fd, -1);
		assert_true(lab->liar.ring[i].kick_fd >= 0);
		assert_int_equal(vhu_frontend_call_fd(lab->front.fe, i), -1);
	}
}

/*
 * ---- Start: when, and what of ----
 */
static void start_waits_for_a_backend(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	struct front_done done = { 0 };

	/* the drivers go by what will be agreed: the test knows that */
	assert_int_equal(vhu_frontend_connect(lab->front.fe, lab->liar.path), 0);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	for (unsigned int i = 0; i < 100; i++) {
		front_pump();
		check_pause();
	}
	assert_int_equal(done.calls, 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_GONE);
	liar_come(&lab->liar);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(lab->front.connected, 1);
	assert_int_equal(lab->front.back, 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	assert_true(lab->liar.ring[0].started && lab->liar.ring[1].started);
}

static void start_without_rings_is_refused(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct front_done done = { 0 };
	int err;

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	err = vhu_frontend_start(lab->front.fe, front_note_done, &done);
	if (!err)
		err = front_wait_done(&done);
	assert_int_equal(err, -EINVAL);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	assert_int_equal(liar_count(&lab->liar, VHU_SET_FEATURES, 0), 0);
	/* rings described afterwards can be started */
	front_run(&lab->front);
}

static void ring_of_no_entries_is_left_out(void **state)
{
	struct lab *lab = lab_up(state, &(struct front_options){ .nr_pairs = 2 }, NULL);
	const struct vhu_frontend_ring none = { .size = sizeof(none),
						.kick_fd = -1,
						.call_fd = -1 };
	struct front_done done = { 0 };

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	front_make_rings(&lab->front);
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 2, &none), 0);
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 3, &none), 0);
	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(lab->liar.ring[i].started, i < 2);
		assert_int_equal(lab->liar.ring[i].enabled, i < 2);
	}
}

static void second_start_is_refused(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct front_done done = { 0 };
	unsigned int before;
	int err;

	front_run(&lab->front);
	before = lab->liar.nr_records;
	err = vhu_frontend_start(lab->front.fe, front_note_done, &done);
	if (!err)
		err = front_wait_done(&done);
	assert_int_equal(err, -EBUSY);
	front_settle();
	assert_int_equal(lab->liar.nr_records, before);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
}

static void feature_that_is_needed_makes_the_backend(void **state)
{
	struct lab *lab =
		lab_up(state,
		       &(struct front_options){ .features_needed = VHU_MASK(VHU_F_IN_ORDER_BIT) },
		       &(struct liar_options){ .no_features = VHU_MASK(VHU_F_IN_ORDER_BIT) });

	/* tried again and again, and never told to be there */
	assert_true(check_until(front_pump(), lab->liar.connections > 2));
	assert_int_equal(lab->front.connected, 0);
	front_check_reason(&lab->front, "IN_ORDER");
	lab->liar.options.no_features = 0;
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(lab->front.connected, 1);
	lab_down(lab);

	lab = lab_up(state,
		     &(struct front_options){ .features_needed = VHU_MASK(VHU_F_IN_ORDER_BIT),
					      .give_up = true },
		     &(struct liar_options){ .no_features = VHU_MASK(VHU_F_IN_ORDER_BIT) });
	front_until(&lab->front, VHU_DEVICE_FAILED);
	front_settle();
	assert_int_equal(lab->liar.connections, 1);
	assert_int_equal(lab->liar.hangups, 1);
	assert_int_equal(vhu_frontend_start(lab->front.fe, NULL, NULL) < 0, 1);
}

/*
 * ---- Going back ----
 */
struct refusal {
	bool active;
	unsigned int at, seen; /* the at-th message that can be refused is */
	uint32_t request;      /* which that was; 0: none yet */
	bool hang_up;
};

static enum liar_verdict refuse(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	struct refusal *r = arg;
	const struct vhu_request_row *row = vhu_request_row(VHU_CHANNEL_MAIN, msg->hdr.request);

	if (!r->active || (row->reply != VHU_REPLY_ACK && !r->hang_up) || r->request ||
	    r->seen++ != r->at)
		return LIAR_PROPER;
	r->request = msg->hdr.request;
	if (r->hang_up)
		liar_hang_up(liar);
	else
		liar_reply_u64(liar, msg, 1);
	return LIAR_HANDLED;
}

static void one_refusal(struct lab *lab, struct refusal *r)
{
	struct front_done done = { 0 }, again = { 0 };

	lab->liar.lie = refuse;
	lab->liar.lie_arg = r;
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	front_make_rings(&lab->front);
	r->active = true;
	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	front_wait_done(&done);
	if (!r->request) {
		assert_int_equal(done.err, 0);
		return;
	}
	assert_int_equal(done.err, -EREMOTEIO);
	assert_non_null(strstr(done.reason, vhu_request_row(VHU_CHANNEL_MAIN, r->request)->name));
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	/* each ring that may have begun was stopped, and the device told that it is none */
	for (unsigned int i = 0; i < 4; i++)
		assert_false(lab->liar.ring[i].started);
	assert_int_equal(lab->liar.status & 4, 0);
	assert_int_equal(lab->front.gone, 0);
	/* and nothing stands in the way of the next */
	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &again), 0);
	assert_int_equal(front_wait_done(&again), 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	for (unsigned int i = 0; i < 4; i++)
		check_ring(lab, i);
	assert_int_equal(lab->liar.status, 15);
}

static void start_refused_anywhere_is_undone(void **state)
{
	struct refusal r = { 0 };
	unsigned int refused = 0;

	do {
		struct lab *lab = lab_up(state, &(struct front_options){ .nr_pairs = 2 }, NULL);

		r = (struct refusal){ .at = refused };
		one_refusal(lab, &r);
		refused += r.request != 0;
		lab_down(lab);
	} while (r.request);
	/* features, memory, in-flight, six a ring, enable, status */
	assert_true(refused >= 1 + 2 + 1 + 4 * 7 + 1);
}

static void backend_that_leaves_anywhere_in_a_start_is_started_again(void **state)
{
	struct refusal r = { 0 };
	unsigned int left = 0;

	do {
		struct lab *lab = lab_up(state, NULL, NULL);
		struct front_done done = { 0 };

		r = (struct refusal){ .at = left, .hang_up = true };
		lab->liar.lie = refuse;
		lab->liar.lie_arg = &r;
		front_until(&lab->front, VHU_DEVICE_STOPPED);
		front_make_rings(&lab->front);
		r.active = true;
		assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
		assert_int_equal(front_wait_done(&done), 0);
		assert_int_equal(lab->front.gone, r.request != 0);
		assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
		check_ring(lab, 0);
		check_ring(lab, 1);
		left += r.request != 0;
		lab_down(lab);
	} while (r.request);
	assert_true(left >= 20);
}

static void options_out_of_range_are_refused(void **state)
{
	struct vhu_frontend_options good = { .size = sizeof(good), .nr_rings = 2 }, bad;
	struct vhu_frontend *fe = NULL;

	(void)state;
	assert_int_equal(vhu_memory_new(&good.memory), 0);
	bad = good;
	bad.nr_rings = 0;
	assert_int_equal(vhu_frontend_new(&fe, &bad), -EINVAL);
	bad.nr_rings = VHU_MAX_RINGS + 1;
	assert_int_equal(vhu_frontend_new(&fe, &bad), -EINVAL);
	bad = good;
	bad.memory = NULL;
	assert_int_equal(vhu_frontend_new(&fe, &bad), -EINVAL);
	bad = good;
	bad.size = 4;
	assert_int_equal(vhu_frontend_new(&fe, &bad), -EINVAL);
	bad = good;
	bad.protocol_features = VHU_MASK(VHU_P_XEN_MMAP_BIT);
	assert_int_equal(vhu_frontend_new(&fe, &bad), -EINVAL);
	assert_null(fe);
	good.nr_rings = VHU_MAX_RINGS;
	good.protocol_features = VHU_FRONTEND_PROTOCOL_FEATURES;
	assert_int_equal(vhu_frontend_new(&fe, &good), 0);
	assert_int_equal(vhu_frontend_state(fe), VHU_DEVICE_GONE);
	vhu_frontend_free(fe);
	vhu_frontend_free(NULL);
	vhu_memory_free(good.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lab_test(greeting_learns_what_the_backend_is),
		lab_test(old_backend_hears_nothing_of_the_protocol_features),
		lab_test(only_what_both_know_is_agreed),
		lab_test(each_ring_gets_its_call_fd_before_its_kick_fd),
		lab_test(device_is_set_up_before_its_rings),
		lab_test(memory_goes_by_slots_where_they_are_agreed),
		lab_test(start_kicks_each_ring),
		lab_test(status_is_told_only_where_agreed),
		lab_test(start_works_without_acknowledgements),
		lab_test(start_asks_for_acknowledgements_where_agreed),
		lab_test(ring_that_is_polled_has_no_call_fd),
		lab_test(start_waits_for_a_backend),
		lab_test(start_without_rings_is_refused),
		lab_test(ring_of_no_entries_is_left_out),
		lab_test(second_start_is_refused),
		lab_test(feature_that_is_needed_makes_the_backend),
		lab_test(start_refused_anywhere_is_undone),
		lab_test(backend_that_leaves_anywhere_in_a_start_is_started_again),
		cmocka_unit_test(options_out_of_range_are_refused),
	};

	return cmocka_run_group_tests_name("frontend_start", tests, NULL, NULL);
}
