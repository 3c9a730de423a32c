/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Rings of a frontend: described, stopped with their bases, enabled, masked, reset. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frontend_fixture.h"

static struct lab *running(void **state, const struct front_options *front_options,
			   const struct liar_options *liar_options)
{
	struct lab *lab = lab_up(state, front_options, liar_options);

	front_run(&lab->front);
	return lab;
}

static void stop(struct lab *lab)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_stop(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
}

static void start(struct lab *lab)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_start(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
}

/* A ring as a VMM's guest laid it out, with the fds that the VMM has. */
static struct vhu_frontend_ring guest_ring(struct lab *lab, uint32_t num)
{
	struct vhu_frontend_ring config = {
		.size = sizeof(config), .num = num, .kick_fd = -1, .call_fd = -1
	};

	assert_non_null(
		vhu_memory_alloc(lab->front.memory, UINT64_C(16) * num, 16, &config.addr.desc_gpa));
	assert_non_null(vhu_memory_alloc(lab->front.memory, UINT64_C(2) * num + 6, 4,
					 &config.addr.avail_gpa));
	assert_non_null(vhu_memory_alloc(lab->front.memory, UINT64_C(8) * num + 6, 4,
					 &config.addr.used_gpa));
	return config;
}

/*
 * ---- Description ----
 */
static void descriptions_that_cannot_be_are_refused(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend *fe = lab->front.fe;
	struct vhu_frontend_ring good = guest_ring(lab, 256), bad;

	assert_int_equal(vhu_frontend_set_ring(fe, 2, &good), -EINVAL);
	assert_int_equal(vhu_frontend_set_ring(fe, UINT32_MAX, &good), -EINVAL);
	bad = good;
	bad.num = 255; /* split: a power of two */
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad.num = 65536;
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad = good;
	bad.addr.desc_gpa += 8;
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad = good;
	bad.addr.used_gpa += 2;
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad = good;
	bad.addr.avail_gpa = 0; /* no memory there */
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad = good;
	bad.addr.used_gpa = FRONT_GPA + (2 << 24) - 8; /* its end lies outside */
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	bad = good;
	bad.size = 8;
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &bad), -EINVAL);
	assert_int_equal(vhu_frontend_set_ring(fe, 0, &good), 0);
	assert_int_equal(vhu_frontend_kick_fd(fe, 7), -1);
	assert_int_equal(vhu_frontend_call_fd(fe, 7), -1);
}

static void running_ring_cannot_be_described_anew(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 64);
	int kick_fd = vhu_frontend_kick_fd(lab->front.fe, 0);

	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), -EBUSY);
	assert_int_equal(vhu_frontend_kick_fd(lab->front.fe, 0), kick_fd);
	stop(lab);
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	start(lab);
	assert_int_equal(lab->liar.ring[0].num, 64);
	assert_int_equal(lab->liar.ring[1].num, 256);
}

static void fds_of_the_programs_own_are_duplicated(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 256);
	int kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd called = { call_fd, POLLIN, 0 };
	uint64_t one = 1, count;

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	config.kick_fd = kick_fd;
	config.call_fd = call_fd;
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	assert_int_not_equal(vhu_frontend_kick_fd(lab->front.fe, 0), kick_fd);
	assert_int_not_equal(vhu_frontend_call_fd(lab->front.fe, 0), call_fd);
	assert_true(fcntl(vhu_frontend_kick_fd(lab->front.fe, 0), F_GETFD) & FD_CLOEXEC);
	start(lab);
	while (read(call_fd, &count, sizeof(count)) > 0)
		;
	while (liar_was_kicked(&lab->liar, 0))
		;
	/* the guest's doorbell reaches the backend, and the backend's call the guest */
	assert_int_equal(write(kick_fd, &one, sizeof(one)), sizeof(one));
	assert_true(liar_was_kicked(&lab->liar, 0));
	liar_call(&lab->liar, 0);
	assert_int_equal(poll(&called, 1, 0), 1);
	close(kick_fd);
	close(call_fd);
}

