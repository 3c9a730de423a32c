/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* A hundred connections, one after the other. */
#include "cycles.h"

int main(void)
{
	return cycles_main(100);
}
