/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * A network device of vmm/ between a guest's driver and a backend: started, stopped and started
 * again in whatever state it is, and backends that die, come back, or refuse.
 */
#include <unistd.h>

#include "vmm_stage.h"

#define ANNOUNCE VHU_MASK(VHU_NET_F_GUEST_ANNOUNCE_BIT)

enum {
	RECORDS = 512,
};

/* The stations that were passed, as text. */
struct records {
	unsigned int nr;
	char text[RECORDS][48];
};

static void record(void *arg, const struct vmm_record *record)
{
	struct records *records = arg;

	if (records->nr < RECORDS)
		snprintf(records->text[records->nr++], sizeof(records->text[0]), "%s %s",
			 vmm_station_name((enum vmm_station)record->station),
			 record->what ? record->what : "");
}

/* Fails unless it was recorded, after record number from. Its number. */
static unsigned int was_recorded(const struct records *records, unsigned int from, const char *text)
{
	for (unsigned int i = from; i < records->nr; i++) {
		if (!strcmp(records->text[i], text))
			return i;
	}
	fail_msg("no \"%s\" after record %u", text, from);
	return 0;
}

static void driver_ok_starts_the_rings_and_frames_pass(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < STAGE_KINDS; i++) {
		const struct nic_options options = stage_kind(i);
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;

		assert_false(stage->fix.ring[0].running);
		nic_start(nic, 1);
		nic_echo(nic, 0, 500);
		assert_true(stage->fix.ring[0].running && stage->fix.ring[1].running);
		assert_int_equal(stage->fix.ring[0].stopped, 0);
		assert_int_equal(nic_status(nic), S_LINK_UP);
		assert_int_equal(nic->guest.needs_resets, 0);
		assert_true(guest_calls(&nic->guest, 0) > 0);
		guest_reset(&nic->guest);
		assert_false(stage->fix.ring[0].running || stage->fix.ring[1].running);
		stage_free(stage);
	}
}

static void each_order_passes_its_stations(void **state)
{
	static struct records records;
	const struct vmm_probe probe = { .sink = record, .arg = &records };
	const struct nic_options options = { .net = { .probe = &probe } };
	struct stage *stage = stage_new(&options);
	unsigned int at;

	(void)state;
	backend_comes(stage);
	nic_wait(&stage->nic);
	records.nr = 0;
	nic_start(&stage->nic, 1);
	/* the order is given, and the vCPU goes on: nothing was said to the backend yet */
	assert_int_equal(records.nr, 1);
	nic_echo(&stage->nic, 0, 1);
	/* the backend serves a ring before it has been told of the last */
	guest_until(&stage->nic.guest, !strncmp(records.text[records.nr - 1], "running", 7));
	at = was_recorded(&records, 0, "start start");
	at = was_recorded(&records, at, "message starting");
	at = was_recorded(&records, at, "message SET_FEATURES");
	at = was_recorded(&records, at, "message SET_VRING_KICK");
	at = was_recorded(&records, at, "message running");
	at = was_recorded(&records, at, "running ");
	guest_reset(&stage->nic.guest);
	at = was_recorded(&records, at, "start stop");
	at = was_recorded(&records, at, "message GET_VRING_BASE");
	was_recorded(&records, at, "message stopped");
	stage_free(stage);
}

/* Starts, lets so many rounds pass, resets, starts again: frames have to pass then. */
static bool reset_after(const struct nic_options *options, unsigned int rounds)
{
	struct stage *stage = stage_up(options);
	struct nic *nic = &stage->nic;
	bool was_running;

	nic_start(nic, 1);
	for (unsigned int i = 0; i < rounds; i++)
		guest_pump(&nic->guest);
	was_running = stage->fix.ring[1].running && stage->fix.ring[0].running;
	guest_ask_reset(&nic->guest);
	/* once more in the middle of it */
	if (nic->guest.is_stopping && rounds % 2)
		guest_ask_reset(&nic->guest);
	guest_until(&nic->guest, !nic->guest.is_stopping);
	assert_false(stage->fix.ring[0].running || stage->fix.ring[1].running);
	nic_start(nic, 1);
	nic_echo(nic, 0, 40);
	assert_int_equal(nic->guest.needs_resets, 0);
	stage_free(stage);
	return was_running;
}

static void a_reset_at_any_time_is_followed_by_a_start_that_works(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		const struct nic_options options = stage_kind(i);
		unsigned int running = 0;

		for (unsigned int rounds = 0; running < 3; rounds++) {
			assert_true(rounds < 200);
			running += reset_after(&options, rounds);
		}
	}
}

