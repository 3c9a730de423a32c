/* SPDX-License-Identifier: MIT */
/*
 * A vCPU: a thread that runs the guest, and what it does with each exit. Registers and ports are the
 * buses', called under the machine's lock. Knows nothing of devices.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <vmm/boot.h>
#include <vmm/bus.h>
#include <vmm/kvm.h>

struct vmm_vcpu;

/* Why KVM_RUN came back, for counts. */
enum vmm_exit {
	VMM_EXIT_PORT,
	VMM_EXIT_MMIO,
	VMM_EXIT_HALT,
	VMM_EXIT_INTR,	/* it was asked to come back */
	VMM_EXIT_OTHER, /* all that ends it */
	VMM_EXIT_KINDS,
};

/* How it ended. */
enum vmm_vcpu_end {
	VMM_VCPU_STOPPED,  /* by vmm_vcpu_stop() */
	VMM_VCPU_SHUTDOWN, /* a triple fault */
	VMM_VCPU_FAILED,   /* KVM could not go on */
};

struct vmm_vcpu_options {
	struct vmm_kvm *kvm;
	unsigned int cpu, nr_cpus; /* its number and APIC id, of how many */
	struct vmm_bus *mmio, *port;
	pthread_mutex_t *lock; /* held around all calls of the two */
	const struct vmm_probe *probe;
	/*
	 * On its thread, without the lock, when it ends other than by vmm_vcpu_stop(). text says why in
	 * one line.
	 */
	void (*ended)(void *arg, unsigned int cpu, enum vmm_vcpu_end end, const char *text);
	/* On its thread, before the first instruction. May be NULL. */
	void (*begins)(void *arg, unsigned int cpu);
	void *arg;
};

/* It does not run yet. All but number 0 wait for another's start-up message once they do. */
int vmm_vcpu_new(struct vmm_vcpu **ret_vcpu, const struct vmm_vcpu_options *options,
		 char text[VMM_TEXT]);
/* Stopped before. NULL is allowed. */
void vmm_vcpu_free(struct vmm_vcpu *vcpu);

/* What number 0 begins with. */
int vmm_vcpu_enter(struct vmm_vcpu *vcpu, const struct vmm_boot_entry *entry, char text[VMM_TEXT]);
/* Its thread begins. 0 or -errno. */
int vmm_vcpu_start(struct vmm_vcpu *vcpu);
/* Asks it to end, soon. Any thread, its own included; more than once. Not while start() is under way. */
void vmm_vcpu_ask_stop(struct vmm_vcpu *vcpu);
/* Asks, and waits for its thread. Nothing happens if it never started. */
void vmm_vcpu_stop(struct vmm_vcpu *vcpu);

/* Exits to us, by kind. Any thread, at any time. */
void vmm_vcpu_exits(const struct vmm_vcpu *vcpu, uint64_t ret_counts[VMM_EXIT_KINDS]);

#endif
