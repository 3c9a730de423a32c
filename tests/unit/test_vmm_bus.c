/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Who is found at an address, and what becomes of an access that a range does not take as it is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmm/bus.h>

enum {
	MEM = 64,
	MAX_CALLS = 32,
};

struct call {
	bool is_write;
	uint64_t offset, value;
	unsigned int size;
};

/* A range that is memory, and remembers how it was asked. */
struct mem {
	struct vmm_range range;
	struct vmm_range_ops ops;
	uint8_t bytes[MEM];
	struct call calls[MAX_CALLS];
	unsigned int nr_calls;
	/* What its write does besides. */
	struct vmm_bus *bus;
	bool leaves, leaves_when_read;
	uint64_t moves_to;
};

static void log_call(struct mem *mem, bool is_write, uint64_t offset, unsigned int size,
		     uint64_t value)
{
	assert_true(size >= mem->ops.min_size && size <= mem->ops.max_size);
	assert_true(size == 1 || size == 2 || size == 4 || size == 8);
	assert_int_equal(offset % size, 0);
	assert_true(offset < mem->range.size && size <= mem->range.size - offset);
	assert_true(mem->nr_calls < MAX_CALLS);
	mem->calls[mem->nr_calls++] = (struct call){ is_write, offset, value, size };
}

static uint64_t mem_read(void *arg, uint64_t offset, unsigned int size)
{
	struct mem *mem = arg;
	uint64_t value = UINT64_MAX; /* what is above size is nobody's business */

	memcpy(&value, mem->bytes + offset, size);
	log_call(mem, false, offset, size, value);
	if (mem->leaves_when_read)
		vmm_bus_remove(mem->bus, &mem->range);
	return value;
}

static void mem_write(void *arg, uint64_t offset, unsigned int size, uint64_t value)
{
	struct mem *mem = arg;

	if (size < 8)
		assert_int_equal(value >> (8 * size), 0);
	log_call(mem, true, offset, size, value);
	memcpy(mem->bytes + offset, &value, size);
	if (mem->leaves || mem->moves_to)
		vmm_bus_remove(mem->bus, &mem->range);
	if (mem->moves_to) {
		mem->range.base = mem->moves_to;
		mem->moves_to = 0;
		assert_int_equal(vmm_bus_add(mem->bus, &mem->range, NULL), 0);
	}
}

static void mem_init(struct mem *mem, uint64_t base, uint64_t size, unsigned int min_size,
		     unsigned int max_size)
{
	*mem = (struct mem){ .ops = { mem_read, mem_write, min_size, max_size } };
	mem->range = (struct vmm_range){ base, size, "mem", &mem->ops, mem };
	for (unsigned int i = 0; i < MEM; i++)
		mem->bytes[i] = (uint8_t)(0x11 + i);
}

static uint64_t read_bus(struct vmm_bus *bus, uint64_t addr, unsigned int len)
{
	uint64_t value = 0;

	vmm_bus_read(bus, addr, &value, len);
	return value;
}

static void write_bus(struct vmm_bus *bus, uint64_t addr, unsigned int len, uint64_t value)
{
	vmm_bus_write(bus, addr, &value, len);
}

static void nothing_reads_as_all_ones(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);

	(void)state;
	for (unsigned int len = 1; len <= 8; len++) {
		assert_true(read_bus(bus, 0, len) == UINT64_MAX >> (64 - 8 * len));
		assert_true(read_bus(bus, UINT64_MAX, len) == UINT64_MAX >> (64 - 8 * len));
		write_bus(bus, UINT64_MAX, len, 0);
	}
	assert_null(vmm_bus_find(bus, 0));
	vmm_bus_free(bus);
	vmm_bus_free(NULL);
}

