/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * The driver's side of a ring against a device of the tests' own: every layout and feature, sizes,
 * wrap-arounds, notification, and devices that die.
 */
#include <errno.h>
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
	PIECES = 5,
	TOKENS_MAX = 32768,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	CHAINS = 70000,
#else
	CHAINS = 100000,
#endif
};

/* What the test knows of a chain that it added. */
struct added {
	uint64_t gpa; /* of its first piece: holds the token, and no other chain has the same */
	uint32_t len[PIECES];
	uint8_t nr_read, nr_write;
	bool outstanding, used;
	uint32_t popped_by; /* number of the device */
	uint32_t used_len;
	uint64_t seq;
};

struct bed {
	struct vhu_memory *memory;
	struct vhu_driver *driver;
	struct rdev dev;
	uint64_t random;
	struct added *added;			  /* by token */
	uint32_t *free_token, nr_free, nr_tokens; /* a power of two */
	uint64_t seq, last_popped, last_taken;
	struct rdev_chain *popped; /* by the device, and not used yet: a circle, oldest first */
	uint32_t first_popped, nr_popped;
	uint32_t device;		   /* number of this one */
	bool device_sleeps, driver_sleeps; /* until the other side notifies */
	uint64_t nr_added, nr_taken, nr_woken, nr_called;
};

static uint64_t feature_set(unsigned int i)
{
	return (i & 1 ? PACKED : 0) | (i & 2 ? INDIRECT : 0) | (i & 4 ? EVENT : 0) |
	       (i & 8 ? ORDER : 0);
}

static void bed_new(struct bed *bed, uint64_t features, uint32_t num, uint32_t indirect_max)
{
	struct vhu_driver_options options = { .size = sizeof(options), .num = num };

	memset(bed, 0, sizeof(*bed));
	assert_int_equal(vhu_memory_new(&bed->memory), 0);
	assert_int_equal(
		vhu_memory_add(bed->memory, 0x10000000, num > 1000 ? 64 << 20 : 1 << 20, 0), 0);
	options.memory = bed->memory;
	options.features = features;
	options.indirect_max = indirect_max;
	assert_int_equal(vhu_driver_new(&bed->driver, &options), 0);
	assert_int_equal(vhu_driver_free_entries(bed->driver), num);
	rdev_init(&bed->dev, bed->memory, bed->driver);
	bed->random = features ^ num;
	bed->seq = 1;
	bed->device = 1;
	bed->nr_tokens = num > 1024 ? TOKENS_MAX : 1024;
	bed->added = calloc(bed->nr_tokens, sizeof(*bed->added));
	bed->free_token = calloc(bed->nr_tokens, sizeof(*bed->free_token));
	bed->popped = calloc(num, sizeof(*bed->popped));
	for (bed->nr_free = 0; bed->nr_free < bed->nr_tokens; bed->nr_free++)
		bed->free_token[bed->nr_free] = bed->nr_free;
}

static void bed_free(struct bed *bed)
{
	vhu_driver_free(bed->driver);
	vhu_memory_free(bed->memory);
	free(bed->added);
	free(bed->free_token);
	free(bed->popped);
}

static uint32_t below(struct bed *bed, uint32_t n)
{
	return rdev_random(&bed->random, n);
}

/* ---- The driver's user ---- */

