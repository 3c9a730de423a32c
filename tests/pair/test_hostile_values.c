/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* hostile.md part C, what replies say: sizes, counts, places and features that cannot be or change. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scene.h"

/*
 * ---- Values that lie ----
 */
struct falsehood {
	uint32_t request;
	uint8_t bytes[300];
	uint32_t size;
	int file; /* what goes along: an index into files */
	unsigned int nr_fds;
	unsigned int times;
};

static enum liar_verdict tell_falsehood(void *arg, struct liar *liar, const struct vhu_msg *msg)
{
	struct falsehood *f = arg;
	int fds[2] = { f->file, f->file };

	if (msg->hdr.request != f->request || f->times)
		return LIAR_PROPER;
	f->times++;
	liar_reply(liar, msg, f->bytes, f->size, fds, f->nr_fds);
	return LIAR_HANDLED;
}

static struct falsehood false_u64(uint32_t request, uint64_t value)
{
	struct falsehood f = { .request = request, .size = sizeof(value) };

	memcpy(f.bytes, &value, sizeof(value));
	return f;
}

static void queue_num_that_lies_bounds_nothing(void **state)
{
	static const uint64_t values[] = { 0,	      1, 257, UINT64_C(1) << 32, UINT64_C(1) << 63,
					   UINT64_MAX };

	for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct falsehood f = false_u64(VHU_GET_QUEUE_NUM, values[i]);
		struct scene *s = *state;
		void *lab = &s->lab;

		lab_up(&lab, &(struct front_options){ .nr_pairs = 4 }, NULL);
		s->lab.liar.lie = tell_falsehood;
		s->lab.liar.lie_arg = &f;
		front_run(&s->lab.front);
		assert_int_equal(f.times, 1);
		for (unsigned int k = 0; k < 8; k++)
			assert_true(s->lab.liar.ring[k].started);
		if (values[i] <= VHU_MAX_RINGS)
			assert_int_equal(vhu_frontend_queue_num(s->lab.front.fe), values[i]);
		lab_down(&s->lab);
	}
}

static void memory_slots_that_lie_are_bounded(void **state)
{
	static const uint64_t values[] = { 129, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX };
	struct scene *s = *state;
	void *lab = &s->lab;
	struct falsehood f;

	for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		f = false_u64(VHU_GET_MAX_MEM_SLOTS, values[i]);
		lab_up(&lab, &(struct front_options){ .nr_regions = 20, .region_size = 1 << 20 },
		       NULL);
		s->lab.liar.lie = tell_falsehood;
		s->lab.liar.lie_arg = &f;
		front_run(&s->lab.front);
		assert_int_equal(vhu_frontend_max_mem_slots(s->lab.front.fe), VHU_MAX_MEM_SLOTS);
		assert_int_equal(s->lab.liar.nr_regions, 20);
		lab_down(&s->lab);
	}
	/* fewer than there are regions: refused here, not there */
	f = false_u64(VHU_GET_MAX_MEM_SLOTS, 2);
	lab_up(&lab, &(struct front_options){ .nr_regions = 3 }, NULL);
	struct front_done done = { 0 };

	s->lab.liar.lie = tell_falsehood;
	s->lab.liar.lie_arg = &f;
	front_until(&s->lab.front, VHU_DEVICE_STOPPED);
	front_make_rings(&s->lab.front);
	assert_int_equal(vhu_frontend_start(s->lab.front.fe, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), -ENOSPC);
	assert_int_equal(s->lab.liar.nr_regions, 0);
	assert_int_equal(vhu_frontend_state(s->lab.front.fe), VHU_DEVICE_STOPPED);
}

/* Running; the request is made; its answer is the falsehood. */
static void costs_the_connection(struct scene *s, struct falsehood *f, const char *words)
{
	struct front *front = &s->lab.front;
	struct front_done done = { 0 };
	unsigned int gone = front->gone, back = front->back;

	front_forget_reasons(front);
	s->lab.liar.lie = tell_falsehood;
	s->lab.liar.lie_arg = f;
	if (f->request == VHU_GET_CONFIG) {
		assert_int_equal(vhu_frontend_get_config(front->fe, 8, 16, front_note_done, &done),
				 0);
		assert_int_equal(front_wait_done(&done), -EPROTO);
	} else {
		/* is asked for in the course of this */
		liar_hang_up(&s->lab.liar);
		gone++;
	}
	assert_true(
		check_until(front_pump(), f->times == 1 && front->back > back && !front->is_gone));
	if (words)
		front_check_reason(front, words);
	assert_true(front->gone >= gone);
	front_until(front, VHU_DEVICE_RUNNING);
	s->lab.liar.lie = NULL;
}

