// SPDX-License-Identifier: MIT
/* The tables by which a guest learns what the machine consists of: fixed ones here, with the language of aml.h. */

#include <vmm/acpi.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <vmm/aml.h>
#include <vmm/platform.h>

#define PACKED __attribute__((packed))

/* ACPI 6.4, 5.2.6 */
struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

/* 5.2.5.3 */
struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} PACKED;

/* 5.2.3.2 */
struct generic_address {
	uint8_t space, bits, offset, access;
	uint64_t addr;
} PACKED;

/* 5.2.9 */
struct fadt {
	struct table_header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base,
		cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct generic_address reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_facs, x_dsdt;
	struct generic_address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr;
	struct generic_address x_gpe0, x_gpe1, sleep_control, sleep_status;
	char hypervisor[8];
} PACKED;

/* 5.2.10 */
struct facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[3];
	uint32_t ospm_flags;
	uint8_t reserved2[24];
} PACKED;

/* 5.2.12 */
struct madt {
	struct table_header header;
	uint32_t lapic, flags;
} PACKED;

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} PACKED;

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t addr, gsi_base;
} PACKED;

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} PACKED;

struct madt_lapic_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} PACKED;

/* PCI Firmware 3.0, 4.1.2 */
struct mcfg {
	struct table_header header;
	uint64_t reserved;
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
} PACKED;

_Static_assert(sizeof(struct table_header) == 36 && sizeof(struct rsdp) == 36 &&
		       sizeof(struct fadt) == 276 && sizeof(struct facs) == 64 &&
		       sizeof(struct madt) == 44 && sizeof(struct mcfg) == 60,
	       "as the specifications have them");

enum {
	SPACE_IO = 1,

	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLP_BUTTON = 1 << 5, /* among the fixed registers; the power button is there */
	FADT_TMR_32 = 1 << 8,
	FADT_RESET = 1 << 10,

	/* 5.2.9.3: what a PC may have and this does not; that there is no 8042 is a bit that is clear. */
	BOOT_NO_VGA = 1 << 2,

	MADT_PCAT = 1 << 0, /* two 8259s are there, too */
	MADT_ENABLED = 1 << 0,
	MADT_ACTIVE_HIGH = 0x1,
	MADT_LEVEL = 0xc,
	MADT_ALL_CPUS = 0xff,

	TABLE_ALIGN = 64, /* FACS needs it */
	DSDT_MAX = 4096,
};

/* Where the next table goes. */
struct place {
	uint8_t *bytes; /* guest memory at VMM_ACPI_BASE */
	uint64_t len;
};

static uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* A table's address below 4 GiB; what there is fits by far, see the bound in vmm_acpi_put(). */
static uint32_t put_bytes(struct place *place, const void *bytes, size_t len)
{
	uint64_t at = (place->len + TABLE_ALIGN - 1) & ~(uint64_t)(TABLE_ALIGN - 1);

	memcpy(place->bytes + at, bytes, len);
	place->len = at + len;
	return (uint32_t)(VMM_ACPI_BASE + at);
}

/* Fills in the header in front of len bytes, and puts them. */
static uint32_t put_table(struct place *place, struct table_header *header, const char *signature,
			  uint8_t revision, size_t len)
{
	memcpy(header->signature, signature, 4);
	header->length = (uint32_t)len;
	header->revision = revision;
	memcpy(header->oem_id, "VHU   ", 6);
	memcpy(header->oem_table_id, "VHU VM  ", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "VHU ", 4);
	header->creator_revision = 1;
	header->checksum = 0;
	header->checksum = checksum(header, len);
	return put_bytes(place, header, len);
}

static struct generic_address io_address(uint64_t port, unsigned int bytes)
{
	/* access: 1 a byte, 2 a word, 3 a double word */
	uint8_t access = bytes == 1 ? 1 : bytes == 2 ? 2 : 3;

	return (struct generic_address){ SPACE_IO, (uint8_t)(8 * bytes), 0, access, port };
}

static uint32_t put_facs(struct place *place)
{
	struct facs facs = { .signature = "FACS", .length = sizeof(facs), .version = 2 };

	return put_bytes(place, &facs, sizeof(facs));
}