/* Adds one chain of random shape. False: no room. */
static bool bed_add(struct bed *bed)
{
	const uint32_t num = vhu_driver_num(bed->driver);
	struct vhu_buffer buffers[PIECES];
	unsigned int nr = below(bed, 3) ? 1 : 1 + below(bed, PIECES);
	unsigned int nr_read, token;
	struct added *a;
	int err;

	nr = nr > num ? num : nr;
	nr_read = below(bed, nr + 1);
	if (!bed->nr_free)
		return false;
	token = bed->free_token[bed->nr_free - 1];
	a = &bed->added[token];
	*a = (struct added){ .gpa = bed->seq << 20 | token << 4,
			     .nr_read = (uint8_t)nr_read,
			     .nr_write = (uint8_t)(nr - nr_read),
			     .seq = bed->seq };
	for (unsigned int i = 0; i < nr; i++) {
		a->len[i] = below(bed, 5000);
		buffers[i] = (struct vhu_buffer){ .gpa = a->gpa + i, .len = a->len[i] };
	}
	err = vhu_driver_add(bed->driver, buffers, nr_read, nr - nr_read, token);
	if (err) {
		assert_int_equal(err, -ENOSPC);
		assert_true(vhu_driver_free_entries(bed->driver) < nr);
		return false;
	}
	a->outstanding = true;
	bed->nr_free--;
	bed->seq++;
	bed->nr_added++;
	return true;
}

/* A device that sleeps is woken, one that does not is left alone. */
static void bed_publish(struct bed *bed)
{
	const bool had = rdev_has_avail(&bed->dev);
	const bool kicked = vhu_driver_publish(bed->driver);

	if (bed->device_sleeps && !had && rdev_has_avail(&bed->dev)) {
		assert_true(kicked);
		bed->device_sleeps = false;
		rdev_set_kicks(&bed->dev, false);
		bed->nr_woken++;
	} else if (bed->dev.packed || !bed->dev.event_idx) {
		/* an index of 16 bits comes by again */
		assert_false(kicked);
	}
}

/* Takes one chain back. False: there is none. */
static bool bed_take(struct bed *bed)
{
	struct vhu_used used;
	struct added *a;
	int got = vhu_driver_take(bed->driver, &used);

	if (got < 0)
		fail_msg("broken: %s", vhu_driver_fault(bed->driver));
	if (!got)
		return false;
	assert_true(used.token < bed->nr_tokens);
	a = &bed->added[used.token];
	assert_true(a->outstanding && a->used);
	assert_int_equal(used.len, a->used_len);
	if (bed->dev.in_order) {
		assert_true(a->seq > bed->last_taken);
		bed->last_taken = a->seq;
	}
	a->outstanding = false;
	bed->free_token[bed->nr_free++] = used.token;
	bed->nr_taken++;
	return true;
}

static void bed_take_some(struct bed *bed, uint32_t max)
{
	if (bed->driver_sleeps)
		return;
	while (max--) {
		if (bed_take(bed))
			continue;
		if (vhu_driver_arm(bed->driver))
			continue;
		bed->driver_sleeps = true;
		return;
	}
}

/* ---- The device ---- */

static struct rdev_chain *popped(struct bed *bed, uint32_t i)
{
	return &bed->popped[(bed->first_popped + i) % bed->dev.num];
}

/* What the device sees has to be what was added, in the order in which it was. */
static bool bed_pop(struct bed *bed)
{
	struct rdev_chain *chain = popped(bed, bed->nr_popped);
	struct added *a;

	if (!rdev_has_avail(&bed->dev))
		return false;
	assert_true(bed->nr_popped < bed->dev.num);
	assert_true(rdev_pop(&bed->dev, chain));
	a = &bed->added[chain->piece[0].gpa >> 4 & (bed->nr_tokens - 1)];
	assert_true(a->outstanding && a->popped_by != bed->device);
	assert_true(a->gpa == chain->piece[0].gpa);
	assert_int_equal(chain->nr, a->nr_read + a->nr_write);
	for (unsigned int i = 0; i < chain->nr; i++) {
		assert_true(chain->piece[i].gpa == a->gpa + i);
		assert_int_equal(chain->piece[i].len, a->len[i]);
		assert_int_equal(chain->piece[i].write, i >= a->nr_read);
	}
	assert_true(a->seq > bed->last_popped);
	bed->last_popped = a->seq;
	a->popped_by = bed->device;
	bed->nr_popped++;
	return true;
}