static void a_range_that_overlaps_is_refused(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	static const struct {
		uint64_t base, size;
		int ret;
	} cases[] = {
		{ 0x1000, 16, -EEXIST }, { 0xfff, 2, -EEXIST },	     { 0x100f, 1, -EEXIST },
		{ 0x1004, 4, -EEXIST },	 { 0, 0x2000, -EEXIST },     { 0xff0, 16, 0 },
		{ 0x1010, 16, 0 },	 { 0x5000, 0, -EINVAL },     { UINT64_MAX, 2, -EINVAL },
		{ UINT64_MAX, 1, 0 },	 { 0, UINT64_MAX, -EEXIST },
	};
	struct mem first, other;

	(void)state;
	mem_init(&first, 0x1000, 16, 1, 8);
	assert_int_equal(vmm_bus_add(bus, &first.range, NULL), 0);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct vmm_range *with = NULL;

		mem_init(&other, cases[i].base, cases[i].size, 1, 8);
		assert_int_equal(vmm_bus_add(bus, &other.range, &with), cases[i].ret);
		assert_ptr_equal(with, cases[i].ret == -EEXIST ? &first.range : NULL);
		/* Not even if it never was there. */
		vmm_bus_remove(bus, &other.range);
		assert_ptr_equal(vmm_bus_find(bus, 0x1000), &first.range);
	}
	vmm_bus_free(bus);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
	static const unsigned int sizes[][2] = {
		{ 0, 4 }, { 1, 0 }, { 3, 4 }, { 1, 16 }, { 4, 2 }
	};
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem;

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		mem_init(&mem, 0, 16, sizes[i][0], sizes[i][1]);
		assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), -EINVAL);
	}
	mem_init(&mem, 0, 6, 4, 4);
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), -EINVAL);
	vmm_bus_free(bus);
}

static void every_range_of_many_is_found(void **state)
{
	enum {
		MANY = 500
	};
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem *mems = calloc(MANY, sizeof(*mems));

	(void)state;
	/* In no order: 7 and 500 have no common factor. */
	for (unsigned int i = 0; i < MANY; i++) {
		mem_init(&mems[i], (i * 7 % MANY) * 16, 8, 1, 8);
		assert_int_equal(vmm_bus_add(bus, &mems[i].range, NULL), 0);
	}
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < MANY; i++) {
			const struct vmm_range *range = &mems[i].range;
			const struct vmm_range *there = round && i % 3 == 0 ? NULL : range;

			assert_ptr_equal(vmm_bus_find(bus, range->base), there);
			assert_ptr_equal(vmm_bus_find(bus, range->base + 7), there);
			assert_null(vmm_bus_find(bus, range->base + 8));
			assert_null(vmm_bus_find(bus, range->base + 15));
		}
		for (unsigned int i = 0; i < MANY; i += 3)
			vmm_bus_remove(bus, &mems[i].range);
	}
	vmm_bus_free(bus);
	free(mems);
}

static void expect_calls(const struct mem *mem, unsigned int nr, const struct call *calls)
{
	assert_int_equal(mem->nr_calls, nr);
	for (unsigned int i = 0; i < nr; i++) {
		assert_int_equal(mem->calls[i].is_write, calls[i].is_write);
		assert_int_equal(mem->calls[i].offset, calls[i].offset);
		assert_int_equal(mem->calls[i].size, calls[i].size);
	}
}

static void a_wide_access_becomes_several_lowest_first(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem;

	(void)state;
	mem_init(&mem, 0x100, MEM, 1, 2);
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	assert_true(read_bus(bus, 0x108, 8) == UINT64_C(0x201f1e1d1c1b1a19));
	expect_calls(&mem, 4,
		     (struct call[]){ { false, 8, 0, 2 },
				      { false, 10, 0, 2 },
				      { false, 12, 0, 2 },
				      { false, 14, 0, 2 } });
	mem.nr_calls = 0;
	write_bus(bus, 0x101, 4, 0xa4a3a2a1);
	expect_calls(&mem, 3,
		     (struct call[]){ { true, 1, 0, 1 }, { true, 2, 0, 2 }, { true, 4, 0, 1 } });
	assert_int_equal(mem.calls[1].value, 0xa3a2);
	vmm_bus_free(bus);
}

