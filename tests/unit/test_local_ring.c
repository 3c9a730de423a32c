/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * A ring that the program serves itself: every layout and feature against the library's driver side,
 * stops in the middle, calls, and guests that put nonsense into the ring.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring_device.h"

#include <vhu/local.h>

#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define INDIRECT VHU_MASK(VHU_F_INDIRECT_DESC_BIT)
#define EVENT VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define ORDER VHU_MASK(VHU_F_IN_ORDER_BIT)

enum {
	GPA = 0x40000,
	SIZE = 1 << 20,
	NUM = 16,
	PIECES = 4,
	PIECE_LEN = 24,
};

struct bed {
	struct vhu_memory *memory;
	struct vhu_driver *driver;
	struct vhu_local *local;
	uint64_t features;
	uint64_t buffers_gpa;
	uint8_t *buffers;
	int call_fd;
	uint64_t random;
};

static uint64_t feature_set(unsigned int i)
{
	return (i & 1 ? PACKED : 0) | (i & 2 ? INDIRECT : 0) | (i & 4 ? EVENT : 0) |
	       (i & 8 ? ORDER : 0);
}

static struct vhu_local_ring describe(const struct bed *bed)
{
	struct vhu_local_ring ring = { .size = sizeof(ring),
				       .num = vhu_driver_num(bed->driver),
				       .features = bed->features,
				       .call_fd = bed->call_fd };

	vhu_driver_addr(bed->driver, &ring.addr);
	return ring;
}

static void bed_new(struct bed *bed, uint64_t features, uint32_t num)
{
	struct vhu_driver_options options = {
		.size = sizeof(options), .num = num, .features = features, .indirect_max = 8
	};
	struct vhu_local_ring ring;

	memset(bed, 0, sizeof(*bed));
	assert_int_equal(vhu_memory_new(&bed->memory), 0);
	assert_int_equal(vhu_memory_add(bed->memory, GPA, SIZE, 0), 0);
	options.memory = bed->memory;
	assert_int_equal(vhu_driver_new(&bed->driver, &options), 0);
	bed->buffers = vhu_memory_alloc(bed->memory, 65536, 64, &bed->buffers_gpa);
	assert_non_null(bed->buffers);
	bed->features = features;
	bed->random = features + num;
	bed->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(vhu_local_new(&bed->local, bed->memory), 0);
	ring = describe(bed);
	assert_int_equal(vhu_local_start(bed->local, &ring, NULL), 0);
	assert_int_equal(vhu_local_start(bed->local, &ring, NULL), -EBUSY);
}

static void bed_free(struct bed *bed)
{
	vhu_local_free(bed->local);
	vhu_driver_free(bed->driver);
	vhu_memory_free(bed->memory);
	close(bed->call_fd);
}

/* Chain number token, of nr_read and nr_write pieces, what is to be read filled with its number. */
static int add(struct bed *bed, uint32_t token, unsigned int nr_read, unsigned int nr_write)
{
	struct vhu_buffer pieces[2 * PIECES];
	uint32_t place = token % 64 * (2 * PIECES * PIECE_LEN);

	for (unsigned int i = 0; i < nr_read + nr_write; i++) {
		pieces[i].gpa = bed->buffers_gpa + place + i * PIECE_LEN;
		pieces[i].len = PIECE_LEN;
	}
	memset(bed->buffers + place, (int)(token & 0xff), nr_read * PIECE_LEN);
	memset(bed->buffers + place + nr_read * PIECE_LEN, 0, nr_write * PIECE_LEN);
	return vhu_driver_add(bed->driver, pieces, nr_read, nr_write, token);
}

/* Pops one chain, checks what stands in it, writes as much as fits of an answer. */
static void serve(struct bed *bed, uint32_t token, unsigned int nr_read, unsigned int nr_write)
{
	uint8_t bytes[2 * PIECES * PIECE_LEN], expected[sizeof(bytes)];
	struct vhu_local_chain chain, other;
	uint32_t n;

	assert_int_equal(vhu_local_pop(bed->local, &chain), 1);
	assert_int_equal(vhu_local_pop(bed->local, &other), -EBUSY);
	assert_int_equal(chain.read_len, nr_read * PIECE_LEN);
	assert_int_equal(chain.write_len, nr_write * PIECE_LEN);
	memset(expected, (int)(token & 0xff), sizeof(expected));
	n = vhu_local_read(&chain, 5, bytes, sizeof(bytes));
	assert_int_equal(n, chain.read_len > 5 ? chain.read_len - 5 : 0);
	assert_memory_equal(bytes, expected, n);
	memset(bytes, (int)(~token & 0xff), sizeof(bytes));
	assert_int_equal(vhu_local_write(&chain, 0, bytes, sizeof(bytes)), chain.write_len);
	/* more than there is room for is not claimed */
	vhu_local_push(bed->local, token % 3 ? chain.write_len : chain.write_len + 1000);
}