static void bed_pop_some(struct bed *bed, uint32_t max)
{
	if (bed->device_sleeps)
		return;
	while (max--) {
		if (bed_pop(bed))
			continue;
		rdev_set_kicks(&bed->dev, true);
		if (rdev_has_avail(&bed->dev)) {
			rdev_set_kicks(&bed->dev, false);
			continue;
		}
		bed->device_sleeps = true;
		return;
	}
}

static void note_used(struct bed *bed, const struct rdev_chain *chain, uint32_t len)
{
	struct added *a = &bed->added[chain->piece[0].gpa >> 4 & (bed->nr_tokens - 1)];

	a->used = true;
	a->used_len = len;
}

/* Uses some of what was popped: in order one by one or as a batch, else any. */
static void bed_use_some(struct bed *bed, uint32_t max)
{
	while (max && bed->nr_popped) {
		uint32_t nr = 1, len, entries = 0;
		struct rdev_chain *last;

		if (!bed->dev.in_order) {
			struct rdev_chain *any = popped(bed, below(bed, bed->nr_popped));
			const struct rdev_chain swap = *any;

			*any = *popped(bed, 0);
			*popped(bed, 0) = swap;
		} else if (below(bed, 2)) {
			nr = 1 + below(bed, bed->nr_popped);
		}
		for (uint32_t i = 0; i < nr; i++) {
			note_used(bed, popped(bed, i), popped(bed, i)->write_len);
			entries += popped(bed, i)->entries;
		}
		last = popped(bed, nr - 1);
		len = below(bed, last->write_len + 1);
		note_used(bed, last, len);
		rdev_push(&bed->dev, last->id, len, nr, entries);
		bed->first_popped = (bed->first_popped + nr) % bed->dev.num;
		bed->nr_popped -= nr;
		max -= nr < max ? nr : max;
	}
}

static void bed_show_used(struct bed *bed)
{
	const bool any = bed->dev.nr_hidden != 0;
	const bool called = rdev_publish(&bed->dev);

	if (!any)
		return;
	if (bed->driver_sleeps) {
		assert_true(called);
		bed->driver_sleeps = false;
		bed->nr_called++;
		vhu_driver_disarm(bed->driver);
	} else if (bed->dev.packed || !bed->dev.event_idx) {
		assert_false(called);
	}
}

/* Any one of the four, as much of it as may be. */
static void bed_step(struct bed *bed)
{
	const uint32_t few = bed->dev.num < 64 ? bed->dev.num + 1 : 64;
	uint32_t n = 1 + below(bed, below(bed, 20) ? few : 2 * bed->dev.num);

	switch (below(bed, 4)) {
	case 0:
		while (n-- && bed_add(bed))
			;
		if (below(bed, 4))
			bed_publish(bed);
		break;
	case 1:
		bed_pop_some(bed, n);
		break;
	case 2:
		bed_use_some(bed, n);
		if (below(bed, 4))
			bed_show_used(bed);
		break;
	default:
		bed_take_some(bed, n);
		break;
	}
}

/* Everything comes back. */
static void bed_finish(struct bed *bed)
{
	struct vhu_driver_stats stats;

	bed_publish(bed);
	while (vhu_driver_outstanding(bed->driver)) {
		const uint64_t before = bed->nr_taken;

		bed_pop_some(bed, bed->dev.num + 1);
		bed_use_some(bed, bed->dev.num);
		bed_show_used(bed);
		bed_take_some(bed, bed->dev.num + 1);
		assert_true(bed->nr_taken > before);
	}
	assert_int_equal(bed->nr_taken, bed->nr_added);
	assert_int_equal(bed->nr_free, bed->nr_tokens);
	assert_int_equal(vhu_driver_free_entries(bed->driver), bed->dev.num);
	vhu_driver_get_stats(bed->driver, &stats);
	assert_int_equal(stats.added, bed->nr_added);
	assert_int_equal(stats.taken, bed->nr_taken);
	assert_null(vhu_driver_fault(bed->driver));
}

