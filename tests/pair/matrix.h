/* SPDX-License-Identifier: MIT */
/* Both halves of the library against each other in every layout of rings; which ones, others say. */
#ifndef TESTS_PAIR_MATRIX_H
#define TESTS_PAIR_MATRIX_H

#include <stdbool.h>

/*
 * Runs the combinations of split or packed, indirect, event index, in order, mergeable and 1, 2 or 8
 * queue pairs: all, or a selection in which each set of features comes once and any two choices meet.
 */
int matrix_main(bool all, unsigned int nr_frames);

#endif