static void a_reset_with_nobody_there_is_done_at_once(void **state)
{
	const struct nic_options options = { 0 };
	struct stage *stage = stage_new(&options);
	struct nic *nic = &stage->nic;

	(void)state;
	/* never started, and with a start that waits for a backend */
	guest_reset(&nic->guest);
	nic_start(nic, 1);
	guest_pump(&nic->guest);
	guest_ask_reset(&nic->guest);
	assert_false(nic->guest.is_stopping);
	nic_start(nic, 1);
	backend_comes(stage);
	nic_echo(nic, 0, 20);
	stage_free(stage);
}

static void a_reset_while_the_backend_is_gone_is_followed_by_a_start_that_works(void **state)
{
	const struct nic_options options = { 0 };
	struct stage *stage = stage_up(&options);
	struct nic *nic = &stage->nic;

	(void)state;
	nic_start(nic, 1);
	nic_echo(nic, 0, 20);
	backend_goes(stage);
	guest_until(&nic->guest, !vmm_net_link_is_up(nic->net));
	guest_reset(&nic->guest);
	nic_start(nic, 1);
	guest_pump(&nic->guest);
	backend_comes(stage);
	nic_echo(nic, 0, 20);
	stage_free(stage);
}

static void a_backend_that_dies_while_it_is_started_or_reset_costs_nothing(void **state)
{
	(void)state;
	for (unsigned int rounds = 0; rounds < 40; rounds++) {
		const struct nic_options options = stage_kind(rounds % 2);
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;

		nic_start(nic, 1);
		for (unsigned int i = 0; i < rounds; i++)
			guest_pump(&nic->guest);
		if (rounds % 3 == 0)
			guest_ask_reset(&nic->guest);
		backend_goes(stage);
		if (rounds % 3 == 1)
			guest_ask_reset(&nic->guest);
		guest_pump(&nic->guest);
		backend_comes(stage);
		if (rounds % 3 < 2) {
			guest_until(&nic->guest, !nic->guest.is_stopping);
			nic_start(nic, 1);
		}
		nic_echo(nic, 0, 20);
		assert_int_equal(nic->guest.needs_resets, 0);
		stage_free(stage);
	}
}

static void a_backend_that_comes_back_goes_on_without_the_guests_help(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2 * STAGE_KINDS; i++) {
		struct nic_options options = stage_kind(i / 2);

		options.net.server = i % 2;
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;

		nic_start(nic, 1);
		nic_echo(nic, 0, 100);
		for (unsigned int turn = 0; turn < 3; turn++) {
			unsigned int changes = nic->guest.config_changes;

			backend_goes(stage);
			guest_until(&nic->guest, !vmm_net_link_is_up(nic->net));
			assert_false(nic_status(nic) & S_LINK_UP);
			assert_int_equal(nic->guest.config_changes, changes + 1);
			/* frames wait in the ring meanwhile */
			nic_turn(nic, 0, nic->pair[0].sent + 5);
			backend_comes(stage);
			guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
			assert_true(nic_status(nic) & S_LINK_UP);
			assert_int_equal(nic->guest.config_changes, changes + 2);
			nic_echo(nic, 0, 100);
		}
		assert_int_equal(nic->guest.needs_resets, 0);
		guest_check_heard(&nic->guest, "the backend is gone");
		guest_check_heard(&nic->guest, "the backend is back");
		stage_free(stage);
	}
}

static void where_a_packed_ring_stood_is_not_guessed(void **state)
{
	const struct nic_options options = stage_kind(0);
	struct stage *stage = stage_new(&options);
	struct nic *nic = &stage->nic;

	(void)state;
	stage->fix_options.protocol_features = VHU_BACKEND_PROTOCOL_FEATURES;
	backend_comes(stage);
	nic_wait(nic);
	nic_start(nic, 1);
	nic_echo(nic, 0, 30);
	backend_goes(stage);
	backend_comes(stage);
	guest_until(&nic->guest, nic->guest.needs_resets);
	assert_false(nic_status(nic) & S_LINK_UP);
	guest_reset(&nic->guest);
	assert_true(nic_status(nic) & S_LINK_UP);
	nic_start(nic, 1);
	nic_echo(nic, 0, 30);
	assert_int_equal(nic->guest.needs_resets, 1);
	stage_free(stage);
}

