/* SPDX-License-Identifier: MIT */
/*
 * A machine: memory, vCPUs, a serial port, power, a clock, a PCI bus. Puts the parts together, and
 * takes them apart. Knows nothing of command lines and terminals.
 *
 * All functions are the device thread's. It watches vmm_machine_fd() and calls vmm_machine_process();
 * vCPUs run on threads of their own. One lock, inside, is around all that both touch.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stddef.h>
#include <vmm/boot.h>
#include <vmm/probe.h>
#include <vmm/text.h>
#include <vmm/vcpu.h>
#include <vmm/virtio_blk.h>
#include <vmm/virtio_net.h>

struct vmm_machine;

#define VMM_MACHINE_MIN_MEMORY (UINT64_C(16) << 20)
enum {
	VMM_MACHINE_MAX_DEVICES = 8, /* each has an interrupt pin of its own */
};
/* What is above 4 GiB ends where the PCI window begins. */
#define VMM_MACHINE_MAX_MEMORY (UINT64_C(255) << 30)

/* Why it does not run any more. */
enum vmm_end {
	VMM_END_NONE,	   /* it runs, or never did */
	VMM_END_POWER_OFF, /* by the guest */
	VMM_END_RESET,	   /* by the guest: there is no second start in here */
	VMM_END_CRASH,	   /* a triple fault */
	VMM_END_FAILED,	   /* KVM or a device cannot go on */
};

struct vmm_machine_options {
	const char *kvm_path; /* NULL: VMM_KVM_PATH */
	/* A multiple of 4096, of 2 MiB with huge pages, between the two above. */
	uint64_t memory_size;
	bool with_huge_pages;
	unsigned int nr_cpus; /* 1 to VMM_MAX_CPUS */
	/* Doorbells and calls come by us instead of by KVM alone, and are seen by the probe. */
	bool through_us;
	const struct vmm_probe *probe; /* borrowed; may be NULL */
};

/* 0, or -errno with a line in text; so all others that have one. */
int vmm_machine_new(struct vmm_machine **ret_machine, const struct vmm_machine_options *options,
		    char text[VMM_TEXT]);
/* Stops it first. NULL is allowed. */
void vmm_machine_free(struct vmm_machine *machine);

/*
 * A device more, before the start. memory and probe of the options are not looked at; strings are
 * borrowed. -ENOSPC: too many.
 */
int vmm_machine_add_net(struct vmm_machine *machine, const struct vmm_net_options *options,
			char text[VMM_TEXT]);
int vmm_machine_add_blk(struct vmm_machine *machine, const struct vmm_blk_options *options,
			char text[VMM_TEXT]);
/* Before the start: blocks until the backend of that device (in the order in which they were added) was
 * greeted; see vmm_net_wait(). */
int vmm_machine_wait_device(struct vmm_machine *machine, unsigned int number, int timeout_ms,
			    char text[VMM_TEXT]);

/* Puts kernel and tables into memory, and the first vCPU before its first instruction. rsdp of the
 * options is not looked at. */
int vmm_machine_boot(struct vmm_machine *machine, const struct vmm_boot_options *options,
		     char text[VMM_TEXT]);
/* The same for who put something into memory himself. */
int vmm_machine_enter(struct vmm_machine *machine, const struct vmm_boot_entry *entry,
		      char text[VMM_TEXT]);
struct vhu_memory *vmm_machine_memory(struct vmm_machine *machine);

/* The vCPUs run from now on. */
int vmm_machine_start(struct vmm_machine *machine, char text[VMM_TEXT]);
/* Stops all vCPUs and waits for their threads. */
void vmm_machine_stop(struct vmm_machine *machine);

/* Readable (level triggered): vmm_machine_process() has work. */
int vmm_machine_fd(const struct vmm_machine *machine);
/* Does it; never blocks. 0, or -errno if it cannot go on. */
int vmm_machine_process(struct vmm_machine *machine);
/* After a process(): whether it ended, and what there is to say about it. */
enum vmm_end vmm_machine_ended(struct vmm_machine *machine, char text[VMM_TEXT]);

/* What the guest sent by its serial port; what it takes, and gets. After each process(). */
size_t vmm_machine_fetch(struct vmm_machine *machine, void *data, size_t len);
size_t vmm_machine_room(struct vmm_machine *machine);
void vmm_machine_input(struct vmm_machine *machine, const void *data, size_t len);

/* The power button. False: the guest does not listen. */
bool vmm_machine_press_power(struct vmm_machine *machine);

/* Exits of all vCPUs by kind; when the first instruction was about to run (CLOCK_MONOTONIC, 0: not
 * yet). */
void vmm_machine_exits(struct vmm_machine *machine, uint64_t ret_counts[VMM_EXIT_KINDS]);
uint64_t vmm_machine_entered_ns(struct vmm_machine *machine);

#endif
