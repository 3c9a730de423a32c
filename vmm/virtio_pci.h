/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport of a virtio device, modern only (virtio 1.2, 4.1): capabilities, registers, the
 * status state machine, doorbells and vectors. Knows nothing of what the device is, nor of KVM.
 *
 * Interrupts: with MSI-X on, a queue's call eventfd is a source of its vector, and we are not asked.
 * With it off, vmm_virtio_pci_called() has to be told when a call eventfd became readable: the ISR
 * bit is set and the line raised. A call told too late, with MSI-X on again, goes to its vector.
 *
 * A write that a driver may not do is ignored: features after FEATURES_OK, a queue before it or once
 * enabled, a size that its ring cannot have, anything but reading while a reset is not over. Enabling
 * a queue whose areas are misaligned or wrap sets NEEDS_RESET, so that the driver hears of it.
 *
 * Under the machine's lock.
 */
#ifndef VMM_VIRTIO_PCI_H
#define VMM_VIRTIO_PCI_H

#include <vmm/irq.h>
#include <vmm/pci.h>
#include <vmm/virtio.h>

struct vmm_virtio_pci;

/* Doorbells that KVM serves: whoever can do that is told where they are. Any may be NULL. */
struct vmm_doorbell_ops {
	/* A write of 16 bits to addr becomes a write to the eventfd. False: it cannot, writes come to us. */
	bool (*add)(void *arg, uint64_t addr, int eventfd);
	void (*remove)(void *arg, uint64_t addr, int eventfd);
};

struct vmm_virtio_pci_options {
	struct vmm_pci_host *host;
	int slot;	   /* -1: the next free one */
	uint64_t bar_base; /* where the BAR is from the start */
	const struct vmm_irq *irq;
	unsigned int pin;			 /* the controller's, for INTx */
	const struct vmm_doorbell_ops *doorbell; /* NULL: all come to us */
	void *doorbell_arg;
	/*
	 * Whether call eventfds have to be watched (vmm_virtio_pci_called()): from now on, or no longer.
	 * So it is while MSI-X is off and the device runs. NULL: nobody cares.
	 */
	void (*watch_calls)(void *arg, bool on);
	void *watch_arg;
	const struct vmm_probe *probe;
};

/* device and what the options point to are borrowed. */
int vmm_virtio_pci_new(struct vmm_virtio_pci **ret_pci, const struct vmm_virtio_device *device,
		       const struct vmm_virtio_pci_options *options);
void vmm_virtio_pci_free(struct vmm_virtio_pci *pci);
struct vmm_virtio *vmm_virtio_pci_state(struct vmm_virtio_pci *pci);
/* Bytes that its BAR takes. */
uint64_t vmm_virtio_pci_bar_size(const struct vmm_virtio_device *device);

/* A call eventfd was read: there was a call for that queue. */
void vmm_virtio_pci_called(struct vmm_virtio_pci *pci, unsigned int queue);

#endif
