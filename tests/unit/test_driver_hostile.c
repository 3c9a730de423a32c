/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * Devices that lie to the driver's side of a ring: used elements that cannot be break the ring with
 * a reason, touch no memory, and cost nobody a chain.
 */
#include <errno.h>
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
	NUM = 16,
	MEMORY = 64 << 10,
	GPA = 0x40000,
	USED_FLAGS = 1 << 7 | 1 << 15,
	WRITE = 2,
};

struct bed {
	struct vhu_memory *memory;
	struct vhu_driver *driver;
	struct rdev dev;
	uint8_t *bytes;
};

static void bed_new(struct bed *bed, uint64_t features)
{
	struct vhu_driver_options options = {
		.size = sizeof(options), .num = NUM, .features = features, .indirect_max = 4
	};

	assert_int_equal(vhu_memory_new(&bed->memory), 0);
	assert_int_equal(vhu_memory_add(bed->memory, GPA, MEMORY, 0), 0);
	bed->bytes = vhu_memory_ptr(bed->memory, GPA, MEMORY);
	options.memory = bed->memory;
	assert_int_equal(vhu_driver_new(&bed->driver, &options), 0);
	rdev_init(&bed->dev, bed->memory, bed->driver);
}

static void bed_free(struct bed *bed)
{
	vhu_driver_free(bed->driver);
	vhu_memory_free(bed->memory);
}

/* A chain of one piece read and one written, of so many bytes; its id. */
static uint16_t add(struct bed *bed, uint32_t write_len, uint32_t token)
{
	const struct vhu_buffer buffers[2] = { { .gpa = 0x1000, .len = 100 },
					       { .gpa = 0x2000, .len = write_len } };
	struct rdev_chain chain;

	assert_int_equal(vhu_driver_add(bed->driver, buffers, 1, write_len ? 1 : 0, token), 0);
	vhu_driver_publish(bed->driver);
	assert_true(rdev_pop(&bed->dev, &chain));
	return chain.id;
}

/* Says that id was used, for nr chains of so many entries in all. */
static void use(struct bed *bed, uint32_t id, uint32_t len, uint32_t nr, uint32_t entries)
{
	rdev_push(&bed->dev, id, len, nr, entries);
	rdev_publish(&bed->dev);
}

/* The ring is broken for this reason, stays so, and nobody writes to it any more. */
static void broken(struct bed *bed, const char *words, uint64_t value)
{
	const struct vhu_buffer one = { .gpa = 0x1000, .len = 1 };
	static uint8_t before[MEMORY];
	struct vhu_used used;
	char number[32];

	memcpy(before, bed->bytes, MEMORY);
	assert_int_equal(vhu_driver_take(bed->driver, &used), -EPROTO);
	assert_non_null(vhu_driver_fault(bed->driver));
	snprintf(number, sizeof(number), " %llu", (unsigned long long)value);
	if (!strstr(vhu_driver_fault(bed->driver), words) ||
	    !strstr(vhu_driver_fault(bed->driver), number))
		fail_msg("the reason is: %s", vhu_driver_fault(bed->driver));
	assert_int_equal(vhu_driver_take(bed->driver, &used), -EPROTO);
	assert_int_equal(vhu_driver_add(bed->driver, &one, 1, 0, 9), -EPROTO);
	assert_false(vhu_driver_publish(bed->driver));
	/* nobody may fall asleep on it */
	assert_true(vhu_driver_arm(bed->driver));
	vhu_driver_disarm(bed->driver);
	vhu_driver_base(bed->driver);
	assert_memory_equal(before, bed->bytes, MEMORY);
}

/* A new device serves all that is outstanding, tokens first to last. */
static void mended(struct bed *bed, uint32_t first, uint32_t last)
{
	struct rdev_chain chain;
	struct vhu_used used;

	vhu_driver_resubmit(bed->driver);
	assert_null(vhu_driver_fault(bed->driver));
	rdev_init(&bed->dev, bed->memory, bed->driver);
	while (rdev_pop(&bed->dev, &chain))
		use(bed, chain.id, chain.write_len, 1, chain.entries);
	for (; first <= last; first++) {
		assert_int_equal(vhu_driver_take(bed->driver, &used), 1);
		assert_int_equal(used.token, first);
	}
	assert_int_equal(vhu_driver_take(bed->driver, &used), 0);
	assert_int_equal(vhu_driver_outstanding(bed->driver), 0);
	assert_int_equal(vhu_driver_free_entries(bed->driver), NUM);
}

