/* SPDX-License-Identifier: MIT */
/* tier: soak */
/* timeout: 36000 */
/* Notification at all sizes of rings, more than a thousand million chains in all. */
#include "notify_stress.h"

int main(void)
{
	return notify_stress_main(
		&(struct notify_counts){ 1000000, 21000000, .laps = 6, .size_max = 32768 });
}
