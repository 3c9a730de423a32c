/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The notification path's steps and the rings' states, told from messages as frontends send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "trace/steps.h"

#define MS UINT64_C(1000000)

/* A connection in which each message takes a millisecond, and what was said in short. */
static struct {
	struct steps steps;
	uint64_t now_ns, seq;
	char said[2048];
} on;

static void hear(void *arg, struct trace_record *record)
{
	size_t len = strlen(on.said);
	char line[200] = "";

	(void)arg;
	switch (record->kind) {
	case TRACE_STEP:
		snprintf(line, sizeof(line), record->inferred ? "(%d)%d %s" : "[%d]%d %s",
			 record->step, record->ring, record->text ? record->text : "");
		break;
	case TRACE_STEP_ABSENT:
		snprintf(line, sizeof(line), "-%d-%d", record->step, record->ring);
		break;
	case TRACE_DRIVER_OK:
		snprintf(line, sizeof(line), "%s", record->inferred ? "(ok)" : "[ok]");
		break;
	case TRACE_RING_STATE:
		snprintf(line, sizeof(line), "%d %s", record->ring,
			 vhu_ring_state_name(record->to));
		break;
	case TRACE_RING_READY:
		snprintf(line, sizeof(line), "ready %d", record->ring);
		break;
	default:
		snprintf(line, sizeof(line), "%d %s", record->ring, record->text);
		break;
	}
	snprintf(on.said + len, sizeof(on.said) - len, "%s\n", line);
}

static int begin(void **state)
{
	(void)state;
	memset(&on, 0, sizeof(on));
	on.now_ns = 1;
	steps_begin(&on.steps, hear, NULL);
	return 0;
}

static uint64_t send_msg(const struct vhu_msg *msg)
{
	on.now_ns += MS;
	steps_on_request(&on.steps, msg, ++on.seq, on.now_ns);
	return on.seq;
}

static uint64_t send_u64(uint32_t request, uint64_t value)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, request, 0, sizeof(msg.u64));
	msg.u64 = value;
	return send_msg(&msg);
}

static uint64_t send_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, request, 0, sizeof(msg.state));
	msg.state.index = index;
	msg.state.num = num;
	return send_msg(&msg);
}

static void reply(uint32_t to, uint64_t seq, int ring, uint64_t result)
{
	struct steps_request request = { .request = to, .seq = seq, .ring = ring, .num = 1 };
	struct vhu_msg msg;

	vhu_msg_init(&msg, to, VHU_MSG_REPLY, sizeof(msg.u64));
	msg.u64 = result;
	on.now_ns += MS;
	steps_on_reply(&on.steps, &request, &msg, on.now_ns);
}

static void ask_features(void)
{
	struct vhu_msg msg;

	vhu_msg_init(&msg, VHU_GET_FEATURES, 0, 0);
	reply(VHU_GET_FEATURES, send_msg(&msg), -1, 0);
}

static void wait_ms(unsigned int ms, bool all_read)
{
	on.now_ns += ms * MS;
	steps_on_time(&on.steps, all_read, on.now_ns);
}

/* What was said since the last time. */
static void assert_said(const char *want)
{
	assert_string_equal(on.said, want);
	on.said[0] = '\0';
}

static void a_vmm_takes_all_five_steps(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	ask_features();
	assert_said("[1]0 \n(2)0 reply to GET_FEATURES\n");
	send_u64(VHU_SET_FEATURES, VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	assert_said("");
	send_state(VHU_SET_VRING_NUM, 0, 256);
	assert_said("(ok)\n");
	send_u64(VHU_SET_VRING_KICK, 0);
	assert_said("[3]0 \n0 started, disabled\n");
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_said("[5]0 \n");
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	assert_said("0 started, enabled\n");
	ask_features();
	assert_said("(4)0 reply to GET_FEATURES\nready 0\n");
	send_u64(VHU_SET_STATUS, 15);
	assert_said("[ok]\n");
}

static void acknowledgements_are_the_best_evidence(void **state)
{
	(void)state;
	reply(VHU_SET_VRING_CALL, send_u64(VHU_SET_VRING_CALL, 1), 1, 0);
	assert_said("[1]1 \n(2)1 acknowledged\n");
	reply(VHU_SET_VRING_KICK, send_u64(VHU_SET_VRING_KICK, 1), 1, 0);
	assert_said("(ok)\n[3]1 \n1 started, disabled\n(4)1 acknowledged\n");
}

static void a_reply_to_an_earlier_message_proves_nothing(void **state)
{
	uint64_t early = send_u64(VHU_SET_FEATURES, VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));

	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	reply(VHU_SET_FEATURES, early, -1, 0);
	assert_said("[1]0 \n");
}

