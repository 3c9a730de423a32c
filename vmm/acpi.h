/* SPDX-License-Identifier: MIT */
/*
 * The tables by which a guest learns what the machine consists of (ACPI 6.4): processors, interrupt
 * pins, the PCI host and its windows, how to switch off. Addresses and pins are platform.h's. Knows nothing of
 * the devices behind them.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <stdint.h>
#include <vhu/memory.h>

/* Where they lie, the root pointer first: a PC's BIOS, which is searched by whoever is told nothing. */
#define VMM_ACPI_BASE UINT64_C(0xe0000)
#define VMM_ACPI_SIZE UINT64_C(0x20000)

/*
 * Writes them for nr_cpus processors, whose APIC ids are 0, 1, ... *ret_rsdp is where they begin.
 * -EINVAL: none, or more than VMM_MAX_CPUS. -ENOMEM: there is no memory at VMM_ACPI_BASE.
 */
int vmm_acpi_put(struct vhu_memory *memory, unsigned int nr_cpus, uint64_t *ret_rsdp);

#endif