static uint64_t feature_set(unsigned int i)
{
	return (i & 1 ? PACKED : 0) | (i & 2 ? INDIRECT : 0) | (i & 4 ? EVENT : 0) |
	       (i & 8 ? ORDER : 0);
}

#define for_all_features(bed)                                                                      \
	for (unsigned int set = 0; set < 16 && (bed_new((bed), feature_set(set)), true);           \
	     bed_free(bed), set++)

static uint16_t entries_of(unsigned int set)
{
	return set & 2 ? 1 : 2;
}

/* C1 */
static void used_length_beyond_the_writable_part_breaks_the_ring(void **state)
{
	static const uint32_t lens[][2] = {
		{ 1000, 1001 }, { 1000, UINT32_MAX }, { 0, 1 }, { 0, 100 }, { 1, 0x80000000u },
	};
	struct bed bed;

	(void)state;
	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for_all_features(&bed)
		{
			uint16_t id = add(&bed, lens[i][0], 1);

			/* armed: to be disarmed later would be a store, too */
			assert_false(vhu_driver_arm(bed.driver));
			use(&bed, id, lens[i][1], 1, entries_of(set));
			broken(&bed, "used length", lens[i][1]);
			mended(&bed, 1, 1);
		}
}

static void used_length_up_to_the_writable_part_is_taken(void **state)
{
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		use(&bed, add(&bed, 1000, 1), 1000, 1, entries_of(set));
		assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
		assert_int_equal(used.len, 1000);
		/* packed: a length without the WRITE flag says nothing (the device writes garbage) */
		use(&bed, add(&bed, 1000, 2), 0, 1, entries_of(set));
		assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
		assert_int_equal(used.len, 0);
	}
}

/* C2 */
static void used_id_out_of_range_breaks_the_ring(void **state)
{
	static const uint32_t ids[] = { NUM, NUM + 1, 0x7fff, 0xffff, 0x10000, UINT32_MAX };
	struct bed bed;

	(void)state;
	for (unsigned int i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		for_all_features(&bed)
		{
			/* a packed ring's ids have 16 bits */
			if (set & 1 && ids[i] > 0xffff)
				continue;
			add(&bed, 10, 1);
			use(&bed, ids[i], 0, 1, entries_of(set));
			broken(&bed, "used id", ids[i]);
			assert_non_null(strstr(vhu_driver_fault(bed.driver), "size"));
			mended(&bed, 1, 1);
		}
}

static void used_id_that_is_not_outstanding_breaks_the_ring(void **state)
{
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		/* the second entry of a chain is none, nor is one that was never added */
		const uint16_t ids[] = { 1, NUM - 1 };

		for (unsigned int i = set & 2 ? 1 : 0; i < 2; i++) {
			vhu_driver_reset(bed.driver);
			rdev_init(&bed.dev, bed.memory, bed.driver);
			assert_int_equal(add(&bed, 10, 1), 0);
			add(&bed, 10, 2);
			use(&bed, ids[i], 0, 1, entries_of(set));
			broken(&bed, "not outstanding", ids[i]);
			mended(&bed, 1, 2);
		}
	}
}

static void used_id_twice_breaks_the_ring(void **state)
{
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		const uint16_t id = add(&bed, 10, 1);

		add(&bed, 10, 2);
		use(&bed, id, 3, 1, entries_of(set));
		use(&bed, id, 3, 1, entries_of(set));
		assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
		assert_int_equal(used.token, 1);
		broken(&bed, "not outstanding", id);
		mended(&bed, 2, 2);
	}
}

