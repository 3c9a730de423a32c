/* SPDX-License-Identifier: MIT */
/*
 * The clock of a PC and its few bytes of memory (MC146818): the time of day, read only. No alarm, no
 * periodic interrupt. Knows nothing of who reads it.
 *
 * Under the machine's lock.
 */
#ifndef VMM_RTC_H
#define VMM_RTC_H

#include <vmm/bus.h>

struct vmm_rtc;

/* -EEXIST, -ENOMEM. */
int vmm_rtc_new(struct vmm_rtc **ret_rtc, struct vmm_bus *port);
void vmm_rtc_free(struct vmm_rtc *rtc);

#endif
