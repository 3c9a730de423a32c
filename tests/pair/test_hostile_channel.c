/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* The backend's own channel: what is served, what is refused by name, and what costs the channel. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scene.h"

static struct scene *running(void **state, uint64_t without)
{
	struct scene *s =
		scene_begin(state, NULL, &(struct liar_options){ .no_protocol_features = without });

	front_run(&s->lab.front);
	assert_true(s->lab.liar.channel >= 0);
	return s;
}

static void ask(struct scene *s, uint32_t request, uint32_t flags, const void *payload,
		uint32_t size, const int *fds, unsigned int nr_fds)
{
	liar_say(s->lab.liar.channel, request, VHU_MSG_VERSION | flags, payload, size, fds, nr_fds);
	front_settle();
}

/* The answer to what was asked with NEED_REPLY. */
static uint64_t answer(struct scene *s, uint32_t request)
{
	struct vhu_msg msg;

	assert_true(check_until(front_pump(), liar_channel_recv(&s->lab.liar, &msg, 0) == 1));
	assert_int_equal(msg.hdr.request, request);
	assert_int_equal(msg.hdr.flags, VHU_MSG_VERSION | VHU_MSG_REPLY);
	assert_int_equal(msg.hdr.size, 8);
	assert_int_equal(msg.nr_fds, 0);
	return msg.u64;
}

static void no_answer(struct scene *s)
{
	struct vhu_msg msg;

	front_settle();
	assert_int_equal(liar_channel_recv(&s->lab.liar, &msg, 0), 0);
}