/*
 * ---- Stop ----
 */
static void stop_returns_the_bases(void **state)
{
	struct lab *lab = running(state, &(struct front_options){ .guest_rings = true }, NULL);
	unsigned int first = lab->liar.nr_records;
	int kick_fd = vhu_frontend_kick_fd(lab->front.fe, 0);

	lab->liar.ring[0].base = 4711;
	lab->liar.ring[1].base = 65535;
	stop(lab);
	lab_check_order(lab, first, "GET_VRING_BASE-0 GET_VRING_BASE-1");
	assert_int_equal(vhu_frontend_base(lab->front.fe, 0), 4711);
	assert_int_equal(vhu_frontend_base(lab->front.fe, 1), 65535);
	assert_int_equal(lab->liar.status & 4, 0);

	/* the next start goes on from there, with both fds sent again, and the same to the guest */
	first = lab->liar.nr_records;
	start(lab);
	assert_int_equal(lab->liar.ring[0].base, 4711);
	assert_int_equal(lab->liar.ring[1].base, 65535);
	lab_check_order(lab, first, "SET_VRING_CALL-0 SET_VRING_KICK-0");
	lab_check_order(lab, first, "SET_VRING_CALL-1 SET_VRING_KICK-1");
	assert_true(lab->liar.ring[0].call_fd >= 0 && lab->liar.ring[0].kick_fd >= 0);
	assert_int_equal(vhu_frontend_kick_fd(lab->front.fe, 0), kick_fd);
	assert_true(liar_was_kicked(&lab->liar, 0));
}

static void base_of_the_programs_own_is_told(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 256);

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	config.base = 815;
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 1, &config), 0);
	start(lab);
	assert_int_equal(lab->liar.ring[1].base, 815);
}

static void packed_ring_begins_as_new(void **state)
{
	const uint64_t packed = VHU_MASK(VHU_F_VERSION_1_BIT) | VHU_MASK(VHU_F_RING_PACKED_BIT);
	struct lab *lab = lab_up(state, &(struct front_options){ .features = packed }, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 256);

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	config.num = 100; /* need be no power of two */
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	start(lab);
	assert_int_equal(lab->liar.ring[0].num, 100);
	assert_int_equal(lab->liar.ring[0].base, 0x80008000);
	lab->liar.ring[0].base = 0x00178017;
	stop(lab);
	assert_int_equal(vhu_frontend_base(lab->front.fe, 0), 0x00178017);
	start(lab);
	assert_int_equal(lab->liar.ring[0].base, 0x00178017);
}

static void stop_of_a_device_that_does_not_run_says_nothing(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 256);
	struct front_done done = { 0 };
	unsigned int before;

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	config.base = 99;
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	before = lab->liar.nr_records;
	if (!vhu_frontend_stop(lab->front.fe, front_note_done, &done))
		front_wait_done(&done);
	front_settle();
	assert_int_equal(lab->liar.nr_records, before);
	assert_int_equal(vhu_frontend_base(lab->front.fe, 0), 99);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
}

static void start_stop_start_in_one_breath(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct front_done done[5] = { 0 };

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	front_make_rings(&lab->front);
	for (unsigned int i = 0; i < 5; i++) {
		int err = i % 2 ? vhu_frontend_stop(lab->front.fe, front_note_done, &done[i]) :
				  vhu_frontend_start(lab->front.fe, front_note_done, &done[i]);

		/* a start that waits already may refuse a second one */
		if (err) {
			assert_int_equal(err, -EBUSY);
			done[i].calls = 1;
		}
	}
	for (unsigned int i = 0; i < 5; i++)
		front_wait_done(&done[i]);
	front_settle();
	/* wherever that ended, both sides think the same */
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(lab->liar.ring[i].started,
				 vhu_frontend_state(lab->front.fe) == VHU_DEVICE_RUNNING);
	assert_int_equal(lab->front.gone, 0);
}

/*
 * ---- Enable ----
 */
