/* SPDX-License-Identifier: MIT */
/*
 * What devices need of an interrupt controller, whoever it is: KVM's in the kernel, or a test. A
 * route is a number (KVM: a GSI above the pins) that stands for one message; an eventfd attached to
 * it is turned into that message by the controller itself, without us.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* PCI, 6.8: what a device writes to interrupt. */
struct vmm_msi {
	uint64_t addr;
	uint32_t data;
};

/* All return 0 or -errno unless they say otherwise; under the machine's lock. */
struct vmm_irq_ops {
	/* A new route, for no message yet: its number, or -ENOSPC. */
	int (*new_route)(void *arg);
	void (*free_route)(void *arg, int route);
	/* From now on the route stands for this message. */
	int (*set_route)(void *arg, int route, const struct vmm_msi *msi);
	/*
	 * From now on the eventfd (borrowed) is the route's, or no longer. Attached with a count already
	 * there: interrupts at once. Detached: what is written from now on stays in its count. A count is
	 * therefore the pending bit of what is detached. Several may be attached to one route.
	 */
	int (*attach)(void *arg, int route, int eventfd);
	int (*detach)(void *arg, int route, int eventfd);
	/* One message now. */
	int (*send)(void *arg, const struct vmm_msi *msi);
	/* A pin of the interrupt controller (INTx), level triggered. Each device begins low and tells
	 * only changes, so that those who share a pin can be counted. */
	int (*set_line)(void *arg, unsigned int pin, bool level);
};

struct vmm_irq {
	const struct vmm_irq_ops *ops;
	void *arg;
};

#endif