static void traffic(uint64_t features, uint32_t num)
{
	/* what happens for large rings takes longer to set up than what it shows */
	const uint64_t target = num > 1000 ? 3ull * num : CHAINS;
	struct bed bed;

	bed_new(&bed, features, num, PIECES - 1);
	while (bed.nr_added < target)
		bed_step(&bed);
	bed_finish(&bed);
	assert_true(bed.nr_woken > 0 && bed.nr_called > 0);
	bed_free(&bed);
}

static void chains_of_any_shape_come_back_once_and_nobody_sleeps_through_it(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 256, 1000, 32768 };

	(void)state;
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			if (!(feature_set(i) & PACKED) && (sizes[s] & (sizes[s] - 1)))
				continue;
			traffic(feature_set(i), sizes[s]);
		}
}

/* ---- Options, limits ---- */

static void options_that_cannot_be_are_refused(void **state)
{
	struct vhu_driver *driver = NULL;
	struct vhu_memory *memory;
	struct vhu_driver_options good = { .size = sizeof(good), .num = 256 }, o;

	(void)state;
	assert_int_equal(vhu_memory_new(&memory), 0);
	good.memory = memory;
	assert_int_equal(vhu_driver_new(&driver, &good), -ENOSPC);
	assert_int_equal(vhu_memory_add(memory, 0, 2 << 20, 0), 0);
	o = good;
	o.size--;
	assert_int_equal(vhu_driver_new(&driver, &o), -EINVAL);
	o = good;
	o.memory = NULL;
	assert_int_equal(vhu_driver_new(&driver, &o), -EINVAL);
	for (unsigned int i = 0; i < 2; i++) {
		static const uint32_t nums[] = { 0, 32769, 65536, 3, 1000 };

		for (unsigned int k = 0; k < (i ? 3 : 5); k++) {
			o = good;
			o.features = i ? PACKED : 0;
			o.num = nums[k];
			assert_int_equal(vhu_driver_new(&driver, &o), -EINVAL);
		}
	}
	o = good;
	o.indirect_max = 32769;
	assert_int_equal(vhu_driver_new(&driver, &o), -EINVAL);
	o.indirect_max = 32768;
	o.num = 32768;
	o.features = INDIRECT;
	assert_int_equal(vhu_driver_new(&driver, &o), -ENOSPC);
	assert_null(driver);
	assert_int_equal(vhu_driver_new(&driver, &good), 0);
	assert_int_equal(vhu_driver_num(driver), 256);
	vhu_driver_free(driver);
	vhu_driver_free(NULL);
	vhu_memory_free(memory);
}

static void chains_that_cannot_be_are_refused_and_leave_no_trace(void **state)
{
	static struct vhu_buffer buffers[70000];

	(void)state;
	for (unsigned int i = 0; i < 70000; i++)
		buffers[i] = (struct vhu_buffer){ .gpa = i, .len = 1 };
	for (unsigned int i = 0; i < 4; i++) {
		const uint64_t features = feature_set(i);
		struct bed bed;
		struct vhu_buffer two[2] = { { .gpa = 1, .len = 0x80000000u },
					     { .gpa = 2, .len = 0x80000000u } };

		bed_new(&bed, features, 8, 6);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 0, 0, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 9, 0, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 0, 9, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 1, UINT32_MAX, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, UINT32_MAX, 2, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 32768, 32768, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, two, 0, 2, 0), -EINVAL);
		assert_int_equal(vhu_driver_add(bed.driver, two, 2, 0, 0), -EINVAL);
		assert_int_equal(vhu_driver_free_entries(bed.driver), 8);
		assert_false(vhu_driver_publish(bed.driver));
		/* a chain through a table takes one entry, a longer one as many as pieces */
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 3, 3, 0), 0);
		assert_int_equal(vhu_driver_free_entries(bed.driver), features & INDIRECT ? 7 : 2);
		assert_int_equal(vhu_driver_add(bed.driver, buffers, 7, 0, 0),
				 features & INDIRECT ? 0 : -ENOSPC);
		assert_int_equal(vhu_driver_free_entries(bed.driver), features & INDIRECT ? 0 : 2);
		bed_free(&bed);
	}
}

