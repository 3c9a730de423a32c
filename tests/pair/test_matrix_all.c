/* SPDX-License-Identifier: MIT */
/* tier: check */
/* tsan */
/* timeout: 600 */
/*
 * Both halves of the library against each other: all sets of ring features, 1, 2 and 8 queue pairs;
 * 96 combinations of 4800 frames there and back, 460,800 in all.
 */
#include "matrix.h"

int main(void)
{
	return matrix_main(true, 2400);
}
