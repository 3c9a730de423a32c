/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Ring sizes, addresses and eventfds that cannot be, and changes while a ring runs. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static void bad_sizes(struct hostile *h)
{
	static const uint32_t sizes[] = { 0,	 3,	5,     100,	 255,
					  32767, 32769, 65536, 1U << 31, UINT32_MAX };

	for (unsigned int i = 0; i < NR(sizes); i++) {
		struct vhu_vring_state ring = { 1, sizes[i] };
		char words[64];

		snprintf(words, sizeof(words), "SET_VRING_NUM|%u", sizes[i]);
		hostile_refused(h, VHU_SET_VRING_NUM, &ring, sizeof(ring), NULL, 0, words);
	}
}

static void a19_ring_size_that_cannot_be_is_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), bad_sizes);
}

static void bad_bases(struct hostile *h)
{
	struct vhu_vring_state ring = { 1, 65536 };

	hostile_refused(h, VHU_SET_VRING_BASE, &ring, sizeof(ring), NULL, 0,
			"SET_VRING_BASE|65536");
	ring.num = UINT32_MAX;
	hostile_refused(h, VHU_SET_VRING_BASE, &ring, sizeof(ring), NULL, 0, "SET_VRING_BASE");
	ring.num = 2;
	hostile_refused(h, VHU_SET_VRING_ENABLE, &ring, sizeof(ring), NULL, 0,
			"SET_VRING_ENABLE|2");
}

static void a19_base_and_enable_out_of_range_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), bad_bases);
}

/*
 * Sets up ring 1 at the addresses given and tries to start it. True if it runs; if it does not
 * there is a reason with the word. A fresh connection afterwards.
 */
static bool starts_at(struct hostile *h, const struct vhu_vring_addr *addr, const char *word)
{
	uint64_t index = 1;
	bool runs;
	int ret;

	fixture_forget_reasons(&h->victim);
	drv_set_features(&h->drv, h->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_set_mem(&h->drv);
	drv_enable_ring(&h->drv, 1, true);
	drv_do_state(&h->drv, VHU_SET_VRING_NUM, 1, h->drv.ring[1].num);
	drv_do_state(&h->drv, VHU_SET_VRING_BASE, 1, 0);
	ret = drv_ack(&h->drv, VHU_SET_VRING_ADDR, addr, sizeof(*addr), NULL, 0);
	if (ret == 0)
		ret = drv_ack(&h->drv, VHU_SET_VRING_KICK, &index, 8, &h->drv.ring[1].kick_fd, 1);
	fixture_settle();
	runs = h->victim.ring[1].running;
	if (runs)
		assert_int_equal(ret, 0);
	else
		fixture_check_reason(&h->victim, word);
	hostile_again(h);
	return runs;
}

static void addresses_at_the_edge(struct hostile *h)
{
	const struct drv_region *last = &h->drv.mem.region[1];
	unsigned int num = h->drv.ring[1].num;
	uint64_t end = last->uva + last->size;
	uint64_t desc_size = 16 * (uint64_t)num;
	uint64_t avail_size = 6 + 2 * (uint64_t)num; /* with used_event */
	uint64_t used_size = 6 + 8 * (uint64_t)num;  /* with avail_event */
	struct vhu_vring_addr good, addr;

	drv_fill_addr(&h->drv, 1, &good);
	assert_true(starts_at(h, &good, ""));
	addr = good;
	addr.desc = end - desc_size;
	assert_true(starts_at(h, &addr, ""));
	addr.desc = end - desc_size + 16;
	assert_false(starts_at(h, &addr, "desc"));
	addr = good;
	addr.avail = end - avail_size;
	assert_true(starts_at(h, &addr, ""));
	addr.avail = end - avail_size + 2; /* the event word alone lies outside */
	assert_false(starts_at(h, &addr, "avail"));
	addr = good;
	addr.used = (end - used_size) & ~UINT64_C(3);
	assert_true(starts_at(h, &addr, ""));
	addr.used += 4;
	assert_false(starts_at(h, &addr, "used"));
}

static void a20_ring_addresses_are_translated_to_their_last_byte(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), addresses_at_the_edge);
}

