/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* What the switch remembers of stations, what it forgets, and at whose cost. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "switch/fdb.h"

static const uint64_t seed[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };

static struct sw_fdb *table(unsigned int size)
{
	struct sw_fdb *fdb;

	assert_int_equal(sw_fdb_new(&fdb, size, 8, seed), 0);
	return fdb;
}

static uint64_t station(unsigned int n, unsigned int vlan)
{
	const uint8_t mac[6] = {
		0x02, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n
	};

	return sw_fdb_key(mac, vlan);
}

static void a_station_is_known_where_it_was_seen_last(void **state)
{
	struct sw_fdb *fdb = table(16);

	(void)state;
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), -1);
	assert_int_equal(sw_fdb_learn(fdb, station(1, 0), 3, 4, 0), SW_LEARN_FIRST);
	assert_int_equal(sw_fdb_learn(fdb, station(1, 0), 3, 4, 1), SW_LEARN_NOTHING);
	assert_int_equal(sw_fdb_learn(fdb, station(2, 0), 3, 4, 1), SW_LEARN_NEW);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 3);
	assert_int_equal(sw_fdb_learn(fdb, station(1, 0), 5, 4, 2), SW_LEARN_MOVED);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 5);
	assert_int_equal(sw_fdb_count(fdb, 3), 1);
	assert_int_equal(sw_fdb_count(fdb, 5), 1);
	sw_fdb_free(fdb);
}

static void a_station_is_another_one_in_another_vlan(void **state)
{
	struct sw_fdb *fdb = table(16);

	(void)state;
	sw_fdb_learn(fdb, station(1, 10), 1, 4, 0);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 20)), -1);
	sw_fdb_learn(fdb, station(1, 20), 2, 4, 0);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 10)), 1);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 20)), 2);
	sw_fdb_free(fdb);
}

static void entries_age_from_when_they_were_seen_last(void **state)
{
	struct sw_fdb *fdb = table(16);
	uint64_t oldest = 0;

	(void)state;
	sw_fdb_learn(fdb, station(1, 0), 1, 4, 1000);
	sw_fdb_learn(fdb, station(2, 0), 1, 4, 1000);
	sw_fdb_learn(fdb, station(1, 0), 1, 4, 200000);
	assert_int_equal(sw_fdb_age(fdb, 300999, 300000, &oldest), 2);
	assert_int_equal(oldest, 1000);
	assert_int_equal(sw_fdb_age(fdb, 301000, 300000, &oldest), 1);
	assert_int_equal(oldest, 200000);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 1);
	assert_int_equal(sw_fdb_lookup(fdb, station(2, 0)), -1);
	assert_int_equal(sw_fdb_age(fdb, 500000, 300000, &oldest), 0);
	/* The next one begins the ageing anew. */
	assert_int_equal(sw_fdb_learn(fdb, station(9, 0), 1, 4, 500001), SW_LEARN_FIRST);
	sw_fdb_free(fdb);
}

static void a_flooding_port_evicts_its_own_entries_only(void **state)
{
	struct sw_fdb *fdb = table(1024);

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		sw_fdb_learn(fdb, station(i, 0), 1, 4, 0);
	for (unsigned int i = 0; i < 100000; i++)
		sw_fdb_learn(fdb, station(1000 + i, 0), 2, 4, 1 + i / 100);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(sw_fdb_lookup(fdb, station(i, 0)), 1);
	assert_int_equal(sw_fdb_count(fdb, 1), 10);
	assert_int_equal(sw_fdb_count(fdb, 2), 1014);
	/* The newest are there, the oldest have gone. */
	assert_int_equal(sw_fdb_lookup(fdb, station(1000 + 99999, 0)), 2);
	assert_int_equal(sw_fdb_lookup(fdb, station(1000, 0)), -1);
	sw_fdb_free(fdb);
}

static void a_full_table_still_has_room_for_a_port_within_its_share(void **state)
{
	struct sw_fdb *fdb = table(1000);

	(void)state;
	for (unsigned int i = 0; i < 5000; i++)
		sw_fdb_learn(fdb, station(10000 + i, 0), 2, 4, 0);
	for (unsigned int i = 0; i < 250; i++)
		assert_int_equal(sw_fdb_learn(fdb, station(i, 0), 1, 4, 1), SW_LEARN_NEW);
	assert_int_equal(sw_fdb_count(fdb, 1), 250);
	assert_int_equal(sw_fdb_count(fdb, 2), 750);
	/* Beyond its share it pays by itself. */
	sw_fdb_learn(fdb, station(250, 0), 1, 4, 2);
	assert_int_equal(sw_fdb_count(fdb, 1), 250);
	assert_int_equal(sw_fdb_count(fdb, 2), 750);
	sw_fdb_free(fdb);
}

static void a_station_that_speaks_outlives_made_up_ones(void **state)
{
	struct sw_fdb *fdb = table(64);

	(void)state;
	sw_fdb_learn(fdb, station(1, 0), 1, 1, 0);
	for (unsigned int i = 0; i < 10000; i++) {
		sw_fdb_learn(fdb, station(100 + i, 0), 1, 1, 10 * i);
		sw_fdb_learn(fdb, station(1, 0), 1, 1, 10 * i);
		assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 1);
	}
	sw_fdb_free(fdb);
}