static struct falsehood false_config(uint32_t offset, uint32_t size, uint32_t bytes)
{
	const struct vhu_config config = { .offset = offset, .size = size };
	struct falsehood f = { .request = VHU_GET_CONFIG };

	f.size = (uint32_t)offsetof(struct vhu_config, bytes) + bytes;
	assert_true(f.size <= sizeof(f.bytes));
	memset(f.bytes, 0x5a, sizeof(f.bytes));
	memcpy(f.bytes, &config, offsetof(struct vhu_config, bytes));
	return f;
}

static void configuration_that_lies_is_refused(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);
	struct falsehood lies_told[] = {
		false_config(0, 16, 16),				  /* another place */
		false_config(9, 16, 16),	 false_config(8, 15, 15), /* less */
		false_config(8, 17, 17),				  /* more */
		false_config(8, 16, 12),				  /* two sizes */
		false_config(8, 16, 20),	 false_config(8, 256, 16),
		false_config(8, 248, 248),	 false_config(0, 256, 256),
		false_config(8, UINT32_MAX, 16), false_config(UINT32_MAX - 7, 16, 16),
		false_config(UINT32_MAX, 2, 16),
	};

	front_run(&s->lab.front);
	for (unsigned int i = 0; i < sizeof(lies_told) / sizeof(lies_told[0]); i++)
		costs_the_connection(s, &lies_told[i], "GET_CONFIG");
}

/* The specification has no payload for that, rust-vmm one with a space of no bytes. */
static void empty_is_an_error(struct scene *s, struct falsehood f)
{
	struct front_done done = { 0 }, again = { 0 };

	s->lab.liar.lie = tell_falsehood;
	s->lab.liar.lie_arg = &f;
	for (unsigned int i = 0; i < 16; i++)
		s->lab.liar.config[8 + i] = (uint8_t)(i * 3);
	assert_int_equal(vhu_frontend_get_config(s->lab.front.fe, 8, 16, front_note_done, &done),
			 0);
	assert_int_equal(front_wait_done(&done), -EREMOTEIO);
	assert_non_null(strstr(done.reason, "GET_CONFIG"));
	assert_int_equal(vhu_frontend_get_config(s->lab.front.fe, 8, 16, front_note_done, &again),
			 0);
	assert_int_equal(front_wait_done(&again), 0);
	assert_int_equal(again.size, 16);
	assert_memory_equal(again.bytes, s->lab.liar.config + 8, 16);
	assert_int_equal(s->lab.front.gone, 0);
}

static void empty_configuration_is_an_error_and_no_lie(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);

	front_run(&s->lab.front);
	empty_is_an_error(s, (struct falsehood){ .request = VHU_GET_CONFIG });
	empty_is_an_error(s, false_config(8, 0, 0));
}

static void base_of_another_ring_is_refused(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);
	static const struct vhu_vring_state bad[] = {
		{ 1, 5 }, { 2, 0 }, { UINT32_MAX, 0 }, { 0, 65536 }, { 0, UINT32_MAX },
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct falsehood f = { .request = VHU_GET_VRING_BASE, .size = sizeof(bad[i]) };
		struct front_done done = { 0 };
		unsigned int gone = s->lab.front.gone;

		memcpy(f.bytes, &bad[i], sizeof(bad[i]));
		if (i == 0)
			front_run(&s->lab.front);
		s->lab.liar.lie = tell_falsehood;
		s->lab.liar.lie_arg = &f;
		/* a device whose backend is given up in its stop is stopped all the same */
		assert_int_equal(vhu_frontend_stop(s->lab.front.fe, front_note_done, &done), 0);
		front_wait_done(&done);
		assert_int_equal(f.times, 1);
		assert_true(check_until(front_pump(), s->lab.front.gone == gone + 1));
		front_check_reason(&s->lab.front, "GET_VRING_BASE");
		front_until(&s->lab.front, VHU_DEVICE_STOPPED);
		struct front_done start = { 0 };

		assert_int_equal(vhu_frontend_start(s->lab.front.fe, front_note_done, &start), 0);
		assert_int_equal(front_wait_done(&start), 0);
	}
}

/*
 * ---- In-flight regions ----
 */
static struct falsehood false_inflight(uint64_t size, uint64_t offset, int fd, unsigned int nr)
{
	const struct vhu_inflight inflight = { size, offset, 2, 256, 0 };
	struct falsehood f = {
		.request = VHU_GET_INFLIGHT_FD, .size = sizeof(inflight), .file = fd, .nr_fds = nr
	};

	memcpy(f.bytes, &inflight, sizeof(inflight));
	return f;
}

