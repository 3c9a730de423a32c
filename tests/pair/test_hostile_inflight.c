/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* In-flight regions that cannot be: numbers, files, contents, and what a peer does to one in use. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))
#define WITH_INFLIGHT (VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT))

enum {
	SIZE = 256,		    /* of the rings */
	PART = 16 + 16 * SIZE + 48, /* of a split one, up to a multiple of 64 */
	MARK = 16,
	NEXT = 22,
	COUNTER = 24, /* of the first entry */
	FEATURES = 0,
	VERSION = 8,
	DESC_NUM = 10,
	LAST_BATCH = 12,
	USED_IDX = 14,
};

static const uint64_t split_only = VHU_MASK(VHU_F_RING_PACKED_BIT) | VHU_MASK(VHU_F_IN_ORDER_BIT);

static struct hostile *hostile(void **state, bool started, unsigned int nr_rings)
{
	struct hostile *h = hostile_begin(state, started, FIXTURE_SINK,
					  &(struct drv_options){ .no_features = split_only,
								 .ring_size = SIZE });

	/* the victim once more, and this time it has the feature */
	fixture_free(&h->victim);
	fixture_init(&h->victim, &(struct fixture_options){ .domain = h->domain,
							    .mode = FIXTURE_SINK,
							    .nr_rings = nr_rings,
							    .protocol_features = WITH_INFLIGHT });
	return h;
}

static int make_file(size_t size)
{
	int fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, (off_t)size), errno);
	return fd;
}

static struct vhu_inflight good_desc(void)
{
	return (struct vhu_inflight){ .mmap_size = 2 * PART, .nr_queues = 2, .queue_size = SIZE };
}

/* ---- A3, A4 ---- */

static void fds_that_do_not_belong(struct hostile *h)
{
	struct vhu_inflight desc = good_desc();
	int fds[3] = { make_file(2 * PART), h->drv.ring[0].kick_fd, h->drv.ring[1].kick_fd };

	hostile_closes(h, VHU_GET_INFLIGHT_FD, 0, &desc, sizeof(desc), fds, 1,
		       "GET_INFLIGHT_FD|1 fds came");
	hostile_closes(h, VHU_GET_INFLIGHT_FD, VHU_MSG_NEED_REPLY, &desc, sizeof(desc), fds, 3,
		       "GET_INFLIGHT_FD|3 fds came");
	hostile_closes(h, VHU_SET_INFLIGHT_FD, VHU_MSG_NEED_REPLY, &desc, sizeof(desc), NULL, 0,
		       "SET_INFLIGHT_FD|0 fds came");
	hostile_closes(h, VHU_SET_INFLIGHT_FD, 0, &desc, sizeof(desc), fds, 2,
		       "SET_INFLIGHT_FD|2 fds came");
	close(fds[0]);
}

static void a3_fds_that_do_not_belong_are_closed(void **state)
{
	hostile_rounds(hostile(state, false, 0), fds_that_do_not_belong);
}

static int get_region(struct hostile *h, struct vhu_inflight *ret_desc)
{
	struct vhu_inflight desc = { .nr_queues = 2, .queue_size = SIZE };
	struct vhu_msg reply;

	assert_int_equal(drv_send(&h->drv, VHU_GET_INFLIGHT_FD, 0, &desc, sizeof(desc), NULL, 0),
			 0);
	assert_int_equal(drv_recv(&h->drv, &reply, CHECK_PATIENCE_MS), 1);
	assert_int_equal(reply.nr_fds, 1);
	*ret_desc = reply.inflight;
	return reply.fds[0];
}

static void again_and_again(struct hostile *h)
{
	struct vhu_inflight desc;
	struct tally before;

	for (unsigned int i = 0; i < 300; i++) {
		int fd = get_region(h, &desc);

		if (i % 3)
			assert_int_equal(drv_ack(&h->drv, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc),
						 &fd, 1),
					 0);
		close(fd);
		/* one is in force, and never more than that */
		if (i == 3)
			tally_take(&before);
		if (i > 3 && i % 3 == 0)
			tally_check(&before);
	}
	drv_check_in_step(&h->drv);
}

static void a4_region_asked_for_in_a_loop_leaks_nothing(void **state)
{
	hostile_rounds(hostile(state, false, 0), again_and_again);
}