static void addresses_that_cannot_be(struct hostile *h)
{
	static const uint64_t nowhere[] = { 0, 1 << 16, UINT64_MAX & ~UINT64_C(15),
					    UINT64_C(0xff00000000) };
	struct vhu_vring_addr good, addr;
	uint64_t before;

	drv_fill_addr(&h->drv, 1, &good);
	for (unsigned int i = 0; i < NR(nowhere); i++) {
		addr = good;
		addr.desc = nowhere[i];
		assert_false(starts_at(h, &addr, "desc"));
		addr = good;
		addr.avail = nowhere[i];
		assert_false(starts_at(h, &addr, "avail"));
		addr = good;
		addr.used = nowhere[i];
		assert_false(starts_at(h, &addr, "used"));
	}
	/* Not aligned: 16, 2 and 4 bytes (virtio 1.2, 2.7). */
	for (unsigned int off = 1; off < 16; off *= 2) {
		addr = good;
		addr.desc += off;
		assert_false(starts_at(h, &addr, "desc"));
	}
	addr = good;
	addr.avail += 1;
	assert_false(starts_at(h, &addr, "avail"));
	addr = good;
	addr.used += 2;
	assert_false(starts_at(h, &addr, "used"));
	/* From the first region into the second: neighbours for the guest, not for us. */
	before = h->drv.mem.region[0].uva + h->drv.mem.region[0].size;
	addr = good;
	addr.desc = before - 16;
	assert_false(starts_at(h, &addr, "desc"));
	addr = good;
	addr.used = before - 8;
	assert_false(starts_at(h, &addr, "used"));
}

static void a20_ring_addresses_that_cannot_be_are_refused(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), addresses_that_cannot_be);
}

/*
 * ---- Fds of rings ----
 */
static const struct {
	uint32_t id;
	const char *name;
} ring_fds[] = {
	{ VHU_SET_VRING_KICK, "SET_VRING_KICK" },
	{ VHU_SET_VRING_CALL, "SET_VRING_CALL" },
	{ VHU_SET_VRING_ERR, "SET_VRING_ERR" },
};

static void not_an_eventfd(struct hostile *h, int fd)
{
	uint64_t index = 1;

	assert_true(fd >= 0);
	for (unsigned int i = 0; i < NR(ring_fds); i++) {
		char words[64];

		snprintf(words, sizeof(words), "%s|eventfd", ring_fds[i].name);
		hostile_refused(h, ring_fds[i].id, &index, 8, &fd, 1, words);
	}
	close(fd);
}

static void wrong_ring_fds(struct hostile *h)
{
	uint64_t with_bit = 1 | VHU_VRING_NOFD_MASK;
	uint64_t index = 1;
	int fds[2];

	for (unsigned int i = 0; i < NR(ring_fds); i++) {
		hostile_refused(h, ring_fds[i].id, &with_bit, 8, &h->drv.ring[1].kick_fd, 1,
				ring_fds[i].name);
		hostile_refused(h, ring_fds[i].id, &index, 8, NULL, 0, ring_fds[i].name);
	}
	not_an_eventfd(h, open("/dev/null", O_RDWR | O_CLOEXEC));
	not_an_eventfd(h, open("/dev/zero", O_RDWR | O_CLOEXEC));
	not_an_eventfd(h, memfd_create("x", MFD_CLOEXEC));
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	not_an_eventfd(h, fds[0]);
	not_an_eventfd(h, fds[1]);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	not_an_eventfd(h, fds[0]);
	close(fds[1]);
}

static void a21_ring_fd_has_to_be_one_eventfd_or_none(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), wrong_ring_fds);
}

static void fill_up(int fd)
{
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
}

static void call_at_its_maximum(struct hostile *h)
{
	drv_ring_calls(&h->drv.ring[1]);
	fill_up(h->drv.ring[1].call_fd);
	for (unsigned int i = 0; i < 10; i++) {
		drv_ring_want_calls(&h->drv.ring[1], true);
		hostile_sends(h);
	}
	/* Nothing is lost: who reads a full counter is woken all the same. */
	assert_int_equal(drv_ring_calls(&h->drv.ring[1]), UINT64_MAX - 1);
	drv_check_in_step(&h->drv);
}

static void a21_call_fd_at_its_maximum_never_blocks(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), call_at_its_maximum);
}

/*
 * A program has to have a watchdog for that: it interrupts a thread that has hung in a write.
 */
static pthread_t watched;
static bool watch_over, hung;

static void on_alarm(int signo)
{
	(void)signo;
}