static void a_narrow_access_is_widened(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem;

	(void)state;
	mem_init(&mem, 0x100, MEM, 4, 4);
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	assert_int_equal(read_bus(bus, 0x106, 1), 0x17);
	expect_calls(&mem, 1, (struct call[]){ { false, 4, 0, 4 } });
	mem.nr_calls = 0;
	write_bus(bus, 0x106, 1, 0xee);
	expect_calls(&mem, 2, (struct call[]){ { false, 4, 0, 4 }, { true, 4, 0, 4 } });
	assert_int_equal(mem.calls[1].value, 0x18ee1615);
	mem.nr_calls = 0;
	/* Across two of them: each read, changed and written. */
	write_bus(bus, 0x103, 2, 0xbbaa);
	expect_calls(&mem, 4,
		     (struct call[]){ { false, 0, 0, 4 },
				      { true, 0, 0, 4 },
				      { false, 4, 0, 4 },
				      { true, 4, 0, 4 } });
	assert_int_equal(mem.calls[1].value, 0xaa131211);
	assert_int_equal(mem.calls[3].value, 0x18ee16bb);
	vmm_bus_free(bus);
}

/* Every address, length and pair of sizes, with two ranges side by side and nothing around. */
static void bytes_are_where_they_belong(struct vmm_bus *bus, struct mem *low, struct mem *high)
{
	for (uint64_t addr = 0xf0; addr < 0x130; addr++) {
		for (unsigned int len = 1; len <= 8; len++) {
			uint64_t value = read_bus(bus, addr, len);

			for (unsigned int i = 0; i < len; i++) {
				uint64_t at = addr + i;
				uint8_t expect = 0xff;

				if (at >= 0x100 && at < 0x110)
					expect = low->bytes[at - 0x100];
				if (at >= 0x110 && at < 0x120)
					expect = high->bytes[at - 0x110];
				assert_int_equal((uint8_t)(value >> (8 * i)), expect);
			}
			low->nr_calls = high->nr_calls = 0;
		}
	}
}

static void writes_change_what_they_cover(struct vmm_bus *bus, struct mem *low, struct mem *high)
{
	uint8_t expect[0x20];

	for (uint64_t addr = 0xf8; addr < 0x128; addr++) {
		for (unsigned int len = 1; len <= 8; len++) {
			uint64_t value = UINT64_C(0x0123456789abcdef) * (addr + len);

			memcpy(expect, low->bytes, 16);
			memcpy(expect + 16, high->bytes, 16);
			for (unsigned int i = 0; i < len; i++) {
				if (addr + i >= 0x100 && addr + i < 0x120)
					expect[addr + i - 0x100] = (uint8_t)(value >> (8 * i));
			}
			write_bus(bus, addr, len, value);
			assert_memory_equal(low->bytes, expect, 16);
			assert_memory_equal(high->bytes, expect + 16, 16);
			low->nr_calls = high->nr_calls = 0;
		}
	}
}

static void any_access_reaches_its_bytes_and_no_others(void **state)
{
	(void)state;
	for (unsigned int sizes = 0; sizes < 256; sizes++) {
		struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
		struct mem low, high;

		mem_init(&low, 0x100, 16, 1u << (sizes & 3), 1u << (sizes >> 2 & 3));
		mem_init(&high, 0x110, 16, 1u << (sizes >> 4 & 3), 1u << (sizes >> 6 & 3));
		memset(high.bytes, 0x77, 16);
		if (!vmm_bus_add(bus, &low.range, NULL) && !vmm_bus_add(bus, &high.range, NULL)) {
			bytes_are_where_they_belong(bus, &low, &high);
			writes_change_what_they_cover(bus, &low, &high);
		}
		vmm_bus_free(bus);
	}
}

static void the_last_address_is_the_last(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem top, bottom;

	(void)state;
	mem_init(&top, UINT64_MAX - 15, 16, 1, 8);
	mem_init(&bottom, 0, 16, 1, 8);
	assert_int_equal(vmm_bus_add(bus, &top.range, NULL), 0);
	assert_int_equal(vmm_bus_add(bus, &bottom.range, NULL), 0);
	assert_true(read_bus(bus, UINT64_MAX - 1, 8) == UINT64_C(0xffffffffffff201f));
	write_bus(bus, UINT64_MAX, 8, 0);
	assert_int_equal(top.bytes[15], 0);
	assert_int_equal(bottom.bytes[0], 0x11);
	assert_int_equal(bottom.nr_calls, 0);
	vmm_bus_free(bus);
}

