/* SPDX-License-Identifier: MIT */
/* tier: check */
/* tsan */
/* timeout: 180 */
/* Notification at all sizes of rings, three million chains in all. */
#include "notify_stress.h"

int main(void)
{
	if (CHECK_SANITIZED)
		return notify_stress_main(
			&(struct notify_counts){ 2000, 2000, .laps = 3, .size_max = 8192 });
	return notify_stress_main(
		&(struct notify_counts){ 5000, 5000, .laps = 6, .size_max = 32768 });
}
