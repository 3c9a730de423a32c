/* SPDX-License-Identifier: MIT */
/*
 * MSI-X of one PCI function: vectors, their table and pending bits, and the sources that are
 * connected to them (PCI 3.0, 6.8.2). Knows nothing of what the sources are.
 *
 * A source is an eventfd. While its vector can interrupt (MSI-X enabled, neither the function nor
 * the vector masked) it is attached to the vector's route, and the controller interrupts without us.
 * Otherwise it is detached: its count is the pending bit, and attached again it interrupts. So no
 * interrupt is lost while a vector is masked, changed, or a source moved to another.
 *
 * Under the machine's lock.
 */
#ifndef VMM_MSIX_H
#define VMM_MSIX_H

#include <vmm/irq.h>
#include <vmm/pci.h>
#include <vmm/probe.h>

enum {
	VMM_MSIX_NO_VECTOR = 0xffff,
	VMM_MSIX_MAX = 2048,
};

struct vmm_msix;

struct vmm_msix_options {
	unsigned int nr_vectors; /* 1 to VMM_MSIX_MAX */
	struct vmm_pci_device *pci;
	unsigned int bar; /* table and pending bits are put there, at offset */
	uint64_t offset;  /* a multiple of 8; table, then (at a multiple of 4096) pending bits */
	const struct vmm_irq *irq;
	const struct vmm_probe *probe;
	const char *device; /* for records: "net0" */
	/* Called when MSI-X was switched on or off; may be NULL. */
	void (*switched)(void *arg, bool is_on);
	void *arg;
};

/* Adds the capability to the function. -EINVAL, -ENOMEM, -ENOSPC. */
int vmm_msix_new(struct vmm_msix **ret_msix, const struct vmm_msix_options *options);
/* Detaches what is attached. NULL is allowed. */
void vmm_msix_free(struct vmm_msix *msix);
/* Bytes of the BAR from offset on that are MSI-X's. */
uint64_t vmm_msix_size(unsigned int nr_vectors);
/* As after power-on: off, all masked, all sources still connected but detached. */
void vmm_msix_reset(struct vmm_msix *msix);

bool vmm_msix_is_on(const struct vmm_msix *msix);
/* The function's owner was told so (vmm_pci_ops.config_written), whatever it is that was written. */
void vmm_msix_config_written(struct vmm_msix *msix, unsigned int offset, unsigned int size);
/* Registers within MSI-X's part of the BAR; offset from there. For the BAR's owner. */
uint64_t vmm_msix_read(struct vmm_msix *msix, uint64_t offset, unsigned int size);
void vmm_msix_write(struct vmm_msix *msix, uint64_t offset, unsigned int size, uint64_t value);

/*
 * Connects a source (its eventfd is borrowed) to a vector, or moves it to another;
 * VMM_MSIX_NO_VECTOR: to none, its count stays. -EINVAL: there is no such vector. -ENOSPC, -ENOMEM,
 * and what the controller says. After an error it is connected to none.
 */
int vmm_msix_connect(struct vmm_msix *msix, int eventfd, unsigned int vector);
/* Forgets the source. */
void vmm_msix_disconnect(struct vmm_msix *msix, int eventfd);
/* Writes the eventfd, of a source or not: an interrupt, now or when it may be. */
void vmm_msix_signal(struct vmm_msix *msix, int eventfd);

#endif