static void nobody_sees_a_chain_before_it_is_published(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct bed bed;

		bed_new(&bed, feature_set(i), 8, 4);
		for (unsigned int lap = 0; lap < 40; lap++) {
			while (bed_add(&bed))
				;
			assert_false(rdev_has_avail(&bed.dev));
			vhu_driver_publish(bed.driver);
			assert_true(rdev_has_avail(&bed.dev));
			bed.device_sleeps = false;
			bed_pop_some(&bed, 9);
			bed_use_some(&bed, 8);
			rdev_publish(&bed.dev);
			bed.driver_sleeps = false;
			bed_take_some(&bed, 9);
			rdev_set_kicks(&bed.dev, false);
		}
		bed_free(&bed);
	}
}

/* ---- Kicks ---- */

static void kick_is_written_once_asked_for_and_counted(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		struct vhu_driver_stats stats;
		struct bed bed;
		uint64_t n;

		bed_new(&bed, feature_set(i) & ~INDIRECT, 8, 0);
		vhu_driver_set_kick_fd(bed.driver, fd);
		assert_false(vhu_driver_publish(bed.driver));
		rdev_set_kicks(&bed.dev, true);
		assert_true(bed_add(&bed));
		assert_true(vhu_driver_publish(bed.driver));
		assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
		assert_int_equal(n, 1);
		assert_false(vhu_driver_publish(bed.driver));
		rdev_set_kicks(&bed.dev, false);
		bed_add(&bed);
		assert_false(vhu_driver_publish(bed.driver));
		assert_true(read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN);
		vhu_driver_get_stats(bed.driver, &stats);
		assert_int_equal(stats.kicks, 1);
		assert_int_equal(stats.kicks_suppressed, 1);
		/* a counter at its maximum is no fault: the device has plenty to wake up for */
		n = UINT64_MAX - 1;
		assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
		bed_pop(&bed);
		while (bed_pop(&bed))
			;
		rdev_set_kicks(&bed.dev, true);
		if (bed_add(&bed))
			assert_true(vhu_driver_publish(bed.driver));
		assert_null(vhu_driver_fault(bed.driver));
		close(fd);
		bed_free(&bed);
	}
}

static void event_index_kicks_once_for_each_time_that_it_was_asked(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		for (uint32_t num = 1; num <= 32; num++) {
			struct bed bed;
			uint32_t since = 0; /* entries since it was asked */

			if (!i && (num & (num - 1)))
				continue;
			bed_new(&bed, EVENT | (i ? PACKED : 0), num, 0);
			for (unsigned int lap = 0; lap < 500; lap++) {
				bool asked = lap % 3 == 0;

				if (asked) {
					rdev_set_kicks(&bed.dev, true);
					since = 0;
				}
				for (unsigned int k = below(&bed, num) + 1; k && bed_add(&bed); k--)
					;
				since += num - vhu_driver_free_entries(bed.driver);
				/* a packed ring's position comes by again after two laps */
				if (asked || !i || since <= 2 * num)
					assert_int_equal(vhu_driver_publish(bed.driver), asked);
				else
					vhu_driver_publish(bed.driver);
				while (bed_pop(&bed))
					;
				bed_use_some(&bed, num);
				rdev_publish(&bed.dev);
				while (bed_take(&bed))
					;
			}
			bed_free(&bed);
		}
}

/* ---- Calls ---- */

