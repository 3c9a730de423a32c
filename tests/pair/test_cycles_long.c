/* SPDX-License-Identifier: MIT */
/* tier: soak */
/* timeout: 3600 */
/* Ten thousand connections, one after the other. */
#include "cycles.h"

int main(void)
{
	return cycles_main(10000);
}
