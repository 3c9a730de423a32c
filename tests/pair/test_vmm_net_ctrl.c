/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * The control queue of a network device, which is served in the VMM: what it takes and remembers,
 * queue pairs that come and go, and drivers that put nonsense into it.
 */
#include <unistd.h>

#include "vmm_stage.h"

#define MQ VHU_MASK(VHU_NET_F_MQ_BIT)
#define CTRL_RX VHU_MASK(VHU_NET_F_CTRL_RX_BIT)
#define CTRL_RX_EXTRA VHU_MASK(20)
#define CTRL_VLAN VHU_MASK(VHU_NET_F_CTRL_VLAN_BIT)
#define CTRL_MAC_ADDR VHU_MASK(VHU_NET_F_CTRL_MAC_ADDR_BIT)
#define ANNOUNCE VHU_MASK(VHU_NET_F_GUEST_ANNOUNCE_BIT)

enum {
	OK = 0,
	ERR = 1,

	/* virtio 1.2, 5.1.6.5 */
	RX = 0,
	MAC = 1,
	MAC_TABLE_SET = 0,
	MAC_ADDR_SET = 1,
	VLAN = 2,
	CLASS_ANNOUNCE = 3,
	CLASS_MQ = 4,

	PAIRS = 4,
	FUZZ_ROUNDS = 60000,
	FUZZ_CHAINS = 8, /* in a round */
};

static const struct nic_options four_pairs = { .net = { .queue_pairs = PAIRS } };

static struct vmm_net_filter filter(const struct stage *stage)
{
	struct vmm_net_filter filter;

	vmm_net_get_filter(stage->nic.net, &filter);
	return filter;
}

static int set_pairs(struct stage *stage, uint16_t pairs)
{
	return nic_command(&stage->nic, CLASS_MQ, 0, &pairs, sizeof(pairs));
}

static struct stage *running(const struct nic_options *options)
{
	struct stage *stage = stage_up(options);

	nic_start(&stage->nic, options->net.queue_pairs ? options->net.queue_pairs : 1);
	nic_echo(&stage->nic, 0, 5);
	return stage;
}

static void what_is_asked_is_remembered_until_a_reset(void **state)
{
	static const uint8_t on = 1, off = 0, mac[6] = { 2, 1, 2, 3, 4, 5 };
	const struct nic_options options = { 0 };
	struct stage *stage = running(&options);
	struct nic *nic = &stage->nic;
	uint8_t before[6], now[6];

	(void)state;
	guest_read_config(&nic->guest, 0, before, sizeof(before));
	for (unsigned int i = 0; i < 6; i++) {
		struct vmm_net_filter f;

		assert_int_equal(nic_command(nic, RX, (uint8_t)i, &on, 1), OK);
		f = filter(stage);
		bool modes[] = { f.promisc, f.allmulti, f.alluni, f.nomulti, f.nouni, f.nobcast };

		for (unsigned int k = 0; k < 6; k++)
			assert_int_equal(modes[k], k == i);
		assert_int_equal(nic_command(nic, RX, (uint8_t)i, &off, 1), OK);
	}
	assert_int_equal(nic_command(nic, RX, 0, &on, 1), OK);
	assert_int_equal(nic_command(nic, MAC, MAC_ADDR_SET, mac, 6), OK);
	guest_read_config(&nic->guest, 0, now, sizeof(now));
	assert_memory_equal(now, mac, 6);
	for (uint16_t id = 0; id < 4096; id = (uint16_t)(id + 315)) {
		assert_int_equal(nic_command(nic, VLAN, 0, &id, 2), OK);
		assert_int_equal(nic_command(nic, VLAN, 0, &id, 2), OK);
	}
	assert_int_equal(filter(stage).nr_vlans, 14);
	assert_int_equal(nic_command(nic, VLAN, 1, &(uint16_t){ 315 }, 2), OK);
	assert_int_equal(nic_command(nic, VLAN, 1, &(uint16_t){ 315 }, 2), OK);
	assert_int_equal(filter(stage).nr_vlans, 13);
	assert_int_equal(nic_command(nic, CLASS_ANNOUNCE, 0, NULL, 0), OK);
	guest_reset(&nic->guest);
	assert_int_equal(filter(stage).nr_vlans, 0);
	assert_false(filter(stage).promisc);
	guest_read_config(&nic->guest, 0, now, sizeof(now));
	assert_memory_equal(now, before, 6);
	stage_free(stage);
}

/* Tables of so many addresses that say to be of so many. The answer. */
static int set_tables(struct stage *stage, const uint32_t nr[2], const uint32_t said[2])
{
	static uint8_t bytes[4096];
	uint32_t at = 0;

	for (unsigned int i = 0; i < 2; i++) {
		memcpy(bytes + at, &said[i], 4);
		memset(bytes + at + 4, (int)i + 1, nr[i] * 6);
		at += 4 + nr[i] * 6;
	}
	return nic_command(&stage->nic, MAC, MAC_TABLE_SET, bytes, at);
}