static void after_a_death_the_network_learns_where_the_guest_is(void **state)
{
	(void)state;
	for (unsigned int by_guest = 0; by_guest < 2; by_guest++) {
		const struct nic_options options = {
			.net = { .has_mac = true, .mac = { 2, 0, 0, 1, 2, 3 } },
			.no_features = by_guest ? 0 : ANNOUNCE,
		};
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;
		uint8_t mac[6];

		guest_read_config(&nic->guest, 0, mac, sizeof(mac));
		assert_memory_equal(mac, options.net.mac, 6);
		nic_start(nic, 1);
		nic_echo(nic, 0, 10);
		assert_int_equal(nic_status(nic), S_LINK_UP);
		assert_int_equal(stage->fix.rarps, 0);
		backend_goes(stage);
		backend_comes(stage);
		nic_echo(nic, 0, 10);
		guest_until(&nic->guest, vmm_net_link_is_up(nic->net));
		/* first the link, and when that was seen the other */
		unsigned int changes = nic->guest.config_changes;

		for (unsigned int i = 0; i < 20; i++)
			guest_pump(&nic->guest);
		assert_int_equal(nic->guest.config_changes, changes);
		assert_int_equal(nic_status(nic), S_LINK_UP);
		if (by_guest) {
			guest_until(&nic->guest, nic->guest.config_changes == changes + 1);
			assert_int_equal(nic_status(nic), S_LINK_UP | S_ANNOUNCE);
			assert_int_equal(nic_status(nic), S_LINK_UP | S_ANNOUNCE);
			assert_int_equal(nic_command(nic, 3, 0, NULL, 0), 0);
			assert_int_equal(nic_status(nic), S_LINK_UP);
			assert_int_equal(stage->fix.rarps, 0);
		} else {
			guest_until(&nic->guest, stage->fix.rarps == 1);
			assert_memory_equal(stage->fix.mac, options.net.mac, 6);
		}
		stage_free(stage);
	}
}

static void a_queue_that_is_enabled_late_joins(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		const struct nic_options options = stage_kind(i);
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;

		nic_negotiate(nic);
		nic_make_rings(nic, 1);
		nic->guest.queue[0].is_enabled = false;
		/* with none at all, with one while starting, and with one that runs */
		if (i == 0)
			nic->guest.queue[1].is_enabled = false;
		guest_driver_ok(&nic->guest);
		if (i == 0)
			guest_enable(&nic->guest, 1);
		if (i == 2)
			guest_until(&nic->guest, stage->fix.ring[1].running);
		guest_enable(&nic->guest, 0);
		/* an echo that finds no receive ring is lost */
		guest_until(&nic->guest, stage->fix.ring[0].running && stage->fix.ring[1].running);
		nic_echo(nic, 0, 100);
		assert_int_equal(nic->guest.needs_resets, 0);
		stage_free(stage);
	}
}

static void a_ring_that_lies_nowhere_needs_a_reset(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 6; i++) {
		const struct nic_options options = stage_kind(i % 2);
		struct stage *stage = stage_up(&options);
		struct nic *nic = &stage->nic;
		struct vmm_virtio_queue *q = &nic->guest.queue[i / 2 == 2 ? 2 : 1];

		nic_negotiate(nic);
		nic_make_rings(nic, 1);
		if (i / 2 == 1)
			q->device = UINT64_MAX - 15;
		else
			q->desc = GUEST_GPA + GUEST_MEMORY - 16;
		guest_driver_ok(&nic->guest);
		guest_until(&nic->guest, nic->guest.needs_resets == 1);
		guest_check_heard(&nic->guest, i / 2 == 2 ? "control queue: " : "queue 1: ");
		guest_reset(&nic->guest);
		nic_start(nic, 1);
		nic_echo(nic, 0, 10);
		assert_int_equal(nic->guest.needs_resets, 1);
		stage_free(stage);
	}
}

static void a_ring_that_the_guest_breaks_needs_a_reset(void **state)
{
	const struct nic_options options = stage_kind(1);
	struct stage *stage = stage_up(&options);
	struct nic *nic = &stage->nic;
	uint16_t *avail;
	uint64_t one = 1;

	(void)state;
	nic_start(nic, 1);
	nic_echo(nic, 0, 10);
	avail = vhu_memory_ptr(nic->guest.memory, nic->guest.queue[1].driver, 4);
	avail[1] = (uint16_t)(avail[1] + 1000);
	assert_int_equal(write(nic->guest.queue[1].kick_fd, &one, sizeof(one)), sizeof(one));
	guest_until(&nic->guest, nic->guest.needs_resets == 1);
	guest_reset(&nic->guest);
	nic_start(nic, 1);
	nic_echo(nic, 0, 10);
	stage_free(stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_ok_starts_the_rings_and_frames_pass),
		cmocka_unit_test(each_order_passes_its_stations),
		cmocka_unit_test(a_reset_at_any_time_is_followed_by_a_start_that_works),
		cmocka_unit_test(a_reset_with_nobody_there_is_done_at_once),
		cmocka_unit_test(
			a_reset_while_the_backend_is_gone_is_followed_by_a_start_that_works),
		cmocka_unit_test(a_backend_that_dies_while_it_is_started_or_reset_costs_nothing),
		cmocka_unit_test(a_backend_that_comes_back_goes_on_without_the_guests_help),
		cmocka_unit_test(where_a_packed_ring_stood_is_not_guessed),
		cmocka_unit_test(after_a_death_the_network_learns_where_the_guest_is),
		cmocka_unit_test(a_queue_that_is_enabled_late_joins),
		cmocka_unit_test(a_ring_that_lies_nowhere_needs_a_reset),
		cmocka_unit_test(a_ring_that_the_guest_breaks_needs_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