static uint32_t put_fadt(struct place *place, uint32_t facs, uint32_t dsdt)
{
	struct fadt fadt = {
		.facs = facs,
		.dsdt = dsdt,
		.x_dsdt = dsdt,
		.sci = VMM_IRQ_SCI,
		.pm1a_evt = VMM_PORT_PM1A_EVT,
		.pm1a_cnt = VMM_PORT_PM1A_CNT,
		.pm_tmr = VMM_PORT_PM_TMR,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.pm_tmr_len = 4,
		.c2_latency =
			101, /* 5.2.9: more than 100 and 1000 us mean that there is no such state */
		.c3_latency = 1001,
		.boot_arch = BOOT_NO_VGA,
		.century = 0x32, /* where in CMOS */
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLP_BUTTON | FADT_TMR_32 | FADT_RESET,
		.reset = io_address(VMM_PORT_RESET, 1),
		.reset_value = VMM_RESET_VALUE,
		.minor_version = 4,
		.x_pm1a_evt = io_address(VMM_PORT_PM1A_EVT, 4),
		.x_pm1a_cnt = io_address(VMM_PORT_PM1A_CNT, 2),
		.x_pm_tmr = io_address(VMM_PORT_PM_TMR, 4),
	};

	/* Events are 2 bytes of status and 2 of enable: not to be read as 4. */
	fadt.x_pm1a_evt.access = 2;
	return put_table(place, &fadt.header, "FACP", 6, sizeof(fadt));
}

static uint32_t put_madt(struct place *place, unsigned int nr_cpus)
{
	struct {
		struct madt madt;
		struct madt_ioapic ioapic;
		struct madt_override sci;
		struct madt_lapic_nmi nmi;
		struct madt_lapic lapic[VMM_MAX_CPUS];
	} PACKED all = {
		.madt = { .lapic = (uint32_t)VMM_LAPIC, .flags = MADT_PCAT },
		.ioapic = { 1, sizeof(all.ioapic), VMM_IOAPIC_ID, 0, (uint32_t)VMM_IOAPIC, 0 },
		.sci = { 2, sizeof(all.sci), 0, VMM_IRQ_SCI, VMM_IRQ_SCI,
			 MADT_ACTIVE_HIGH | MADT_LEVEL },
		.nmi = { 4, sizeof(all.nmi), MADT_ALL_CPUS, 0, 1 },
	};
	unsigned int i;

	for (i = 0; i < nr_cpus; i++)
		all.lapic[i] = (struct madt_lapic){ 0, sizeof(all.lapic[i]), (uint8_t)i, (uint8_t)i,
						    MADT_ENABLED };
	return put_table(place, &all.madt.header, "APIC", 5,
			 sizeof(all) - (VMM_MAX_CPUS - nr_cpus) * sizeof(all.lapic[0]));
}

static uint32_t put_mcfg(struct place *place)
{
	struct mcfg mcfg = { .base = VMM_ECAM };

	return put_table(place, &mcfg.header, "MCFG", 1, sizeof(mcfg));
}

/* Each slot's pin A, straight to a pin of the I/O APIC (6.2.13). */
static void add_interrupts(struct vmm_aml *aml)
{
	enum {
		SLOTS = 32
	};
	struct vmm_aml_mark all;
	unsigned int slot;

	vmm_aml_name(aml, "_PRT");
	all = vmm_aml_package(aml, SLOTS - 1);
	for (slot = 1; slot < SLOTS; slot++) {
		struct vmm_aml_mark one = vmm_aml_package(aml, 4);

		vmm_aml_integer(aml, slot << 16 | 0xffffu); /* any function */
		vmm_aml_integer(aml, 0);		    /* pin A */
		vmm_aml_integer(aml, 0);		    /* no link device in between */
		vmm_aml_integer(aml, vmm_platform_intx(slot));
		vmm_aml_end(aml, one);
	}
	vmm_aml_end(aml, all);
}

static void add_pci(struct vmm_aml *aml)
{
	struct vmm_aml_mark device = vmm_aml_device(aml, "PCI0");
	struct vmm_aml_resources resources;

	vmm_aml_name(aml, "_HID");
	vmm_aml_eisa_id(aml, "PNP0A08");
	vmm_aml_name(aml, "_CID");
	vmm_aml_eisa_id(aml, "PNP0A03");
	vmm_aml_name(aml, "_UID");
	vmm_aml_integer(aml, 0);
	vmm_aml_name(aml, "_SEG");
	vmm_aml_integer(aml, 0);
	vmm_aml_name(aml, "_BBN");
	vmm_aml_integer(aml, 0);
	vmm_aml_name(aml, "_CRS");
	resources = vmm_aml_resources(aml);
	vmm_aml_window_bus(aml, 0, 0);
	vmm_aml_ports(aml, VMM_PORT_PCI, 8);
	vmm_aml_window_io(aml, VMM_PCI_IO, VMM_PCI_IO + VMM_PCI_IO_SIZE - 1);
	vmm_aml_window_32(aml, (uint32_t)VMM_PCI_MMIO32,
			  (uint32_t)(VMM_PCI_MMIO32 + VMM_PCI_MMIO32_SIZE - 1));
	vmm_aml_window_64(aml, VMM_PCI_MMIO64, VMM_PCI_MMIO64 + VMM_PCI_MMIO64_SIZE - 1);
	vmm_aml_resources_end(aml, resources);
	add_interrupts(aml);
	vmm_aml_end(aml, device);
}