static void rings_are_enabled_and_disabled(void **state)
{
	struct lab *lab = running(state, &(struct front_options){ .nr_pairs = 3 }, NULL);
	struct front_done done = { 0 }, again = { 0 };

	assert_int_equal(vhu_frontend_enable(lab->front.fe, 2, 3, false, front_note_done, &done),
			 0);
	assert_int_equal(front_wait_done(&done), 0);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(lab->liar.ring[i].enabled, i < 2 || i > 4);
		assert_true(lab->liar.ring[i].started);
	}
	/* it stays so over a stop */
	stop(lab);
	start(lab);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(lab->liar.ring[i].enabled, i < 2 || i > 4);
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 3, 1, true, front_note_done, &again),
			 0);
	assert_int_equal(front_wait_done(&again), 0);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(lab->liar.ring[i].enabled, i != 2 && i != 4);
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 0, 7, true, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 6, 1, true, NULL, NULL), -EINVAL);
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 1, UINT32_MAX, true, NULL, NULL),
			 -EINVAL);
}

static void ring_can_be_started_disabled(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);
	struct vhu_frontend_ring config = guest_ring(lab, 256);

	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	config.disabled = true;
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 1, &config), 0);
	start(lab);
	assert_true(lab->liar.ring[0].enabled);
	assert_false(lab->liar.ring[1].enabled);
	assert_true(lab->liar.ring[1].started);
	/* the other way round: a backend keeps the bit over a stop */
	stop(lab);
	assert_int_equal(vhu_frontend_set_ring(lab->front.fe, 0, &config), 0);
	start(lab);
	assert_false(lab->liar.ring[0].enabled);
}

static enum liar_verdict refuse_enable(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	(void)arg;
	if (msg->hdr.request != VHU_SET_VRING_ENABLE || !liar_is_asked(liar, msg))
		return LIAR_PROPER;
	liar_reply_u64(liar, msg, 1);
	return LIAR_HANDLED;
}

static void refused_enable_is_told_and_the_device_goes_on(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct front_done done = { 0 };

	lab->liar.lie = refuse_enable;
	assert_int_equal(vhu_frontend_enable(lab->front.fe, 0, 2, false, front_note_done, &done),
			 0);
	assert_int_equal(front_wait_done(&done), -EREMOTEIO);
	assert_non_null(strstr(done.reason, "SET_VRING_ENABLE"));
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
	assert_int_equal(lab->front.gone, 0);
}

/*
 * ---- Masks ----
 */
static bool was_called(struct lab *lab, unsigned int ring)
{
	uint64_t count;

	return read(vhu_frontend_call_fd(lab->front.fe, ring), &count, sizeof(count)) > 0;
}

static void masked_ring_does_not_call(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	struct vhu_frontend *fe = lab->front.fe;

	front_settle();
	was_called(lab, 1);
	assert_false(vhu_frontend_pending(fe, 1));
	assert_int_equal(vhu_frontend_mask(fe, 1, true), 0);
	front_settle();
	assert_false(vhu_frontend_pending(fe, 1));
	liar_call(&lab->liar, 1);
	front_settle();
	assert_false(was_called(lab, 1));
	/* tests, and clears */
	assert_true(vhu_frontend_pending(fe, 1));
	assert_false(vhu_frontend_pending(fe, 1));
	/* taken as pending: nothing is raised */
	assert_int_equal(vhu_frontend_mask(fe, 1, false), 0);
	front_settle();
	was_called(lab, 1);
	liar_call(&lab->liar, 1);
	front_settle();
	assert_true(was_called(lab, 1));
	/* not taken: it is raised with the unmasking */
	assert_int_equal(vhu_frontend_mask(fe, 1, true), 0);
	front_settle();
	liar_call(&lab->liar, 1);
	assert_int_equal(vhu_frontend_mask(fe, 1, false), 0);
	front_settle();
	assert_true(was_called(lab, 1));
	assert_int_equal(vhu_frontend_mask(fe, 2, true), -EINVAL);
	assert_false(vhu_frontend_pending(fe, 2));
	/* the other ring has heard of nothing */
	assert_int_equal(lab->front.complaints, 0);
}

