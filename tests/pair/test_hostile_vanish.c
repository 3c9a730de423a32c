/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Guest memory, rings and logs whose file is cut down or punched while they are in use. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "hostile.h"

static struct vhu_domain *fault_domain;

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (vhu_domain_fault(fault_domain, info->si_addr))
		return;
	signal(signo, SIG_DFL);
}

/* Runs the rounds with the handler that every program with a backend has. */
static void rounds_with_handler(struct hostile *h, void (*attack)(struct hostile *h))
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction old;

	fault_domain = h->domain;
	assert_return_code(sigaction(SIGBUS, &action, &old), errno);
	hostile_rounds(h, attack);
	assert_return_code(sigaction(SIGBUS, &old, NULL), errno);
}

/* Cuts the file of a region down to its first bytes, under the feet of both sides. */
static void cut_file(struct hostile *h, unsigned int region, uint64_t keep)
{
	assert_return_code(ftruncate(h->drv.mem.region[region].fd,
				     (off_t)(h->drv.mem.region[region].offset + keep)),
			   errno);
}

static void expect_gone(struct hostile *h)
{
	assert_true(check_until(fixture_pump(NULL), h->victim.closed == h->victim.connected));
	assert_true(h->victim.closed_err < 0);
	assert_true(strlen(h->victim.closed_reason) > 0);
}

static void frames_cut_away(struct hostile *h)
{
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 1, 1 << 20, 4096);
	struct drv_seg segs[] = { { gpa, 1500, false } };

	for (unsigned int i = 0; i < 5; i++)
		assert_true(drv_ring_add(&h->drv.ring[1], segs, 1, 0) >= 0);
	cut_file(h, 1, 0);
	drv_ring_kick(&h->drv.ring[1]);
	expect_gone(h);
}

static void a17_frames_cut_away_cost_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL), frames_cut_away);
}

static void buffers_cut_away(struct hostile *h)
{
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 1, 1 << 20, 4096);
	struct drv_seg seg = { gpa, 2048, true };
	uint8_t frame[1000] = { 0 };
	uint16_t used = drv_ring_used_idx(&h->drv.ring[0]);

	for (unsigned int i = 0; i < 5; i++)
		assert_true(drv_ring_add(&h->drv.ring[0], &seg, 1, 0) >= 0);
	drv_ring_publish(&h->drv.ring[0]);
	cut_file(h, 1, 0);
	assert_int_equal(fixture_push(&h->victim, 0, frame, sizeof(frame), NULL), -EFAULT);
	assert_int_equal(drv_ring_used_idx(&h->drv.ring[0]), used);
	expect_gone(h);
}

static void a17_buffers_cut_away_publish_nothing(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL), buffers_cut_away);
}

static void ring_cut_away(struct hostile *h)
{
	/* The driver itself touches nothing of it any more. */
	cut_file(h, 0, 0);
	uint64_t one = 1;

	assert_int_equal(write(h->drv.ring[1].kick_fd, &one, sizeof(one)), sizeof(one));
	expect_gone(h);
}

static void a17_rings_cut_away_cost_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL), ring_cut_away);
}

/* Gone only when the used ring is written: too late for what was asked before. */
static void ring_cut_away_in_mid_burst(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 1);
	uint8_t frame[100] = { 0 };

	h->victim.hold = true;
	assert_true(drv_net_add(&h->drv, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_publish(&h->drv.ring[1]);
	assert_int_equal(vhu_net_pull(queue, h->victim.burst, 8), 1);
	cut_file(h, 0, 0);
	vhu_net_done(queue, h->victim.burst);
	expect_gone(h);
	h->victim.hold = false;
}

static void a17_ring_cut_away_in_mid_burst_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL),
			    ring_cut_away_in_mid_burst);
}

static void receive_ring_cut_away_in_mid_burst(struct hostile *h)
{
	struct vhu_queue *queue = vhu_backend_queue(h->victim.backend, 0);
	struct drv_seg seg = { drv_mem_alloc(&h->drv.mem, 1, 4096, 4096), 2048, true };
	uint8_t bytes[VHU_NET_HEAD_ROOM + 60] = { 0 };
	struct vhu_net_frame frame = { .len = 60,
				       .head_len = 60,
				       .head = bytes + VHU_NET_HEAD_ROOM };

	assert_true(drv_ring_add(&h->drv.ring[0], &seg, 1, 0) >= 0);
	drv_ring_publish(&h->drv.ring[0]);
	assert_int_equal(vhu_net_push(queue, &frame), 0);
	cut_file(h, 0, 0);
	vhu_net_commit(queue);
	expect_gone(h);
}

