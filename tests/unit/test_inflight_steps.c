/* SPDX-License-Identifier: MIT */
/* tier: check */
/* timeout: 300 */
/*
 * A backend killed between any two of its instructions. A child serves a ring with an in-flight
 * region, both in memory that is shared, and is led through it instruction by instruction. After
 * each that stored something, a copy of that memory is what a next backend would find: it has to
 * hand out exactly what the driver has not got back, in order, and the driver gets each back once.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inflight_world.h"

enum {
	ROUNDS = 14,
};

/* What the child does: every kind of thing that a data thread does, more than twice round. */
static void serve(struct world *w, bool packed)
{
	struct backend be;
	struct vhu_reason why;

	if (backend_begin(&be, w, NULL, packed, &why))
		_exit(2);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct vhu_ring_mark mark;

		for (uint32_t i = 0; i < 2 + round % 5; i++)
			world_make(w, packed);
		for (uint32_t i = 0; i < 1 + round % 3; i++)
			backend_take(&be);
		mark = vhu_ring_mark(&be.q);
		backend_take(&be);
		backend_take(&be);
		if (round % 4 == 1)
			vhu_ring_undo(&be.q, mark);
		if (round % 4 == 2)
			vhu_ring_rewind(&be.q);
		backend_take(&be);
		vhu_ring_publish(&be.q, &be.view);
		if (!world_reap(w, packed))
			_exit(3);
	}
	_exit(0);
}

/* ---- what the next backend makes of it ---- */

static void expect_chain(const struct world *w, uint32_t i, int id)
{
	if (id < 0)
		fail_msg("chain %u of %u was not handed out (%d)", i, w->made, id);
	assert_int_equal(id, w->id[i]);
}

static void begin_next(struct backend *be, struct world *w, bool packed)
{
	struct vhu_reason why = { { 0 } };

	if (backend_begin(be, w, NULL, packed, &why))
		fail_msg("the region was refused: %s", why.text);
}

/* One by one: each is seen by the driver as soon as it is published, and nothing but it. */
static void goes_on_one_by_one(struct world *w, bool packed)
{
	struct backend be;

	w->made = world_made(w, packed);
	assert_true(world_reap(w, packed));
	begin_next(&be, w, packed);
	while (w->reaped < w->made) {
		uint32_t i = w->reaped;

		expect_chain(w, i, backend_take(&be));
		assert_true(world_reap(w, packed));
		assert_int_equal(w->reaped, i);
		vhu_ring_publish(&be.q, &be.view);
		assert_true(world_reap(w, packed));
		assert_int_equal(w->reaped, i + 1);
	}
	assert_int_equal(backend_take(&be), -1);
	backend_die(&be);
}

/* It is killed as well when it has taken all; the one after it returns them at once. */
static void goes_on_after_another_death(struct world *w, bool packed)
{
	struct backend be;

	w->made = world_made(w, packed);
	assert_true(world_reap(w, packed));
	for (uint32_t life = 0; life < 2; life++) {
		begin_next(&be, w, packed);
		for (uint32_t i = w->reaped; i < w->made; i++)
			expect_chain(w, i, backend_take(&be));
		assert_int_equal(backend_take(&be), -1);
		if (life)
			vhu_ring_publish(&be.q, &be.view);
		backend_die(&be);
	}
	assert_true(world_reap(w, packed));
	assert_int_equal(w->reaped, w->made);
}

static void step_through(bool packed)
{
	struct world *w =
		mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world *copy = aligned_alloc(64, sizeof(*w)), *last = aligned_alloc(64, sizeof(*w));
	uint32_t steps = 0, changes = 0;
	int status;
	pid_t child;

	assert_true(w != MAP_FAILED && copy && last);
	memcpy(last, w, sizeof(*w));
	fflush(stdout);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		serve(w, packed);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("# ptrace is not allowed here\n");
		skip();
	}
	while (WIFSTOPPED(status)) {
		if (memcmp((const uint8_t *)last, (const uint8_t *)w, sizeof(*w)) != 0) {
			memcpy(last, w, sizeof(*w));
			memcpy(copy, w, sizeof(*w));
			goes_on_one_by_one(copy, packed);
			memcpy(copy, w, sizeof(*w));
			goes_on_after_another_death(copy, packed);
			changes++;
		}
		steps++;
		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0) {
			kill(child, SIGKILL);
			fail_msg("ptrace stopped to work");
		}
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* it did come round more than twice, and all was served */
	assert_true(w->reaped > 2 * NUM);
	print_message("# %u instructions, %u of which stored something that stays\n", steps,
		      changes);
	munmap(w, sizeof(*w));
	free(copy);
	free(last);
}

static void split_ring_goes_on_after_any_instruction(void **state)
{
	(void)state;
	step_through(false);
}

static void packed_ring_goes_on_after_any_instruction(void **state)
{
	(void)state;
	step_through(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_ring_goes_on_after_any_instruction),
		cmocka_unit_test(packed_ring_goes_on_after_any_instruction),
	};

	return cmocka_run_group_tests_name("in flight, step by step", tests, NULL, NULL);
}