static void take(struct bed *bed, uint32_t token, unsigned int nr_read, unsigned int nr_write)
{
	const uint8_t *written =
		bed->buffers + token % 64 * (2 * PIECES * PIECE_LEN) + nr_read * PIECE_LEN;
	struct vhu_used used;

	assert_int_equal(vhu_driver_take(bed->driver, &used), 1);
	assert_int_equal(used.token, token);
	assert_int_equal(used.len, nr_write * PIECE_LEN);
	for (unsigned int i = 0; i < nr_write * PIECE_LEN; i++)
		assert_int_equal(written[i], (uint8_t)~token);
}

static void chains_go_through_in_every_layout(void **state)
{
	static const uint32_t sizes[] = { 8, 16, 256 };

	(void)state;
	for (unsigned int i = 0; i < 3 * 16; i++) {
		struct vhu_local_chain none;
		struct bed bed;

		bed_new(&bed, feature_set(i % 16), sizes[i / 16]);
		for (uint32_t token = 0; token < 3000; token++) {
			unsigned int nr_read = rdev_random(&bed.random, PIECES + 1);
			unsigned int nr_write = rdev_random(&bed.random, PIECES) + !nr_read;

			assert_int_equal(add(&bed, token, nr_read, nr_write), 0);
			vhu_driver_publish(bed.driver);
			serve(&bed, token, nr_read, nr_write);
			assert_int_equal(vhu_local_pop(bed.local, &none), 0);
			take(&bed, token, nr_read, nr_write);
		}
		bed_free(&bed);
	}
}

static void a_packed_ring_has_any_size(void **state)
{
	struct bed bed;

	(void)state;
	bed_new(&bed, PACKED, 13);
	for (uint32_t token = 0; token < 500; token++) {
		assert_int_equal(add(&bed, token, 1, 2), 0);
		vhu_driver_publish(bed.driver);
		serve(&bed, token, 1, 2);
		take(&bed, token, 1, 2);
	}
	bed_free(&bed);
}

static void a_ring_goes_on_where_it_was_stopped(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct vhu_local_chain chain;
		struct bed bed;

		bed_new(&bed, feature_set(i), NUM);
		for (uint32_t token = 0; token < 200; token++) {
			struct vhu_local_ring ring;

			assert_int_equal(add(&bed, token, 2, 1), 0);
			vhu_driver_publish(bed.driver);
			/* in hand, and not pushed: it comes again */
			if (token % 2)
				assert_int_equal(vhu_local_pop(bed.local, &chain), 1);
			vhu_local_stop(bed.local);
			assert_int_equal(vhu_local_pop(bed.local, &chain), -ENOTCONN);
			vhu_local_push(bed.local, 1);
			ring = describe(&bed);
			ring.go_on = true;
			ring.base = vhu_local_base(bed.local);
			assert_int_equal(vhu_local_start(bed.local, &ring, NULL), 0);
			serve(&bed, token, 2, 1);
			take(&bed, token, 2, 1);
		}
		bed_free(&bed);
	}
}

static uint64_t calls(const struct bed *bed)
{
	uint64_t count = 0;

	return read(bed->call_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void the_driver_is_called_when_it_asked(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct vhu_queue *queue;
		struct bed bed;

		bed_new(&bed, feature_set(i), NUM);
		queue = vhu_local_queue(bed.local);
		assert_true(vhu_queue_is_running(queue));
		for (uint32_t token = 0; token < 100; token++) {
			if (token % 2)
				assert_false(vhu_driver_arm(bed.driver));
			else
				vhu_driver_disarm(bed.driver);
			assert_false(vhu_queue_arm(queue));
			assert_int_equal(add(&bed, token, 1, 1), 0);
			/* and it kicks, since it was asked to */
			assert_true(vhu_driver_publish(bed.driver));
			vhu_queue_disarm(queue);
			serve(&bed, token, 1, 1);
			/* the first publication calls in any case */
			assert_int_equal(calls(&bed), token % 2 || !token);
			assert_true(vhu_driver_arm(bed.driver));
			take(&bed, token, 1, 1);
		}
		bed_free(&bed);
	}
}

/* One thing about the ring is as it cannot be. */
static void spoil(struct vhu_local_ring *ring, unsigned int i, bool packed)
{
	switch (i) {
	case 0:
		ring->num = 0;
		break;
	case 1:
		ring->num = 32769;
		break;
	case 2:
		ring->addr.desc_gpa += 8;
		break;
	case 3:
		ring->addr.desc_gpa = GPA + SIZE - 16 * NUM + 16;
		break;
	case 4:
		ring->addr.desc_gpa = 0;
		break;
	case 5:
		ring->addr.avail_gpa += 1;
		break;
	case 6:
		ring->addr.avail_gpa = GPA + SIZE - 2;
		break;
	case 7:
		ring->addr.used_gpa += 2;
		break;
	case 8:
		ring->addr.used_gpa = UINT64_MAX - 3;
		break;
	case 9:
		ring->go_on = true;
		ring->base = packed ? NUM : 65536;
		break;
	case 10:
		ring->addr.avail_gpa = UINT64_MAX - 63;
		break;
	case 11:
		ring->num = packed ? 0 : 15;
		break;
	default:
		break;
	}
}

static void nothing_is_served_where_no_ring_can_be(void **state)
{
	struct vhu_local_ring good, ring;
	struct vhu_reason why;
	struct bed bed;

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		bed_new(&bed, packed ? PACKED : EVENT, NUM);
		vhu_local_stop(bed.local);
		good = ring = describe(&bed);
		for (unsigned int i = 0; i < 12; i++) {
			ring = good;
			spoil(&ring, i, packed);
			assert_int_equal(vhu_local_start(bed.local, &ring, &why), -EPROTO);
			assert_non_null(strstr(why.text, "ring 0: "));
			assert_false(vhu_queue_is_running(vhu_local_queue(bed.local)));
		}
		assert_int_equal(vhu_local_start(bed.local, &good, &why), 0);
		bed_free(&bed);
	}
}

