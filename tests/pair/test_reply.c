/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Who is answered, and with what: an answer too many or too few puts the two ends out of step. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend_fixture.h"

static struct pair *negotiated(void **state, const struct drv_options *options)
{
	struct pair *p = pair_up(state, NULL, options);

	drv_negotiate(&p->drv);
	drv_set_features(&p->drv, p->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&p->drv);
	drv_check_in_step(&p->drv);
	return p;
}

/* All requests of a running device that have nothing to reply but an ack. */
static void say_everything(struct drv *drv)
{
	drv_do(drv, VHU_SET_OWNER, NULL, 0, NULL, 0);
	drv_do_u64(drv, VHU_SET_PROTOCOL_FEATURES, drv->protocol_features);
	drv_set_features(drv, drv->features);
	drv_set_mem_table(drv, 0, drv->mem.nr);
	for (unsigned int i = 0; i < 2; i++) {
		drv_start_ring(drv, i, 0);
		drv_do_vring_fd(drv, VHU_SET_VRING_ERR, i, drv->ring[i].err_fd);
		drv_do_vring_fd(drv, VHU_SET_VRING_ERR, i, -1);
		drv_do_vring_fd(drv, VHU_SET_VRING_CALL, i, -1);
		drv_enable_ring(drv, i, true);
		drv_enable_ring(drv, i, false);
	}
	drv_do_u64(drv, VHU_SEND_RARP, 0x563412005452);
	drv_do_u64(drv, VHU_NET_SET_MTU, 1500);
	drv_do_u64(drv, VHU_SET_STATUS, 15);
	drv_do(drv, VHU_RESET_DEVICE, NULL, 0, NULL, 0);
}

static void nothing_is_answered_that_was_not_asked_for(void **state)
{
	struct pair *p = negotiated(state, NULL);

	for (unsigned int i = 0; i < 3; i++) {
		say_everything(&p->drv);
		drv_check_in_step(&p->drv);
	}
	assert_int_equal(p->fix.closed, 0);
	assert_int_equal(p->fix.complaints, 0);
}

static void everything_is_acknowledged_that_was_asked_for(void **state)
{
	struct pair *p = negotiated(state, &(struct drv_options){ .need_reply = true });

	for (unsigned int i = 0; i < 3; i++) {
		say_everything(&p->drv);
		drv_check_in_step(&p->drv);
	}
	assert_int_equal(p->fix.complaints, 0);
}

static void requests_that_reply_anyway_reply_once(void **state)
{
	static const uint32_t asks[] = { VHU_GET_FEATURES, VHU_GET_PROTOCOL_FEATURES,
					 VHU_GET_QUEUE_NUM, VHU_GET_MAX_MEM_SLOTS, VHU_GET_STATUS };
	struct pair *p = negotiated(state, NULL);
	struct vhu_vring_state ring = { 1, 0 };
	struct vhu_msg msg;

	for (unsigned int flags = 0; flags <= VHU_MSG_NEED_REPLY; flags += VHU_MSG_NEED_REPLY) {
		for (unsigned int i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
			assert_int_equal(drv_send(&p->drv, asks[i], flags, NULL, 0, NULL, 0), 0);
			assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
			assert_int_equal(msg.hdr.request, asks[i]);
			assert_int_equal(msg.hdr.size, 8);
			drv_check_in_step(&p->drv);
		}
		drv_send(&p->drv, VHU_GET_VRING_BASE, flags, &ring, sizeof(ring), NULL, 0);
		assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.size, sizeof(ring));
		drv_check_in_step(&p->drv);
	}
}

static void answers_come_in_the_order_of_the_questions(void **state)
{
	struct pair *p = negotiated(state, NULL);
	struct vhu_msg msg;

	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(
			drv_send(&p->drv, VHU_SET_OWNER, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0), 0);
		assert_int_equal(drv_send(&p->drv, VHU_GET_FEATURES, 0, NULL, 0, NULL, 0), 0);
		assert_int_equal(drv_send(&p->drv, VHU_GET_QUEUE_NUM, 0, NULL, 0, NULL, 0), 0);
	}
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.request, VHU_SET_OWNER);
		assert_int_equal(msg.u64, 0);
		assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.request, VHU_GET_FEATURES);
		assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.request, VHU_GET_QUEUE_NUM);
	}
	drv_check_in_step(&p->drv);
}

static void message_in_single_bytes_is_understood(void **state)
{
	struct pair *p = negotiated(state, NULL);
	struct vhu_msg_hdr hdr = { VHU_GET_VRING_BASE, VHU_MSG_VERSION, 8 };
	struct vhu_vring_state ring = { 1, 0 };
	uint8_t bytes[20];
	struct vhu_msg msg;

	memcpy(bytes, &hdr, 12);
	memcpy(bytes + 12, &ring, 8);
	for (unsigned int i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(drv_send_bytes(&p->drv, bytes + i, 1, NULL, 0), 0);
		while (fixture_pump(NULL))
			;
	}
	assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
	assert_int_equal(msg.hdr.request, VHU_GET_VRING_BASE);
	assert_int_equal(msg.state.index, 1);
	drv_check_in_step(&p->drv);
}

