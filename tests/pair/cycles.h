/* SPDX-License-Identifier: MIT */
/* Connecting and disconnecting many times, for the short and the long program of that name. */
#ifndef TESTS_PAIR_CYCLES_H
#define TESTS_PAIR_CYCLES_H

/* Runs the tests with that many cycles each, as main() does. */
int cycles_main(unsigned int nr_cycles);

#endif
