/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* ELF images with a PVH note are loaded as they ask for; those that lie are refused in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <vmm/acpi.h>
#include <vmm/platform.h>

#include "boot_bench.h"

static uint64_t word(struct boot_bench *b, uint64_t addr, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, vhu_memory_ptr(b->memory, addr, len), len);
	return value;
}

static void pvh_image_is_entered_by_its_note(void **state)
{
	struct boot_bench *b = *state;
	uint64_t info, module, map, i, end = 0;

	boot_memory_new(b, 64 * MIB, 2 * MIB);
	boot_elf_image(b);
	b->options.append = "one two";
	b->options.rsdp = VMM_ACPI_BASE;
	b->options.initrd = b->initrd.path;
	boot_file_set(&b->initrd, "initial", 7);
	assert_int_equal(boot_load_elf(b), 0);
	assert_int_equal(b->entry.mode, VMM_BOOT_PVH);
	assert_int_equal(b->entry.rip, 2 * MIB + 16);
	assert_memory_equal(vhu_memory_ptr(b->memory, 2 * MIB, ELF_SIZE - TEXT_AT),
			    b->image + TEXT_AT, ELF_SIZE - TEXT_AT);
	info = b->entry.rbx;
	assert_int_equal(word(b, info, 4), 0x336ec578);
	assert_int_equal(word(b, info + 4, 4), 1);
	assert_int_equal(word(b, info + 12, 4), 1);
	module = word(b, info + 16, 8);
	assert_int_equal(word(b, module + 8, 8), 7);
	assert_memory_equal(vhu_memory_ptr(b->memory, word(b, module, 8), 7), "initial", 7);
	assert_string_equal(vhu_memory_ptr(b->memory, word(b, info + 24, 8), 8), "one two");
	assert_int_equal(word(b, info + 32, 8), VMM_ACPI_BASE);
	map = word(b, info + 40, 8);
	for (i = 0; i < word(b, info + 48, 4); i++) {
		assert_true(word(b, map + i * 24, 8) >= end);
		end = word(b, map + i * 24, 8) + word(b, map + i * 24 + 8, 8);
	}
	assert_int_equal(end, VMM_HIGH_BEGIN + 2 * MIB);
}

static void pvh_image_of_32_bits_is_loaded_too(void **state)
{
	struct boot_bench *b = *state;
	Elf32_Ehdr *header = (void *)b->image;
	Elf32_Phdr *phdrs = (void *)(b->image + sizeof(*header));
	uint32_t *words = (void *)(b->image + NOTE_AT);

	boot_elf_image(b);
	memset(b->image, 0, NOTE_AT);
	*header = (Elf32_Ehdr){
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_phoff = sizeof(*header),
		.e_phentsize = sizeof(*phdrs),
		.e_phnum = 2,
	};
	phdrs[0] =
		(Elf32_Phdr){ .p_type = PT_NOTE, .p_offset = NOTE_AT, .p_filesz = NOTE_SIZE - 4 };
	phdrs[1] = (Elf32_Phdr){ .p_type = PT_LOAD,
				 .p_offset = TEXT_AT,
				 .p_paddr = MIB,
				 .p_filesz = 0x1000,
				 .p_memsz = 0x1000 };
	words[1] = 4;
	words[4] = MIB + 0xfff;
	assert_int_equal(boot_load_elf(b), 0);
	assert_int_equal(b->entry.rip, MIB + 0xfff);
	words[4] = MIB + 0x1000;
	boot_refuses_elf(b, -EINVAL, "its PVH entry 0x101000 is in no segment");
}

static void notes_of_others_are_passed_over(void **state)
{
	struct boot_bench *b = *state;
	struct boot_elf_image elf = boot_elf_image(b);
	uint8_t note[NOTE_SIZE];

	memcpy(note, b->image + NOTE_AT, NOTE_SIZE);
	memset(b->image + NOTE_AT, 0, NOTE_SIZE);
	elf.words[0] = 5; /* "Linux" less its end, padded */
	elf.words[1] = 3;
	elf.words[2] = 18;
	memcpy(b->image + NOTE_AT + 24, note, NOTE_SIZE);
	elf.note->p_filesz = 24 + NOTE_SIZE;
	assert_int_equal(boot_load_elf(b), 0);
	assert_int_equal(b->entry.rip, 2 * MIB + 16);
}

/* Each may be looked at, all together not: their walk would take minutes. */
static void many_segments_over_the_same_notes_are_refused(void **state)
{
	enum {
		NR = 200,
		PHDRS_END = 0x3000,
		SIZE = 0x6000
	};
	struct boot_bench *b = *state;
	uint8_t *image = calloc(1, SIZE);
	Elf64_Ehdr *header = (void *)image;
	Elf64_Phdr *phdrs = (void *)(header + 1);

	assert_non_null(image);
	*header = *boot_elf_image(b).header;
	header->e_phnum = NR;
	for (unsigned int i = 0; i < NR; i++)
		phdrs[i] = (Elf64_Phdr){ .p_type = PT_NOTE,
					 .p_offset = PHDRS_END,
					 .p_filesz = SIZE - PHDRS_END };
	boot_file_set(&b->kernel, image, SIZE);
	free(image);
	boot_refused(b, -EINVAL, "more than 1048576 bytes of notes");
}