static void chain_used_before_it_was_published_breaks_the_ring(void **state)
{
	const struct vhu_buffer one = { .gpa = 0x1000, .len = 1 };
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		uint16_t id = add(&bed, 10, 1);

		/* in the order of a new ring, or of a list whose first is the slot behind */
		id = (uint16_t)(id + entries_of(set));
		assert_int_equal(vhu_driver_add(bed.driver, &one, 1, 0, 2), 0);
		use(&bed, id, 0, 1, 1);
		broken(&bed, "not made available", id);
		mended(&bed, 1, 2);
	}
}

static void used_index_that_jumps_breaks_the_ring(void **state)
{
	static const uint16_t jumps[] = { 3, 4, NUM, NUM + 1, 0x7fff, 0x8000, 0xffff };
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for (unsigned int i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++)
		for_all_features(&bed)
		{
			if (set & 1)
				continue;
			use(&bed, add(&bed, 10, 1), 0, 1, entries_of(set));
			assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
			add(&bed, 10, 1);
			add(&bed, 10, 2);
			rdev_set16(bed.dev.used, 2, (uint16_t)(1 + jumps[i]));
			broken(&bed, "used index", (uint16_t)(1 + jumps[i]));
			mended(&bed, 1, 2);
		}
}

static void packed_ring_with_nothing_outstanding_takes_nothing(void **state)
{
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		if (!(set & 1))
			continue;
		rdev_set16(bed.dev.desc, 12, 0);
		rdev_set16(bed.dev.desc, 14, USED_FLAGS | WRITE);
		broken(&bed, "not outstanding", 0);
		vhu_driver_resubmit(bed.driver);
		assert_null(vhu_driver_fault(bed.driver));
		assert_int_equal(vhu_driver_free_entries(bed.driver), NUM);
	}
}

/* Any flags but the right two are those of a descriptor that is not used. */
static void packed_flags_that_say_something_else_are_not_used(void **state)
{
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		if (!(set & 1))
			continue;
		add(&bed, 10, 1);
		for (uint32_t flags = 0; flags < 0x10000; flags++) {
			if ((flags & USED_FLAGS) == USED_FLAGS)
				continue;
			rdev_set16(bed.dev.desc, 14, (uint16_t)flags);
			assert_int_equal(vhu_driver_take(bed.driver, &used), 0);
		}
		rdev_set16(bed.dev.desc, 14, 0xffff & ~WRITE);
		assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
		assert_int_equal(used.token, 1);
	}
}

static void batch_beyond_the_used_index_breaks_the_ring(void **state)
{
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		uint16_t third;

		if (set & 1 || !(set & 8))
			continue;
		add(&bed, 10, 1);
		add(&bed, 10, 2);
		third = add(&bed, 10, 3);
		use(&bed, third, 4, 2, 0);
		broken(&bed, "batch", third);
		mended(&bed, 1, 3);
		/* honest: the first two are used completely */
		add(&bed, 10, 1);
		add(&bed, 20, 2);
		third = add(&bed, 30, 3);
		use(&bed, third, 4, 3, 3 * entries_of(set));
		for (uint32_t i = 1; i <= 3; i++) {
			assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
			assert_int_equal(used.token, i);
			assert_int_equal(used.len, i < 3 ? 10 * i : 4);
		}
		assert_int_equal(vhu_driver_take(bed.driver, &used), 0);
	}
}

static void what_was_used_before_the_lie_still_comes_out(void **state)
{
	struct vhu_used used;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		uint16_t id = add(&bed, 10, 1);

		add(&bed, 10, 2);
		use(&bed, id, 3, 1, entries_of(set));
		use(&bed, NUM, 0, 1, entries_of(set));
		vhu_driver_resubmit(bed.driver);
		assert_int_equal(vhu_driver_outstanding(bed.driver), 2);
		/* the kept one has a place until it is taken */
		assert_int_equal(vhu_driver_free_entries(bed.driver), NUM - 1 - entries_of(set));
		assert_true(vhu_driver_arm(bed.driver));
		assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
		assert_int_equal(used.token, 1);
		assert_int_equal(used.len, 3);
		mended(&bed, 2, 2);
		/* forgotten altogether */
		id = add(&bed, 10, 1);
		use(&bed, id, 11, 1, entries_of(set));
		broken(&bed, "used length", 11);
		vhu_driver_reset(bed.driver);
		assert_null(vhu_driver_fault(bed.driver));
		assert_int_equal(vhu_driver_outstanding(bed.driver), 0);
		assert_int_equal(vhu_driver_take(bed.driver, &used), 0);
		rdev_init(&bed.dev, bed.memory, bed.driver);
		assert_false(rdev_has_avail(&bed.dev));
		add(&bed, 10, 1);
		mended(&bed, 1, 1);
	}
}