static void a_call_fd_before_the_kick_alone_is_no_step_5(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_KICK, 0);
	assert_said("[1]0 \n(ok)\n[3]0 \n0 started, disabled\n");
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	assert_said("0 started, enabled\n-5-0\n");
	ask_features();
	assert_said("(2)0 reply to GET_FEATURES\n(4)0 reply to GET_FEATURES\nready 0\n");
	/* and what comes later is not taken for it */
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_said("0 the call fd is replaced\n");
}

static void a_ring_that_was_enabled_before_is_judged_by_time(void **state)
{
	(void)state;
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_KICK, 0);
	assert_said("0 stopped, enabled\n[1]0 \n(ok)\n[3]0 \n0 started, enabled\n");
	wait_ms(50, true);
	assert_said("");
	wait_ms(STEPS_UNMASK_MS, false);
	assert_said("-5-0\n");
}

static void rings_interleave(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_CALL, 1);
	send_u64(VHU_SET_VRING_KICK, 1);
	send_u64(VHU_SET_VRING_CALL, 1);
	send_u64(VHU_SET_VRING_KICK, 0);
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_said("[1]0 \n[1]1 \n(ok)\n[3]1 \n1 started, disabled\n[5]1 \n[3]0 \n"
		    "0 started, disabled\n[5]0 \n");
}

static void without_replies_a_message_that_was_read_will_do_later(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_true(steps_wait_for_time(&on.steps));
	wait_ms(50, true);
	wait_ms(STEPS_REPLY_MS, false);
	assert_said("[1]0 \n");
	wait_ms(1, true);
	assert_said("(2)0 message read\n");
	assert_false(steps_wait_for_time(&on.steps));
}

static void rings_without_fds_say_so(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0 | VHU_VRING_NOFD_MASK);
	assert_said("[1]0 no call fd: the driver is not to be called\n");
	send_u64(VHU_SET_VRING_KICK, 0 | VHU_VRING_NOFD_MASK);
	assert_said("(ok)\n[3]0 no kick fd: the backend is to poll the ring\n"
		    "0 started, disabled\n");
}

static void a_queue_without_a_vector_loses_its_call_fd_after_step_5(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_KICK, 0);
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_CALL, 0 | VHU_VRING_NOFD_MASK);
	assert_said("[1]0 \n(ok)\n[3]0 \n0 started, disabled\n[5]0 \n"
		    "0 no call fd from here on: the driver gave it no interrupt\n");
}

static void a_ring_that_was_stopped_starts_anew(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_KICK, 0);
	send_u64(VHU_SET_VRING_CALL, 0);
	on.said[0] = '\0';
	reply(VHU_GET_VRING_BASE, send_state(VHU_GET_VRING_BASE, 0, 0), 0, 0);
	assert_said("(2)0 reply to GET_VRING_BASE\n(4)0 reply to GET_VRING_BASE\nready 0\n"
		    "0 stopped, disabled\n");
	/* a guest that reboots: no first call fd, the rest as before */
	send_u64(VHU_SET_VRING_KICK, 0);
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_said("(ok)\n[3]0 \n0 started, disabled\n[5]0 \n");
}