static void messages_in_one_piece_are_told_apart(void **state)
{
	struct pair *p = negotiated(state, NULL);
	struct vhu_msg_hdr hdr = { VHU_GET_FEATURES, VHU_MSG_VERSION, 0 };
	uint8_t bytes[50 * 12];
	struct vhu_msg msg;

	for (unsigned int i = 0; i < 50; i++)
		memcpy(bytes + 12 * i, &hdr, 12);
	assert_int_equal(drv_send_bytes(&p->drv, bytes, sizeof(bytes), NULL, 0), 0);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(drv_recv(&p->drv, &msg, CHECK_PATIENCE_MS), 1);
		assert_int_equal(msg.hdr.request, VHU_GET_FEATURES);
		assert_int_equal(msg.u64, p->drv.offered);
	}
	assert_int_equal(drv_recv(&p->drv, &msg, 20), 0);
}

static void refused_request_gets_an_error_ack_and_the_connection_goes_on(void **state)
{
	struct pair *p = negotiated(state, NULL);
	struct vhu_vring_state ring = { 1, 100 };

	assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0), 1);
	fixture_check_reason(&p->fix, "SET_VRING_NUM|100");
	assert_int_equal(p->fix.complaints, 1);
	assert_int_equal(p->fix.closed, 0);
	drv_check_in_step(&p->drv);
	ring.num = 128;
	assert_int_equal(drv_ack(&p->drv, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0), 0);
}

static void refused_request_without_an_ack_closes_the_connection(void **state)
{
	struct pair *p = negotiated(state, NULL);
	struct vhu_vring_state ring = { 1, 100 };

	drv_send(&p->drv, VHU_SET_VRING_NUM, 0, &ring, sizeof(ring), NULL, 0);
	assert_true(drv_is_closed(&p->drv));
	assert_int_equal(p->fix.closed, 1);
	assert_true(p->fix.closed_err < 0);
	fixture_check_reason(&p->fix, "SET_VRING_NUM|100");
}

static void refused_request_closes_if_acks_were_not_agreed(void **state)
{
	uint64_t ack = VHU_MASK(VHU_P_REPLY_ACK_BIT);
	struct pair *p = negotiated(state, &(struct drv_options){ .no_protocol_features = ack });
	struct vhu_vring_state ring = { 1, 100 };

	drv_send(&p->drv, VHU_SET_VRING_NUM, VHU_MSG_NEED_REPLY, &ring, sizeof(ring), NULL, 0);
	assert_true(drv_is_closed(&p->drv));
	fixture_check_reason(&p->fix, "SET_VRING_NUM|100");
}

static void what_is_not_implemented_is_refused_by_name(void **state)
{
	static const struct {
		uint32_t request;
		const char *name;
		uint32_t size;
		unsigned int nr_fds;
	} rows[] = {
		{ VHU_IOTLB_MSG, "IOTLB_MSG", sizeof(struct vhu_iotlb), 0 },
		{ VHU_SET_VRING_ENDIAN, "SET_VRING_ENDIAN", 8, 0 },
		{ VHU_CLOSE_CRYPTO_SESSION, "CLOSE_CRYPTO_SESSION", 8, 0 },
		{ VHU_POSTCOPY_LISTEN, "POSTCOPY_LISTEN", 0, 0 },
		{ VHU_SET_INFLIGHT_FD, "SET_INFLIGHT_FD", 24, 1 },
		{ VHU_GPU_SET_SOCKET, "GPU_SET_SOCKET", 0, 1 },
		{ VHU_VRING_KICK, "VRING_KICK", 8, 0 },
	};
	struct pair *p = negotiated(state, NULL);
	uint8_t zeros[64] = { 0 };

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		int ret;

		assert_true(fd >= 0);
		ret = drv_ack(&p->drv, rows[i].request, zeros, rows[i].size, &fd, rows[i].nr_fds);
		close(fd);
		assert_int_equal(ret, 1);
		fixture_check_reason(&p->fix, rows[i].name);
		drv_check_in_step(&p->drv);
	}
	assert_int_equal(p->fix.closed, 0);
}

static void trace_has_each_message_and_each_reply(void *arg, const struct vhu_event *event)
{
	unsigned int *count = arg;

	if (event->kind == VHU_EVENT_REQUEST_IN || event->kind == VHU_EVENT_REPLY_OUT) {
		assert_non_null(event->msg);
		assert_int_equal(event->request, VHU_GET_FEATURES);
		assert_int_equal(event->msg->hdr.request, VHU_GET_FEATURES);
		assert_true(event->time_ns > 0);
		count[event->kind == VHU_EVENT_REPLY_OUT]++;
	}
}

static void trace_records_come_once_for_each(void **state)
{
	struct pair *p = negotiated(state, NULL);
	unsigned int count[2] = { 0, 0 };

	p->fix.on_event = trace_has_each_message_and_each_reply;
	p->fix.event_arg = count;
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(drv_ask_u64(&p->drv, VHU_GET_FEATURES), p->drv.offered);
	p->fix.on_event = NULL;
	assert_int_equal(count[0], 10);
	assert_int_equal(count[1], 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(nothing_is_answered_that_was_not_asked_for),
		pair_test(everything_is_acknowledged_that_was_asked_for),
		pair_test(requests_that_reply_anyway_reply_once),
		pair_test(answers_come_in_the_order_of_the_questions),
		pair_test(message_in_single_bytes_is_understood),
		pair_test(messages_in_one_piece_are_told_apart),
		pair_test(refused_request_gets_an_error_ack_and_the_connection_goes_on),
		pair_test(refused_request_without_an_ack_closes_the_connection),
		pair_test(refused_request_closes_if_acks_were_not_agreed),
		pair_test(what_is_not_implemented_is_refused_by_name),
		pair_test(trace_records_come_once_for_each),
	};

	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
