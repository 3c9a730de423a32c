/* SPDX-License-Identifier: MIT */
/* Makes the images, the files and the memory of the tests of vmm/boot*.c; loads them. */
#include "boot_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <vmm/platform.h>

static void file_new(struct boot_file *file)
{
	file->fd = memfd_create("boot", MFD_CLOEXEC);
	assert_true(file->fd >= 0);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

void boot_file_set(struct boot_file *file, const void *bytes, size_t len)
{
	assert_int_equal(ftruncate(file->fd, 0), 0);
	assert_int_equal(pwrite(file->fd, bytes, len, 0), (ssize_t)len);
}

void boot_memory_new(struct boot_bench *b, uint64_t low, uint64_t high)
{
	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	assert_int_equal(vhu_memory_add(b->memory, 0, low, 0), 0);
	if (high)
		assert_int_equal(vhu_memory_add(b->memory, VMM_HIGH_BEGIN, high, 0), 0);
}

int boot_setup(void **state)
{
	struct boot_bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	boot_memory_new(b, 64 * MIB, 0);
	file_new(&b->kernel);
	file_new(&b->initrd);
	b->options.kernel = b->kernel.path;
	*state = b;
	return 0;
}

int boot_teardown(void **state)
{
	struct boot_bench *b = *state;

	vhu_memory_free(b->memory);
	close(b->kernel.fd);
	close(b->initrd.fd);
	free(b);
	return 0;
}

int boot_load(struct boot_bench *b)
{
	int result;

	memset(&b->entry, 0x5a, sizeof(b->entry));
	memset(b->text, 0x5a, sizeof(b->text));
	result = vmm_boot_load(b->memory, &b->options, &b->entry, b->text);
	assert_non_null(memchr(b->text, 0, sizeof(b->text)));
	if (result)
		assert_true(b->text[0] && !strchr(b->text, '\n'));
	else
		assert_string_equal(b->text, "");
	return result;
}

void boot_refused(struct boot_bench *b, int error, const char *why)
{
	assert_int_equal(boot_load(b), error);
	if (!strstr(b->text, why))
		fail_msg("no '%s' in '%s'", why, b->text);
	assert_int_equal(b->entry.mode, 0x5a5a5a5a); /* nothing was put there */
}

/* ---- bzImage ---- */

struct setup_header *boot_linux_image(struct boot_bench *b)
{
	struct setup_header *header = (void *)(b->image + HEADER);

	memset(b->image, 0, sizeof(b->image));
	header->setup_sects = SETUP / 512 - 1;
	header->syssize = CODE / 16;
	header->boot_flag = 0xaa55;
	header->jump = 0xeb | (sizeof(*header) + HEADER - 0x202) << 8;
	header->header = 0x53726448;
	header->version = 0x20f;
	header->loadflags = LOADED_HIGH;
	header->initrd_addr_max = 0x7fffffff;
	header->kernel_alignment = 2 * MIB;
	header->relocatable_kernel = 1;
	header->xloadflags = XLF_KERNEL_64;
	header->cmdline_size = 2047;
	header->payload_offset = 16;
	header->payload_length = CODE - 16;
	header->pref_address = 16 * MIB;
	header->init_size = 8 * MIB;
	memset(b->image + SETUP, 0xc3, CODE);
	return header;
}

int boot_load_linux(struct boot_bench *b)
{
	boot_file_set(&b->kernel, b->image, KERNEL_SIZE);
	return boot_load(b);
}

void boot_refuses_linux(struct boot_bench *b, int error, const char *why)
{
	boot_file_set(&b->kernel, b->image, KERNEL_SIZE);
	boot_refused(b, error, why);
}

/* ---- ELF ---- */

struct boot_elf_image boot_elf_image(struct boot_bench *b)
{
	struct boot_elf_image elf = {
		.header = (void *)b->image,
		.note = (void *)(b->image + sizeof(Elf64_Ehdr)),
		.words = (void *)(b->image + NOTE_AT),
	};
	uint64_t entry = 2 * MIB + 16;

	memset(b->image, 0, sizeof(b->image));
	elf.text = elf.note + 1;
	*elf.header = (Elf64_Ehdr){
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	*elf.note = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = NOTE_AT, .p_filesz = NOTE_SIZE, .p_align = 4
	};
	*elf.text = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_offset = TEXT_AT,
				  .p_paddr = 2 * MIB,
				  .p_vaddr = UINT64_C(0xffffffff80000000),
				  .p_filesz = ELF_SIZE - TEXT_AT,
				  .p_memsz = MIB };
	elf.words[0] = 4;
	elf.words[1] = 8;
	elf.words[2] = 18;
	memcpy(elf.words + 3, "Xen", 4);
	memcpy(elf.words + 4, &entry, 8);
	memset(b->image + TEXT_AT, 0xf4, ELF_SIZE - TEXT_AT);
	return elf;
}

int boot_load_elf(struct boot_bench *b)
{
	boot_file_set(&b->kernel, b->image, ELF_SIZE);
	return boot_load(b);
}

void boot_refuses_elf(struct boot_bench *b, int error, const char *why)
{
	boot_file_set(&b->kernel, b->image, ELF_SIZE);
	boot_refused(b, error, why);
}
