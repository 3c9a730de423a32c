/* SPDX-License-Identifier: MIT */
/*
 * How the guest switches itself off or resets itself: ACPI's fixed registers and timer, the reset
 * register, and the keyboard controller's command to pulse the reset line. Also where it is told to
 * switch itself off, by the power button. Knows nothing of what the machine does then.
 *
 * Under the machine's lock.
 */
#ifndef VMM_PM_H
#define VMM_PM_H

#include <vmm/bus.h>
#include <vmm/irq.h>

struct vmm_pm;

struct vmm_pm_options {
	struct vmm_bus *port;
	const struct vmm_irq *irq;
	/* On the vCPU that wrote, which goes on after it. */
	void (*power_off)(void *arg);
	void (*reset)(void *arg);
	void *arg;
};

/* -EEXIST, -ENOMEM. */
int vmm_pm_new(struct vmm_pm **ret_pm, const struct vmm_pm_options *options);
void vmm_pm_free(struct vmm_pm *pm);

/* The power button was pressed. False: the guest does not listen (it has no ACPI, or not yet). */
bool vmm_pm_press(struct vmm_pm *pm);

#endif
