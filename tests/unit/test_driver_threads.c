/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/* tsan */
/*
 * The driver's side of a ring on one thread and a device of the tests' own on another, both asleep
 * as often as they can be: no notification is lost, no byte is seen before it was written.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring_device.h"

#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define INDIRECT VHU_MASK(VHU_F_INDIRECT_DESC_BIT)
#define EVENT VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define ORDER VHU_MASK(VHU_F_IN_ORDER_BIT)

enum {
	CHAINS = 20000,
	PATIENCE_MS = 20000,
	WORDS = 512, /* more than a ring has entries */
};

struct pair {
	struct vhu_memory *memory;
	struct vhu_driver *driver;
	struct rdev dev;
	int kick_fd, call_fd;
	/* What the buffers hold: plain memory, which only the rings' order protects. */
	uint32_t question[WORDS], answer[WORDS];
	const char *trouble;
};

/* Waits for a notification. False: it was lost. */
static bool sleep_on(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, PATIENCE_MS) != 1)
		return false;
	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n);
}

static void *device_thread(void *arg)
{
	struct pair *pair = arg;
	struct rdev *dev = &pair->dev;
	uint64_t random = 7, one = 1;
	struct rdev_chain chain;

	for (uint32_t done = 0; done < CHAINS;) {
		uint32_t n = 1 + rdev_random(&random, 8);

		while (n-- && rdev_pop(dev, &chain)) {
			const uint32_t token = (uint32_t)chain.piece[0].gpa;

			pair->answer[token] = ~pair->question[token];
			rdev_push(dev, chain.id, 4, 1, chain.entries);
			done++;
		}
		if (rdev_publish(dev) && write(pair->call_fd, &one, sizeof(one)) < 0)
			pair->trouble = "the call eventfd cannot be written";
		if (rdev_has_avail(dev) || done == CHAINS)
			continue;
		rdev_set_kicks(dev, true);
		if (!rdev_has_avail(dev) && !sleep_on(pair->kick_fd)) {
			pair->trouble = "a kick was lost";
			break;
		}
		rdev_set_kicks(dev, false);
	}
	return NULL;
}

static void drive(struct pair *pair, uint32_t num)
{
	struct vhu_driver *driver = pair->driver;
	uint64_t random = 3;
	uint32_t sent = 0, taken = 0, free_token[WORDS], nr_free;

	for (nr_free = 0; nr_free < num; nr_free++)
		free_token[nr_free] = nr_free;
	while (taken < CHAINS) {
		uint32_t n = 1 + rdev_random(&random, 8);
		struct vhu_used used;

		while (n-- && sent < CHAINS && nr_free) {
			const uint32_t token = free_token[nr_free - 1];
			const struct vhu_buffer buffers[2] = { { .gpa = token, .len = 4 },
							       { .gpa = token, .len = 4 } };

			if (vhu_driver_add(driver, buffers, num > 1, 1, token))
				break;
			pair->question[token] = sent++;
			nr_free--;
		}
		vhu_driver_publish(driver);
		while (vhu_driver_take(driver, &used) == 1) {
			assert_int_equal(pair->answer[used.token], ~pair->question[used.token]);
			free_token[nr_free++] = used.token;
			taken++;
		}
		assert_null(vhu_driver_fault(driver));
		if (taken == CHAINS || (nr_free && sent < CHAINS && rdev_random(&random, 9)))
			continue;
		if (vhu_driver_outstanding(driver) && !vhu_driver_arm(driver) &&
		    !sleep_on(pair->call_fd))
			fail_msg("a call was lost");
		vhu_driver_disarm(driver);
	}
}

static void two_threads(uint64_t features, uint32_t num)
{
	static struct pair pair;
	struct vhu_driver_options options = {
		.size = sizeof(options), .num = num, .features = features, .indirect_max = 2
	};
	pthread_t thread;

	assert_int_equal(vhu_memory_new(&pair.memory), 0);
	assert_int_equal(vhu_memory_add(pair.memory, 0x100000, 1 << 20, 0), 0);
	options.memory = pair.memory;
	assert_int_equal(vhu_driver_new(&pair.driver, &options), 0);
	rdev_init(&pair.dev, pair.memory, pair.driver);
	pair.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pair.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pair.trouble = NULL;
	vhu_driver_set_kick_fd(pair.driver, pair.kick_fd);
	assert_int_equal(pthread_create(&thread, NULL, device_thread, &pair), 0);
	drive(&pair, num);
	pthread_join(thread, NULL);
	if (pair.trouble)
		fail_msg("%s", pair.trouble);
	close(pair.kick_fd);
	close(pair.call_fd);
	vhu_driver_free(pair.driver);
	vhu_memory_free(pair.memory);
}