static void elf_files_that_cannot_be_booted_are_told_apart(void **state)
{
	struct boot_bench *b = *state;

	boot_elf_image(b).header->e_ident[EI_CLASS] = 3;
	boot_refuses_elf(b, -EINVAL, "an ELF file of class 3");
	boot_elf_image(b).header->e_ident[EI_DATA] = ELFDATA2MSB;
	boot_refuses_elf(b, -EINVAL, "another processor");
	boot_elf_image(b).header->e_machine = EM_AARCH64;
	boot_refuses_elf(b, -EINVAL, "another processor");
	boot_elf_image(b).header->e_type = ET_DYN;
	boot_refuses_elf(b, -EINVAL, "of type 3");
	boot_elf_image(b).header->e_phnum = 0;
	boot_refuses_elf(b, -EINVAL, "without segments");
	boot_elf_image(b).header->e_phnum = UINT16_MAX;
	boot_refuses_elf(b, -EINVAL, "65535 program headers");
	boot_elf_image(b).header->e_phentsize = 8;
	boot_refuses_elf(b, -EINVAL, "of 8 bytes");
	boot_elf_image(b).header->e_phoff = UINT64_MAX;
	boot_refuses_elf(b, -EINVAL, "truncated");
	boot_elf_image(b).note->p_type = PT_NULL;
	boot_refuses_elf(b, -EINVAL, "no kernel: an ELF file without a PVH note");
	boot_elf_image(b).words[2] = 17;
	boot_refuses_elf(b, -EINVAL, "without a PVH note");
	memcpy(boot_elf_image(b).words + 3, "Xem", 4);
	boot_refuses_elf(b, -EINVAL, "without a PVH note");
	boot_elf_image(b).words[1] = 5;
	boot_refuses_elf(b, -EINVAL, "its PVH note has 5 bytes");
	boot_elf_image(b).words[1] = UINT32_MAX;
	boot_refuses_elf(b, -EINVAL, "longer than its segment");
	boot_elf_image(b).words[0] = UINT32_MAX;
	boot_refuses_elf(b, -EINVAL, "longer than its segment");
	boot_elf_image(b).words[5] = 1;
	boot_refuses_elf(b, -EINVAL, "is in no segment");
	boot_elf_image(b).note->p_filesz = UINT64_MAX;
	boot_refuses_elf(b, -EINVAL, "bytes of notes");
	boot_elf_image(b).note->p_offset = UINT64_MAX;
	boot_refuses_elf(b, -EINVAL, "within its notes");
	boot_elf_image(b).note->p_filesz = MIB;
	boot_refuses_elf(b, -EINVAL, "within its notes");
}

static void segments_that_lie_are_refused(void **state)
{
	struct boot_bench *b = *state;
	struct boot_elf_image elf;
	unsigned int i;

	boot_elf_image(b).text->p_memsz = 1;
	boot_refuses_elf(b, -EINVAL, "a segment of 1 bytes has 8192 in the file");
	boot_elf_image(b).text->p_paddr = 0x7000;
	boot_refuses_elf(b, -EINVAL, "a segment at 0x7000, below 1 MiB");
	boot_elf_image(b).text->p_paddr = 64 * MIB;
	boot_refuses_elf(b, -ENOMEM, "needs 1048576 bytes at 0x4000000");
	boot_elf_image(b).text->p_memsz = 62 * MIB + 1;
	boot_refuses_elf(b, -ENOMEM, "the memory there ends at 0x4000000");
	boot_elf_image(b).text->p_paddr = UINT64_MAX;
	boot_refuses_elf(b, -ENOMEM, "needs");
	boot_elf_image(b).text->p_memsz = UINT64_MAX;
	boot_refuses_elf(b, -ENOMEM, "needs");
	boot_elf_image(b).text->p_offset = UINT64_MAX;
	boot_refuses_elf(b, -EINVAL, "truncated");
	boot_elf_image(b).text->p_offset = TEXT_AT + 1;
	boot_refuses_elf(b, -EINVAL, "truncated");
	/* the same place again and again would take for ever */
	elf = boot_elf_image(b);
	elf.header->e_phnum = 100;
	elf.header->e_phoff = ELF_SIZE;
	for (i = 0; i < 100; i++)
		memcpy(b->image + ELF_SIZE + i * sizeof(Elf64_Phdr), i ? elf.text : elf.note,
		       sizeof(Elf64_Phdr));
	boot_file_set(&b->kernel, b->image, ELF_SIZE + 100 * sizeof(Elf64_Phdr));
	boot_refused(b, -EINVAL, "upon each other");
}

static void pvh_image_cut_off_anywhere_is_refused(void **state)
{
	struct boot_bench *b = *state;
	size_t len;

	boot_elf_image(b);
	for (len = 0; len < ELF_SIZE; len++) {
		boot_file_set(&b->kernel, b->image, len);
		assert_int_equal(boot_load(b), -EINVAL);
	}
	assert_int_equal(boot_load_elf(b), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, boot_setup, boot_teardown)
	const struct CMUnitTest tests[] = {
		T(pvh_image_is_entered_by_its_note),
		T(pvh_image_of_32_bits_is_loaded_too),
		T(notes_of_others_are_passed_over),
		T(many_segments_over_the_same_notes_are_refused),
		T(elf_files_that_cannot_be_booted_are_told_apart),
		T(segments_that_lie_are_refused),
		T(pvh_image_cut_off_anywhere_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
