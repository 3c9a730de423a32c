/* SPDX-License-Identifier: MIT */
/*
 * What stands in guest memory before the first instruction: a Linux bzImage, or an uncompressed ELF
 * image that can be entered by PVH, with its command line, initial file system and memory map. Which
 * of the two it is, the file's content says. Knows nothing of KVM, nor of what the machine consists of.
 *
 * Files are hostile: each offset and size is judged before it is used.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>
#include <vhu/memory.h>
#include <vmm/text.h>

enum vmm_boot_mode {
	VMM_BOOT_LINUX64, /* long mode, paging on: Linux's Documentation/arch/x86/boot.rst, "64-bit boot protocol" */
	VMM_BOOT_PVH, /* 32 bits, protected mode, paging off: Xen's docs/misc/pvh.pandoc */
};

/* Selectors of the table of descriptors that gdt is the address of: flat, ring 0. */
enum {
	VMM_BOOT_CODE = 0x10, /* of 64 or 32 bits, as the mode needs it */
	VMM_BOOT_DATA = 0x18,
	VMM_BOOT_TSS = 0x20,
	VMM_BOOT_GDT_LIMIT = 0x2f,
};

/* Strings are borrowed. */
struct vmm_boot_options {
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *append; /* the command line; NULL: empty */
	uint64_t rsdp;	    /* where ACPI begins; 0: there is none */
};

/* What the first vCPU has to hold when it begins. What is not named is 0. */
struct vmm_boot_entry {
	enum vmm_boot_mode mode;
	uint64_t rip, rsp;
	uint64_t rsi; /* LINUX64: struct boot_params */
	uint64_t rbx; /* PVH: struct hvm_start_info */
	uint64_t cr3; /* LINUX64: page tables that map the lowest 4 GiB to themselves */
	uint64_t gdt;
	uint64_t tss; /* an empty one, 0x68 bytes */
};

/*
 * Loads it all into new memory (all zeros), whose first region begins at 0. A device's window of guest
 * addresses (see platform.h) holds no memory. 0, or -errno and text says in one line what is wrong:
 * -EINVAL: not to be booted, -ENOMEM: does not fit into the memory, others: from the files.
 */
int vmm_boot_load(struct vhu_memory *memory, const struct vmm_boot_options *options,
		  struct vmm_boot_entry *ret_entry, char text[VMM_TEXT]);

#endif