static void a17_receive_ring_cut_away_in_mid_burst_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL),
			    receive_ring_cut_away_in_mid_burst);
}

/* Nobody works on the rings: only the control side can notice. */
static void only_the_control_side_is_left(struct hostile *h)
{
	struct vhu_vring_state state = { 1, 0 };
	struct vhu_msg reply;

	cut_file(h, 0, 0);
	drv_send(&h->drv, VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	if (drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS) == 1)
		drv_start_ring(&h->drv, 1, 0);
	expect_gone(h);
}

static void a17_control_side_alone_notices_too(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_IDLE, NULL),
			    only_the_control_side_is_left);
}

static void control_side_reads_what_is_gone(struct hostile *h)
{
	struct vhu_vring_state state = { 1, 0 };
	struct vhu_msg reply;
	int ret;

	cut_file(h, 0, 0);
	/* Stopping and starting look at the rings too. */
	drv_send(&h->drv, VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	ret = drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS);
	if (ret == 1) {
		drv_start_ring(&h->drv, 1, 0);
		expect_gone(h);
	} else {
		assert_int_equal(ret, -ECONNRESET);
	}
}

static void a17_control_side_survives_what_is_gone(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL),
			    control_side_reads_what_is_gone);
}

static void log_cut_away(struct hostile *h)
{
	struct vhu_log log = { 1 << 20, 0 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vhu_msg reply;
	uint8_t frame[100] = { 0 };

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, 1 << 20), errno);
	drv_send(&h->drv, VHU_SET_LOG_BASE, 0, &log, sizeof(log), &fd, 1);
	assert_int_equal(drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS), 1);
	drv_set_features(&h->drv, h->drv.features | VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_net_fill(&h->drv, 0, 8);
	drv_check_in_step(&h->drv);
	assert_return_code(ftruncate(fd, 0), errno);
	close(fd);
	fixture_push(&h->victim, 0, frame, sizeof(frame), NULL);
	expect_gone(h);
}

static void a17_log_cut_away_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL), log_cut_away);
}

/* A program that forwards from one device to the other: nothing of a poisoned sender gets out. */
static void sender_cut_away_while_forwarded(struct hostile *h)
{
	struct vhu_queue *from = vhu_backend_queue(h->victim.backend, 1);
	struct vhu_queue *to = vhu_backend_queue(h->bystander.backend, 0);
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 1, 1 << 20, 4096);
	struct drv_seg seg = { gpa, 1500, false };
	uint16_t used = drv_ring_used_idx(&h->other.ring[0]);

	h->victim.hold = true;
	drv_net_fill(&h->other, 0, 8);
	assert_true(drv_ring_add(&h->drv.ring[1], &seg, 1, 0) >= 0);
	drv_ring_publish(&h->drv.ring[1]);
	assert_int_equal(vhu_net_pull(from, h->victim.burst, 8), 1);
	assert_false(vhu_net_is_poisoned(from));
	cut_file(h, 1, 0);
	assert_int_equal(vhu_net_push(to, vhu_net_burst_frames(h->victim.burst)), 0);
	assert_true(vhu_net_is_poisoned(from));
	assert_false(vhu_net_is_poisoned(to));
	vhu_net_rewind(to);
	assert_int_equal(vhu_net_commit(to), 0);
	vhu_net_done(from, h->victim.burst);
	assert_int_equal(drv_ring_used_idx(&h->other.ring[0]), used);
	expect_gone(h);
	h->victim.hold = false;
}

static void a17_poisoned_sender_publishes_nothing_at_the_receiver(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL),
			    sender_cut_away_while_forwarded);
}