static void mac_tables_are_as_long_as_they_say(void **state)
{
	static const uint32_t good[][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 64, 64 }, { 3, 64 } };
	static const uint32_t lies[][2] = { { 4, 2 },		{ 3, 3 },
					    { 2, 2 },		{ 3, 1 },
					    { UINT32_MAX, 2 },	{ 3, UINT32_MAX },
					    { 0x2aaaaaab, 2 },	{ 3, 0x2aaaaaab },
					    { 0x80000000u, 2 }, { 5, 0 } };
	const struct nic_options options = { 0 };
	struct stage *stage = running(&options);

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(set_tables(stage, good[i], good[i]), OK);
		assert_int_equal(filter(stage).nr_unicast, good[i][0]);
		assert_int_equal(filter(stage).nr_multicast, good[i][1]);
	}
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(set_tables(stage, (uint32_t[2]){ 3, 2 }, lies[i]), ERR);
		assert_int_equal(filter(stage).nr_unicast, 3);
		assert_int_equal(filter(stage).nr_multicast, 64);
	}
	/* more than are kept: all */
	assert_int_equal(set_tables(stage, (uint32_t[2]){ 65, 200 }, (uint32_t[2]){ 65, 200 }), OK);
	assert_int_equal(filter(stage).nr_unicast, UINT32_MAX);
	assert_int_equal(filter(stage).nr_multicast, UINT32_MAX);
	stage_free(stage);
}

/* A command with its right length, and what it needs. */
static const struct {
	uint8_t class, number;
	uint8_t data[8];
	uint32_t len;
	uint64_t feature;
} commands[] = {
	{ RX, 0, { 1 }, 1, CTRL_RX },
	{ RX, 1, { 1 }, 1, CTRL_RX },
	{ RX, 2, { 1 }, 1, CTRL_RX_EXTRA },
	{ RX, 5, { 1 }, 1, CTRL_RX_EXTRA },
	{ MAC, MAC_TABLE_SET, { 0 }, 8, CTRL_RX },
	{ MAC, MAC_ADDR_SET, { 2, 9, 9, 9, 9, 9 }, 6, CTRL_MAC_ADDR },
	{ VLAN, 0, { 7 }, 2, CTRL_VLAN },
	{ VLAN, 1, { 7 }, 2, CTRL_VLAN },
	{ CLASS_ANNOUNCE, 0, { 0 }, 0, ANNOUNCE },
	{ CLASS_MQ, 0, { 1 }, 2, MQ },
};

enum {
	COMMANDS = sizeof(commands) / sizeof(commands[0]),
};

static void a_command_of_another_length_is_refused(void **state)
{
	struct stage *stage = running(&four_pairs);
	struct nic *nic = &stage->nic;

	(void)state;
	for (unsigned int i = 0; i < COMMANDS; i++) {
		for (uint32_t len = 0; len <= 8; len++)
			assert_int_equal(nic_command(nic, commands[i].class, commands[i].number,
						     commands[i].data, len),
					 len == commands[i].len ? OK : ERR);
	}
	stage_free(stage);
}

static void what_was_not_agreed_is_refused(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < COMMANDS; i++) {
		struct nic_options options = { .net.queue_pairs = 2,
					       .no_features = commands[i].feature };
		struct stage *stage = running(&options);

		for (unsigned int k = 0; k < COMMANDS; k++)
			assert_int_equal(nic_command(&stage->nic, commands[k].class,
						     commands[k].number, commands[k].data,
						     commands[k].len),
					 commands[k].feature == commands[i].feature ? ERR : OK);
		stage_free(stage);
	}
}

static void nothing_that_is_unknown_is_taken(void **state)
{
	static const uint8_t bad[][2] = { { 0, 6 }, { 0, 255 }, { 1, 2 },  { 2, 2 },
					  { 3, 1 }, { 4, 1 },	{ 4, 2 },  { 5, 0 },
					  { 6, 0 }, { 255, 0 }, { 77, 77 } };
	struct stage *stage = running(&four_pairs);
	struct nic *nic = &stage->nic;
	uint8_t data[8] = { 1 };
	int answer;

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (uint32_t len = 0; len <= 8; len++)
			assert_int_equal(nic_command(nic, bad[i][0], bad[i][1], data, len), ERR);
	}
	assert_int_equal(nic_command(nic, VLAN, 0, &(uint16_t){ 4096 }, 2), ERR);
	assert_int_equal(nic_command(nic, VLAN, 0, &(uint16_t){ 65535 }, 2), ERR);
	/* less than a class and a number; and no room for an answer, so that nothing is done */
	nic_put_command(nic, (uint8_t[]){ RX }, 1, 1);
	guest_until(&nic->guest, (answer = nic_take_answer(nic)) >= 0);
	assert_int_equal(answer, ERR);
	nic_put_command(nic, (uint8_t[]){ RX, 0, 1 }, 3, 0);
	guest_until(&nic->guest, (answer = nic_take_answer(nic)) >= 0);
	assert_int_equal(answer, 0xee);
	assert_false(filter(stage).promisc);
	stage_free(stage);
}