static void *watchdog(void *arg)
{
	const uint64_t *visits = arg;
	uint64_t last = 0;
	unsigned int still = 0;

	while (!__atomic_load_n(&watch_over, __ATOMIC_ACQUIRE)) {
		uint64_t now = __atomic_load_n(visits, __ATOMIC_RELAXED);

		still = now == last ? still + 1 : 0;
		last = now;
		if (still >= 10) {
			__atomic_store_n(&hung, true, __ATOMIC_RELEASE);
			pthread_kill(watched, SIGUSR1);
		}
		check_sleep_ms(50);
	}
	return NULL;
}

static void blocking_call(struct hostile *h)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct sigaction old;
	uint64_t visits = 0;
	pthread_t thread;
	int fd = h->drv.ring[1].call_fd;
	uint8_t frame[100] = { 0 };

	/* The flag belongs to the open file, which both sides share. */
	drv_ring_calls(&h->drv.ring[1]);
	fill_up(fd);
	assert_return_code(fcntl(fd, F_SETFL, 0), errno);
	watched = pthread_self();
	watch_over = false;
	hung = false;
	assert_return_code(sigaction(SIGUSR1, &action, &old), errno);
	assert_int_equal(pthread_create(&thread, NULL, watchdog, &visits), 0);

	drv_ring_want_calls(&h->drv.ring[1], true);
	assert_true(drv_net_add(&h->drv, 1, frame, sizeof(frame), NULL) >= 0);
	drv_ring_kick(&h->drv.ring[1]);
	for (unsigned int i = 0; i < 100; i++) {
		__atomic_store_n(&visits, i + 1, __ATOMIC_RELAXED);
		fixture_pump(NULL);
		check_pause();
	}
	__atomic_store_n(&watch_over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_return_code(sigaction(SIGUSR1, &old, NULL), errno);
	/* Back to what the driver's own reads expect. */
	assert_return_code(fcntl(fd, F_SETFL, O_NONBLOCK), errno);
	drv_ring_calls(&h->drv.ring[1]);
	assert_true(hung);
	/* Who blocks a data thread loses the port (a data thread may serve many). */
	assert_true(check_until(fixture_pump(NULL), h->victim.closed == h->victim.connected));
	assert_true(h->victim.closed_err < 0);
	fixture_check_reason(&h->victim, "call eventfd|block");
}

static void a28_blocking_call_fd_hangs_nothing_for_ever(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), blocking_call);
}

static uint64_t counter_of(int fd)
{
	unsigned long long count = 0;
	char path[64], *line = NULL;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	assert_non_null(file);
	while (getline(&line, &room, file) > 0)
		sscanf(line, "eventfd-count: %llx", &count);
	free(line);
	fclose(file);
	return count;
}

static void kick_as_a_semaphore(struct hostile *h)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	unsigned int rounds = 0;

	assert_true(fd >= 0);
	fill_up(fd);
	close(h->drv.ring[1].kick_fd);
	h->drv.ring[1].kick_fd = fd;
	drv_do_vring_fd(&h->drv, VHU_SET_VRING_KICK, 1, fd);
	drv_check_in_step(&h->drv);
	while (fixture_pump(NULL))
		assert_true(++rounds < 100);
	/* Nobody has read it: reading would take as long as it counts. */
	assert_int_equal(counter_of(fd), UINT64_MAX - 1);
}

static void a29_kick_fd_with_a_huge_count_is_not_read(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), kick_as_a_semaphore);
}

static void no_stream_socket(struct hostile *h, int fd)
{
	assert_true(fd >= 0);
	hostile_refused(h, VHU_SET_BACKEND_REQ_FD, NULL, 0, &fd, 1, "SET_BACKEND_REQ_FD");
	close(fd);
}

static void channels_that_are_none(struct hostile *h)
{
	int fds[2];

	no_stream_socket(h, eventfd(0, EFD_CLOEXEC));
	no_stream_socket(h, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	no_stream_socket(h, fds[1]);
	close(fds[0]);
	assert_return_code(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), errno);
	no_stream_socket(h, fds[1]);
	close(fds[0]);
	no_stream_socket(h, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void a31_backend_channel_has_to_be_a_stream_socket(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), channels_that_are_none);
}

static void channel_again_and_again(struct hostile *h)
{
	for (unsigned int i = 0; i < 20; i++) {
		int fds[2];

		assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
		drv_do(&h->drv, VHU_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1);
		close(fds[0]);
		close(fds[1]);
	}
	drv_check_in_step(&h->drv);
}

