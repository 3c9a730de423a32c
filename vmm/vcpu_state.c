// SPDX-License-Identifier: MIT
/* A vCPU before its first instruction: CPUID, local APIC, MSRs, registers for each way to enter. */

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vmm/vcpu_state.h>

/* Intel SDM, volume 4; the same on AMD. */
enum {
	MSR_MISC_ENABLE = 0x1a0,
	MISC_ENABLE_FAST_STRING = 1 << 0,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MTRR_ENABLED = 1 << 11,
	MTRR_WRITE_BACK = 6,
};

/* Intel SDM, volume 3, 11.5.1: registers of the local vector table, and modes of delivery. */
enum {
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_MODE_NMI = 4 << 8,
	APIC_MODE_EXTINT = 7 << 8,
};

static int failed(char *text, const char *what)
{
	int err = -errno;

	snprintf(text, VMM_TEXT, "%s: %s", what, strerror(-err));
	return err;
}

/* ---- CPUID ---- */

/* How many bits number the CPUs of the package. */
static unsigned int id_bits(unsigned int nr_cpus)
{
	unsigned int bits = 0;

	while (1u << bits < nr_cpus)
		bits++;
	return bits;
}

static uint32_t put_bits(uint32_t word, unsigned int low, unsigned int nr, uint32_t value)
{
	uint32_t mask = ((UINT32_C(1) << nr) - 1) << low;

	return (word & ~mask) | (value << low & mask);
}

static void fix_features(struct kvm_cpuid_entry2 *entry, const struct vmm_kvm *kvm,
			 unsigned int cpu, unsigned int nr_cpus)
{
	entry->ebx = put_bits(entry->ebx, 24, 8, cpu);
	entry->ebx = put_bits(entry->ebx, 16, 8, nr_cpus);
	entry->ecx |= UINT32_C(1) << 31; /* a hypervisor is there */
	/* The kernel leaves this one to us: it depends on where the local APIC is. */
	entry->ecx = put_bits(entry->ecx, 24, 1, vmm_kvm_has_tsc_deadline(kvm));
	entry->edx = put_bits(entry->edx, 28, 1, nr_cpus > 1);
}

/* A level of cache, Intel's leaf 4 and AMD's 0x8000001d: the last level is everybody's. */
static void fix_cache(struct kvm_cpuid_entry2 *entry, unsigned int nr_cpus)
{
	unsigned int level = entry->eax >> 5 & 7;

	if (!(entry->eax & 0x1f))
		return;
	entry->eax = put_bits(entry->eax, 14, 12, level >= 3 ? nr_cpus - 1 : 0);
	if (entry->function == 4)
		entry->eax = put_bits(entry->eax, 26, 6, nr_cpus - 1);
}