static void check_enabled(const struct stage *stage, unsigned int pairs)
{
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		assert_int_equal(fixture_state(&stage->fix, i), i < 2 * pairs ?
									VHU_RING_STARTED_ENABLED :
									VHU_RING_STARTED_DISABLED);
}

static void as_many_pairs_are_served_as_were_asked_for(void **state)
{
	static const uint16_t turns[] = { 4, 2, 3, 1, 4, 4, 1 };
	struct stage *stage = running(&four_pairs);
	struct nic *nic = &stage->nic;
	uint16_t max;

	(void)state;
	guest_read_config(&nic->guest, 8, &max, sizeof(max));
	assert_int_equal(max, PAIRS);
	guest_until(&nic->guest, stage->fix.ring[7].running);
	check_enabled(stage, 1);
	for (unsigned int i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		assert_int_equal(set_pairs(stage, turns[i]), OK);
		/* the answer comes after the backend has it */
		check_enabled(stage, turns[i]);
		assert_int_equal(filter(stage).pairs, turns[i]);
		for (unsigned int k = 0; k < turns[i]; k++)
			nic_echo(nic, k, 50);
		assert_int_equal(set_pairs(stage, 0), ERR);
		assert_int_equal(set_pairs(stage, PAIRS + 1), ERR);
		assert_int_equal(set_pairs(stage, 65535), ERR);
		check_enabled(stage, turns[i]);
	}
	stage_free(stage);
}

static void pairs_survive_the_backend_and_not_a_reset(void **state)
{
	struct stage *stage = running(&four_pairs);
	struct nic *nic = &stage->nic;

	(void)state;
	assert_int_equal(set_pairs(stage, 3), OK);
	backend_goes(stage);
	backend_comes(stage);
	for (unsigned int k = 0; k < 3; k++)
		nic_echo(nic, k, 20);
	guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
	check_enabled(stage, 3);
	/* asked for while nobody is there */
	backend_goes(stage);
	guest_until(&nic->guest, !vmm_net_link_is_up(nic->net));
	assert_int_equal(set_pairs(stage, 4), OK);
	backend_comes(stage);
	guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
	check_enabled(stage, 4);
	for (unsigned int k = 0; k < 4; k++)
		nic_echo(nic, k, 20);
	guest_reset(&nic->guest);
	nic_start(nic, PAIRS);
	nic_echo(nic, 0, 5);
	guest_until(&nic->guest, stage->fix.ring[7].running);
	check_enabled(stage, 1);
	stage_free(stage);
}

static void a_reset_in_the_middle_of_a_command_forgets_it(void **state)
{
	static const uint8_t bytes[] = { CLASS_MQ, 0, 4, 0 };
	struct stage *stage = running(&four_pairs);
	struct nic *nic = &stage->nic;

	(void)state;
	for (unsigned int rounds = 0; rounds < 12; rounds++) {
		nic_put_command(nic, bytes, sizeof(bytes), 1);
		for (unsigned int i = 0; i < rounds; i++)
			guest_pump(&nic->guest);
		if (rounds % 3 == 1)
			backend_goes(stage);
		guest_reset(&nic->guest);
		if (rounds % 3 == 1)
			backend_comes(stage);
		nic_start(nic, PAIRS);
		assert_int_equal(set_pairs(stage, 2), OK);
		nic_echo(nic, 1, 5);
		assert_int_equal(filter(stage).pairs, 2);
	}
	stage_free(stage);
}

static void without_mq_the_third_queue_is_the_control_queue(void **state)
{
	const struct nic_options options = { .net.queue_pairs = PAIRS, .no_features = MQ };
	struct stage *stage = stage_up(&options);
	struct nic *nic = &stage->nic;

	(void)state;
	nic_start(nic, 1);
	nic_echo(nic, 0, 20);
	assert_int_equal(nic_command(nic, RX, 0, &(uint8_t){ 1 }, 1), OK);
	assert_int_equal(set_pairs(stage, 2), ERR);
	assert_false(stage->fix.ring[2].running);
	stage_free(stage);
}

/*
 * ---- Nonsense ----
 */
static uint32_t next_random(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33) % below;
}

