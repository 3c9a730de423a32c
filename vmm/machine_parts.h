/* SPDX-License-Identifier: MIT */
/* What the files of the machine share. */
#ifndef VMM_MACHINE_PARTS_H
#define VMM_MACHINE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <vmm/machine.h>
#include <vmm/pci.h>
#include <vmm/platform.h>
#include <vmm/pm.h>
#include <vmm/rtc.h>
#include <vmm/serial.h>
#include <vmm/virtio_pci.h>

/* See machine_through.c. */
struct vmm_machine_through {
	struct vmm_irq irq; /* its argument is this */
	struct vmm_machine_device *device;
	struct vmm_through_route *routes;
	unsigned int nr_routes;
	struct vmm_through_attached *attached;
	unsigned int nr_attached;
};

struct vmm_machine_device {
	struct vmm_machine *machine;
	unsigned int number;
	struct vmm_net *net; /* one of the two */
	struct vmm_blk *blk;
	struct vmm_virtio_pci *pci;
	bool watches_calls;
	struct vmm_machine_through through; /* in use if the machine's calls come by us */
};

struct vmm_machine {
	struct vmm_machine_options options;
	pthread_mutex_t lock;
	int epoll_fd;
	int wake_fd; /* an eventfd: the device thread has to look */

	struct vhu_memory *memory;
	struct vmm_kvm *kvm;
	struct vmm_bus *mmio, *port;
	struct vmm_pci_host *pci;
	struct vmm_serial *serial;
	struct vmm_pm *pm;
	struct vmm_rtc *rtc;
	struct vmm_vcpu *vcpus[VMM_MAX_CPUS];
	struct vmm_machine_device devices[VMM_MACHINE_MAX_DEVICES];
	unsigned int nr_devices;
	uint64_t next_bar;

	/* Under the lock. */
	bool is_stopping;
	enum vmm_end end;
	char end_text[VMM_TEXT];

	_Atomic uint64_t entered_ns;
};

void vmm_machine_wake(struct vmm_machine *machine);
/* Under the lock; the first one counts. vCPUs stop. */
void vmm_machine_end(struct vmm_machine *machine, enum vmm_end end, const char *text);

/* machine_device.c. An event of epoll's that is not the wake eventfd's; under the lock. */
void vmm_machine_device_event(struct vmm_machine *machine, uint64_t data);
void vmm_machine_free_devices(struct vmm_machine *machine);
/* The device thread watches an eventfd, and calls vmm_machine_through_call(). */
int vmm_machine_watch_call(struct vmm_machine_device *device, int eventfd);
void vmm_machine_unwatch(struct vmm_machine *machine, int fd);

void vmm_machine_through_init(struct vmm_machine_through *through,
			      struct vmm_machine_device *device);
void vmm_machine_through_fini(struct vmm_machine_through *through);
/* An eventfd that is watched is readable, or was. */
void vmm_machine_through_call(struct vmm_machine_through *through, int eventfd);

#endif