/* What a start comes to that gets this answer first. */
static void inflight_is_refused(struct scene *s, struct falsehood f)
{
	struct front_done done = { 0 };
	void *lab = &s->lab;

	lab_up(&lab, &(struct front_options){ .reply_timeout_ms = FRONT_PATIENCE_MS }, NULL);
	front_until(&s->lab.front, VHU_DEVICE_STOPPED);
	front_make_rings(&s->lab.front);
	s->lab.liar.lie = tell_falsehood;
	s->lab.liar.lie_arg = &f;
	assert_int_equal(vhu_frontend_start(s->lab.front.fe, front_note_done, &done), 0);
	/* the next backend is as good as any */
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(f.times, 1);
	assert_int_equal(s->lab.front.gone, 1);
	assert_int_equal(s->lab.front.gone_err, -EPROTO);
	front_check_reason(&s->lab.front, "GET_INFLIGHT_FD");
	assert_int_equal(s->lab.liar.connections, 2);
	assert_int_equal(s->lab.liar.inflight.mmap_size, 2 * 4096);
	lab_down(&s->lab);
}

static void inflight_region_that_lies_is_refused(void **state)
{
	struct scene *s = *state;
	int fd = memfd_create("liar", MFD_CLOEXEC), ends[2];

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, 8192), errno);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	inflight_is_refused(s, false_inflight(8192, 0, fd, 0));
	inflight_is_refused(s, false_inflight(8192, 0, fd, 2));
	inflight_is_refused(s, false_inflight(8193, 0, fd, 1));
	inflight_is_refused(s, false_inflight(12288, 0, fd, 1));
	inflight_is_refused(s, false_inflight(8192, 4096, fd, 1));
	inflight_is_refused(s, false_inflight(4096, UINT64_C(1) << 63, fd, 1));
	inflight_is_refused(s, false_inflight(4096, UINT64_MAX - 4095, fd, 1));
	inflight_is_refused(s, false_inflight(UINT64_MAX, 4096, fd, 1));
	inflight_is_refused(s, false_inflight(0, 0, fd, 1));
	inflight_is_refused(s, false_inflight(4096, 0, ends[0], 1));
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

/*
 * ---- A backend that is another one when it comes back ----
 */
static void features_that_shrink_are_no_backend(void **state)
{
	struct scene *s = scene_begin(state, NULL, NULL);
	struct front *front = &s->lab.front;
	struct liar *liar = &s->lab.liar;
	unsigned int connections;

	front_run(front);
	liar->options.no_features = VHU_MASK(VHU_F_EVENT_IDX_BIT);
	liar_hang_up(liar);
	connections = liar->connections;
	assert_true(check_until(front_pump(), liar->connections >= connections + 3));
	assert_int_equal(front->back, 0);
	front_check_reason(front, "GET_FEATURES|EVENT_IDX");
	/* nothing of the device was told to it */
	assert_int_equal(liar_count(liar, VHU_SET_FEATURES, connections + 1), 0);
	assert_int_equal(liar_count(liar, VHU_ADD_MEM_REG, connections + 1), 0);
	liar->options.no_features = 0;
	assert_true(check_until(front_pump(), front->back == 1));
	assert_int_equal(vhu_frontend_state(front->fe), VHU_DEVICE_RUNNING);
	assert_int_equal(vhu_frontend_features(front->fe) & FRONT_FEATURES, FRONT_FEATURES);
	scene_check_bystander(s);
}

static void features_that_grow_change_nothing(void **state)
{
	struct scene *s = scene_begin(
		state, NULL, &(struct liar_options){ .no_features = VHU_MASK(VHU_F_IN_ORDER_BIT) });
	struct front *front = &s->lab.front;

	front_run(front);
	uint64_t features = s->lab.liar.features;

	s->lab.liar.options.no_features = 0;
	liar_hang_up(&s->lab.liar);
	assert_true(check_until(front_pump(), front->back == 1));
	/* the rings stand as they are */
	assert_int_equal(s->lab.liar.features, features);
	assert_int_equal(vhu_frontend_features(front->fe), features);
}

static void protocol_features_may_be_others_each_time(void **state)
{
	static const uint64_t without[] = {
		VHU_MASK(VHU_P_STATUS_BIT),
		VHU_MASK(VHU_P_REPLY_ACK_BIT) | VHU_MASK(VHU_P_CONFIGURE_MEM_SLOTS_BIT),
		VHU_MASK(VHU_P_BACKEND_REQ_BIT) | VHU_MASK(VHU_P_MQ_BIT),
		VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT),
		VHU_FRONTEND_PROTOCOL_FEATURES,
		0,
	};
	struct scene *s = scene_begin(state, NULL, NULL);

	front_run(&s->lab.front);
	for (unsigned int i = 0; i < 6; i++) {
		s->lab.liar.options.no_protocol_features = without[i];
		liar_hang_up(&s->lab.liar);
		assert_true(check_until(front_pump(), s->lab.front.back == i + 1));
		assert_int_equal(vhu_frontend_state(s->lab.front.fe), VHU_DEVICE_RUNNING);
		assert_true(s->lab.liar.ring[0].started && s->lab.liar.ring[1].started);
		assert_int_equal(s->lab.liar.nr_regions, 2);
		assert_int_equal(s->lab.liar.protocol_features,
				 VHU_FRONTEND_PROTOCOL_FEATURES & ~without[i]);
	}
}