/* A descriptor of either layout, as a hostile driver writes it. */
static void put_desc(uint8_t *at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next,
		     bool packed)
{
	memcpy(at, &addr, 8);
	memcpy(at + 8, &len, 4);
	rdev_set16(at, packed ? 12 : 14, next);
	rdev_set16(at, packed ? 14 : 12, flags);
}

static void a_chain_that_cannot_be_is_returned_unused(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} bad[] = {
		{ GPA - 1, 16, 0, 0 }, { GPA + SIZE - 1, 2, 0, 0 }, { UINT64_MAX - 7, 64, 0, 0 },
		{ GPA, 16, 1, NUM },   { GPA, 16, 1, 0 },	    { GPA, 32, 4, 0 },
		{ GPA, 0, 5, 1 },
	};
	struct vhu_local_chain chain;
	struct vhu_queue_stats stats;
	struct bed bed;

	(void)state;
	bed_new(&bed, 0, NUM);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vhu_local_ring ring = describe(&bed);
		uint8_t *desc = vhu_memory_ptr(bed.memory, ring.addr.desc_gpa, 16 * NUM);
		uint8_t *avail = vhu_memory_ptr(bed.memory, ring.addr.avail_gpa, 4);
		uint8_t *used = vhu_memory_ptr(bed.memory, ring.addr.used_gpa, 4 + 8 * NUM);

		put_desc(desc, bad[i].addr, bad[i].len, bad[i].flags, bad[i].next, false);
		rdev_set16(avail, 4 + 2 * (i % NUM), 0);
		rdev_set16(avail, 2, (uint16_t)(i + 1));
		assert_int_equal(vhu_local_pop(bed.local, &chain), 0);
		assert_int_equal(rdev_get16(used, 2), i + 1);
		assert_int_equal(rdev_get32(used, 4 + 8 * (i % NUM) + 4), 0);
		vhu_queue_stats(vhu_local_queue(bed.local), &stats);
		assert_int_equal(stats.bad_chains, i + 1);
	}
	bed_free(&bed);
}

static void bad_chains_without_end_are_returned_a_few_at_a_time(void **state)
{
	struct vhu_local_chain chain;
	struct vhu_queue_stats stats;
	struct vhu_local_ring ring;
	struct bed bed;
	uint8_t *avail;
	uint64_t last = 0;

	(void)state;
	bed_new(&bed, 0, 1024);
	ring = describe(&bed);
	avail = vhu_memory_ptr(bed.memory, ring.addr.avail_gpa, 4);
	/* each is a loop */
	for (unsigned int i = 0; i < 1024; i++) {
		put_desc(vhu_memory_ptr(bed.memory, ring.addr.desc_gpa + 16 * i, 16), GPA, 16, 1,
			 (uint16_t)i, false);
		rdev_set16(avail, 4 + 2 * i, (uint16_t)i);
	}
	rdev_set16(avail, 2, 1024);
	while (last < 1024) {
		assert_int_equal(vhu_local_pop(bed.local, &chain), 0);
		vhu_queue_stats(vhu_local_queue(bed.local), &stats);
		assert_in_range(stats.bad_chains - last, 1, 64);
		last = stats.bad_chains;
		assert_true(vhu_queue_arm(vhu_local_queue(bed.local)) == (last < 1024));
	}
	bed_free(&bed);
}