/* The receiver's memory goes while a good sender's frame is copied: the sender does not notice. */
static void receiver_cut_away_while_forwarded(struct hostile *h)
{
	struct vhu_queue *from = vhu_backend_queue(h->bystander.backend, 1);
	struct vhu_queue *to = vhu_backend_queue(h->victim.backend, 0);
	struct drv_seg seg = { drv_mem_alloc(&h->drv.mem, 1, 4096, 4096), 2048, true };
	uint8_t frame[700] = { 0 };

	h->bystander.hold = true;
	assert_true(drv_ring_add(&h->drv.ring[0], &seg, 1, 0) >= 0);
	drv_ring_publish(&h->drv.ring[0]);
	assert_true(drv_net_add(&h->other, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_publish(&h->other.ring[1]);
	assert_int_equal(vhu_net_pull(from, h->bystander.burst, 8), 1);
	cut_file(h, 1, 0);
	assert_int_equal(vhu_net_push(to, vhu_net_burst_frames(h->bystander.burst)), 0);
	assert_false(vhu_net_is_poisoned(from));
	assert_int_equal(vhu_net_commit(to), -EFAULT);
	vhu_net_done(from, h->bystander.burst);
	h->bystander.hold = false;
	assert_int_equal(drv_net_reap(&h->other, 1), 1);
	expect_gone(h);
}

static void a17_receiver_that_vanishes_costs_the_sender_nothing(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL),
			    receiver_cut_away_while_forwarded);
}

static void hole_is_punched(struct hostile *h)
{
	uint64_t gpa = drv_mem_alloc(&h->drv.mem, 1, 1 << 20, 4096);
	struct drv_seg segs[] = { { gpa, 1500, false } };

	drv_mem_write(&h->drv.mem, gpa, (const uint8_t[4]){ 1, 2, 3, 4 }, 4);
	assert_true(drv_ring_add(&h->drv.ring[1], segs, 1, 0) >= 0);
	/* A hole reads as zeros: an empty header and a frame of zeros, nothing worse. */
	assert_return_code(fallocate(h->drv.mem.region[1].fd,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				     (off_t)h->drv.mem.region[1].size),
			   errno);
	drv_ring_kick(&h->drv.ring[1]);
	assert_true(check_until(fixture_pump(NULL), drv_ring_has_used(&h->drv.ring[1])));
	drv_check_in_step(&h->drv);
	/* Then the rings themselves: indices go back to 0. */
	assert_return_code(fallocate(h->drv.mem.region[0].fd,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				     (off_t)h->drv.mem.region[0].size),
			   errno);
	uint64_t one = 1;

	assert_int_equal(write(h->drv.ring[1].kick_fd, &one, sizeof(one)), sizeof(one));
	fixture_settle();
	drv_check_in_step(&h->drv);
	hostile_ring_works_after_restart(h);
}

static void a17_punched_hole_is_survived(void **state)
{
	rounds_with_handler(hostile_begin(state, true, FIXTURE_SINK, NULL), hole_is_punched);
}

static void fault_elsewhere_is_not_taken(void **state)
{
	struct hostile *h = hostile_begin(state, true, FIXTURE_SINK, NULL);
	int here;

	assert_false(vhu_domain_fault(h->domain, &here));
	assert_false(vhu_domain_fault(h->domain, NULL));
	assert_false(vhu_domain_fault(h->domain, h->other.mem.region[0].host));
	assert_false(vhu_domain_fault(h->domain, (void *)UINTPTR_MAX));
	hostile_check_bystander(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(a17_frames_cut_away_cost_the_peer_its_port),
		hostile_test(a17_buffers_cut_away_publish_nothing),
		hostile_test(a17_rings_cut_away_cost_the_peer_its_port),
		hostile_test(a17_ring_cut_away_in_mid_burst_costs_the_peer_its_port),
		hostile_test(a17_receive_ring_cut_away_in_mid_burst_costs_the_peer_its_port),
		hostile_test(a17_control_side_alone_notices_too),
		hostile_test(a17_control_side_survives_what_is_gone),
		hostile_test(a17_log_cut_away_costs_the_peer_its_port),
		hostile_test(a17_poisoned_sender_publishes_nothing_at_the_receiver),
		hostile_test(a17_receiver_that_vanishes_costs_the_sender_nothing),
		hostile_test(a17_punched_hole_is_survived),
		hostile_test(fault_elsewhere_is_not_taken),
	};

	return cmocka_run_group_tests_name("hostile: memory vanishes", tests, NULL, NULL);
}
