/* SPDX-License-Identifier: MIT */
/* What a vCPU has in it before the first instruction. A part of vcpu.c. */
#ifndef VMM_VCPU_STATE_H
#define VMM_VCPU_STATE_H

#include <vmm/boot.h>
#include <vmm/kvm.h>

/* CPUID, local interrupts, MSRs. 0, or -errno with a line in text. */
int vmm_vcpu_prepare(int fd, const struct vmm_kvm *kvm, unsigned int cpu, unsigned int nr_cpus,
		     char text[VMM_TEXT]);
/* Registers of the first one. */
int vmm_vcpu_set_entry(int fd, const struct vmm_boot_entry *entry, char text[VMM_TEXT]);

#endif
