/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* A peer that uses up what all devices of the process share: fds, mappings, addresses, time. */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

enum {
	OFTEN = 12,
	FRAME = 100
};

/* A ring that is set up but for its memory: the address is of none of the regions. */
static void set_up_nowhere(struct drv *drv, unsigned int ring)
{
	struct vhu_vring_addr addr;

	drv_fill_addr(drv, ring, &addr);
	addr.desc = UINT64_C(1) << 60;
	drv_do_state(drv, VHU_SET_VRING_NUM, ring, 256);
	drv_do(drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static void refused_starts(struct hostile *h)
{
	struct tally before, after;
	uint64_t index = 1;

	drv_set_mem(&h->drv);
	set_up_nowhere(&h->drv, 1);
	tally_take(&before);
	for (unsigned int i = 0; i < OFTEN; i++) {
		int fd = eventfd(0, EFD_CLOEXEC);

		assert_int_equal(
			drv_ack(&h->drv, VHU_SET_VRING_KICK, &index, sizeof(index), &fd, 1), 1);
		close(fd);
	}
	tally_take(&after);
	assert_int_equal(after.fds, before.fds);
	assert_int_equal(fixture_state(&h->victim, 1), VHU_RING_STOPPED_DISABLED);
}

static void refused_starts_in_a_loop_keep_no_fd(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), refused_starts);
}

static void tables_for_a_lost_ring(struct hostile *h)
{
	struct tally before, after;
	uint64_t index = 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	set_up_nowhere(&h->drv, 1);
	drv_do(&h->drv, VHU_SET_VRING_KICK, &index, sizeof(index), &fd, 1);
	close(fd);
	drv_set_mem(&h->drv);
	drv_check_in_step(&h->drv);
	tally_take(&before);
	for (unsigned int i = 0; i < OFTEN; i++)
		drv_set_mem(&h->drv);
	drv_check_in_step(&h->drv);
	tally_take(&after);
	assert_int_equal(after.maps, before.maps);
	assert_int_equal(fixture_state(&h->victim, 1), VHU_RING_STOPPED_DISABLED);
}

static void tables_in_a_loop_keep_one_mapping(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), tables_for_a_lost_ring);
}

/* Replies that nobody asked for, as many as the socket takes. */
static unsigned int flood(int fd)
{
	const struct {
		struct vhu_msg_hdr hdr;
		uint32_t payload[2];
	} reply = { { VHU_BACKEND_CONFIG_CHANGE, VHU_MSG_VERSION | VHU_MSG_REPLY, 8 }, { 0, 0 } };
	unsigned int nr = 0;

	while (send(fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(reply))
		nr++;
	return nr;
}

static void flooded_channel(struct hostile *h)
{
	int pair[2], waiting = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	drv_do(&h->drv, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	drv_check_in_step(&h->drv);
	assert_true(flood(pair[0]) > 100);
	/* one visit takes a share of it and goes on with other things */
	assert_int_equal(vhu_backend_process(h->victim.backend), 0);
	assert_int_equal(ioctl(pair[1], FIONREAD, &waiting), 0);
	assert_true(waiting > 0);
	drv_check_in_step(&h->drv);
	/* the frontend goes, and keeps the socket open: it is no longer any of our business */
	fixture_detach(&h->victim, &h->drv);
	flood(pair[0]);
	fixture_settle();
	assert_int_equal(
		poll(&(struct pollfd){ .fd = vhu_backend_fd(h->victim.backend), .events = POLLIN },
		     1, 0),
		0);
	close(pair[0]);
	close(pair[1]);
	fixture_attach(&h->victim, &h->drv, &h->drv_options);
}

static void channel_takes_no_more_than_its_share_and_ends_with_its_connection(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), flooded_channel);
}

static void huge_region(struct hostile *h)
{
	struct vhu_mem_reg reg = { .region = { .gpa = UINT64_C(1) << 44,
					       .uva = UINT64_C(1) << 45,
					       .size = VHU_MAX_MEM_BYTES + 4096 } };
	int fd = memfd_create("huge", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)reg.region.size), 0);
	assert_int_equal(drv_ack(&h->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1), 1);
	/* two that are allowed alone are not allowed together */
	reg.region.size = VHU_MAX_MEM_BYTES / 4 * 3;
	assert_int_equal(drv_ack(&h->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1), 0);
	reg.region.gpa *= 4;
	reg.region.uva *= 4;
	assert_int_equal(drv_ack(&h->drv, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1), 1);
	fixture_check_reason(&h->victim, "ADD_MEM_REG|in all");
	close(fd);
}

static void one_device_cannot_take_all_addresses(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), huge_region);
}

/* Every receive buffer is a table of empty ones: much to read, nothing to write to. */
static void empty_buffers(struct hostile *h)
{
	const uint32_t nr = 1024;
	uint64_t table = drv_mem_alloc(&h->drv.mem, 0, nr * 16, 16);
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 0);
	struct drv_ring *ring = &h->drv.ring[0];
	struct vhu_queue_stats before, after;
	uint8_t frame[FRAME];
	int ret;

	for (uint32_t i = 0; i < nr; i++) {
		const struct drv_desc empty = { table, 0,
						DRV_DESC_WRITE | (i + 1 < nr ? DRV_DESC_NEXT : 0),
						(uint16_t)(i + 1) };

		drv_mem_write(&h->drv.mem, table + i * 16, &empty, sizeof(empty));
	}
	for (uint16_t head = 0; head < ring->num; head++) {
		ring->desc[head] = (struct drv_desc){ table, nr * 16, DRV_DESC_INDIRECT, 0 };
		drv_ring_add_head(ring, head);
	}
	drv_ring_publish(ring);
	drv_net_make(frame, FRAME, 1);
	vhu_queue_stats(queue, &before);
	ret = fixture_push(&h->victim, 0, frame, FRAME, NULL);
	vhu_queue_stats(queue, &after);
	assert_true(ret == -ENOSPC || ret == -EMSGSIZE);
	/* the sender does not pay for reading the whole ring */
	assert_true(after.bad_chains - before.bad_chains <= 16);
}

static void empty_buffers_cost_a_sender_little(void **state)
{
	struct drv_options options = { .need_reply = true };

	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, &options), empty_buffers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(refused_starts_in_a_loop_keep_no_fd),
		hostile_test(tables_in_a_loop_keep_one_mapping),
		hostile_test(channel_takes_no_more_than_its_share_and_ends_with_its_connection),
		hostile_test(one_device_cannot_take_all_addresses),
		hostile_test(empty_buffers_cost_a_sender_little),
	};

	return cmocka_run_group_tests_name("hostile exhaustion", tests, NULL, NULL);
}
