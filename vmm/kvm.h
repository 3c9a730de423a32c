/* SPDX-License-Identifier: MIT */
/*
 * The machine as the kernel has it: memory slots, interrupt controllers and their routes, eventfds
 * that interrupt (irqfd) and eventfds that are written instead of an exit (ioeventfd). Knows nothing
 * of devices, nor of what a vCPU does.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stddef.h>
#include <vhu/memory.h>
#include <vmm/irq.h>
#include <stdbool.h>
#include <vmm/text.h>
#include <vmm/virtio_pci.h>

struct vmm_kvm;
struct kvm_cpuid2;

#define VMM_KVM_PATH "/dev/kvm"

/*
 * Makes an empty machine with in-kernel interrupt controllers and timer. -ENOENT, -EACCES and so on:
 * the file cannot be opened; -ENOSYS: it is not KVM, or lacks something. text says which.
 */
int vmm_kvm_new(struct vmm_kvm **ret_kvm, const char *path, char text[VMM_TEXT]);
/* vCPUs are closed before. NULL is allowed. */
void vmm_kvm_free(struct vmm_kvm *kvm);

/* Shows all regions to the guest, once. They stay where they are as long as the machine lives. */
int vmm_kvm_set_memory(struct vmm_kvm *kvm, const struct vhu_memory *memory, char text[VMM_TEXT]);

/* The fd of a new vCPU, the caller's to close. -errno. */
int vmm_kvm_new_vcpu(struct vmm_kvm *kvm, unsigned int cpu);
/* Bytes of a vCPU's shared memory. */
size_t vmm_kvm_run_size(const struct vmm_kvm *kvm);
/* What the kernel can show to a guest as CPUID, to be free()d; NULL: text says why. */
struct kvm_cpuid2 *vmm_kvm_cpuid(const struct vmm_kvm *kvm, char text[VMM_TEXT]);
bool vmm_kvm_has_tsc_deadline(const struct vmm_kvm *kvm);

/* The interrupt controller. A route's number is its GSI. Under the machine's lock. */
const struct vmm_irq *vmm_kvm_irq(const struct vmm_kvm *kvm);
/* Doorbells; their argument is the machine. Under the machine's lock. */
extern const struct vmm_doorbell_ops vmm_kvm_doorbells;

#endif