static void a_range_may_leave_from_within_its_write(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem, next;

	(void)state;
	mem_init(&mem, 0x100, 16, 1, 2);
	mem_init(&next, 0x110, 16, 1, 2);
	mem.bus = bus;
	mem.leaves = true;
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	assert_int_equal(vmm_bus_add(bus, &next.range, NULL), 0);
	/* The rest of the access finds nobody, and then the neighbour. */
	write_bus(bus, 0x10c, 8, UINT64_C(0x8877665544332211));
	assert_int_equal(mem.nr_calls, 1);
	assert_int_equal(next.nr_calls, 2);
	assert_int_equal(next.bytes[0], 0x55);
	assert_null(vmm_bus_find(bus, 0x10c));
	vmm_bus_free(bus);
}

static void a_range_that_left_when_read_is_not_written(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem;

	(void)state;
	mem_init(&mem, 0x100, 16, 4, 4);
	mem.bus = bus;
	mem.leaves_when_read = true;
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	write_bus(bus, 0x101, 1, 0);
	expect_calls(&mem, 1, (struct call[]){ { false, 0, 0, 4 } });
	vmm_bus_free(bus);
}

static void a_range_may_move_from_within_its_write(void **state)
{
	struct vmm_bus *bus = vmm_bus_new("mmio", NULL);
	struct mem mem;

	(void)state;
	mem_init(&mem, 0x100, 16, 1, 2);
	mem.bus = bus;
	mem.moves_to = 0x102;
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	write_bus(bus, 0x100, 4, 0x44332211);
	/* The second half went to where it is now. */
	assert_int_equal(mem.nr_calls, 2);
	assert_int_equal(mem.calls[1].offset, 0);
	assert_int_equal(mem.calls[1].value, 0x4433);
	assert_ptr_equal(vmm_bus_find(bus, 0x111), &mem.range);
	assert_null(vmm_bus_find(bus, 0x101));
	vmm_bus_free(bus);
}

struct seen {
	unsigned int nr;
	struct vmm_record last;
};

static void sink(void *arg, const struct vmm_record *record)
{
	struct seen *seen = arg;

	seen->nr++;
	seen->last = *record;
}

static void each_part_of_an_access_is_recorded(void **state)
{
	struct seen seen = { 0 };
	struct vmm_probe probe = { sink, &seen };
	struct vmm_bus *bus = vmm_bus_new("port", &probe);
	struct mem mem;

	(void)state;
	mem_init(&mem, 0x100, 16, 1, 4);
	assert_int_equal(vmm_bus_add(bus, &mem.range, NULL), 0);
	read_bus(bus, 0x104, 8);
	assert_int_equal(seen.nr, 2);
	assert_int_equal(seen.last.station, VMM_AT_BUS);
	assert_string_equal(seen.last.what, "mem");
	assert_int_equal(seen.last.a, 8);
	assert_int_equal(seen.last.b, 4);
	read_bus(bus, 0x80, 1);
	assert_string_equal(seen.last.what, "port");
	assert_int_equal(seen.last.a, 0x80);
	vmm_bus_free(bus);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_reads_as_all_ones),
		cmocka_unit_test(a_range_that_overlaps_is_refused),
		cmocka_unit_test(sizes_that_make_no_sense_are_refused),
		cmocka_unit_test(every_range_of_many_is_found),
		cmocka_unit_test(a_wide_access_becomes_several_lowest_first),
		cmocka_unit_test(a_narrow_access_is_widened),
		cmocka_unit_test(any_access_reaches_its_bytes_and_no_others),
		cmocka_unit_test(the_last_address_is_the_last),
		cmocka_unit_test(a_range_may_leave_from_within_its_write),
		cmocka_unit_test(a_range_that_left_when_read_is_not_written),
		cmocka_unit_test(a_range_may_move_from_within_its_write),
		cmocka_unit_test(each_part_of_an_access_is_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