static void replies_not_read(struct hostile *h)
{
	struct vhu_inflight desc = { .nr_queues = 2, .queue_size = SIZE };

	/* each has an fd that waits in a queue of ours, which is bounded */
	for (unsigned int i = 0; i < 3000; i++) {
		if (drv_send(&h->drv, VHU_GET_INFLIGHT_FD, 0, &desc, sizeof(desc), NULL, 0))
			break;
		if (h->victim.closed == h->victim.connected)
			break;
	}
	assert_true(check_until(fixture_pump(NULL), h->victim.closed == h->victim.connected));
}

static void a4_replies_that_nobody_reads_are_bounded(void **state)
{
	hostile_rounds(hostile(state, false, 0), replies_not_read);
}

/* ---- A8 ---- */

static void numbers_that_cannot_be(struct hostile *h)
{
	static const uint16_t numbers[][2] = { { 0, SIZE },	 { 3, SIZE }, { 256, SIZE },
					       { 0xffff, SIZE }, { 2, 0 },    { 2, 32769 },
					       { 2, 0xffff },	 { 0, 0 },    { 0xffff, 0xffff } };
	int fd = make_file(2 * PART);

	for (unsigned int i = 0; i < NR(numbers); i++) {
		struct vhu_inflight desc = good_desc();
		char words[64];

		desc.nr_queues = numbers[i][0];
		desc.queue_size = numbers[i][1];
		snprintf(words, sizeof(words), "_INFLIGHT_FD|region: %s%u",
			 desc.nr_queues == 2 ? "queue size " : "",
			 desc.nr_queues == 2 ? desc.queue_size : desc.nr_queues);
		hostile_refused(h, VHU_GET_INFLIGHT_FD, &desc, sizeof(desc), NULL, 0, words);
		hostile_refused(h, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1, words);
		/* nor with a size to match */
		desc.mmap_size = UINT64_MAX;
		hostile_refused(h, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1, words);
	}
	close(fd);
}

static void a8_numbers_of_queues_that_cannot_be_are_refused(void **state)
{
	hostile_rounds(hostile(state, false, 0), numbers_that_cannot_be);
}

