/* SPDX-License-Identifier: MIT */
/* KVM's interrupt controllers as vmm_irq_ops. A part of kvm.c; others use vmm_kvm_irq(). */
#ifndef VMM_KVM_IRQ_H
#define VMM_KVM_IRQ_H

#include <vmm/irq.h>

struct vmm_kvm_route;
struct vmm_kvm_attached;

struct vmm_kvm_irq {
	struct vmm_irq irq; /* its argument is this */
	int vm_fd;
	struct vmm_kvm_route *routes;
	unsigned int nr_routes, max_routes;
	struct vmm_kvm_attached *attached;
	unsigned int nr_attached, room_attached;
};

/* max: entries that the kernel's table may have. 0 or -errno. */
int vmm_kvm_irq_init(struct vmm_kvm_irq *irq, int vm_fd, unsigned int max);
/* Nothing happens if init was never called on an irq of zeros. */
void vmm_kvm_irq_fini(struct vmm_kvm_irq *irq);

#endif