/* ---- Kicks ---- */

static void kick_that_cannot_be_written_breaks_the_ring(void **state)
{
	const struct vhu_buffer one = { .gpa = 0x1000, .len = 1 };
	struct rdev_chain chain;
	struct vhu_used used;
	struct bed bed;
	int fd;

	(void)state;
	bed_new(&bed, 0);
	fd = eventfd(0, EFD_CLOEXEC);
	vhu_driver_set_kick_fd(bed.driver, fd);
	close(fd);
	assert_int_equal(vhu_driver_add(bed.driver, &one, 1, 0, 1), 0);
	rdev_set_kicks(&bed.dev, true);
	vhu_driver_publish(bed.driver);
	/* the device is well meanwhile, and uses it: that is not lost */
	assert_true(rdev_pop(&bed.dev, &chain));
	use(&bed, chain.id, 0, 1, 1);
	broken(&bed, "kick eventfd", EBADF);
	vhu_driver_set_kick_fd(bed.driver, -1);
	vhu_driver_resubmit(bed.driver);
	assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
	assert_int_equal(used.token, 1);
	assert_int_equal(vhu_driver_outstanding(bed.driver), 0);
	bed_free(&bed);
}

/* The device holds it too: it can make it one that blocks, and fill it. */
static void full_kick_eventfd_that_blocks_is_not_waited_for(void **state)
{
	const struct vhu_buffer one = { .gpa = 0x1000, .len = 1 };
	const uint64_t full = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);
	struct rdev_chain chain;
	struct vhu_used used;
	struct bed bed;

	(void)state;
	bed_new(&bed, 0);
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	vhu_driver_set_kick_fd(bed.driver, fd);
	assert_int_equal(vhu_driver_add(bed.driver, &one, 1, 0, 1), 0);
	rdev_set_kicks(&bed.dev, true);
	alarm(20); /* ends the test if it waits */
	assert_true(vhu_driver_publish(bed.driver));
	alarm(0);
	assert_true(rdev_pop(&bed.dev, &chain));
	use(&bed, chain.id, 0, 1, 1);
	assert_int_equal(vhu_driver_take(bed.driver, &used), 1);
	assert_int_equal(used.token, 1);
	vhu_driver_set_kick_fd(bed.driver, -1);
	close(fd);
	bed_free(&bed);
}

/* ---- Anything at all ---- */

