/* SPDX-License-Identifier: MIT */
/*
 * Address ranges and who answers in them: one bus for memory-mapped registers, one for ports. Knows
 * nothing of KVM, nor of what a register means.
 *
 * An access is cut and widened to what a range takes: one that is wider than max_size becomes
 * several, lowest address first; one that is narrower than min_size becomes a read of min_size (cut
 * down), or, written, a read, a change and a write. What lies in no range reads as all ones, and is
 * lost when written, byte by byte: an access may begin in a range and end outside.
 *
 * Under the machine's lock.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <vmm/probe.h>

struct vmm_bus;

struct vmm_range_ops {
	/* offset: from the range's beginning, a multiple of size. size: 1, 2, 4 or 8, between the two
	 * below. The value is little endian, in the lowest bytes. */
	uint64_t (*read)(void *arg, uint64_t offset, unsigned int size);
	void (*write)(void *arg, uint64_t offset, unsigned int size, uint64_t value);
	/* Powers of two, 1 to 8. */
	unsigned int min_size, max_size;
};

/* The device's own, and in its place as long as it is on the bus. */
struct vmm_range {
	uint64_t base, size;
	const char *name;
	const struct vmm_range_ops *ops;
	void *arg;
};

/* name: "mmio" or "port", for errors. probe may be NULL; borrowed. NULL: no memory. */
struct vmm_bus *vmm_bus_new(const char *name, const struct vmm_probe *probe);
/* Its ranges go with it. NULL is allowed. */
void vmm_bus_free(struct vmm_bus *bus);

/* -EINVAL: empty, wraps, or no multiple of min_size. -EEXIST: overlaps, *ret_other (may be NULL) is
 * with whom. -ENOMEM. */
int vmm_bus_add(struct vmm_bus *bus, struct vmm_range *range, const struct vmm_range **ret_other);
/* Nothing happens if it is not there. A range may be removed from within its own write. */
void vmm_bus_remove(struct vmm_bus *bus, struct vmm_range *range);
/* The range that addr lies in, or NULL. */
const struct vmm_range *vmm_bus_find(const struct vmm_bus *bus, uint64_t addr);

/* len: 1 to 8 bytes, any alignment. */
void vmm_bus_read(struct vmm_bus *bus, uint64_t addr, void *data, unsigned int len);
void vmm_bus_write(struct vmm_bus *bus, uint64_t addr, const void *data, unsigned int len);

#endif