static void add_serial(struct vmm_aml *aml)
{
	struct vmm_aml_mark device = vmm_aml_device(aml, "COM1");
	struct vmm_aml_resources resources;

	vmm_aml_name(aml, "_HID");
	vmm_aml_eisa_id(aml, "PNP0501");
	vmm_aml_name(aml, "_UID");
	vmm_aml_integer(aml, 1);
	vmm_aml_name(aml, "_CRS");
	resources = vmm_aml_resources(aml);
	vmm_aml_ports(aml, VMM_PORT_COM1, 8);
	vmm_aml_isa_irq(aml, VMM_IRQ_COM1);
	vmm_aml_resources_end(aml, resources);
	vmm_aml_end(aml, device);
}

/* What nobody else may take: Linux uses ECAM only if it finds it here or in the map of memory. */
static void add_board(struct vmm_aml *aml)
{
	struct vmm_aml_mark device = vmm_aml_device(aml, "MBRD");
	struct vmm_aml_resources resources;

	vmm_aml_name(aml, "_HID");
	vmm_aml_eisa_id(aml, "PNP0C02");
	vmm_aml_name(aml, "_UID");
	vmm_aml_integer(aml, 0);
	vmm_aml_name(aml, "_CRS");
	resources = vmm_aml_resources(aml);
	vmm_aml_memory(aml, (uint32_t)VMM_ECAM, (uint32_t)VMM_ECAM_SIZE);
	vmm_aml_ports(aml, VMM_PORT_PM1A_EVT, VMM_PORT_PM_TMR + 4 - VMM_PORT_PM1A_EVT);
	vmm_aml_resources_end(aml, resources);
	vmm_aml_end(aml, device);
}

/* 7.4.2: what to write to PM1a's control register to switch off; there is no PM1b. */
static void add_power_off(struct vmm_aml *aml)
{
	struct vmm_aml_mark package;

	vmm_aml_name(aml, "_S5");
	package = vmm_aml_package(aml, 4);
	vmm_aml_integer(aml, VMM_SLP_TYP_S5);
	vmm_aml_integer(aml, 0);
	vmm_aml_integer(aml, 0);
	vmm_aml_integer(aml, 0);
	vmm_aml_end(aml, package);
}

/* 0: it does not fit, which no input can bring about. */
static uint32_t put_dsdt(struct place *place)
{
	struct {
		struct table_header header;
		uint8_t bytes[DSDT_MAX];
	} PACKED dsdt = { 0 };
	struct vmm_aml aml = { .bytes = dsdt.bytes, .size = sizeof(dsdt.bytes) };
	struct vmm_aml_mark scope = vmm_aml_scope(&aml, "\\_SB_");

	add_pci(&aml);
	add_serial(&aml);
	add_board(&aml);
	vmm_aml_end(&aml, scope);
	add_power_off(&aml);
	if (aml.is_full)
		return 0;
	return put_table(place, &dsdt.header, "DSDT", 2, sizeof(dsdt.header) + aml.len);
}

static void put_root(struct place *place, const uint64_t *tables, unsigned int nr)
{
	struct {
		struct table_header header;
		uint64_t tables[4];
	} PACKED xsdt = { 0 };
	struct rsdp rsdp = { .signature = "RSD PTR ", .revision = 2, .length = sizeof(rsdp) };

	memcpy(xsdt.tables, tables, nr * sizeof(*tables));
	rsdp.xsdt = put_table(place, &xsdt.header, "XSDT", 1,
			      sizeof(xsdt.header) + nr * sizeof(*tables));
	memcpy(rsdp.oem_id, "VHU   ", 6);
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(place->bytes, &rsdp, sizeof(rsdp));
}

int vmm_acpi_put(struct vhu_memory *memory, unsigned int nr_cpus, uint64_t *ret_rsdp)
{
	struct place place = { .len = sizeof(struct rsdp) };
	uint64_t tables[3];
	uint32_t facs, dsdt;

	_Static_assert(DSDT_MAX + 4096 < VMM_ACPI_SIZE, "all of them have room");
	if (!nr_cpus || nr_cpus > VMM_MAX_CPUS)
		return -EINVAL;
	place.bytes = vhu_memory_ptr(memory, VMM_ACPI_BASE, VMM_ACPI_SIZE);
	if (!place.bytes)
		return -ENOMEM;
	facs = put_facs(&place);
	dsdt = put_dsdt(&place);
	if (!dsdt)
		return -ENOMEM;
	tables[0] = put_fadt(&place, facs, dsdt);
	tables[1] = put_madt(&place, nr_cpus);
	tables[2] = put_mcfg(&place);
	put_root(&place, tables, 3);
	*ret_rsdp = VMM_ACPI_BASE;
	return 0;
}