static void garbage_in_the_ring_never_gives_a_chain_twice_or_too_much(void **state)
{
	uint64_t random = 1;
	struct bed bed;

	(void)state;
	for_all_features(&bed)
	{
		uint32_t write_len[256] = { 0 };
		bool out[256] = { false };
		uint32_t nr_out = 0, taken = 0;
		bool is_lost = false;

		for (unsigned int round = 0; round < 4000; round++) {
			const uint32_t token = rdev_random(&random, 256);
			struct vhu_buffer buffers[2] = { { .gpa = 1, .len = 7 },
							 { .gpa = 2, .len = 7 } };
			struct rdev_chain chain;
			struct vhu_used used;
			int got;

			buffers[1].len = rdev_random(&random, 100);
			if (!out[token] && !vhu_driver_add(bed.driver, buffers, 1, 1, token)) {
				out[token] = true;
				write_len[token] = buffers[1].len;
				nr_out++;
			}
			vhu_driver_publish(bed.driver);
			/* now and then honest, so that something happens */
			if (rdev_random(&random, 3)) {
				if (rdev_has_avail(&bed.dev) && !is_lost &&
				    rdev_pop(&bed.dev, &chain))
					use(&bed, chain.id, chain.write_len, 1, chain.entries);
			} else {
				const uint32_t at =
					rdev_random(&random, bed.dev.packed ? 16 * NUM : 8 * NUM);

				(bed.dev.packed ? bed.dev.desc : bed.dev.used)[at] ^=
					(uint8_t)(1u << rdev_random(&random, 8));
				is_lost = true; /* the obedient device cannot follow */
			}
			while ((got = vhu_driver_take(bed.driver, &used)) > 0) {
				assert_true(used.token < 256 && out[used.token]);
				assert_true(used.len <= write_len[used.token]);
				out[used.token] = false;
				nr_out--;
				taken++;
			}
			assert_int_equal(vhu_driver_outstanding(bed.driver), nr_out);
			if (got < 0 || !rdev_random(&random, 8)) {
				vhu_driver_resubmit(bed.driver);
				assert_null(vhu_driver_fault(bed.driver));
				assert_int_equal(vhu_driver_outstanding(bed.driver), nr_out);
				rdev_init(&bed.dev, bed.memory, bed.driver);
				is_lost = false;
			}
		}
		assert_true(taken > 100);
	}
}

/* An element that changes while it is read is judged as it was read. */
struct flipper {
	uint32_t *word;
	uint32_t a, b;
	bool end;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!__atomic_load_n(&f->end, __ATOMIC_RELAXED)) {
		__atomic_store_n(f->word, f->a, __ATOMIC_RELAXED);
		__atomic_store_n(f->word, f->b, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void length_that_changes_meanwhile_is_the_one_that_was_judged(void **state)
{
	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct flipper f = { .a = 10, .b = UINT32_MAX };
		unsigned int good = 0, bad = 0;
		pthread_t thread;
		struct bed bed;

		bed_new(&bed, packed ? PACKED : 0);
		f.word = (uint32_t *)(void *)(packed ? bed.dev.desc + 8 : bed.dev.used + 8);
		assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
		for (unsigned int i = 0; i < 400000 && (good < 50000 || bad < 50000); i++) {
			struct vhu_used used;
			int got;

			use(&bed, add(&bed, 10, 1), 10, 1, 2);
			got = vhu_driver_take(bed.driver, &used);
			assert_true(got == 1 || got == -EPROTO);
			if (got == 1)
				assert_in_range(used.len, 0, 10);
			good += got == 1;
			bad += got < 0;
			vhu_driver_reset(bed.driver);
			rdev_init(&bed.dev, bed.memory, bed.driver);
			/* one processor may have to do for both threads */
			if (i % 64 == 0)
				sched_yield();
		}
		__atomic_store_n(&f.end, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		bed_free(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(used_length_beyond_the_writable_part_breaks_the_ring),
		cmocka_unit_test(used_length_up_to_the_writable_part_is_taken),
		cmocka_unit_test(used_id_out_of_range_breaks_the_ring),
		cmocka_unit_test(used_id_that_is_not_outstanding_breaks_the_ring),
		cmocka_unit_test(used_id_twice_breaks_the_ring),
		cmocka_unit_test(chain_used_before_it_was_published_breaks_the_ring),
		cmocka_unit_test(used_index_that_jumps_breaks_the_ring),
		cmocka_unit_test(packed_ring_with_nothing_outstanding_takes_nothing),
		cmocka_unit_test(packed_flags_that_say_something_else_are_not_used),
		cmocka_unit_test(batch_beyond_the_used_index_breaks_the_ring),
		cmocka_unit_test(what_was_used_before_the_lie_still_comes_out),
		cmocka_unit_test(kick_that_cannot_be_written_breaks_the_ring),
		cmocka_unit_test(full_kick_eventfd_that_blocks_is_not_waited_for),
		cmocka_unit_test(garbage_in_the_ring_never_gives_a_chain_twice_or_too_much),
		cmocka_unit_test(length_that_changes_meanwhile_is_the_one_that_was_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