static void ring_masked_before_the_start_starts_masked(void **state)
{
	struct lab *lab = lab_up(state, NULL, NULL);

	assert_int_equal(vhu_frontend_mask(lab->front.fe, 0, true), 0);
	front_run(&lab->front);
	front_settle();
	was_called(lab, 0);
	vhu_frontend_pending(lab->front.fe, 0);
	liar_call(&lab->liar, 0);
	front_settle();
	assert_false(was_called(lab, 0));
	assert_true(vhu_frontend_pending(lab->front.fe, 0));
	liar_call(&lab->liar, 1);
	front_settle();
	assert_true(was_called(lab, 1));
	assert_int_equal(vhu_frontend_mask(lab->front.fe, 0, false), 0);
	front_settle();
	liar_call(&lab->liar, 0);
	assert_true(was_called(lab, 0));
}

static void one_step(struct lab *lab, uint32_t random, bool *masked, bool *owed, bool seen[2])
{
	struct vhu_frontend *fe = lab->front.fe;

	switch (random % 8) {
	case 0:
	case 1:
		*masked = !*masked;
		assert_int_equal(vhu_frontend_mask(fe, 0, *masked), 0);
		break;
	case 2:
	case 3:
		liar_call(&lab->liar, 0);
		*owed = true;
		break;
	case 4:
		assert_int_equal(vhu_frontend_process(fe), 0);
		break;
	case 5:
		liar_pump();
		break;
	case 6:
		if (was_called(lab, 0)) {
			*owed = false;
			seen[0] = true;
		}
		break;
	default:
		if (vhu_frontend_pending(fe, 0)) {
			*owed = false;
			seen[1] = true;
		}
		break;
	}
}

static void no_call_is_lost_however_it_falls(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	bool masked = false, owed = false, seen[2] = { false, false };
	uint32_t random = 7;

	for (unsigned int i = 0; i < 20000; i++) {
		random = random * 1664525 + 1013904223;
		one_step(lab, random >> 10, &masked, &owed, seen);
		if (i % 16 || !owed)
			continue;
		/* a call that was made and not seen has to be somewhere */
		while (front_pump())
			;
		if (!was_called(lab, 0) && !(masked && vhu_frontend_pending(lab->front.fe, 0)))
			fail_msg("step %u: a call was lost, %smasked", i, masked ? "" : "not ");
		owed = false;
		if (lab->liar.nr_records > LIAR_MAX_RECORDS / 2)
			liar_forget(&lab->liar);
	}
	assert_true(seen[0] && seen[1]);
	assert_int_equal(lab->front.gone, 0);
}

/*
 * ---- Errors ----
 */
static void error_of_a_ring_is_told(void **state)
{
	struct lab *lab = running(state, NULL, NULL);
	uint64_t one = 1;

	assert_int_equal(write(lab->liar.ring[1].err_fd, &one, sizeof(one)), sizeof(one));
	assert_true(check_until(front_pump(), lab->front.ring_errors[1] == 1));
	front_settle();
	assert_int_equal(lab->front.ring_errors[1], 1);
	assert_int_equal(lab->front.ring_errors[0], 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_RUNNING);
}

/*
 * ---- Reset ----
 */
static void reset(void **state, uint64_t without, const char *words, const char *never)
{
	struct lab *lab = running(state, &(struct front_options){ .guest_rings = true },
				  &(struct liar_options){ .no_protocol_features = without });
	struct front_done done = { 0 };
	unsigned int first = lab->liar.nr_records;
	char text[4096];

	lab->liar.ring[0].base = 1234;
	lab->liar.ring[1].base = 4321;
	assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	lab_check_order(lab, first, words);
	liar_text(&lab->liar, 1, first, text, sizeof(text));
	if (never)
		assert_null(strstr(text, never));
	/* as if new */
	first = lab->liar.nr_records;
	start(lab);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(vhu_frontend_base(lab->front.fe, i), 0);
		assert_int_equal(lab->liar.ring[i].base, 0);
		assert_true(lab->liar.ring[i].started && lab->liar.ring[i].enabled);
	}
	lab_check_order(lab, first,
			"SET_FEATURES GET_INFLIGHT_FD SET_INFLIGHT_FD SET_VRING_KICK-0");
}