/* A chain of random pieces that holds a command which is right in part. */
static void put_nonsense(struct nic *nic, uint64_t *random)
{
	struct vhu_buffer pieces[8];
	unsigned int nr_read = next_random(random, 4), nr_write = next_random(random, 3);
	uint32_t at = next_random(random, 64), start = at;

	for (unsigned int i = 0; i < 24; i++)
		nic->command[at + i] =
			(uint8_t)next_random(random, next_random(random, 4) ? 5 : 256);
	for (unsigned int i = 0; i < nr_read + nr_write; i++) {
		pieces[i].gpa = nic->command_gpa + at;
		pieces[i].len =
			next_random(random, 8) ? next_random(random, 9) : next_random(random, 2000);
		at += pieces[i].len;
		if (at > 4000)
			at = start;
	}
	if (!next_random(random, 100))
		pieces[0].gpa = (uint64_t)next_random(random, UINT32_MAX) << 31;
	if (nr_read + nr_write)
		vhu_driver_add(nic->control, pieces, nr_read, nr_write, 1);
}

/* True if no chain is left with the device. */
static bool take_all(struct nic *nic)
{
	struct vhu_used used;

	while (vhu_driver_take(nic->control, &used) > 0)
		;
	return vhu_driver_outstanding(nic->control) == 0;
}

static void random_commands_are_survived(void **state)
{
	static const uint64_t no_features[] = { 0, VHU_MASK(VHU_F_RING_PACKED_BIT) };
	unsigned int answered = 0;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct nic_options options = four_pairs;
		uint64_t random = i;

		options.net.packed = true;
		options.no_features = no_features[i];
		struct stage *stage = running(&options);
		struct nic *nic = &stage->nic;

		for (unsigned int round = 0; round < FUZZ_ROUNDS / 2; round++) {
			struct vhu_used used;
			int got;

			for (unsigned int k = 0; k < FUZZ_CHAINS; k++)
				put_nonsense(nic, &random);
			vhu_driver_publish(nic->control);
			guest_pump(&nic->guest);
			while ((got = vhu_driver_take(nic->control, &used)) > 0) {
				assert_in_range(used.len, 0, 1);
				answered++;
			}
			assert_int_equal(got, 0);
		}
		assert_int_equal(nic->guest.needs_resets, 0);
		guest_until(&nic->guest, take_all(nic));
		assert_int_equal(set_pairs(stage, 4), OK);
		nic_echo(nic, 3, 20);
		stage_free(stage);
	}
	/* most of them got through to the device */
	assert_true(answered > FUZZ_ROUNDS * FUZZ_CHAINS / 2);
}

static void a_control_ring_full_of_nonsense_is_survived(void **state)
{
	unsigned int resets = 0;
	uint64_t random = 7;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct nic_options options = stage_kind(i);
		struct stage *stage = running(&options);
		struct nic *nic = &stage->nic;

		for (unsigned int round = 0; round < 10000; round++) {
			const struct vmm_virtio_queue *q = &nic->guest.queue[2];
			uint8_t *desc = vhu_memory_ptr(nic->guest.memory, q->desc, 16u * q->num);
			uint8_t *avail = vhu_memory_ptr(nic->guest.memory, q->driver, 4);
			uint64_t one = 1;

			for (unsigned int k = 0; k < 40; k++)
				desc[next_random(&random, 16u * q->num)] =
					(uint8_t)next_random(&random, 256);
			if (i) /* split: the available index */
				avail[2] = (uint8_t)(avail[2] + next_random(&random, 40));
			assert_int_equal(write(q->kick_fd, &one, sizeof(one)), sizeof(one));
			guest_pump(&nic->guest);
			if (!nic->guest.needs_resets)
				continue;
			guest_check_heard(&nic->guest, "control queue: ");
			nic->guest.needs_resets = 0;
			nic->guest.texts[0] = '\0';
			resets++;
			guest_reset(&nic->guest);
			nic_start(nic, 1);
		}
		guest_reset(&nic->guest);
		nic_start(nic, 1);
		nic_echo(nic, 0, 20);
		assert_int_equal(nic_command(nic, RX, 0, &(uint8_t){ 1 }, 1), OK);
		stage_free(stage);
	}
	assert_true(resets > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_is_remembered_until_a_reset),
		cmocka_unit_test(mac_tables_are_as_long_as_they_say),
		cmocka_unit_test(a_command_of_another_length_is_refused),
		cmocka_unit_test(what_was_not_agreed_is_refused),
		cmocka_unit_test(nothing_that_is_unknown_is_taken),
		cmocka_unit_test(as_many_pairs_are_served_as_were_asked_for),
		cmocka_unit_test(pairs_survive_the_backend_and_not_a_reset),
		cmocka_unit_test(a_reset_in_the_middle_of_a_command_forgets_it),
		cmocka_unit_test(without_mq_the_third_queue_is_the_control_queue),
		cmocka_unit_test(random_commands_are_survived),
		cmocka_unit_test(a_control_ring_full_of_nonsense_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
