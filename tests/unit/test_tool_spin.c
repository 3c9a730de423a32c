/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* How long an empty ring is looked at, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "switch/spin.h"

enum {
	MAX_NS = 50000
};

/* The ring runs dry at that time, and work comes gap_ns later. For how long it was looked at. */
static uint64_t dry_for(struct sw_spin *spin, uint64_t *now_ns, uint64_t gap_ns)
{
	uint64_t looked_ns = 0, begin_ns = *now_ns;

	while (*now_ns - begin_ns < gap_ns) {
		if (sw_spin_goes_on(spin, *now_ns))
			looked_ns = *now_ns - begin_ns;
		else if (*now_ns - begin_ns > MAX_NS)
			*now_ns = begin_ns + gap_ns - 100; /* asleep */
		*now_ns += 100;
	}
	sw_spin_found(spin, *now_ns, MAX_NS);
	return looked_ns;
}

static void a_ring_that_rarely_has_work_is_not_looked_at(void **state)
{
	struct sw_spin spin = { 0 };
	uint64_t now_ns = 1000000;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(dry_for(&spin, &now_ns, 10000000), 0);
}

static void work_that_comes_soon_is_found_without_an_event(void **state)
{
	struct sw_spin spin = { 0 };
	uint64_t now_ns = 1000000;

	(void)state;
	for (int i = 0; i < 10; i++)
		dry_for(&spin, &now_ns, 30000);
	/* Until it came, and it is no longer than that again after it came sooner. */
	assert_int_equal(dry_for(&spin, &now_ns, 30000), 30000 - 100);
	assert_in_range(spin.len_ns, 30000, MAX_NS);
	for (int i = 0; i < 10; i++)
		assert_int_equal(dry_for(&spin, &now_ns, 5000), 5000 - 100);
}

static void looking_in_vain_ends_soon(void **state)
{
	struct sw_spin spin = { 0 };
	uint64_t now_ns = 1000000, last = MAX_NS;

	(void)state;
	for (int i = 0; i < 10; i++)
		dry_for(&spin, &now_ns, MAX_NS - 1000);
	assert_int_equal(spin.len_ns, MAX_NS);
	for (int i = 0; i < 4; i++) {
		uint64_t looked = dry_for(&spin, &now_ns, 1000000);

		assert_true(looked < last);
		last = looked;
	}
	assert_int_equal(dry_for(&spin, &now_ns, 1000000), 0);
}

static void it_is_never_looked_at_for_longer_than_allowed(void **state)
{
	struct sw_spin spin = { 0 };
	uint64_t now_ns = 1000000;

	(void)state;
	for (uint64_t gap = 100; gap < 200000; gap += 700) {
		assert_true(dry_for(&spin, &now_ns, gap) < MAX_NS);
		assert_true(spin.len_ns <= MAX_NS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_that_rarely_has_work_is_not_looked_at),
		cmocka_unit_test(work_that_comes_soon_is_found_without_an_event),
		cmocka_unit_test(looking_in_vain_ends_soon),
		cmocka_unit_test(it_is_never_looked_at_for_longer_than_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
