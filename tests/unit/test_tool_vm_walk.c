/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Walks of vCPUs, and what another thread does for them: whatever comes first, the one names the other. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/walk.h"

enum {
	OTHER = -1, /* thread */
};

static struct {
	struct loop *loop;
	struct walk *walk;
	int fd[2];
	uint64_t now_ns;
	char said[1 << 16];
} lab;

static int setup(void **state)
{
	(void)state;
	memset(&lab, 0, sizeof(lab));
	assert_int_equal(loop_new(&lab.loop), 0);
	assert_int_equal(pipe2(lab.fd, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(walk_new(&lab.walk, lab.loop, lab.fd[1], false, false), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	walk_free(lab.walk);
	loop_free(lab.loop);
	close(lab.fd[0]);
	close(lab.fd[1]);
	return 0;
}

static void pass(int cpu, enum vmm_station station, const char *device, const char *what)
{
	const struct vmm_probe *probe = walk_probe(lab.walk);
	const struct vmm_record record = { .time_ns = lab.now_ns += 1000,
					   .station = (uint8_t)station,
					   .cpu = (int16_t)cpu,
					   .device = device,
					   .what = what };

	probe->sink(probe->arg, &record);
}

/* All that has been said; it is over then. */
static const char *said(void)
{
	ssize_t len;

	walk_free(lab.walk);
	lab.walk = NULL;
	len = read(lab.fd[0], lab.said, sizeof(lab.said) - 1);
	/* nothing at all is an error: the pipe has our own end still */
	lab.said[len > 0 ? len : 0] = '\0';
	return lab.said;
}

/* The lines that begin with one of these, or stand behind it, in this order; each once. */
static void assert_order(const char *text, const char *const *lines, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		const char *at = strstr(text, lines[i]);

		if (!at)
			fail_msg("no \"%s\" in its place: %s", lines[i], lab.said);
		text = at + strlen(lines[i]);
	}
}

static void write_status(int cpu, const char *device)
{
	pass(cpu, VMM_AT_EXIT, NULL, "mmio");
	pass(cpu, VMM_AT_REGISTER, device, "device_status");
	pass(cpu, VMM_AT_STATUS, device, NULL);
}

static void what_comes_after_a_walk_names_it(void **state)
{
	static const char *const lines[] = { "walk 1, vCPU 0", "enter",	  "walk 2, vCPU 0",
					     "enter",	       "after 2", "message" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		write_status(0, "net0");
		pass(0, VMM_AT_ENTER, NULL, NULL);
	}
	pass(OTHER, VMM_AT_MESSAGE, "net0", "SET_FEATURES");
	assert_order(said(), lines, 6);
}

/* Both threads may share a processor: the device's runs when the vCPU wakes it. */
static void what_comes_before_its_end_stands_behind_it(void **state)
{
	static const char *const lines[] = { "walk 1, vCPU 0", "enter",	  "walk 2, vCPU 0",
					     "start",	       "enter",	  "after 2",
					     "SET_FEATURES",   "after 2", "running" };

	(void)state;
	write_status(0, "net0");
	pass(0, VMM_AT_ENTER, NULL, NULL);
	write_status(0, "net0");
	pass(0, VMM_AT_START, "net0", "start");
	pass(OTHER, VMM_AT_MESSAGE, "net0", "SET_FEATURES");
	pass(OTHER, VMM_AT_RUNNING, "net0", NULL);
	pass(0, VMM_AT_ENTER, NULL, NULL);
	assert_order(said(), lines, 9);
}

static void other_devices_and_vcpus_wait_for_nobody(void **state)
{
	static const char *const lines[] = { "walk 2, vCPU 1", "after 2", "call",   "blk0",
					     "walk 1, vCPU 0", "after 1", "message" };

	(void)state;
	write_status(0, "net0");
	pass(OTHER, VMM_AT_MESSAGE, "net0", "SET_FEATURES");
	pass(1, VMM_AT_EXIT, NULL, "mmio");
	pass(1, VMM_AT_KICK, "blk0", NULL);
	pass(1, VMM_AT_ENTER, NULL, NULL);
	pass(OTHER, VMM_AT_CALL, "blk0", NULL);
	pass(0, VMM_AT_ENTER, NULL, NULL);
	assert_order(said(), lines, 7);
}

/* More than is kept: nothing is lost, though it stands in front then. */
static void a_walk_without_an_end_keeps_nothing_back_for_ever(void **state)
{
	enum {
		MANY = 300,
	};
	char what[32];
	const char *at;

	(void)state;
	write_status(0, "net0");
	for (int i = 0; i < MANY; i++) {
		snprintf(what, sizeof(what), "message %d.", i);
		pass(OTHER, VMM_AT_MESSAGE, "net0", what);
	}
	at = said();
	for (int i = 0; i < MANY; i++) {
		snprintf(what, sizeof(what), "message %d.", i);
		at = strstr(at, what);
		assert_non_null(at);
	}
}

static void what_nobody_caused_is_not_said(void **state)
{
	(void)state;
	pass(OTHER, VMM_AT_MESSAGE, "net0", "SET_FEATURES");
	pass(OTHER, VMM_AT_CALL, "net0", NULL);
	assert_string_equal(said(), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_comes_after_a_walk_names_it),
		TEST(what_comes_before_its_end_stands_behind_it),
		TEST(other_devices_and_vcpus_wait_for_nobody),
		TEST(a_walk_without_an_end_keeps_nothing_back_for_ever),
		TEST(what_nobody_caused_is_not_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
