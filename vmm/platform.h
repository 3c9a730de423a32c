/* SPDX-License-Identifier: MIT */
/*
 * Where things are in the machine: addresses, ports and interrupt lines that the devices, the
 * tables in memory and KVM have to agree on. Knows nothing of what is there.
 */
#ifndef VMM_PLATFORM_H
#define VMM_PLATFORM_H

#include <stdint.h>

enum {
	VMM_MAX_CPUS = 8,
};

/* ---- Guest physical memory ---- */

/* Memory is from 0 to here, what is more goes on at 4 GiB. Between the two lies what is below. */
#define VMM_LOW_END UINT64_C(0xc0000000)
#define VMM_HIGH_BEGIN UINT64_C(0x100000000)
/* A PC's hole: no RAM in the memory map from here to 1 MiB. */
#define VMM_LEGACY_HOLE UINT64_C(0xa0000)
#define VMM_LEGACY_HOLE_END UINT64_C(0x100000)

/* Where BARs may be; ours are in the first from the start, in order of slots. */
#define VMM_PCI_MMIO32 UINT64_C(0xc0000000)
#define VMM_PCI_MMIO32_SIZE UINT64_C(0x20000000)
#define VMM_PCI_MMIO64 UINT64_C(0x4000000000)
#define VMM_PCI_MMIO64_SIZE UINT64_C(0x1000000000)
/* Configuration space by memory (ECAM): bus 0 alone, of segment 0. */
#define VMM_ECAM UINT64_C(0xe0000000)
#define VMM_ECAM_SIZE UINT64_C(0x100000)

#define VMM_IOAPIC UINT64_C(0xfec00000)
#define VMM_LAPIC UINT64_C(0xfee00000)
/* KVM wants a page and three more of them for itself, on processors that need them. */
#define VMM_KVM_IDENTITY_MAP UINT64_C(0xfffbc000)
#define VMM_KVM_TSS UINT64_C(0xfffbd000)

/* ---- Ports ---- */

enum {
	VMM_PORT_CMOS = 0x70,  /* index, data */
	VMM_PORT_I8042 = 0x60, /* data; the command port is 4 further: 0xfe resets the machine */
	VMM_PORT_COM1 = 0x3f8,
	VMM_PORT_PCI = 0xcf8, /* configuration mechanism 1: address, 4 further data */
	/* Where a PC's PCI bus may have I/O BARs; none of ours has any. */
	VMM_PCI_IO = 0x1000,
	VMM_PCI_IO_SIZE = 0xf000,

	/* ACPI 6.4, 4.8.3: fixed hardware, with a SCI and not hardware-reduced; always in ACPI mode
	 * (no SMI command port). */
	VMM_PORT_PM1A_EVT = 0x600, /* status of 2 bytes, enable of 2 bytes */
	VMM_PORT_PM1A_CNT = 0x604, /* 2 bytes; SLP_EN with this type in SLP_TYP: power off */
	VMM_SLP_TYP_S5 = 5,
	VMM_PORT_PM_TMR = 0x608, /* 4 bytes, 32 of them count */
	/* The reset register (4.8.3.6), of 1 byte, written with this value. */
	VMM_PORT_RESET = 0x60c,
	VMM_RESET_VALUE = 0x06,
};

/* ---- Interrupts: pins of the I/O APIC, GSI n is pin n, the timer's (0) included ---- */

enum {
	VMM_IRQ_TIMER = 0,
	VMM_IRQ_COM1 = 4, /* edge, active high, as ISA has it */
	VMM_IRQ_SCI = 9,  /* level, active high */
	VMM_IRQ_PINS = 24,
	/* INTx: each slot has pin A alone; level, active high for the I/O APIC's input here. */
	VMM_IRQ_PCI = 16,
	VMM_IRQ_PCI_PINS = 8,
};

/* The pin of a slot's INTA. */
static inline unsigned int vmm_platform_intx(unsigned int slot)
{
	return VMM_IRQ_PCI + slot % VMM_IRQ_PCI_PINS;
}

/* APIC ids are the vCPU's number; the I/O APIC's follows the last possible one's. */
enum {
	VMM_IOAPIC_ID = VMM_MAX_CPUS,
};

#endif