/* One package of cores with one thread each. */
static void fix_entry(struct kvm_cpuid_entry2 *entry, const struct vmm_kvm *kvm, unsigned int cpu,
		      unsigned int nr_cpus)
{
	switch (entry->function) {
	case 1:
		fix_features(entry, kvm, cpu, nr_cpus);
		break;
	case 4:
	case 0x8000001d:
		fix_cache(entry, nr_cpus);
		break;
	case 0x80000008: /* AMD: cores less one, bits of their number */
		entry->ecx = put_bits(entry->ecx, 0, 8, nr_cpus - 1);
		entry->ecx = put_bits(entry->ecx, 12, 4, id_bits(nr_cpus));
		break;
	case 0x8000001e: /* AMD: APIC id, core, node */
		entry->eax = cpu;
		entry->ebx = cpu;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

static bool is_topology(const struct kvm_cpuid_entry2 *entry)
{
	return entry->function == 0xb || entry->function == 0x1f;
}

/* Extended topology: threads of a core, cores of the package, no more. Three entries. */
static unsigned int put_topology(struct kvm_cpuid_entry2 *entries, uint32_t function,
				 unsigned int cpu, unsigned int nr_cpus)
{
	for (uint32_t i = 0; i < 3; i++) {
		entries[i] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.ecx = i, /* and the kind of level above: none, 1 thread, 2 core */
			.edx = cpu,
		};
	}
	entries[0].ebx = 1;
	entries[0].ecx |= 1 << 8;
	entries[1].eax = id_bits(nr_cpus);
	entries[1].ebx = nr_cpus;
	entries[1].ecx |= 2 << 8;
	return 3;
}

static int set_cpuid(int fd, const struct vmm_kvm *kvm, unsigned int cpu, unsigned int nr_cpus,
		     char *text)
{
	struct kvm_cpuid2 *from = vmm_kvm_cpuid(kvm, text), *to;
	bool has_topology = false;
	int err = 0;

	if (!from)
		return -ENOMEM;
	/* The kernel's own entries of the topology describe the host, or nothing. */
	to = calloc(1, sizeof(*to) + (from->nent + 6) * sizeof(to->entries[0]));
	if (!to) {
		free(from);
		snprintf(text, VMM_TEXT, "no memory");
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < from->nent; i++) {
		if (is_topology(&from->entries[i])) {
			has_topology |= from->entries[i].function == 0xb;
			continue;
		}
		to->entries[to->nent] = from->entries[i];
		fix_entry(&to->entries[to->nent++], kvm, cpu, nr_cpus);
	}
	if (has_topology)
		to->nent += put_topology(&to->entries[to->nent], 0xb, cpu, nr_cpus);
	if (ioctl(fd, KVM_SET_CPUID2, to) < 0)
		err = failed(text, "KVM_SET_CPUID2");
	free(from);
	free(to);
	return err;
}

/* ---- Local APIC, MSRs ---- */

/* As firmware would have it: the PIC by LINT0, NMI by LINT1. */
static int set_lapic(int fd, char *text)
{
	const uint32_t lint0 = APIC_MODE_EXTINT, lint1 = APIC_MODE_NMI;
	struct kvm_lapic_state lapic;

	if (ioctl(fd, KVM_GET_LAPIC, &lapic) < 0)
		return failed(text, "KVM_GET_LAPIC");
	memcpy(lapic.regs + APIC_LVT_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + APIC_LVT_LINT1, &lint1, sizeof(lint1));
	return ioctl(fd, KVM_SET_LAPIC, &lapic) < 0 ? failed(text, "KVM_SET_LAPIC") : 0;
}

/* One by one: a kernel that does not know one of them still takes the others. */
static int set_msrs(int fd, char *text)
{
	static const struct kvm_msr_entry wanted[] = {
		{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		/* All memory is write-back unless page tables say otherwise. */
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED | MTRR_WRITE_BACK },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		_Alignas(struct kvm_msrs)
			uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {
				0
			};
		struct kvm_msrs *msrs = (struct kvm_msrs *)bytes;

		msrs->nmsrs = 1;
		msrs->entries[0] = wanted[i];
		if (ioctl(fd, KVM_SET_MSRS, msrs) < 0)
			return failed(text, "KVM_SET_MSRS");
	}
	return 0;
}

int vmm_vcpu_prepare(int fd, const struct vmm_kvm *kvm, unsigned int cpu, unsigned int nr_cpus,
		     char text[VMM_TEXT])
{
	int err = set_cpuid(fd, kvm, cpu, nr_cpus, text);

	if (!err)
		err = set_lapic(fd, text);
	if (!err)
		err = set_msrs(fd, text);
	return err;
}

/* ---- Registers ---- */

enum {
	CR0_PE = 1 << 0,
	CR0_MP = 1 << 1,
	CR0_ET = 1 << 4,
	CR0_NE = 1 << 5,
	CR0_WP = 1 << 16,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	RFLAGS_FIXED = 1 << 1,
	TYPE_CODE = 0xb, /* execute, read, accessed */
	TYPE_DATA = 0x3, /* read, write, accessed */
	TYPE_TSS = 0xb,	 /* 32 or 64 bits, busy */
};
#define CR0_PG UINT64_C(0x80000000)

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool is_long)
{
	return (struct kvm_segment){
		.limit = UINT32_MAX,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = !is_long,
		.s = 1,
		.l = is_long,
		.g = 1,
	};
}

int vmm_vcpu_set_entry(int fd, const struct vmm_boot_entry *entry, char text[VMM_TEXT])
{
	const bool is_long = entry->mode == VMM_BOOT_LINUX64;
	const struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rsi = entry->rsi,
		.rbx = entry->rbx,
		.rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs sregs;

	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return failed(text, "KVM_GET_SREGS");
	sregs.cs = flat(VMM_BOOT_CODE, TYPE_CODE, is_long);
	sregs.ds = flat(VMM_BOOT_DATA, TYPE_DATA, false);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.tr = (struct kvm_segment){
		.base = entry->tss,
		.limit = 0x67,
		.selector = VMM_BOOT_TSS,
		.type = TYPE_TSS,
		.present = 1,
	};
	sregs.gdt.base = entry->gdt;
	sregs.gdt.limit = VMM_BOOT_GDT_LIMIT;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET;
	if (is_long) {
		sregs.cr0 |= CR0_MP | CR0_NE | CR0_WP | CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return failed(text, "KVM_SET_SREGS");
	return ioctl(fd, KVM_SET_REGS, &regs) < 0 ? failed(text, "KVM_SET_REGS") : 0;
}