static void more_than_is_given(struct hostile *h)
{
	struct vhu_inflight desc = { .nr_queues = 256, .queue_size = 32768 };

	drv_set_features(&h->drv, h->drv.offered & ~split_only & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	hostile_refused(h, VHU_GET_INFLIGHT_FD, &desc, sizeof(desc), NULL, 0,
			"GET_INFLIGHT_FD|need 134234112 bytes|at most 16777216");
	close(get_region(h, &desc));
}

static void a8_memory_that_is_given_is_bounded(void **state)
{
	hostile_rounds(hostile(state, false, VHU_MAX_RINGS), more_than_is_given);
}

/* ---- A9: the file ---- */

static void refused_file(struct hostile *h, const struct vhu_inflight *desc, int fd,
			 const char *words)
{
	drv_set_features(&h->drv, h->drv.offered & ~split_only & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	hostile_refused(h, VHU_SET_INFLIGHT_FD, desc, sizeof(*desc), &fd, 1, words);
}

static void sizes_that_lie(struct hostile *h)
{
	static const struct {
		uint64_t size, offset;
		const char *words;
	} rows[] = {
		{ 0, 0, "SET_INFLIGHT_FD|size 0x0, 2 queues of 256 entries need" },
		{ 2 * PART - 1, 0, "SET_INFLIGHT_FD|need 0x2080" },
		{ PART, 0, "SET_INFLIGHT_FD|need" },
		{ 2 * PART, 1, "SET_INFLIGHT_FD|offset 0x1, must be aligned" },
		{ 2 * PART, 8, "SET_INFLIGHT_FD|offset 0x8, must be aligned" },
		{ 2 * PART, 64, "SET_INFLIGHT_FD|beyond the file" },
		{ 2 * PART, UINT64_MAX & ~UINT64_C(63), "SET_INFLIGHT_FD" },
		{ 2 * PART, UINT64_C(1) << 62, "SET_INFLIGHT_FD|beyond the file" },
		{ 2 * PART + 1, 0, "SET_INFLIGHT_FD|beyond the file" },
		{ UINT64_MAX, 0, "SET_INFLIGHT_FD|beyond the file" },
	};
	int fd = make_file(2 * PART), shorter = make_file(2 * PART - 1), none = make_file(0);
	struct vhu_inflight desc = good_desc();

	for (unsigned int i = 0; i < NR(rows); i++) {
		desc.mmap_size = rows[i].size;
		desc.mmap_offset = rows[i].offset;
		refused_file(h, &desc, fd, rows[i].words);
	}
	desc = good_desc();
	refused_file(h, &desc, shorter, "SET_INFLIGHT_FD|beyond the file");
	refused_file(h, &desc, none, "SET_INFLIGHT_FD|beyond the file");
	close(fd);
	close(shorter);
	close(none);
}

static void a9_sizes_that_lie_are_refused(void **state)
{
	hostile_rounds(hostile(state, false, 0), sizes_that_lie);
}

static void files_of_the_wrong_kind(struct hostile *h)
{
	struct vhu_inflight desc = good_desc();
	int fd = make_file(2 * PART), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int dir = open("/", O_RDONLY | O_CLOEXEC), pipes[2], readonly;
	char path[64];

	assert_return_code(pipe2(pipes, O_CLOEXEC), errno);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(null >= 0 && dir >= 0 && readonly >= 0);
	refused_file(h, &desc, null, "SET_INFLIGHT_FD|tmpfs");
	refused_file(h, &desc, dir, "SET_INFLIGHT_FD|tmpfs");
	refused_file(h, &desc, pipes[0], "SET_INFLIGHT_FD|tmpfs");
	refused_file(h, &desc, h->drv.sock, "SET_INFLIGHT_FD|tmpfs");
	refused_file(h, &desc, readonly, "SET_INFLIGHT_FD|reading and writing");
	close(pipes[0]);
	close(pipes[1]);
	close(readonly);
	close(null);
	close(dir);
	close(fd);
}

static void a9_files_of_the_wrong_kind_are_refused(void **state)
{
	hostile_rounds(hostile(state, false, 0), files_of_the_wrong_kind);
}

/* ---- A9: what stands in it ---- */

/* Something stored at an offset of ring 1's part. */
struct spoilt {
	unsigned int offset, width;
	uint64_t value;
};

static void store(int fd, const struct spoilt *spoilt)
{
	assert_int_equal(pwrite(fd, &spoilt->value, spoilt->width, PART + spoilt->offset),
			 spoilt->width);
}

static void heads_that_cannot_be(struct hostile *h)
{
	static const struct {
		struct spoilt spoilt;
		const char *words;
	} rows[] = {
		{ { VERSION, 2, 2 }, "SET_INFLIGHT_FD|ring 1 has version 2" },
		{ { VERSION, 2, 0xffff }, "SET_INFLIGHT_FD|ring 1 has version 65535" },
		{ { FEATURES, 8, 1 }, "SET_INFLIGHT_FD|ring 1|features 0x1" },
		{ { FEATURES, 8, UINT64_MAX }, "SET_INFLIGHT_FD|ring 1|features 0xffff" },
		{ { DESC_NUM, 2, 0 }, "SET_INFLIGHT_FD|ring 1 has 0 entries, 256 were announced" },
		{ { DESC_NUM, 2, 257 }, "SET_INFLIGHT_FD|ring 1 has 257 entries" },
		{ { DESC_NUM, 2, 0xffff }, "SET_INFLIGHT_FD|ring 1 has 65535 entries" },
	};
	static const struct spoilt right[] = { { VERSION, 2, 1 }, { DESC_NUM, 2, SIZE } };

	for (unsigned int i = 0; i < NR(rows); i++) {
		struct vhu_inflight desc = good_desc();
		int fd = make_file(2 * PART);

		for (unsigned int k = 0; k < NR(right); k++)
			store(fd, &right[k]);
		store(fd, &rows[i].spoilt);
		refused_file(h, &desc, fd, rows[i].words);
		close(fd);
	}
}

static void a9_heads_that_cannot_be_are_refused(void **state)
{
	hostile_rounds(hostile(state, false, 0), heads_that_cannot_be);
}

/* The ring's start is refused for such a reason, and the connection goes on. */
static void refused_start(struct hostile *h, int fd, uint16_t queue_size, const char *words)
{
	struct vhu_inflight desc = good_desc();
	struct drv_ring *ring = &h->drv.ring[1];
	struct vhu_vring_addr addr;
	uint64_t index = 1;
	int kick = ring->kick_fd;

	desc.queue_size = queue_size;
	desc.mmap_size = 4 * PART;
	fixture_forget_reasons(&h->victim);
	drv_set_features(&h->drv, h->drv.offered & ~split_only & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(drv_ack(&h->drv, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1), 0);
	drv_set_mem(&h->drv);
	drv_enable_ring(&h->drv, 1, true);
	drv_fill_addr(&h->drv, 1, &addr);
	drv_do_state(&h->drv, VHU_SET_VRING_NUM, 1, ring->num);
	drv_do_state(&h->drv, VHU_SET_VRING_BASE, 1, 0);
	drv_do(&h->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	assert_int_equal(drv_ack(&h->drv, VHU_SET_VRING_KICK, &index, 8, &kick, 1), 1);
	fixture_check_reason(&h->victim, words);
	assert_false(h->victim.ring[1].running);
	assert_int_equal(fixture_state(&h->victim, 1), VHU_RING_STOPPED_ENABLED);
	drv_check_in_step(&h->drv);
	hostile_again(h);
}

static void records_that_cannot_be(struct hostile *h)
{
	static const struct {
		struct spoilt spoilt[4];
		unsigned int avail, used; /* indices in the ring */
		uint16_t queue_size;
		const char *words;
	} rows[] = {
		/* a chain in flight that the driver has not made available */
		{ { { MARK, 1, 1 } }, 0, 0, SIZE, "1 chains are in flight|made 0 available" },
		{ { { MARK, 1, 1 }, { MARK + 16, 1, 1 }, { MARK + 32, 1, 1 } },
		  2,
		  0,
		  SIZE,
		  "3 chains are in flight|made 2 available" },
		{ { { MARK, 1, 1 } }, 300, 0, SIZE, "made 300 available" },
		/* a batch of more than the ring has entries */
		{ { { MARK, 1, 1 }, { USED_IDX, 2, 1 } }, 8, 0, SIZE, "used index 1 here and 0" },
		{ { { MARK, 1, 1 } }, 600, 500, SIZE, "used index 0 here and 500" },
		/* a batch whose list leaves the ring */
		{ { { MARK, 1, 1 }, { LAST_BATCH, 2, SIZE } }, 4, 1, SIZE, "head 256 in the last" },
		{ { { MARK, 1, 1 }, { LAST_BATCH, 2, 0xffff } },
		  4,
		  1,
		  SIZE,
		  "head 65535 in the last" },
		{ { { MARK, 1, 1 }, { NEXT, 2, 0x4000 } }, 4, 2, SIZE, "head 16384 in the last" },
		/* a head that the region has room for, and the ring has not */
		{ { { MARK + 16 * 300, 1, 1 } }, 4, 0, 512, "head 300 is in flight" },
	};

	for (unsigned int i = 0; i < NR(rows); i++) {
		unsigned int part = (unsigned int)(16 + 16 * rows[i].queue_size + 48);
		const struct spoilt right[] = { { VERSION, 2, 1 },
						{ DESC_NUM, 2, rows[i].queue_size } };
		int fd = make_file(4 * PART); /* with room for the larger too */
		uint8_t bytes[2 * PART] = { 0 };

		for (unsigned int k = 0; k < NR(right); k++)
			memcpy(bytes + right[k].offset, &right[k].value, right[k].width);
		for (unsigned int k = 0; k < NR(rows[i].spoilt) && rows[i].spoilt[k].width; k++)
			memcpy(bytes + rows[i].spoilt[k].offset, &rows[i].spoilt[k].value,
			       rows[i].spoilt[k].width);
		assert_int_equal(pwrite(fd, bytes, part, part), part);
		h->drv.ring[1].avail[1] = (uint16_t)rows[i].avail;
		h->drv.ring[1].used[1] = (uint16_t)rows[i].used;
		refused_start(h, fd, rows[i].queue_size, rows[i].words);
		close(fd);
	}
}

static void a9_records_that_cannot_be_keep_the_ring_from_starting(void **state)
{
	hostile_rounds(hostile(state, false, 0), records_that_cannot_be);
}

/* ---- A9: what is done to it while it is in use ---- */

static struct vhu_domain *fault_domain;

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (vhu_domain_fault(fault_domain, info->si_addr))
		return;
	signal(signo, SIG_DFL);
}

static void rounds_with_handler(struct hostile *h, void (*attack)(struct hostile *h))
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction old;

	fault_domain = h->domain;
	assert_return_code(sigaction(SIGBUS, &action, &old), errno);
	hostile_rounds(h, attack);
	assert_return_code(sigaction(SIGBUS, &old, NULL), errno);
}

/* The device runs with a region in a file of the peer's own. */
static int start_with_region(struct hostile *h)
{
	struct vhu_inflight desc = good_desc();
	int fd = make_file(2 * PART);

	drv_set_features(&h->drv, h->drv.offered & ~split_only & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(drv_ack(&h->drv, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1), 0);
	drv_set_mem(&h->drv);
	for (unsigned int i = 0; i < 2; i++) {
		drv_enable_ring(&h->drv, i, true);
		drv_start_ring(&h->drv, i, 0);
	}
	drv_check_in_step(&h->drv);
	hostile_sends(h);
	return fd;
}

static void expect_gone(struct hostile *h)
{
	assert_true(check_until(fixture_pump(NULL), h->victim.closed == h->victim.connected));
	assert_int_equal(h->victim.closed_err, -EFAULT);
}

static void cut_while_recorded(struct hostile *h)
{
	int fd = start_with_region(h);
	uint8_t frame[64] = { 0 };

	assert_return_code(ftruncate(fd, 0), errno);
	drv_net_send(&h->drv, 1, frame, sizeof(frame));
	expect_gone(h);
	close(fd);
}

static void a9_region_cut_away_in_use_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile(state, false, 0), cut_while_recorded);
}

static void cut_before_the_start(struct hostile *h)
{
	struct vhu_inflight desc = good_desc();
	int fd = make_file(2 * PART);

	drv_set_features(&h->drv, h->drv.offered & ~split_only & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	assert_int_equal(drv_ack(&h->drv, VHU_SET_INFLIGHT_FD, &desc, sizeof(desc), &fd, 1), 0);
	drv_set_mem(&h->drv);
	assert_return_code(ftruncate(fd, 0), errno);
	drv_start_ring(&h->drv, 1, 0);
	expect_gone(h);
	close(fd);
}

static void a9_region_cut_away_before_a_start_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile(state, false, 0), cut_before_the_start);
}