/* The device goes on, whatever became of the channel. */
static void device_goes_on(struct scene *s)
{
	struct front_done done = { 0 };

	assert_int_equal(vhu_frontend_get_status(s->lab.front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(done.value, 15);
	assert_int_equal(s->lab.front.gone, 0);
	assert_int_equal(vhu_frontend_state(s->lab.front.fe), VHU_DEVICE_RUNNING);
}

static void channel_is_closed(struct scene *s)
{
	struct vhu_msg msg;

	assert_true(
		check_until(front_pump(), liar_channel_recv(&s->lab.liar, &msg, 0) == -ECONNRESET));
	device_goes_on(s);
}

/*
 * ---- What is served ----
 */
static void change_of_configuration_is_told(void **state)
{
	struct scene *s = running(state, 0);

	ask(s, VHU_BACKEND_CONFIG_CHANGE, 0, NULL, 0, NULL, 0);
	assert_int_equal(s->lab.front.config_changed, 1);
	no_answer(s);
	ask(s, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(s->lab.front.config_changed, 2);
	assert_int_equal(answer(s, VHU_BACKEND_CONFIG_CHANGE), 0);
	no_answer(s);
	assert_int_equal(s->lab.front.complaints, 0);
	device_goes_on(s);
}

static void change_in_bytes_is_one_change(void **state)
{
	const struct vhu_msg_hdr hdr = { VHU_BACKEND_CONFIG_CHANGE,
					 VHU_MSG_VERSION | VHU_MSG_NEED_REPLY, 0 };
	const uint8_t *bytes = (const void *)&hdr;
	struct scene *s = running(state, 0);

	for (unsigned int i = 0; i < VHU_MSG_HDR_SIZE; i++) {
		assert_int_equal(s->lab.front.config_changed, 0);
		liar_send(s->lab.liar.channel, bytes + i, 1, NULL, 0);
		front_settle();
	}
	assert_int_equal(s->lab.front.config_changed, 1);
	assert_int_equal(answer(s, VHU_BACKEND_CONFIG_CHANGE), 0);
}

static void no_answer_without_acknowledgements(void **state)
{
	struct scene *s = running(state, VHU_MASK(VHU_P_REPLY_ACK_BIT));

	ask(s, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(s->lab.front.config_changed, 1);
	no_answer(s);
	ask(s, 77, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0);
	no_answer(s);
	device_goes_on(s);
}

static void our_backend_is_heard(void **state)
{
	struct scene *s = *state;
	struct fixture fix;
	struct tally before;
	struct front *front = calloc(1, sizeof(*front));

	assert_non_null(front);
	tally_take(&before);
	fixture_init(&fix,
		     &(struct fixture_options){ .protocol_features = VHU_BACKEND_PROTOCOL_FEATURES |
								     VHU_MASK(VHU_P_CONFIG_BIT) });
	front_init(front, &(struct front_options){ .connect = fix.path });
	front_run(front);
	assert_int_equal(vhu_backend_config_changed(fix.backend), 0);
	assert_true(check_until(front_pump(), front->config_changed == 1));
	struct front_done done = { 0 };

	for (unsigned int i = 0; i < 8; i++)
		fix.config[i] = (uint8_t)(i + 1);
	assert_int_equal(vhu_frontend_get_config(front->fe, 0, 8, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_memory_equal(done.bytes, fix.config, 8);
	front_free(front);
	fixture_free(&fix);
	free(front);
	before.heap = SIZE_MAX;
	tally_check(&before);
	scene_check_bystander(s);
}

/*
 * ---- What is refused ----
 */
static void refused_by_name(struct scene *s, uint32_t request, const void *payload, uint32_t size,
			    unsigned int nr_fds, const char *name)
{
	int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	struct tally before;

	front_forget_reasons(&s->lab.front);
	tally_take(&before);
	ask(s, request, VHU_MSG_NEED_REPLY, payload, size, fds, nr_fds);
	assert_int_not_equal(answer(s, request), 0);
	front_check_reason(&s->lab.front, name);
	/* without NEED_REPLY there is no reply either, or the peer is out of step for good */
	ask(s, request, 0, payload, size, fds, nr_fds);
	no_answer(s);
	before.heap = SIZE_MAX;
	tally_check(&before);
	close(fds[0]);
	close(fds[1]);
	device_goes_on(s);
}

static void what_is_not_agreed_is_refused_by_name(void **state)
{
	struct scene *s = running(state, 0);
	const struct vhu_vring_area area = { 0, 4096, 0 };
	const struct vhu_vring_state ring = { 1, 0 };
	const struct vhu_iotlb iotlb = { .iova = 4096, .size = 4096, .perm = 3, .type = 1 };
	const struct vhu_shmem_map map = { .len = 4096 };
	const uint8_t uuid[16] = { 1 };

	refused_by_name(s, VHU_BACKEND_IOTLB_MSG, &iotlb, sizeof(iotlb), 0, "IOTLB_MSG");
	refused_by_name(s, VHU_BACKEND_VRING_HOST_NOTIFIER, &area, sizeof(area), 1,
			"VRING_HOST_NOTIFIER");
	refused_by_name(s, VHU_BACKEND_VRING_CALL, &ring, sizeof(ring), 0, "VRING_CALL");
	refused_by_name(s, VHU_BACKEND_VRING_ERR, &ring, sizeof(ring), 0, "VRING_ERR");
	refused_by_name(s, VHU_BACKEND_SHARED_OBJECT_ADD, uuid, sizeof(uuid), 0,
			"SHARED_OBJECT_ADD");
	refused_by_name(s, VHU_BACKEND_SHARED_OBJECT_REMOVE, uuid, sizeof(uuid), 0,
			"SHARED_OBJECT_REMOVE");
	refused_by_name(s, VHU_BACKEND_SHMEM_MAP, &map, sizeof(map), 1, "SHMEM_MAP");
	refused_by_name(s, VHU_BACKEND_SHMEM_UNMAP, &map, sizeof(map), 0, "SHMEM_UNMAP");
	refused_by_name(s, 11, NULL, 0, 0, "11");
	refused_by_name(s, 4711, uuid, sizeof(uuid), 0, "4711");
	refused_by_name(s, UINT32_MAX, uuid, sizeof(uuid), 2, "4294967295");
	/* and what is served is served still */
	ask(s, VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(answer(s, VHU_BACKEND_CONFIG_CHANGE), 0);
}

static void lookup_is_always_answered(void **state)
{
	struct scene *s = running(state, 0);
	const uint8_t uuid[16] = { 1 };

	/* has a reply of its own: the sender waits for one, NEED_REPLY or not */
	ask(s, VHU_BACKEND_SHARED_OBJECT_LOOKUP, 0, uuid, sizeof(uuid), NULL, 0);
	assert_int_not_equal(answer(s, VHU_BACKEND_SHARED_OBJECT_LOOKUP), 0);
	device_goes_on(s);
}

static void change_that_was_not_agreed_is_refused(void **state)
{
	struct scene *s = running(state, VHU_MASK(VHU_P_CONFIG_BIT));

	refused_by_name(s, VHU_BACKEND_CONFIG_CHANGE, NULL, 0, 0, "CONFIG_CHANGE");
	assert_int_equal(s->lab.front.config_changed, 0);
}

/*
 * ---- What costs the channel ----
 */
static void malformed(struct scene *s, uint32_t request, uint32_t flags, uint32_t size,
		      unsigned int nr_fds)
{
	struct vhu_msg_hdr hdr = { request, flags, size };
	uint8_t bytes[VHU_MSG_HDR_SIZE + 64] = { 0 };
	int fds[64] = { -1 };

	for (unsigned int i = 0; i < nr_fds; i++)
		fds[i] = i ? fds[0] : eventfd(0, EFD_CLOEXEC);
	memcpy(bytes, &hdr, sizeof(hdr));
	liar_send(s->lab.liar.channel, bytes, VHU_MSG_HDR_SIZE + (size < 64 ? size : 64), fds,
		  nr_fds);
	if (nr_fds)
		close(fds[0]);
}

static void malformed_requests_cost_the_channel(void **state)
{
	static const struct {
		uint32_t request, flags, size;
		unsigned int nr_fds;
	} bad[] = {
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 0, 1 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 0, 8 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION | VHU_MSG_NEED_REPLY, 0, 2 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 0, 60 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 8, 0 },
		{ VHU_BACKEND_CONFIG_CHANGE, 0, 0, 0 },
		{ VHU_BACKEND_CONFIG_CHANGE, 2, 0, 0 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION | VHU_MSG_REPLY, 0, 0 },
		{ VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, UINT32_MAX, 0 },
		{ VHU_BACKEND_VRING_CALL, VHU_MSG_VERSION, 4, 0 },
		{ 99, VHU_MSG_VERSION, VHU_MSG_MAX_PAYLOAD + 1, 3 },
	};
	struct scene *s = running(state, 0);

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned int back = s->lab.front.back;
		struct tally before;

		front_settle();
		tally_take(&before);
		front_forget_reasons(&s->lab.front);
		malformed(s, bad[i].request, bad[i].flags, bad[i].size, bad[i].nr_fds);
		channel_is_closed(s);
		assert_true(s->lab.front.texts[0]);
		assert_int_equal(s->lab.front.config_changed, 0);
		/* one fd less: the frontend's end of the channel */
		before.heap = SIZE_MAX;
		before.fds--;
		tally_check(&before);
		/* the next backend gets a new one */
		liar_hang_up(&s->lab.liar);
		assert_true(check_until(front_pump(), s->lab.front.back == back + 1));
		s->lab.front.gone = 0;
		assert_true(s->lab.liar.channel >= 0);
	}
}

static void channel_may_end_without_the_device(void **state)
{
	struct scene *s = running(state, 0);
	struct pollfd p = { vhu_frontend_fd(s->lab.front.fe), POLLIN, 0 };

	close(s->lab.liar.channel);
	s->lab.liar.channel = -1;
	front_settle();
	device_goes_on(s);
	/* and is not looked at for ever */
	front_settle();
	assert_int_equal(poll(&p, 1, 50), 0);
}

static void half_a_request_keeps_nobody_waiting(void **state)
{
	const struct vhu_msg_hdr hdr = { VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION, 0 };
	struct scene *s = running(state, 0);

	liar_send(s->lab.liar.channel, &hdr, 5, NULL, 0);
	front_settle();
	device_goes_on(s);
	scene_check_bystander(s);
	assert_int_equal(s->lab.front.config_changed, 0);
}

static void flood_is_bounded_and_starves_nobody(void **state)
{
	const struct vhu_msg_hdr hdr = { VHU_BACKEND_CONFIG_CHANGE,
					 VHU_MSG_VERSION | VHU_MSG_NEED_REPLY, 0 };
	struct scene *s = running(state, 0);
	struct pollfd p = { s->lab.liar.channel, POLLIN, 0 };
	unsigned int sent = 0, changed;
	bool closed = false;

	fcntl(s->lab.liar.channel, F_SETFL, O_NONBLOCK);
	/* never reads an answer: it is told so much, and then no more */
	for (unsigned int round = 0; round < 20000 && !closed; round++) {
		for (unsigned int i = 0; i < 64 && !closed; i++) {
			ssize_t done = send(s->lab.liar.channel, &hdr, VHU_MSG_HDR_SIZE,
					    MSG_NOSIGNAL | MSG_DONTWAIT);

			closed = done < 0 && errno == EPIPE;
			sent += done > 0;
		}
		changed = s->lab.front.config_changed;
		assert_int_equal(vhu_frontend_process(s->lab.front.fe), 0);
		/* each look serves a few: the device has its turn in between */
		assert_true(s->lab.front.config_changed - changed <= 64);
		if (round % 16 == 0) {
			device_goes_on(s);
			if (closed)
				break;
		}
	}
	assert_true(closed);
	assert_true(sent > 64);
	assert_int_equal(poll(&p, 1, 0), 1);
	device_goes_on(s);
	scene_check_bystander(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scene_test(change_of_configuration_is_told),
		scene_test(change_in_bytes_is_one_change),
		scene_test(no_answer_without_acknowledgements),
		scene_test(our_backend_is_heard),
		scene_test(what_is_not_agreed_is_refused_by_name),
		scene_test(lookup_is_always_answered),
		scene_test(change_that_was_not_agreed_is_refused),
		scene_test(malformed_requests_cost_the_channel),
		scene_test(channel_may_end_without_the_device),
		scene_test(half_a_request_keeps_nobody_waiting),
		scene_test(flood_is_bounded_and_starves_nobody),
	};

	return cmocka_run_group_tests_name("hostile_channel", tests, NULL, NULL);
}
