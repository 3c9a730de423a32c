/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * Orders of the guest's and fates of the backend's in any order: starts, resets, queues that come
 * late, commands, backends that die in the middle and others that come. Whatever it was, a reset is
 * done in the end, and frames pass after it.
 */
#include <unistd.h>

#include "vmm_stage.h"

enum {
	PAIRS = 3,
	STEPS = 400,
	ROUNDS = 60,
};

struct walk {
	struct stage *stage;
	uint64_t random;
	bool is_there;	 /* the backend */
	bool is_started; /* DRIVER_OK */
	unsigned int starts, resets, deaths, commands, late, echoes;
};

static uint32_t pick(struct walk *walk, uint32_t below)
{
	walk->random = walk->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(walk->random >> 33) % below;
}

static void start(struct walk *walk)
{
	struct nic *nic = &walk->stage->nic;

	nic_negotiate(nic);
	nic_make_rings(nic, 1 + pick(walk, PAIRS));
	/* one is left for later, sometimes: the last, so that all before it can be used */
	if (!pick(walk, 3))
		nic->guest.queue[2 * nic->nr_pairs - 1].is_enabled = false;
	guest_driver_ok(&nic->guest);
	walk->is_started = true;
	walk->starts++;
}

static void enable_late(struct walk *walk)
{
	struct nic *nic = &walk->stage->nic;
	unsigned int last = 2 * nic->nr_pairs - 1;

	if (!nic->nr_pairs || nic->guest.queue[last].is_enabled)
		return;
	guest_enable(&nic->guest, last);
	walk->late++;
}

static void command(struct walk *walk)
{
	struct nic *nic = &walk->stage->nic;
	uint8_t bytes[] = { 4, 0, (uint8_t)pick(walk, PAIRS + 2), 0 };

	if (vhu_driver_outstanding(nic->control)) {
		nic_take_answer(nic);
		return;
	}
	nic_put_command(nic, bytes, sizeof(bytes), 1);
	walk->commands++;
}

static void change_backend(struct walk *walk)
{
	if (walk->is_there) {
		backend_goes(walk->stage);
		walk->deaths++;
	} else {
		backend_comes(walk->stage);
	}
	walk->is_there = !walk->is_there;
}

static void step(struct walk *walk)
{
	struct guest *guest = &walk->stage->nic.guest;

	switch (pick(walk, 12)) {
	case 0:
		if (!walk->is_started && !guest->is_stopping)
			start(walk);
		break;
	case 1:
		if (!walk->is_started)
			break;
		guest_ask_reset(guest);
		walk->is_started = false;
		walk->resets++;
		break;
	case 2:
		/* a driver that does not wait */
		if (guest->is_stopping)
			guest_ask_reset(guest);
		break;
	case 3:
		if (!pick(walk, 3))
			change_backend(walk);
		break;
	case 4:
		if (walk->is_started)
			enable_late(walk);
		break;
	case 5:
		if (walk->is_started)
			command(walk);
		break;
	case 6:
		if (walk->is_started)
			nic_turn(&walk->stage->nic, 0,
				 walk->stage->nic.pair[0].sent + pick(walk, 3));
		break;
	default:
		for (unsigned int i = pick(walk, 6); i > 0; i--)
			guest_pump(guest);
		break;
	}
}

/* Whatever there was: reset, and from there on all is well. */
static void settle(struct walk *walk)
{
	struct nic *nic = &walk->stage->nic;
	uint16_t pairs = PAIRS;

	if (!walk->is_there)
		change_backend(walk);
	guest_reset(&nic->guest);
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		assert_false(walk->stage->fix.ring[i].running);
	guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
	nic->guest.needs_resets = 0;
	nic->guest.texts[0] = '\0';
	nic_start(nic, PAIRS);
	assert_int_equal(nic_command(nic, 4, 0, &pairs, sizeof(pairs)), 0);
	for (unsigned int i = 0; i < PAIRS; i++)
		nic_echo(nic, i, 10);
	assert_int_equal(nic->guest.needs_resets, 0);
	walk->is_started = true;
	walk->echoes++;
}

static void frames_pass_after_whatever_was_ordered(void **state)
{
	struct walk sum = { 0 };

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct nic_options options = stage_kind(round % STAGE_KINDS);
		struct walk walk = { .random = round };

		options.net.queue_pairs = PAIRS;
		options.net.server = round / STAGE_KINDS % 2;
		walk.stage = stage_new(&options);
		change_backend(&walk);
		nic_wait(&walk.stage->nic);
		for (unsigned int i = 0; i < STEPS; i++) {
			step(&walk);
			if (i % (STEPS / 4) == STEPS / 4 - 1)
				settle(&walk);
		}
		stage_free(walk.stage);
		sum.starts += walk.starts;
		sum.resets += walk.resets;
		sum.deaths += walk.deaths;
		sum.commands += walk.commands;
		sum.late += walk.late;
	}
	/* it was no walk on the spot */
	assert_true(sum.starts > ROUNDS * 4 && sum.resets > ROUNDS * 4 && sum.deaths > ROUNDS);
	assert_true(sum.commands > ROUNDS && sum.late > ROUNDS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_pass_after_whatever_was_ordered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
