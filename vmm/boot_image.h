/* SPDX-License-Identifier: MIT */
/*
 * What the loaders of the two kinds of images share: reading judged pieces of a file, the map of
 * memory, the addresses of what is put beside the kernel. For boot*.c alone.
 */
#ifndef VMM_BOOT_IMAGE_H
#define VMM_BOOT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <vmm/boot.h>
#include <vmm/platform.h>

/* Below 1 MiB, where no kernel may lie. */
enum {
	VMM_BOOT_GDT_ADDR = 0x5000,
	VMM_BOOT_TSS_ADDR = 0x5800,
	VMM_BOOT_INFO_ADDR = 0x6000,   /* hvm_start_info and its lists */
	VMM_BOOT_ZERO_PAGE = 0x7000,   /* struct boot_params */
	VMM_BOOT_STACK_END = 0x9000,   /* 4 KiB below it */
	VMM_BOOT_TABLES_ADDR = 0x9000, /* six pages */
	VMM_BOOT_APPEND_ADDR = 0x20000,
	VMM_BOOT_APPEND_SIZE = 0x10000,
	VMM_BOOT_KERNEL_MIN = VMM_LEGACY_HOLE_END,
};

struct vmm_boot_file {
	const char *option, *path; /* for errors */
	int fd;
	uint64_t size;
};

/* One loading. */
struct vmm_boot {
	struct vhu_memory *memory;
	const struct vmm_boot_options *options;
	struct vmm_boot_file kernel;
	uint64_t low_end;    /* end of the region that begins at 0 */
	uint64_t kernel_end; /* nothing else may lie between VMM_BOOT_KERNEL_MIN and this */
	uint64_t initrd_addr, initrd_size;
	uint64_t append_len;
	char *text;
};

enum vmm_boot_memory_type {
	VMM_BOOT_RAM = 1,
	VMM_BOOT_RESERVED = 2,
};

/* The numbers of both kinds of maps. */
struct vmm_boot_range {
	uint64_t addr, size;
	uint32_t type;
};

enum {
	VMM_BOOT_MAX_RANGES = 16,
};

/* Says what is wrong with file (NULL: with none), and returns error. */
__attribute__((format(printf, 4, 5))) int vmm_boot_fail(struct vmm_boot *boot,
							const struct vmm_boot_file *file, int error,
							const char *format, ...);
/* len bytes at offset, all of them, or fails. */
int vmm_boot_read(struct vmm_boot *boot, const struct vmm_boot_file *file, uint64_t offset,
		  void *bytes, uint64_t len);
/* As many into guest memory; fails if there is none. */
int vmm_boot_read_guest(struct vmm_boot *boot, const struct vmm_boot_file *file, uint64_t offset,
			uint64_t addr, uint64_t len);
/* The initial file system, if there is one, as high as it can: it ends at or below end. */
int vmm_boot_put_initrd(struct vmm_boot *boot, uint64_t end);
/* The command line, of at most max bytes without its end. */
int vmm_boot_put_append(struct vmm_boot *boot, uint64_t max);
/* Who may lie where, in ascending order; returns how many. */
unsigned int vmm_boot_map(const struct vmm_boot *boot,
			  struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES]);

/* Whether the kernel's file is of that kind, from its first bytes. */
bool vmm_boot_is_linux(const uint8_t *head, size_t len);
bool vmm_boot_is_elf(const uint8_t *head, size_t len);
int vmm_boot_load_linux(struct vmm_boot *boot, struct vmm_boot_entry *ret_entry);
int vmm_boot_load_elf(struct vmm_boot *boot, struct vmm_boot_entry *ret_entry);

#endif
