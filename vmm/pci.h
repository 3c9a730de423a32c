/* SPDX-License-Identifier: MIT */
/*
 * A PCI host with one bus of 32 devices: configuration space by ports (mechanism 1) and by memory
 * (ECAM), BARs that are sized and moved, lists of capabilities (PCI 3.0, 6; PCI Express 5.0, 7.2.2).
 * Knows nothing of any device's registers.
 *
 * Under the machine's lock.
 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include <stdint.h>
#include <vmm/bus.h>

enum {
	VMM_PCI_SLOTS = 32,
	VMM_PCI_BARS = 6,
	VMM_PCI_CONFIG_SIZE = 4096, /* with the extended space, which ECAM alone reaches */
};

struct vmm_pci_host;
struct vmm_pci_device;

/* What a device is told. Any may be NULL. */
struct vmm_pci_ops {
	/* Bytes offset to offset + size - 1 were written, as far as they can be. */
	void (*config_written)(void *arg, unsigned int offset, unsigned int size);
	/* Before such bytes are read: what changes by itself can be put there. */
	void (*config_reading)(void *arg, unsigned int offset, unsigned int size);
	/* A BAR answers at base from now on; or is_mapped is false: it does not. */
	void (*bar_moved)(void *arg, unsigned int bar, bool is_mapped, uint64_t base);
};

struct vmm_pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
};

/* Buses are borrowed. ecam: where the 1 MiB of configuration space of bus 0 lies; 0: nowhere. */
int vmm_pci_host_new(struct vmm_pci_host **ret_host, struct vmm_bus *mmio, struct vmm_bus *port,
		     uint64_t ecam);
/* Devices are freed before. NULL is allowed. */
void vmm_pci_host_free(struct vmm_pci_host *host);

/*
 * Puts a function into slot (1 to 31; -1: the first free one). pin: which interrupt pin (1 to 4: A
 * to D) it says it has; 0: none. line: what stands in its Interrupt Line. name: borrowed.
 * -EINVAL: no such slot. -EEXIST, -ENOSPC, -ENOMEM.
 */
int vmm_pci_device_new(struct vmm_pci_device **ret_device, struct vmm_pci_host *host, int slot,
		       const char *name, const struct vmm_pci_ids *ids, unsigned int pin,
		       unsigned int line, const struct vmm_pci_ops *ops, void *arg);
void vmm_pci_device_free(struct vmm_pci_device *device);
unsigned int vmm_pci_slot(const struct vmm_pci_device *device);

/*
 * A memory BAR of size bytes (a power of two, at least 4096), of 64 bits, which takes the next number too,
 * or of 32. Registers in it are called with offsets from its base. range_ops, arg: borrowed.
 * base: where it is from the start, as firmware would have put it; 0: nowhere. It answers once the
 * guest has switched memory on (command register), and where it is in nobody's way: a BAR on another
 * range's place stands aside until one of the two moves. -EINVAL, -EEXIST.
 */
int vmm_pci_add_bar(struct vmm_pci_device *device, unsigned int bar, uint64_t size, bool is_64,
		    uint64_t base, const struct vmm_range_ops *range_ops, void *arg);
/*
 * Appends a capability of size bytes (id and next are the first two and set here) and says where it
 * is. writable: as many bytes, a set bit can be written by the guest; NULL: none. -ENOSPC.
 */
int vmm_pci_add_capability(struct vmm_pci_device *device, uint8_t id, const void *bytes,
			   const void *writable, unsigned int size);
/* The device's own view of its configuration space: offset + size within it. */
uint32_t vmm_pci_get(const struct vmm_pci_device *device, unsigned int offset, unsigned int size);
void vmm_pci_set(struct vmm_pci_device *device, unsigned int offset, unsigned int size,
		 uint32_t value);

/* Whether the function may answer in memory, master the bus, and whether INTx is switched off. */
bool vmm_pci_is_master(const struct vmm_pci_device *device);
bool vmm_pci_intx_off(const struct vmm_pci_device *device);
/* As after power-on, BARs where they were put at the start. */
void vmm_pci_device_reset(struct vmm_pci_device *device);

#endif