static void a1_backend_channel_set_again_leaks_nothing(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), channel_again_and_again);
}

/*
 * ---- Changes while a ring runs ----
 */
static void changes_of_a_running_ring(struct hostile *h)
{
	struct vhu_vring_state num = { 1, h->drv.ring[1].num * 2 };
	struct vhu_vring_state base = { 1, 77 };
	struct vhu_vring_addr addr;

	hostile_sends(h);
	/* Taken for the next start or refused: what runs is not changed in its course. */
	assert_true(drv_ack(&h->drv, VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0) >= 0);
	hostile_sends(h);
	num.num = h->drv.ring[1].num / 2;
	assert_true(drv_ack(&h->drv, VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0) >= 0);
	for (unsigned int i = 0; i < h->drv.ring[1].num; i++)
		hostile_sends(h);
	assert_true(drv_ack(&h->drv, VHU_SET_VRING_BASE, &base, sizeof(base), NULL, 0) >= 0);
	hostile_sends(h);
	/* What is taken anew from all that was said, as with a new call fd, has to fit together too. */
	num.num = h->drv.ring[1].num * 2;
	assert_true(drv_ack(&h->drv, VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0) >= 0);
	drv_do_vring_fd(&h->drv, VHU_SET_VRING_CALL, 1, h->drv.ring[1].call_fd);
	for (unsigned int i = 0; i <= h->drv.ring[1].num; i++)
		hostile_sends(h);
	/* To a place where nothing is: refused, or the ring is broken; never half and half. */
	drv_fill_addr(&h->drv, 1, &addr);
	addr.used = 16;
	if (drv_ack(&h->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0) < 0)
		return;
	fixture_check_reason(&h->victim, "used");
	drv_check_in_step(&h->drv);
	hostile_ring_works_after_restart(h);
}

static void a22_b20_running_ring_is_not_changed_in_its_course(void **state)
{
	hostile_rounds(hostile_begin(state, true, FIXTURE_SINK, NULL), changes_of_a_running_ring);
}

static void kick_before_the_rest(struct hostile *h)
{
	uint64_t index = 1;
	uint64_t one = 1;
	struct vhu_vring_addr addr;

	/* A kick that is there before anything else is. */
	assert_int_equal(write(h->drv.ring[1].kick_fd, &one, sizeof(one)), sizeof(one));
	if (drv_ack(&h->drv, VHU_SET_VRING_KICK, &index, 8, &h->drv.ring[1].kick_fd, 1) < 0)
		return;
	fixture_settle();
	assert_false(h->victim.ring[1].running);
	drv_set_features(&h->drv, h->drv.offered & ~VHU_MASK(VHU_F_LOG_ALL_BIT));
	drv_enable_ring(&h->drv, 1, true);
	drv_fill_addr(&h->drv, 1, &addr);
	if (drv_ack(&h->drv, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0) < 0)
		return;
	fixture_settle();
	assert_false(h->victim.ring[1].running);
	drv_set_mem(&h->drv);
	drv_start_ring(&h->drv, 1, 0);
	hostile_sends(h);
}

static void b15_kick_before_the_ring_is_set_up_is_harmless(void **state)
{
	hostile_rounds(hostile_begin(state, false, FIXTURE_SINK, NULL), kick_before_the_rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		hostile_test(a1_backend_channel_set_again_leaks_nothing),
		hostile_test(a19_ring_size_that_cannot_be_is_refused),
		hostile_test(a19_base_and_enable_out_of_range_are_refused),
		hostile_test(a20_ring_addresses_are_translated_to_their_last_byte),
		hostile_test(a20_ring_addresses_that_cannot_be_are_refused),
		hostile_test(a21_ring_fd_has_to_be_one_eventfd_or_none),
		hostile_test(a21_call_fd_at_its_maximum_never_blocks),
		hostile_test(a22_b20_running_ring_is_not_changed_in_its_course),
		hostile_test(a28_blocking_call_fd_hangs_nothing_for_ever),
		hostile_test(a29_kick_fd_with_a_huge_count_is_not_read),
		hostile_test(a31_backend_channel_has_to_be_a_stream_socket),
		hostile_test(b15_kick_before_the_ring_is_set_up_is_harmless),
	};

	return cmocka_run_group_tests_name("hostile rings from the socket", tests, NULL, NULL);
}