static void arm_sees_what_was_used_before_and_calls_come_for_what_comes_after(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct vhu_driver_stats stats;
		struct bed bed;

		bed_new(&bed, feature_set(i), 4, 0);
		/* nobody asked: no call */
		assert_true(bed_add(&bed));
		vhu_driver_publish(bed.driver);
		assert_true(bed_pop(&bed));
		bed_use_some(&bed, 1);
		assert_false(rdev_publish(&bed.dev));
		assert_true(vhu_driver_arm(bed.driver));
		assert_true(bed_take(&bed));
		assert_false(vhu_driver_arm(bed.driver));
		assert_true(bed_add(&bed));
		vhu_driver_publish(bed.driver);
		assert_true(bed_pop(&bed));
		bed_use_some(&bed, 1);
		assert_true(rdev_publish(&bed.dev));
		vhu_driver_disarm(bed.driver);
		assert_true(bed_take(&bed));
		assert_true(bed_add(&bed));
		vhu_driver_publish(bed.driver);
		assert_true(bed_pop(&bed));
		bed_use_some(&bed, 1);
		assert_false(rdev_publish(&bed.dev));
		vhu_driver_get_stats(bed.driver, &stats);
		assert_int_equal(stats.arms, 2);
		bed_free(&bed);
	}
}

/* ---- Devices that die ---- */

/* The device is gone, with all that it had not published; another one begins where it is told. */
static void bed_die(struct bed *bed, bool resubmit)
{
	const uint32_t before = vhu_driver_outstanding(bed->driver);
	uint32_t base;

	bed->device++;
	bed->nr_popped = 0;
	bed->last_popped = 0;
	if (resubmit) {
		vhu_driver_resubmit(bed->driver);
		base = vhu_driver_base(bed->driver);
		assert_int_equal(base, bed->dev.packed ? 0x80008000u : 0);
		/* published, all of it: nothing is hidden */
		assert_false(vhu_driver_publish(bed->driver));
	} else {
		base = vhu_driver_base(bed->driver);
		assert_int_equal(base, vhu_driver_base(bed->driver));
	}
	assert_int_equal(vhu_driver_outstanding(bed->driver), before);
	rdev_init(&bed->dev, bed->memory, bed->driver);
	rdev_start(&bed->dev, base);
	/* a frontend kicks at a start, and whoever took over looks what had been used */
	bed->device_sleeps = false;
	while (bed_take(bed))
		;
	/* but a driver that sleeps goes on doing so, and asks for calls */
}

static void deaths(uint64_t features, uint32_t num)
{
	struct vhu_driver_stats stats;
	struct bed bed;

	bed_new(&bed, features, num, PIECES - 1);
	for (unsigned int death = 0; death < 300; death++) {
		for (unsigned int n = below(&bed, 60); n; n--)
			bed_step(&bed);
		/* or it dies between writing what it used and saying so, or between that and a call */
		if (below(&bed, 2))
			bed_show_used(&bed);
		else if (below(&bed, 2))
			rdev_publish(&bed.dev);
		bed_die(&bed, below(&bed, 2));
	}
	vhu_driver_get_stats(bed.driver, &stats);
	assert_true(stats.resubmitted > 0);
	bed_finish(&bed);
	bed_free(&bed);
}

static void devices_that_die_lose_nothing_and_double_nothing(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 64, 100 };

	(void)state;
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			if (!(feature_set(i) & PACKED) && (sizes[s] & (sizes[s] - 1)))
				continue;
			deaths(feature_set(i), sizes[s]);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_that_cannot_be_are_refused),
		cmocka_unit_test(chains_that_cannot_be_are_refused_and_leave_no_trace),
		cmocka_unit_test(nobody_sees_a_chain_before_it_is_published),
		cmocka_unit_test(kick_is_written_once_asked_for_and_counted),
		cmocka_unit_test(event_index_kicks_once_for_each_time_that_it_was_asked),
		cmocka_unit_test(arm_sees_what_was_used_before_and_calls_come_for_what_comes_after),
		cmocka_unit_test(chains_of_any_shape_come_back_once_and_nobody_sleeps_through_it),
		cmocka_unit_test(devices_that_die_lose_nothing_and_double_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
