/* SPDX-License-Identifier: MIT */
/*
 * What pci.c (the host: who is asked) and pci_config.c (a function: what it answers) share. Nobody
 * else includes it.
 */
#ifndef VMM_PCI_INTERNAL_H
#define VMM_PCI_INTERNAL_H

#include <vmm/pci.h>

struct pci_bar {
	struct vmm_range range; /* of size 0: there is no such BAR */
	bool is_64;
	bool is_mapped; /* range is on the bus, at range.base */
};

struct vmm_pci_device {
	struct vmm_pci_host *host;
	unsigned int slot;
	const char *name;
	const struct vmm_pci_ops *ops;
	void *arg;
	unsigned int last_cap; /* where the last capability begins; 0: there is none */
	unsigned int caps_end;
	struct pci_bar bars[VMM_PCI_BARS];
	uint8_t config[VMM_PCI_CONFIG_SIZE];
	uint8_t writable[VMM_PCI_CONFIG_SIZE]; /* bits that the guest may change */
	uint8_t first[VMM_PCI_CONFIG_SIZE];    /* what such bits are at the start */
};

struct vmm_pci_host {
	struct vmm_bus *mmio, *port;
	struct vmm_range address_range, data_range, ecam_range;
	uint32_t address; /* mechanism 1: what was written to 0xcf8 */
	struct vmm_pci_device *slots[VMM_PCI_SLOTS];
};

/* Sets up the identity part of a function's header. */
void pci_config_init(struct vmm_pci_device *device, const struct vmm_pci_ids *ids, unsigned int pin,
		     unsigned int line);
/* The guest's accesses. size: 1, 2 or 4, and offset a multiple of it. */
uint32_t pci_config_read(struct vmm_pci_device *device, unsigned int offset, unsigned int size);
void pci_config_write(struct vmm_pci_device *device, unsigned int offset, unsigned int size,
		      uint32_t value);
/* Takes all BARs off the bus; the function's owner is not told. */
void pci_config_unmap(struct vmm_pci_device *device);
/* A place became free: BARs of any function that stood aside get it. */
void pci_host_settle(struct vmm_pci_host *host);
/* Puts the function's BARs where its registers say; true if one left its place. */
bool pci_config_map(struct vmm_pci_device *device);

#endif
