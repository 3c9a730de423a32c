/* SPDX-License-Identifier: MIT */
/* A backend and a driver of packed rings: what the tests of packed rings have in common. */
#ifndef TESTS_PAIR_PACKED_FIXTURE_H
#define TESTS_PAIR_PACKED_FIXTURE_H

#include "backend_fixture.h"
#include "driver_packed.h"

/* The pair that packed_running() has set up, its receive ring and its transmit ring. */
extern struct pair *p;
extern struct dp_ring *rx, *tx;

int packed_setup(void **state);
int packed_teardown(void **state);
void packed_running(void **state, const struct fixture_options *options, uint32_t num,
		    uint64_t with, uint64_t without);
/* The same with a fixture that has nothing but a mode. */
void packed_mode(void **state, enum fixture_mode mode, uint32_t num);
/* Ends the pair, so that another can begin. */
void packed_again(void **state);

/* A position as a base: nothing is in flight. */
uint32_t packed_base(uint16_t pos);
/* What an available descriptor at that place has of AVAIL and USED; the flags of a used one. */
uint16_t packed_avail_flags(uint16_t pos);
uint16_t packed_used_flags(uint16_t pos, bool written);
/* Pulls and gives back all that is there; pushes one frame without publishing it. */
void packed_pull_all(void);
void packed_push(const uint8_t *bytes, size_t len);

#define packed_test(name) cmocka_unit_test_setup_teardown(name, packed_setup, packed_teardown)

#endif
