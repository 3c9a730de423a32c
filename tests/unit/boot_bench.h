/* SPDX-License-Identifier: MIT */
/*
 * Kernels of both kinds as small images that can be changed, and what loads them: for the tests of
 * vmm/boot*.c.
 */
#ifndef UNIT_BOOT_BENCH_H
#define UNIT_BOOT_BENCH_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <vhu/memory.h>
#include <vmm/boot.h>

#define MIB (UINT64_C(1) << 20)

enum {
	SETUP = 5 * 512,
	CODE = 4096,
	KERNEL_SIZE = SETUP + CODE,
	HEADER = 0x1f1,
	ELF_SIZE = 0x3000,
	NOTE_AT = 0x200,
	NOTE_SIZE = 24,
	TEXT_AT = 0x1000,
};

/* A file in memory, with a path. */
struct boot_file {
	int fd;
	char path[32];
};

struct boot_bench {
	struct vhu_memory *memory;
	struct boot_file kernel, initrd;
	struct vmm_boot_options options;
	struct vmm_boot_entry entry;
	char text[VMM_TEXT];
	uint8_t image[32768];
};

struct boot_elf_image {
	Elf64_Ehdr *header;
	Elf64_Phdr *note, *text;
	uint32_t *words; /* of the note */
};

/* Of a test: *state is its bench, with 64 MiB of memory and empty files. */
int boot_setup(void **state);
int boot_teardown(void **state);
/* What a file has from now on. */
void boot_file_set(struct boot_file *file, const void *bytes, size_t len);
/* Other memory: so much from 0 on, and from VMM_HIGH_BEGIN. */
void boot_memory_new(struct boot_bench *b, uint64_t low, uint64_t high);
/* Loads the kernel as it is; refused: fails the test unless it is with this error and text. */
int boot_load(struct boot_bench *b);
void boot_refused(struct boot_bench *b, int error, const char *why);

/* The image becomes a good bzImage; it as it is now is loaded, or refused. */
struct setup_header *boot_linux_image(struct boot_bench *b);
int boot_load_linux(struct boot_bench *b);
void boot_refuses_linux(struct boot_bench *b, int error, const char *why);
/* The same of an ELF image with a PVH note. */
struct boot_elf_image boot_elf_image(struct boot_bench *b);
int boot_load_elf(struct boot_bench *b);
void boot_refuses_elf(struct boot_bench *b, int error, const char *why);

#endif