static void reset_by_the_request_for_it(void **state)
{
	/* rings first: not every backend stops them by the request */
	reset(state, 0, "GET_VRING_BASE-0 GET_VRING_BASE-1 RESET_DEVICE", "SET_STATUS");
}

static void reset_by_a_status_of_0(void **state)
{
	reset(state, VHU_MASK(VHU_P_RESET_DEVICE_BIT), "SET_STATUS", "RESET_DEVICE");
	assert_int_equal(((struct lab *)*state)->liar.status, 15);
}

static void reset_by_stopping_each_ring(void **state)
{
	reset(state, VHU_MASK(VHU_P_RESET_DEVICE_BIT) | VHU_MASK(VHU_P_STATUS_BIT),
	      "GET_VRING_BASE-0 GET_VRING_BASE-1", "SET_STATUS");
}

static void reset_disables_the_rings(void **state)
{
	static const uint64_t without[] = { VHU_MASK(VHU_P_RESET_DEVICE_BIT),
					    VHU_MASK(VHU_P_RESET_DEVICE_BIT) |
						    VHU_MASK(VHU_P_STATUS_BIT) };

	/* what no request of its own does is done one by one */
	for (unsigned int i = 0; i < 2; i++) {
		struct lab *lab = running(
			state, NULL, &(struct liar_options){ .no_protocol_features = without[i] });
		struct front_done done = { 0 };

		assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &done), 0);
		assert_int_equal(front_wait_done(&done), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_false(lab->liar.ring[k].started);
			assert_false(lab->liar.ring[k].enabled);
		}
		lab_down(lab);
	}
}

static void reset_of_a_device_that_does_not_run(void **state)
{
	struct lab *lab = lab_up(state, NULL, &(struct liar_options){ .no_listen = true });
	struct front_done done = { 0 }, again = { 0 };

	/* nobody is there: there is nothing to be told, and that at once */
	assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	liar_come(&lab->liar);
	assert_int_equal(vhu_frontend_connect(lab->front.fe, lab->liar.path), 0);
	front_until(&lab->front, VHU_DEVICE_STOPPED);
	assert_int_equal(vhu_frontend_reset(lab->front.fe, front_note_done, &again), 0);
	assert_int_equal(front_wait_done(&again), 0);
	assert_int_equal(vhu_frontend_state(lab->front.fe), VHU_DEVICE_STOPPED);
	front_run(&lab->front);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lab_test(descriptions_that_cannot_be_are_refused),
		lab_test(running_ring_cannot_be_described_anew),
		lab_test(fds_of_the_programs_own_are_duplicated),
		lab_test(stop_returns_the_bases),
		lab_test(base_of_the_programs_own_is_told),
		lab_test(packed_ring_begins_as_new),
		lab_test(stop_of_a_device_that_does_not_run_says_nothing),
		lab_test(start_stop_start_in_one_breath),
		lab_test(rings_are_enabled_and_disabled),
		lab_test(ring_can_be_started_disabled),
		lab_test(refused_enable_is_told_and_the_device_goes_on),
		lab_test(masked_ring_does_not_call),
		lab_test(ring_masked_before_the_start_starts_masked),
		lab_test(no_call_is_lost_however_it_falls),
		lab_test(error_of_a_ring_is_told),
		lab_test(reset_by_the_request_for_it),
		lab_test(reset_by_a_status_of_0),
		lab_test(reset_by_stopping_each_ring),
		lab_test(reset_disables_the_rings),
		lab_test(reset_of_a_device_that_does_not_run),
	};

	return cmocka_run_group_tests_name("frontend_rings", tests, NULL, NULL);
}
