/* SPDX-License-Identifier: MIT */
/* Connect and disconnect, many times, with all that was held given back; the count is not its own. */
#include <unistd.h>

#include "backend_fixture.h"
#include "cycles.h"

static unsigned int cycles;

static size_t resident_kib(void)
{
	unsigned long size, resident;
	FILE *file = fopen("/proc/self/statm", "re");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
	fclose(file);
	return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void one_cycle(struct fixture *fix, unsigned int i)
{
	struct drv drv;

	fixture_attach(fix, &drv,
		       &(struct drv_options){ .need_reply = i % 2, .mem_slots = i % 3 == 0 });
	if (i % 7 == 6) {
		drv_negotiate(&drv);
	} else {
		drv_start(&drv);
		drv_net_echo(&drv, 1, i, 3);
		if (i % 5 == 0)
			drv_stop(&drv);
	}
	drv_disconnect(&drv);
	assert_true(check_until(fixture_pump(NULL), fix->closed == fix->connected));
	while (fixture_pump(NULL))
		;
	drv_free(&drv);
}

static void run(bool threaded)
{
	struct tally before;
	struct fixture *fix = malloc(sizeof(*fix));
	size_t resident;

	assert_non_null(fix);
	fixture_init(fix, &(struct fixture_options){ .threaded = threaded });
	/* What is made once and kept is made now. */
	for (unsigned int i = 0; i < 2 * 105; i++)
		one_cycle(fix, i);
	fixture_settle();
	tally_take(&before);
	resident = resident_kib();
	for (unsigned int i = 0; i < cycles; i++)
		one_cycle(fix, i);
	fixture_settle();
	tally_check(&before);
	if (!CHECK_SANITIZED)
		assert_true(resident_kib() <= resident + 1024);
	assert_int_equal(fix->connected, 2 * 105 + cycles);
	assert_int_equal(fix->complaints, 0);
	fixture_free(fix);
	free(fix);
}

static void cycles_leave_nothing_behind(void **state)
{
	(void)state;
	run(false);
}

static void cycles_with_a_data_thread_leave_nothing_behind(void **state)
{
	(void)state;
	run(true);
}

static void backends_made_and_freed_leave_nothing_behind(void **state)
{
	struct tally before = { 0 };
	struct fixture *fix = malloc(sizeof(*fix));

	(void)state;
	assert_non_null(fix);
	for (unsigned int i = 0; i < cycles / 5 + 20; i++) {
		if (i == 20)
			tally_take(&before);
		fixture_init(fix, &(struct fixture_options){ .threaded = i % 2 });
		one_cycle(fix, i);
		fixture_free(fix);
	}
	tally_check(&before);
	free(fix);
}

int cycles_main(unsigned int nr_cycles)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cycles_leave_nothing_behind),
		cmocka_unit_test(cycles_with_a_data_thread_leave_nothing_behind),
		cmocka_unit_test(backends_made_and_freed_leave_nothing_behind),
	};

	cycles = nr_cycles;
	return cmocka_run_group_tests_name("cycles", tests, NULL, NULL);
}