static void cut_before_a_reset(struct hostile *h)
{
	int fd = start_with_region(h);

	assert_return_code(ftruncate(fd, 0), errno);
	drv_send(&h->drv, VHU_RESET_DEVICE, 0, NULL, 0, NULL, 0);
	expect_gone(h);
	close(fd);
}

static void a9_region_cut_away_before_a_reset_costs_the_peer_its_port(void **state)
{
	rounds_with_handler(hostile(state, false, 0), cut_before_a_reset);
}

static void scribble(struct hostile *h)
{
	int fd = start_with_region(h);
	uint8_t *bytes = mmap(NULL, 2 * PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint32_t word = h->number;

	assert_true(bytes != MAP_FAILED);
	for (unsigned int i = 0; i < 200; i++) {
		for (unsigned int k = 0; k < 2 * PART; k++)
			bytes[k] = (uint8_t)((word = word * 1664525 + 1013904223) >> 24);
		/* what was recorded is not believed while it is kept */
		hostile_sends(h);
	}
	assert_return_code(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PART),
			   errno);
	hostile_sends(h);
	assert_int_equal(drv_stop_ring(&h->drv, 1), h->drv.ring[1].avail_idx);
	drv_check_in_step(&h->drv);
	munmap(bytes, 2 * PART);
	close(fd);
}

static void a9_region_written_over_in_use_changes_nothing(void **state)
{
	hostile_rounds(hostile(state, false, 0), scribble);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(a3_fds_that_do_not_belong_are_closed),
		hostile_test(a4_region_asked_for_in_a_loop_leaks_nothing),
		hostile_test(a4_replies_that_nobody_reads_are_bounded),
		hostile_test(a8_numbers_of_queues_that_cannot_be_are_refused),
		hostile_test(a8_memory_that_is_given_is_bounded),
		hostile_test(a9_sizes_that_lie_are_refused),
		hostile_test(a9_files_of_the_wrong_kind_are_refused),
		hostile_test(a9_heads_that_cannot_be_are_refused),
		hostile_test(a9_records_that_cannot_be_keep_the_ring_from_starting),
		hostile_test(a9_region_cut_away_in_use_costs_the_peer_its_port),
		hostile_test(a9_region_cut_away_before_a_start_costs_the_peer_its_port),
		hostile_test(a9_region_cut_away_before_a_reset_costs_the_peer_its_port),
		hostile_test(a9_region_written_over_in_use_changes_nothing),
	};

	return cmocka_run_group_tests_name("hostile in-flight regions", tests, NULL, NULL);
}