static void fds_that_are_replaced_take_no_step(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_VRING_CALL, 0);
	assert_said("[1]0 \n0 the call fd is replaced\n");
	send_u64(VHU_SET_VRING_KICK, 0);
	send_u64(VHU_SET_VRING_KICK, 0);
	assert_said("(ok)\n[3]0 \n0 started, disabled\n0 the kick fd is replaced\n");
}

static void features_without_bit_30_enable_all_rings(void **state)
{
	(void)state;
	send_u64(VHU_SET_VRING_CALL, 0);
	send_u64(VHU_SET_FEATURES, 0);
	assert_said("[1]0 \n0 stopped, enabled\n");
	send_u64(VHU_SET_VRING_KICK, 1); /* also one that was not heard of */
	assert_said("(ok)\n[3]1 \n1 started, enabled\n");
	/* and bit 30 disables none */
	send_u64(VHU_SET_FEATURES, VHU_MASK(VHU_F_PROTOCOL_FEATURES_BIT));
	assert_said("");
}

static void what_the_backend_refused_changed_nothing(void **state)
{
	(void)state;
	reply(VHU_SET_VRING_KICK, send_u64(VHU_SET_VRING_KICK, 0), 0, 1);
	assert_said("(ok)\n[3]0 \n0 started, disabled\n0 the backend refused that\n"
		    "0 stopped, disabled\n");
	reply(VHU_SET_VRING_ENABLE, send_state(VHU_SET_VRING_ENABLE, 0, 1), 0, 1);
	assert_said("0 stopped, enabled\n0 the backend refused that\n0 stopped, disabled\n");
}

static void a_reset_stops_and_disables_all(void **state)
{
	struct vhu_msg msg;

	(void)state;
	send_u64(VHU_SET_VRING_KICK, 0);
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	on.said[0] = '\0';
	vhu_msg_init(&msg, VHU_RESET_DEVICE, 0, 0);
	send_msg(&msg);
	assert_said("0 stopped, disabled\n");
	assert_false(steps_wait_for_time(&on.steps));
}

static void rings_beyond_all_and_messages_too_short_are_left_alone(void **state)
{
	struct vhu_msg msg;

	(void)state;
	send_state(VHU_SET_VRING_NUM, 256, 1);
	send_state(VHU_SET_VRING_ENABLE, UINT32_MAX, 1);
	send_u64(VHU_SET_VRING_KICK, UINT64_MAX);
	vhu_msg_init(&msg, VHU_SET_VRING_KICK, 0, 4);
	send_msg(&msg);
	vhu_msg_init(&msg, VHU_SET_FEATURES, 0, 0);
	send_msg(&msg);
	assert_said("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_vmm_takes_all_five_steps, begin),
		cmocka_unit_test_setup(acknowledgements_are_the_best_evidence, begin),
		cmocka_unit_test_setup(a_reply_to_an_earlier_message_proves_nothing, begin),
		cmocka_unit_test_setup(a_call_fd_before_the_kick_alone_is_no_step_5, begin),
		cmocka_unit_test_setup(a_ring_that_was_enabled_before_is_judged_by_time, begin),
		cmocka_unit_test_setup(rings_interleave, begin),
		cmocka_unit_test_setup(without_replies_a_message_that_was_read_will_do_later,
				       begin),
		cmocka_unit_test_setup(rings_without_fds_say_so, begin),
		cmocka_unit_test_setup(a_queue_without_a_vector_loses_its_call_fd_after_step_5,
				       begin),
		cmocka_unit_test_setup(a_ring_that_was_stopped_starts_anew, begin),
		cmocka_unit_test_setup(fds_that_are_replaced_take_no_step, begin),
		cmocka_unit_test_setup(features_without_bit_30_enable_all_rings, begin),
		cmocka_unit_test_setup(what_the_backend_refused_changed_nothing, begin),
		cmocka_unit_test_setup(a_reset_stops_and_disables_all, begin),
		cmocka_unit_test_setup(rings_beyond_all_and_messages_too_short_are_left_alone,
				       begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