static void no_notification_is_lost_and_no_byte_is_seen_too_early(void **state)
{
	static const uint32_t sizes[] = { 1, 4, 256 };

	(void)state;
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int s = 0; s < 3; s++)
			two_threads((i & 1 ? PACKED : 0) | (i & 2 ? INDIRECT : 0) |
					    (i & 4 ? EVENT : 0) | (i & 8 ? ORDER : 0),
				    sizes[s]);
}

/*
 * ---- The moment itself ----
 *
 * One side publishes while the other asks to be notified, both at once, many times: at least one of
 * them has to see the other. Without either barrier, both stores can be late.
 */

enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	MEETINGS = 5000,
#else
	MEETINGS = 30000,
#endif
	JITTER = 64,
};

struct meeting {
	struct rdev dev;
	struct vhu_driver *driver;
	bool is_call;	   /* the driver waits for a call; else the device for a kick */
	uint32_t go, done; /* number of the meeting */
	uint32_t jitter;
	bool device_noticed; /* has work, or was asked to notify */
};

static void wait_for(const uint32_t *number, uint32_t n)
{
	for (uint32_t spins = 0; __atomic_load_n(number, __ATOMIC_ACQUIRE) != n; spins++)
		if (spins % 1024 == 1023)
			sched_yield();
}

static void delay(uint32_t n)
{
	while (n--)
		__asm__ volatile("" ::: "memory");
}

static void *meeting_device(void *arg)
{
	struct meeting *m = arg;

	for (uint32_t n = 1; n <= MEETINGS; n++) {
		wait_for(&m->go, n);
		delay(m->jitter % JITTER);
		if (m->is_call) {
			m->device_noticed = rdev_publish(&m->dev);
		} else {
			rdev_set_kicks(&m->dev, true);
			m->device_noticed = rdev_has_avail(&m->dev);
		}
		__atomic_store_n(&m->done, n, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void take_back(struct meeting *m)
{
	struct rdev_chain chain;
	struct vhu_used used;

	while (rdev_pop(&m->dev, &chain))
		rdev_push(&m->dev, chain.id, 0, 1, chain.entries);
	rdev_publish(&m->dev);
	while (vhu_driver_take(m->driver, &used) == 1)
		;
	rdev_set_kicks(&m->dev, false);
	vhu_driver_disarm(m->driver);
}

static void meet(struct meeting *m, uint32_t n, uint64_t *random)
{
	const struct vhu_buffer one = { .gpa = 1, .len = 1 };
	struct rdev_chain chain;
	bool noticed;

	assert_int_equal(vhu_driver_add(m->driver, &one, 1, 0, n), 0);
	if (m->is_call) {
		vhu_driver_publish(m->driver);
		assert_true(rdev_pop(&m->dev, &chain));
		rdev_push(&m->dev, chain.id, 0, 1, chain.entries);
	}
	m->jitter = rdev_random(random, JITTER);
	__atomic_store_n(&m->go, n, __ATOMIC_RELEASE);
	/* the other side is some hundred cycles late, which differs from machine to machine */
	delay(rdev_random(random, 16 * JITTER));
	if (m->is_call)
		noticed = vhu_driver_arm(m->driver);
	else
		noticed = vhu_driver_publish(m->driver);
	wait_for(&m->done, n);
	if (!noticed && !m->device_noticed)
		fail_msg("meeting %u: neither side saw the other", n);
	take_back(m);
}

static void publishing_and_asking_at_once_never_miss_each_other(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		static struct meeting m;
		struct vhu_driver_options options = { .size = sizeof(options), .num = 4 };
		struct vhu_memory *memory;
		uint64_t random = i;
		pthread_t thread;

		memset(&m, 0, sizeof(m));
		assert_int_equal(vhu_memory_new(&memory), 0);
		assert_int_equal(vhu_memory_add(memory, 0x100000, 1 << 20, 0), 0);
		options.memory = memory;
		options.features = (i & 1 ? PACKED : 0) | (i & 2 ? EVENT : 0);
		m.is_call = i & 4;
		assert_int_equal(vhu_driver_new(&m.driver, &options), 0);
		rdev_init(&m.dev, memory, m.driver);
		assert_int_equal(pthread_create(&thread, NULL, meeting_device, &m), 0);
		for (uint32_t n = 1; n <= MEETINGS; n++)
			meet(&m, n, &random);
		pthread_join(thread, NULL);
		vhu_driver_free(m.driver);
		vhu_memory_free(memory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publishing_and_asking_at_once_never_miss_each_other),
		cmocka_unit_test(no_notification_is_lost_and_no_byte_is_seen_too_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