static void a_ring_that_cannot_be_followed_is_broken_until_it_is_started_anew(void **state)
{
	struct vhu_local_chain chain;
	struct vhu_local_ring ring;
	struct vhu_reason why;
	struct bed bed;

	(void)state;
	bed_new(&bed, 0, NUM);
	ring = describe(&bed);
	assert_false(vhu_local_fault(bed.local, &why));
	rdev_set16(vhu_memory_ptr(bed.memory, ring.addr.avail_gpa, 4), 2, NUM + 1);
	assert_int_equal(vhu_local_pop(bed.local, &chain), -EPROTO);
	assert_int_equal(vhu_local_pop(bed.local, &chain), -EPROTO);
	assert_true(vhu_local_fault(bed.local, &why));
	assert_non_null(strstr(why.text, "17"));
	assert_false(vhu_queue_arm(vhu_local_queue(bed.local)));
	vhu_local_stop(bed.local);
	vhu_driver_reset(bed.driver);
	assert_int_equal(vhu_local_start(bed.local, &ring, &why), 0);
	assert_int_equal(add(&bed, 0, 1, 1), 0);
	vhu_driver_publish(bed.driver);
	serve(&bed, 0, 1, 1);
	bed_free(&bed);
}

/* Descriptors that are wrong in one way or another, and sometimes not. */
static void scribble(struct bed *bed, uint8_t *desc, bool packed, uint16_t mark)
{
	for (unsigned int i = 0; i < NUM; i++) {
		uint64_t addr = GPA + rdev_random(&bed->random, SIZE + 64);
		uint16_t flags = (uint16_t)rdev_random(&bed->random, 8);

		if (!rdev_random(&bed->random, 8))
			addr = (uint64_t)rdev_random(&bed->random, UINT32_MAX) << 32;
		if (rdev_random(&bed->random, 4))
			flags &= 3;
		put_desc(desc + 16 * i, addr, rdev_random(&bed->random, 128), flags | mark,
			 (uint16_t)rdev_random(&bed->random, NUM + 1), packed);
	}
}

static void a_ring_full_of_nonsense_is_survived(void **state)
{
	uint64_t popped = 0, broken = 0;

	(void)state;
	for (unsigned int set = 0; set < 16; set++) {
		bool packed = feature_set(set) & PACKED;
		struct vhu_local_ring ring;
		uint8_t *desc, *avail;
		struct bed bed;

		bed_new(&bed, feature_set(set), NUM);
		ring = describe(&bed);
		desc = vhu_memory_ptr(bed.memory, ring.addr.desc_gpa, 16 * NUM);
		avail = vhu_memory_ptr(bed.memory, ring.addr.avail_gpa, 4);
		for (unsigned int round = 0; round < 8000; round++) {
			struct vhu_local_chain chain;
			uint8_t bytes[64] = { 0 };
			int got;

			scribble(&bed, desc, packed,
				 rdev_random(&bed.random, 2) ? 1 << 7 : 1 << 15);
			if (!packed) {
				for (unsigned int i = 0; i < NUM; i++)
					rdev_set16(avail, 4 + 2 * i,
						   (uint16_t)rdev_random(&bed.random, NUM + 1));
				rdev_set16(avail, 2,
					   (uint16_t)(rdev_get16(avail, 2) +
						      rdev_random(&bed.random, NUM)));
			}
			while ((got = vhu_local_pop(bed.local, &chain)) > 0) {
				popped++;
				vhu_local_read(&chain, 0, bytes, sizeof(bytes));
				vhu_local_push(bed.local, vhu_local_write(&chain, 3, bytes, 64));
			}
			if (got == 0)
				continue;
			broken++;
			vhu_local_stop(bed.local);
			ring.go_on = !packed;
			ring.base = packed ? 0 : rdev_get16(avail, 2);
			assert_int_equal(vhu_local_start(bed.local, &ring, NULL), 0);
		}
		bed_free(&bed);
	}
	/* it was not all refused at the first look */
	assert_true(popped > 10000);
	assert_true(broken > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_go_through_in_every_layout),
		cmocka_unit_test(a_packed_ring_has_any_size),
		cmocka_unit_test(a_ring_goes_on_where_it_was_stopped),
		cmocka_unit_test(the_driver_is_called_when_it_asked),
		cmocka_unit_test(nothing_is_served_where_no_ring_can_be),
		cmocka_unit_test(a_chain_that_cannot_be_is_returned_unused),
		cmocka_unit_test(bad_chains_without_end_are_returned_a_few_at_a_time),
		cmocka_unit_test(a_ring_that_cannot_be_followed_is_broken_until_it_is_started_anew),
		cmocka_unit_test(a_ring_full_of_nonsense_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