static void static_entries_neither_move_nor_age_nor_give_way(void **state)
{
	struct sw_fdb *fdb = table(4);
	uint64_t oldest;

	(void)state;
	sw_fdb_learn(fdb, station(1, 0), 2, 4, 0);
	assert_int_equal(sw_fdb_set_static(fdb, station(1, 0), 1), 0);
	assert_int_equal(sw_fdb_learn(fdb, station(1, 0), 2, 4, 0), SW_LEARN_NOTHING);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 1);
	for (unsigned int i = 10; i < 50; i++)
		sw_fdb_learn(fdb, station(i, 0), 2, 4, 0);
	assert_int_equal(sw_fdb_count(fdb, 2), 3);
	assert_int_equal(sw_fdb_age(fdb, 1u << 30, 300000, &oldest), 0);
	sw_fdb_forget_port(fdb, -1, false);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), 1);
	/* They are bounded too, and make room among the dynamic ones. */
	sw_fdb_learn(fdb, station(99, 0), 2, 4, 0);
	for (unsigned int i = 2; i <= 4; i++)
		assert_int_equal(sw_fdb_set_static(fdb, station(i, 0), 1), 0);
	assert_int_equal(sw_fdb_set_static(fdb, station(5, 0), 1), -ENOSPC);
	assert_int_equal(sw_fdb_learn(fdb, station(6, 0), 2, 4, 0), SW_LEARN_NOTHING);
	assert_int_equal(sw_fdb_remove(fdb, station(4, 0)), 0);
	assert_int_equal(sw_fdb_remove(fdb, station(4, 0)), -ENOENT);
	sw_fdb_forget_port(fdb, 1, true);
	assert_int_equal(sw_fdb_lookup(fdb, station(1, 0)), -1);
	sw_fdb_free(fdb);
}

static void a_station_that_moved_away_is_forgotten_in_the_ports_vlans(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };
	struct sw_fdb *fdb = table(16);
	const struct sw_vlans vlans = { .mode = SW_VLAN_TRUNK, .trunk = { 1 << 1 | 1 << 2 } };

	(void)state;
	sw_fdb_learn(fdb, station(7, 1), 1, 4, 0);
	sw_fdb_learn(fdb, station(7, 2), 1, 4, 0);
	sw_fdb_learn(fdb, station(7, 3), 1, 4, 0);
	sw_fdb_learn(fdb, station(8, 2), 1, 4, 0);
	sw_fdb_forget_mac(fdb, mac, &vlans);
	assert_int_equal(sw_fdb_lookup(fdb, station(7, 1)), -1);
	assert_int_equal(sw_fdb_lookup(fdb, station(7, 2)), -1);
	assert_int_equal(sw_fdb_lookup(fdb, station(7, 3)), 1); /* none of the port's business */
	assert_int_equal(sw_fdb_lookup(fdb, station(8, 2)), 1);
	sw_fdb_free(fdb);
}

static void the_rows_are_what_was_learned(void **state)
{
	struct sw_fdb *fdb = table(8);
	unsigned int nr = 0;

	(void)state;
	sw_fdb_learn(fdb, station(1, 5), 3, 4, 77);
	sw_fdb_set_static(fdb, station(2, 6), 4);
	for (unsigned int i = 0; i < sw_fdb_size(fdb); i++) {
		struct sw_fdb_row row;

		if (!sw_fdb_row(fdb, i, &row))
			continue;
		nr++;
		assert_true(row.key == station(row.is_static ? 2 : 1, row.is_static ? 6 : 5));
		assert_int_equal(row.port, row.is_static ? 4 : 3);
		if (!row.is_static)
			assert_int_equal(row.seen_ms, 77);
	}
	assert_int_equal(nr, 2);
	sw_fdb_free(fdb);
}

/* ---- Many threads: each station has one port for ever, so a lookup finds that or nothing ---- */

struct run {
	struct sw_fdb *fdb;
	unsigned int seed;
	atomic_uint *wrong;
};

static void *learn_and_look(void *arg)
{
	struct run *run = arg;
	unsigned int x = run->seed;

	for (unsigned int i = 0; i < 200000; i++) {
		unsigned int n;
		int port;

		x = x * 1103515245u + 12345u;
		n = x >> 16 & 0x3ff;
		if (i & 1)
			sw_fdb_learn(run->fdb, station(n, 0), n & 7, 8, i);
		port = sw_fdb_lookup(run->fdb, station(n ^ 1, 0));
		if (port >= 0 && port != (int)((n ^ 1) & 7))
			atomic_fetch_add(run->wrong, 1);
	}
	return NULL;
}

static void lookups_beside_changes_never_find_another_stations_port(void **state)
{
	struct sw_fdb *fdb = table(256);
	atomic_uint wrong = 0;
	struct run run[2] = { { fdb, 1, &wrong }, { fdb, 99, &wrong } };
	pthread_t thread[2];
	uint64_t oldest;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, learn_and_look, &run[i]), 0);
	for (unsigned int i = 0; i < 200; i++)
		sw_fdb_age(fdb, i * 1000, 50, &oldest);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(wrong, 0);
	sw_fdb_free(fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_station_is_known_where_it_was_seen_last),
		cmocka_unit_test(a_station_is_another_one_in_another_vlan),
		cmocka_unit_test(entries_age_from_when_they_were_seen_last),
		cmocka_unit_test(a_flooding_port_evicts_its_own_entries_only),
		cmocka_unit_test(a_full_table_still_has_room_for_a_port_within_its_share),
		cmocka_unit_test(a_station_that_speaks_outlives_made_up_ones),
		cmocka_unit_test(static_entries_neither_move_nor_age_nor_give_way),
		cmocka_unit_test(a_station_that_moved_away_is_forgotten_in_the_ports_vlans),
		cmocka_unit_test(the_rows_are_what_was_learned),
		cmocka_unit_test(lookups_beside_changes_never_find_another_stations_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
