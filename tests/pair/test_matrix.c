/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* tsan */
/* timeout: 120 */
/* Both halves of the library against each other: each set of ring features once. */
#include "matrix.h"

int main(void)
{
	return matrix_main(false, 600);
}