/*
 * ---- Memory ----
 */
static void guest_memory_and_log_cannot_be_truncated(void **state)
{
	struct scene *s = scene_begin(state, &(struct front_options){ .nr_regions = 4 }, NULL);
	struct front_done done = { 0 };

	front_run(&s->lab.front);
	assert_int_equal(vhu_frontend_log(s->lab.front.fe, true, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	assert_int_equal(s->lab.liar.nr_regions, 4);
	for (unsigned int i = 0; i < 5; i++) {
		int fd = i < 4 ? s->lab.liar.region[i].fd : s->lab.liar.log_fd;

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, 0), -1);
		assert_int_equal(errno, EPERM);
		/* nor sealed against the one who comes next */
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
		assert_int_equal(errno, EPERM);
	}
}

struct range {
	uint64_t begin, end;
};

static unsigned int read_maps(struct range *ranges, unsigned int max)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long long begin, end;
	unsigned int nr = 0;
	char *line = NULL;
	size_t room = 0;

	assert_non_null(file);
	while (getline(&line, &room, file) > 0) {
		assert_int_equal(sscanf(line, "%llx-%llx", &begin, &end), 2);
		assert_true(nr < max);
		ranges[nr++] = (struct range){ begin, end };
	}
	free(line);
	fclose(file);
	return nr;
}

static void check_made_up(const struct range *ranges, unsigned int nr, uint64_t at, uint64_t len)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (at < ranges[i].end && ranges[i].begin < at + len)
			fail_msg("%#llx is where something of ours lies", (unsigned long long)at);
	}
}

static void user_addresses_are_made_up(void **state)
{
	static struct range ranges[16384];
	struct scene *s = scene_begin(state, &(struct front_options){ .nr_regions = 6 }, NULL);
	struct front_done done = { 0 };
	unsigned int nr;

	front_run(&s->lab.front);
	assert_int_equal(vhu_frontend_log(s->lab.front.fe, true, front_note_done, &done), 0);
	assert_int_equal(front_wait_done(&done), 0);
	nr = read_maps(ranges, 16384);
	assert_true(nr > 6);
	assert_int_equal(s->lab.liar.nr_regions, 6);
	for (unsigned int i = 0; i < 6; i++) {
		const struct vhu_region *r = &s->lab.liar.region[i].wire;

		check_made_up(ranges, nr, r->uva, r->size);
	}
	for (unsigned int i = 0; i < 2; i++) {
		const struct vhu_vring_addr *addr = &s->lab.liar.ring[i].addr;

		check_made_up(ranges, nr, addr->desc, 1);
		check_made_up(ranges, nr, addr->avail, 1);
		check_made_up(ranges, nr, addr->used, 1);
		check_made_up(ranges, nr, addr->log, 1);
	}
	/* nor does any other word of any message point into our own files */
	for (unsigned int i = 0; i < s->lab.liar.nr_records; i++) {
		const struct liar_record *r = &s->lab.liar.record[i];

		for (unsigned int at = 0; at + 8 <= r->hdr.size && at + 8 <= LIAR_KEPT_BYTES;
		     at += 4) {
			struct vhu_memory_region region;
			uint64_t word;

			memcpy(&word, r->bytes + at, 8);
			for (unsigned int k = 0;
			     !vhu_memory_region(s->lab.front.memory, k, &region); k++)
				assert_false(word >= (uintptr_t)region.host &&
					     word < (uintptr_t)region.host + region.size);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scene_test(queue_num_that_lies_bounds_nothing),
		scene_test(memory_slots_that_lie_are_bounded),
		scene_test(configuration_that_lies_is_refused),
		scene_test(empty_configuration_is_an_error_and_no_lie),
		scene_test(base_of_another_ring_is_refused),
		scene_test(inflight_region_that_lies_is_refused),
		scene_test(features_that_shrink_are_no_backend),
		scene_test(features_that_grow_change_nothing),
		scene_test(protocol_features_may_be_others_each_time),
		scene_test(guest_memory_and_log_cannot_be_truncated),
		scene_test(user_addresses_are_made_up),
	};

	return cmocka_run_group_tests_name("hostile_values", tests, NULL, NULL);
}
