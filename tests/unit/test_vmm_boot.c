/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Kernels of both kinds are loaded as they ask for; whatever is no kernel, or lies, is refused in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <vhu/memory.h>
#include <vmm/acpi.h>
#include <vmm/boot.h>
#include <vmm/platform.h>

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
struct file {
	int fd;
	char path[32];
};

struct bench {
	struct vhu_memory *memory;
	struct file kernel, initrd;
	struct vmm_boot_options options;
	struct vmm_boot_entry entry;
	char text[VMM_TEXT];
	uint8_t image[32768];
};

static void file_new(struct file *file)
{
	file->fd = memfd_create("boot", MFD_CLOEXEC);
	assert_true(file->fd >= 0);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

static void file_set(struct file *file, const void *bytes, size_t len)
{
	assert_int_equal(ftruncate(file->fd, 0), 0);
	assert_int_equal(pwrite(file->fd, bytes, len, 0), (ssize_t)len);
}

static void memory_new(struct bench *b, uint64_t low, uint64_t high)
{
	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	assert_int_equal(vhu_memory_add(b->memory, 0, low, 0), 0);
	if (high)
		assert_int_equal(vhu_memory_add(b->memory, VMM_HIGH_BEGIN, high, 0), 0);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memory_new(b, 64 * MIB, 0);
	file_new(&b->kernel);
	file_new(&b->initrd);
	b->options.kernel = b->kernel.path;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	vhu_memory_free(b->memory);
	close(b->kernel.fd);
	close(b->initrd.fd);
	free(b);
	return 0;
}

static int load(struct bench *b)
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

static void refused(struct bench *b, int error, const char *why)
{
	assert_int_equal(load(b), error);
	if (!strstr(b->text, why))
		fail_msg("no '%s' in '%s'", why, b->text);
	assert_int_equal(b->entry.mode, 0x5a5a5a5a); /* nothing was put there */
}

/* ---- bzImage ---- */

static struct setup_header *linux_image(struct bench *b)
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

static int load_linux(struct bench *b)
{
	file_set(&b->kernel, b->image, KERNEL_SIZE);
	return load(b);
}

static void refuses_linux(struct bench *b, int error, const char *why)
{
	file_set(&b->kernel, b->image, KERNEL_SIZE);
	refused(b, error, why);
}

static const struct boot_params *params_of(struct bench *b)
{
	assert_int_equal(b->entry.mode, VMM_BOOT_LINUX64);
	return vhu_memory_ptr(b->memory, b->entry.rsi, sizeof(struct boot_params));
}

static void bzimage_is_where_it_wants_to_be(void **state)
{
	struct bench *b = *state;

	linux_image(b);
	assert_int_equal(load_linux(b), 0);
	assert_int_equal(b->entry.rip, 16 * MIB + 0x200);
	assert_memory_equal(vhu_memory_ptr(b->memory, 16 * MIB, CODE), b->image + SETUP, CODE);
	assert_int_equal(params_of(b)->hdr.type_of_loader, 0xff);
	assert_int_equal(params_of(b)->hdr.ramdisk_size, 0);
	assert_int_equal(params_of(b)->hdr.header, 0x53726448);
}

static void bzimage_goes_lower_when_there_is_less_memory(void **state)
{
	struct bench *b = *state;
	struct setup_header *header = linux_image(b);

	memory_new(b, 16 * MIB, 0);
	assert_int_equal(load_linux(b), 0);
	assert_int_equal(b->entry.rip, 2 * MIB + 0x200);
	header->relocatable_kernel = 0;
	refuses_linux(b, -ENOMEM, "needs 8 MiB at 0x1000000");
	header->relocatable_kernel = 1;
	memory_new(b, 9 * MIB, 0);
	refuses_linux(b, -ENOMEM, "needs 8 MiB at 0x200000, the memory there ends at 0x900000");
	header->init_size = 0; /* it lies: the file alone decides */
	assert_int_equal(load_linux(b), 0);
}

/* Their file cannot be written, only mapped. */
static void huge_pages_are_loaded_into_as_well(void **state)
{
	struct bench *b = *state;

	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	if (vhu_memory_add(b->memory, 0, 32 * MIB, VHU_MEMORY_HUGE))
		skip(); /* none are free here */
	linux_image(b);
	assert_int_equal(load_linux(b), 0);
	assert_memory_equal(vhu_memory_ptr(b->memory, 16 * MIB, CODE), b->image + SETUP, CODE);
}

static void page_tables_map_four_gib_to_themselves(void **state)
{
	struct bench *b = *state;
	uint64_t addr;

	linux_image(b);
	assert_int_equal(load_linux(b), 0);
	for (addr = 0; addr < UINT64_C(1) << 32; addr += 2 * MIB) {
		uint64_t table = b->entry.cr3, entry = 0;
		int shift;

		for (shift = 39; shift >= 21; shift -= 9) {
			const uint64_t *entries = vhu_memory_ptr(b->memory, table, 4096);

			entry = entries[addr >> shift & 511];
			assert_int_equal(entry & 3, 3);
			assert_int_equal(entry & 0x80, shift == 21 ? 0x80 : 0);
			table = entry & ~UINT64_C(0xfff);
		}
		assert_int_equal(entry & ~UINT64_C(0xfff), addr);
	}
}

static void descriptors_are_what_the_entry_needs(void **state)
{
	struct bench *b = *state;
	const uint64_t *gdt;

	linux_image(b);
	assert_int_equal(load_linux(b), 0);
	gdt = vhu_memory_ptr(b->memory, b->entry.gdt, VMM_BOOT_GDT_LIMIT + 1);
	assert_int_equal(gdt[0], 0);
	/* present code, executable and readable, of 64 bits; present data, writable */
	assert_int_equal(gdt[VMM_BOOT_CODE / 8] >> 40 & 0xfa, 0x9a);
	assert_int_equal(gdt[VMM_BOOT_CODE / 8] >> 53 & 3, 1);
	assert_int_equal(gdt[VMM_BOOT_DATA / 8] >> 40 & 0xfa, 0x92);
	/* a busy task segment of its base and limit */
	assert_int_equal(gdt[VMM_BOOT_TSS / 8] >> 40 & 0xff, 0x8b);
	assert_int_equal(gdt[VMM_BOOT_TSS / 8] >> 16 & 0xffffff, b->entry.tss);
	assert_int_equal(gdt[VMM_BOOT_TSS / 8] & 0xffff, 0x67);
}

static void memory_map_is_the_machines(void **state)
{
	struct bench *b = *state;
	const struct boot_params *params;
	uint64_t ram = 0, end = 0;
	unsigned int i;
	bool ecam = false, acpi = false;

	memory_new(b, 64 * MIB, 32 * MIB);
	linux_image(b);
	b->options.rsdp = VMM_ACPI_BASE;
	assert_int_equal(load_linux(b), 0);
	params = params_of(b);
	assert_int_equal(params->acpi_rsdp_addr, VMM_ACPI_BASE);
	for (i = 0; i < params->e820_entries; i++) {
		struct boot_e820_entry range = params->e820_table[i];

		assert_true(range.addr >= end && range.size); /* in order, apart */
		end = range.addr + range.size;
		if (range.type == 1) {
			ram += range.size;
			assert_non_null(vhu_memory_ptr(b->memory, range.addr, range.size));
		}
		ecam |= range.type == 2 && range.addr == VMM_ECAM && range.size == VMM_ECAM_SIZE;
		acpi |= range.type == 2 && range.addr <= VMM_ACPI_BASE &&
			end >= VMM_ACPI_BASE + VMM_ACPI_SIZE;
	}
	assert_true(ecam && acpi);
	assert_int_equal(ram, 96 * MIB - (VMM_LEGACY_HOLE_END - VMM_LEGACY_HOLE));
}

static void command_line_is_passed_up_to_its_limit(void **state)
{
	struct bench *b = *state;
	struct setup_header *header = linux_image(b);
	char append[2100];

	memset(append, 'a', sizeof(append));
	append[2047] = 0;
	b->options.append = append;
	assert_int_equal(load_linux(b), 0);
	assert_string_equal(vhu_memory_ptr(b->memory, params_of(b)->hdr.cmd_line_ptr, 2048),
			    append);
	append[2047] = 'a';
	append[2048] = 0;
	refuses_linux(b, -EINVAL, "--append: 2048 bytes, this kernel takes 2047");
	header->cmdline_size = UINT32_MAX; /* still within our own room */
	assert_int_equal(load_linux(b), 0);
}

static void initrd_lies_high_and_apart_from_the_kernel(void **state)
{
	struct bench *b = *state;
	struct setup_header *header = linux_image(b);
	const struct boot_params *params;
	uint64_t addr;

	b->options.initrd = b->initrd.path;
	file_set(&b->initrd, "initial file system", 19);
	assert_int_equal(load_linux(b), 0);
	params = params_of(b);
	assert_int_equal(params->hdr.ramdisk_size, 19);
	addr = params->hdr.ramdisk_image;
	assert_int_equal(addr, 64 * MIB - 4096);
	assert_memory_equal(vhu_memory_ptr(b->memory, addr, 19), "initial file system", 19);
	/* where the kernel says that it may end */
	header->initrd_addr_max = 40 * MIB - 1;
	assert_int_equal(load_linux(b), 0);
	assert_int_equal(params_of(b)->hdr.ramdisk_image, 40 * MIB - 4096);
	header->initrd_addr_max = 20 * MIB;
	refuses_linux(b, -ENOMEM, "do not fit into the memory above the kernel");
	header->initrd_addr_max = UINT32_MAX;
	assert_int_equal(ftruncate(b->initrd.fd, 40 * MIB), 0);
	assert_int_equal(load_linux(b), 0);
	assert_int_equal(params_of(b)->hdr.ramdisk_image, 24 * MIB);
	assert_int_equal(ftruncate(b->initrd.fd, 40 * MIB + 1), 0);
	refuses_linux(b, -ENOMEM, "--initrd /proc/self/fd/");
	assert_int_equal(ftruncate(b->initrd.fd, INT64_MAX), 0);
	refuses_linux(b, -ENOMEM, "do not fit");
	file_set(&b->initrd, "", 0);
	refuses_linux(b, -EINVAL, "empty");
	b->options.initrd = "/proc/self/fd/no";
	refuses_linux(b, -ENOENT, "--initrd /proc/self/fd/no: No such file");
}

static void bzimages_that_cannot_be_booted_are_told_apart(void **state)
{
	struct bench *b = *state;

	linux_image(b)->version = 0x20b;
	refuses_linux(b, -EINVAL, "its boot protocol is 2.11");
	linux_image(b)->loadflags = 0;
	refuses_linux(b, -EINVAL, "a zImage");
	linux_image(b)->xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G;
	refuses_linux(b, -EINVAL, "32 bits only");
	linux_image(b)->kernel_alignment = 3;
	refuses_linux(b, -EINVAL, "no power of two");
	linux_image(b)->kernel_alignment = 0;
	refuses_linux(b, -EINVAL, "no power of two");
	linux_image(b)->syssize = CODE / 16 + 1;
	refuses_linux(b, -EINVAL, "truncated");
	linux_image(b)->syssize = UINT32_MAX;
	refuses_linux(b, -EINVAL, "truncated");
	linux_image(b)->payload_length = UINT32_MAX;
	refuses_linux(b, -EINVAL, "truncated");
	linux_image(b)->payload_offset = CODE + 1;
	refuses_linux(b, -EINVAL, "truncated");
	linux_image(b)->setup_sects = 255;
	refuses_linux(b, -EINVAL, "truncated: it ends at byte 6656, its code begins at 131072");
	linux_image(b)->header = 0;
	refuses_linux(b, -EINVAL, "no kernel: neither bzImage nor ELF with a PVH note");
	linux_image(b)->boot_flag = 0;
	refuses_linux(b, -EINVAL, "no kernel");
}

static void addresses_at_the_end_of_all_do_not_wrap(void **state)
{
	struct bench *b = *state;
	static const uint64_t addrs[] = { 0,
					  0x1000,
					  MIB - 1,
					  64 * MIB - 1,
					  64 * MIB,
					  UINT32_MAX,
					  UINT64_MAX,
					  UINT64_MAX - 8 * MIB + 1,
					  VMM_HIGH_BEGIN };
	unsigned int i;

	for (i = 0; i < sizeof(addrs) / sizeof(*addrs); i++) {
		struct setup_header *header = linux_image(b);

		header->pref_address = addrs[i];
		assert_int_equal(load_linux(b), 0);
		assert_int_equal(b->entry.rip, 2 * MIB + 0x200);
		header->kernel_alignment = 0x80000000;
		refuses_linux(b, -ENOMEM, "needs 8 MiB at 0x80000000");
		header->init_size = UINT32_MAX;
		refuses_linux(b, -ENOMEM, "needs 4096 MiB");
	}
}

/* Each length: it is a kernel only if it is all there. */
static void bzimage_cut_off_anywhere_is_refused(void **state)
{
	struct bench *b = *state;
	size_t len;

	linux_image(b);
	for (len = 0; len < KERNEL_SIZE; len++) {
		file_set(&b->kernel, b->image, len);
		if (len > KERNEL_SIZE - 16) /* syssize is rounded up */
			((struct setup_header *)(b->image + HEADER))->payload_length = 1;
		assert_int_equal(load(b), len > KERNEL_SIZE - 16 + 1 ? 0 : -EINVAL);
	}
}

/* ---- ELF ---- */

struct elf_image {
	Elf64_Ehdr *header;
	Elf64_Phdr *note, *text;
	uint32_t *words; /* of the note */
};

static struct elf_image elf_image(struct bench *b)
{
	struct elf_image elf = {
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

static int load_elf(struct bench *b)
{
	file_set(&b->kernel, b->image, ELF_SIZE);
	return load(b);
}

static void refuses_elf(struct bench *b, int error, const char *why)
{
	file_set(&b->kernel, b->image, ELF_SIZE);
	refused(b, error, why);
}

static uint64_t word(struct bench *b, uint64_t addr, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, vhu_memory_ptr(b->memory, addr, len), len);
	return value;
}

static void pvh_image_is_entered_by_its_note(void **state)
{
	struct bench *b = *state;
	uint64_t info, module, map, i, end = 0;

	memory_new(b, 64 * MIB, 2 * MIB);
	elf_image(b);
	b->options.append = "one two";
	b->options.rsdp = VMM_ACPI_BASE;
	b->options.initrd = b->initrd.path;
	file_set(&b->initrd, "initial", 7);
	assert_int_equal(load_elf(b), 0);
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
	struct bench *b = *state;
	Elf32_Ehdr *header = (void *)b->image;
	Elf32_Phdr *phdrs = (void *)(b->image + sizeof(*header));
	uint32_t *words = (void *)(b->image + NOTE_AT);

	elf_image(b);
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
	assert_int_equal(load_elf(b), 0);
	assert_int_equal(b->entry.rip, MIB + 0xfff);
	words[4] = MIB + 0x1000;
	refuses_elf(b, -EINVAL, "its PVH entry 0x101000 is in no segment");
}

static void notes_of_others_are_passed_over(void **state)
{
	struct bench *b = *state;
	struct elf_image elf = elf_image(b);
	uint8_t note[NOTE_SIZE];

	memcpy(note, b->image + NOTE_AT, NOTE_SIZE);
	memset(b->image + NOTE_AT, 0, NOTE_SIZE);
	elf.words[0] = 5; /* "Linux" less its end, padded */
	elf.words[1] = 3;
	elf.words[2] = 18;
	memcpy(b->image + NOTE_AT + 24, note, NOTE_SIZE);
	elf.note->p_filesz = 24 + NOTE_SIZE;
	assert_int_equal(load_elf(b), 0);
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
	struct bench *b = *state;
	uint8_t *image = calloc(1, SIZE);
	Elf64_Ehdr *header = (void *)image;
	Elf64_Phdr *phdrs = (void *)(header + 1);

	assert_non_null(image);
	*header = *elf_image(b).header;
	header->e_phnum = NR;
	for (unsigned int i = 0; i < NR; i++)
		phdrs[i] = (Elf64_Phdr){ .p_type = PT_NOTE,
					 .p_offset = PHDRS_END,
					 .p_filesz = SIZE - PHDRS_END };
	file_set(&b->kernel, image, SIZE);
	free(image);
	refused(b, -EINVAL, "more than 1048576 bytes of notes");
}

static void elf_files_that_cannot_be_booted_are_told_apart(void **state)
{
	struct bench *b = *state;

	elf_image(b).header->e_ident[EI_CLASS] = 3;
	refuses_elf(b, -EINVAL, "an ELF file of class 3");
	elf_image(b).header->e_ident[EI_DATA] = ELFDATA2MSB;
	refuses_elf(b, -EINVAL, "another processor");
	elf_image(b).header->e_machine = EM_AARCH64;
	refuses_elf(b, -EINVAL, "another processor");
	elf_image(b).header->e_type = ET_DYN;
	refuses_elf(b, -EINVAL, "of type 3");
	elf_image(b).header->e_phnum = 0;
	refuses_elf(b, -EINVAL, "without segments");
	elf_image(b).header->e_phnum = UINT16_MAX;
	refuses_elf(b, -EINVAL, "65535 program headers");
	elf_image(b).header->e_phentsize = 8;
	refuses_elf(b, -EINVAL, "of 8 bytes");
	elf_image(b).header->e_phoff = UINT64_MAX;
	refuses_elf(b, -EINVAL, "truncated");
	elf_image(b).note->p_type = PT_NULL;
	refuses_elf(b, -EINVAL, "no kernel: an ELF file without a PVH note");
	elf_image(b).words[2] = 17;
	refuses_elf(b, -EINVAL, "without a PVH note");
	memcpy(elf_image(b).words + 3, "Xem", 4);
	refuses_elf(b, -EINVAL, "without a PVH note");
	elf_image(b).words[1] = 5;
	refuses_elf(b, -EINVAL, "its PVH note has 5 bytes");
	elf_image(b).words[1] = UINT32_MAX;
	refuses_elf(b, -EINVAL, "longer than its segment");
	elf_image(b).words[0] = UINT32_MAX;
	refuses_elf(b, -EINVAL, "longer than its segment");
	elf_image(b).words[5] = 1;
	refuses_elf(b, -EINVAL, "is in no segment");
	elf_image(b).note->p_filesz = UINT64_MAX;
	refuses_elf(b, -EINVAL, "bytes of notes");
	elf_image(b).note->p_offset = UINT64_MAX;
	refuses_elf(b, -EINVAL, "within its notes");
	elf_image(b).note->p_filesz = MIB;
	refuses_elf(b, -EINVAL, "within its notes");
}

static void segments_that_lie_are_refused(void **state)
{
	struct bench *b = *state;
	struct elf_image elf;
	unsigned int i;

	elf_image(b).text->p_memsz = 1;
	refuses_elf(b, -EINVAL, "a segment of 1 bytes has 8192 in the file");
	elf_image(b).text->p_paddr = 0x7000;
	refuses_elf(b, -EINVAL, "a segment at 0x7000, below 1 MiB");
	elf_image(b).text->p_paddr = 64 * MIB;
	refuses_elf(b, -ENOMEM, "needs 1048576 bytes at 0x4000000");
	elf_image(b).text->p_memsz = 62 * MIB + 1;
	refuses_elf(b, -ENOMEM, "the memory there ends at 0x4000000");
	elf_image(b).text->p_paddr = UINT64_MAX;
	refuses_elf(b, -ENOMEM, "needs");
	elf_image(b).text->p_memsz = UINT64_MAX;
	refuses_elf(b, -ENOMEM, "needs");
	elf_image(b).text->p_offset = UINT64_MAX;
	refuses_elf(b, -EINVAL, "truncated");
	elf_image(b).text->p_offset = TEXT_AT + 1;
	refuses_elf(b, -EINVAL, "truncated");
	/* the same place again and again would take for ever */
	elf = elf_image(b);
	elf.header->e_phnum = 100;
	elf.header->e_phoff = ELF_SIZE;
	for (i = 0; i < 100; i++)
		memcpy(b->image + ELF_SIZE + i * sizeof(Elf64_Phdr), i ? elf.text : elf.note,
		       sizeof(Elf64_Phdr));
	file_set(&b->kernel, b->image, ELF_SIZE + 100 * sizeof(Elf64_Phdr));
	refused(b, -EINVAL, "upon each other");
}

static void pvh_image_cut_off_anywhere_is_refused(void **state)
{
	struct bench *b = *state;
	size_t len;

	elf_image(b);
	for (len = 0; len < ELF_SIZE; len++) {
		file_set(&b->kernel, b->image, len);
		assert_int_equal(load(b), -EINVAL);
	}
	assert_int_equal(load_elf(b), 0);
}

/* ---- both ---- */

static void what_is_no_file_is_refused(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/vhu-boot.XXXXXX", fifo[sizeof(dir) + 5];

	b->options.kernel = "/tmp";
	refused(b, -EINVAL, "--kernel /tmp: not a regular file");
	b->options.kernel = "/dev/zero";
	refused(b, -EINVAL, "--kernel /dev/zero: not a regular file");
	b->options.kernel = "";
	refused(b, -ENOENT, "No such file");
	/* nobody ever writes into it: it must not be waited for */
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	b->options.kernel = fifo;
	refused(b, -EINVAL, "not a regular file");
	unlink(fifo);
	rmdir(dir);
}

static void what_is_no_kernel_is_refused(void **state)
{
	struct bench *b = *state;
	static const char *const texts[] = { "", "#!/bin/sh\n", "\177", "\177ELF", "MZ" };
	unsigned int i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		file_set(&b->kernel, texts[i], strlen(texts[i]));
		assert_int_equal(load(b), -EINVAL);
	}
	b->options.kernel = "/proc/self/exe"; /* an ELF file, but no kernel */
	assert_int_equal(load(b), -EINVAL);
}

static void too_little_memory_is_refused(void **state)
{
	struct bench *b = *state;

	linux_image(b);
	memory_new(b, MIB, 0);
	refuses_linux(b, -ENOMEM, "--mem: less than 2 MiB");
	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	refuses_linux(b, -ENOMEM, "--mem: less than 2 MiB");
}

static void a_path_that_is_too_long_leaves_one_line(void **state)
{
	struct bench *b = *state;
	char path[2 * VMM_TEXT];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	b->options.kernel = path;
	assert_true(load(b) < 0);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Bytes changed at random in what matters: whatever happens, it is an answer (ASan and UBSan look on). */
static void changed_images_are_loaded_or_refused(void **state)
{
	enum {
		ROUNDS = 20000
	};
	struct bench *b = *state;
	uint32_t seed = 1;
	unsigned int i, loaded = 0;

	memory_new(b, 20 * MIB, 0);
	b->options.initrd = b->initrd.path;
	file_set(&b->initrd, "initial", 7);
	for (i = 0; i < ROUNDS; i++) {
		bool is_elf = i & 1;
		unsigned int n = 1 + next_random(&seed) % 4;

		if (is_elf)
			elf_image(b);
		else
			linux_image(b);
		while (n--) {
			static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff };
			unsigned int at = is_elf ? next_random(&seed) % (NOTE_AT + NOTE_SIZE) :
						   HEADER + next_random(&seed) % 0x80;

			b->image[at] = next_random(&seed) & 1 ? odd[next_random(&seed) % 5] :
								(uint8_t)next_random(&seed);
		}
		if (!(is_elf ? load_elf(b) : load_linux(b)))
			loaded++;
	}
	assert_true(loaded && loaded < ROUNDS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bzimage_is_where_it_wants_to_be),
		T(bzimage_goes_lower_when_there_is_less_memory),
		T(huge_pages_are_loaded_into_as_well),
		T(page_tables_map_four_gib_to_themselves),
		T(descriptors_are_what_the_entry_needs),
		T(memory_map_is_the_machines),
		T(command_line_is_passed_up_to_its_limit),
		T(initrd_lies_high_and_apart_from_the_kernel),
		T(bzimages_that_cannot_be_booted_are_told_apart),
		T(addresses_at_the_end_of_all_do_not_wrap),
		T(bzimage_cut_off_anywhere_is_refused),
		T(pvh_image_is_entered_by_its_note),
		T(pvh_image_of_32_bits_is_loaded_too),
		T(notes_of_others_are_passed_over),
		T(many_segments_over_the_same_notes_are_refused),
		T(elf_files_that_cannot_be_booted_are_told_apart),
		T(segments_that_lie_are_refused),
		T(pvh_image_cut_off_anywhere_is_refused),
		T(what_is_no_file_is_refused),
		T(what_is_no_kernel_is_refused),
		T(too_little_memory_is_refused),
		T(a_path_that_is_too_long_leaves_one_line),
		T(changed_images_are_loaded_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
