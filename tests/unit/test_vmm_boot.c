/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* Kernels are loaded as they ask for; whatever is no kernel, or lies, is refused in one line. ELF images: test_vmm_boot_elf. */
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

/* ---- bzImage ---- */

static const struct boot_params *params_of(struct boot_bench *b)
{
	assert_int_equal(b->entry.mode, VMM_BOOT_LINUX64);
	return vhu_memory_ptr(b->memory, b->entry.rsi, sizeof(struct boot_params));
}

static void bzimage_is_where_it_wants_to_be(void **state)
{
	struct boot_bench *b = *state;

	boot_linux_image(b);
	assert_int_equal(boot_load_linux(b), 0);
	assert_int_equal(b->entry.rip, 16 * MIB + 0x200);
	assert_memory_equal(vhu_memory_ptr(b->memory, 16 * MIB, CODE), b->image + SETUP, CODE);
	assert_int_equal(params_of(b)->hdr.type_of_loader, 0xff);
	assert_int_equal(params_of(b)->hdr.ramdisk_size, 0);
	assert_int_equal(params_of(b)->hdr.header, 0x53726448);
}

static void bzimage_goes_lower_when_there_is_less_memory(void **state)
{
	struct boot_bench *b = *state;
	struct setup_header *header = boot_linux_image(b);

	boot_memory_new(b, 16 * MIB, 0);
	assert_int_equal(boot_load_linux(b), 0);
	assert_int_equal(b->entry.rip, 2 * MIB + 0x200);
	header->relocatable_kernel = 0;
	boot_refuses_linux(b, -ENOMEM, "needs 8 MiB at 0x1000000");
	header->relocatable_kernel = 1;
	boot_memory_new(b, 9 * MIB, 0);
	boot_refuses_linux(b, -ENOMEM,
			   "needs 8 MiB at 0x200000, the memory there ends at 0x900000");
	header->init_size = 0; /* it lies: the file alone decides */
	assert_int_equal(boot_load_linux(b), 0);
}

/* Their file cannot be written, only mapped. */
static void huge_pages_are_loaded_into_as_well(void **state)
{
	struct boot_bench *b = *state;

	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	if (vhu_memory_add(b->memory, 0, 32 * MIB, VHU_MEMORY_HUGE))
		skip(); /* none are free here */
	boot_linux_image(b);
	assert_int_equal(boot_load_linux(b), 0);
	assert_memory_equal(vhu_memory_ptr(b->memory, 16 * MIB, CODE), b->image + SETUP, CODE);
}

static void page_tables_map_four_gib_to_themselves(void **state)
{
	struct boot_bench *b = *state;
	uint64_t addr;

	boot_linux_image(b);
	assert_int_equal(boot_load_linux(b), 0);
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
	struct boot_bench *b = *state;
	const uint64_t *gdt;

	boot_linux_image(b);
	assert_int_equal(boot_load_linux(b), 0);
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
	struct boot_bench *b = *state;
	const struct boot_params *params;
	uint64_t ram = 0, end = 0;
	unsigned int i;
	bool ecam = false, acpi = false;

	boot_memory_new(b, 64 * MIB, 32 * MIB);
	boot_linux_image(b);
	b->options.rsdp = VMM_ACPI_BASE;
	assert_int_equal(boot_load_linux(b), 0);
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
	struct boot_bench *b = *state;
	struct setup_header *header = boot_linux_image(b);
	char append[2100];

	memset(append, 'a', sizeof(append));
	append[2047] = 0;
	b->options.append = append;
	assert_int_equal(boot_load_linux(b), 0);
	assert_string_equal(vhu_memory_ptr(b->memory, params_of(b)->hdr.cmd_line_ptr, 2048),
			    append);
	append[2047] = 'a';
	append[2048] = 0;
	boot_refuses_linux(b, -EINVAL, "--append: 2048 bytes, this kernel takes 2047");
	header->cmdline_size = UINT32_MAX; /* still within our own room */
	assert_int_equal(boot_load_linux(b), 0);
}

static void initrd_lies_high_and_apart_from_the_kernel(void **state)
{
	struct boot_bench *b = *state;
	struct setup_header *header = boot_linux_image(b);
	const struct boot_params *params;
	uint64_t addr;

	b->options.initrd = b->initrd.path;
	boot_file_set(&b->initrd, "initial file system", 19);
	assert_int_equal(boot_load_linux(b), 0);
	params = params_of(b);
	assert_int_equal(params->hdr.ramdisk_size, 19);
	addr = params->hdr.ramdisk_image;
	assert_int_equal(addr, 64 * MIB - 4096);
	assert_memory_equal(vhu_memory_ptr(b->memory, addr, 19), "initial file system", 19);
	/* where the kernel says that it may end */
	header->initrd_addr_max = 40 * MIB - 1;
	assert_int_equal(boot_load_linux(b), 0);
	assert_int_equal(params_of(b)->hdr.ramdisk_image, 40 * MIB - 4096);
	header->initrd_addr_max = 20 * MIB;
	boot_refuses_linux(b, -ENOMEM, "do not fit into the memory above the kernel");
	header->initrd_addr_max = UINT32_MAX;
	assert_int_equal(ftruncate(b->initrd.fd, 40 * MIB), 0);
	assert_int_equal(boot_load_linux(b), 0);
	assert_int_equal(params_of(b)->hdr.ramdisk_image, 24 * MIB);
	assert_int_equal(ftruncate(b->initrd.fd, 40 * MIB + 1), 0);
	boot_refuses_linux(b, -ENOMEM, "--initrd /proc/self/fd/");
	assert_int_equal(ftruncate(b->initrd.fd, INT64_MAX), 0);
	boot_refuses_linux(b, -ENOMEM, "do not fit");
	boot_file_set(&b->initrd, "", 0);
	boot_refuses_linux(b, -EINVAL, "empty");
	b->options.initrd = "/proc/self/fd/no";
	boot_refuses_linux(b, -ENOENT, "--initrd /proc/self/fd/no: No such file");
}

static void bzimages_that_cannot_be_booted_are_told_apart(void **state)
{
	struct boot_bench *b = *state;

	boot_linux_image(b)->version = 0x20b;
	boot_refuses_linux(b, -EINVAL, "its boot protocol is 2.11");
	boot_linux_image(b)->loadflags = 0;
	boot_refuses_linux(b, -EINVAL, "a zImage");
	boot_linux_image(b)->xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G;
	boot_refuses_linux(b, -EINVAL, "32 bits only");
	boot_linux_image(b)->kernel_alignment = 3;
	boot_refuses_linux(b, -EINVAL, "no power of two");
	boot_linux_image(b)->kernel_alignment = 0;
	boot_refuses_linux(b, -EINVAL, "no power of two");
	boot_linux_image(b)->syssize = CODE / 16 + 1;
	boot_refuses_linux(b, -EINVAL, "truncated");
	boot_linux_image(b)->syssize = UINT32_MAX;
	boot_refuses_linux(b, -EINVAL, "truncated");
	boot_linux_image(b)->payload_length = UINT32_MAX;
	boot_refuses_linux(b, -EINVAL, "truncated");
	boot_linux_image(b)->payload_offset = CODE + 1;
	boot_refuses_linux(b, -EINVAL, "truncated");
	boot_linux_image(b)->setup_sects = 255;
	boot_refuses_linux(b, -EINVAL,
			   "truncated: it ends at byte 6656, its code begins at 131072");
	boot_linux_image(b)->header = 0;
	boot_refuses_linux(b, -EINVAL, "no kernel: neither bzImage nor ELF with a PVH note");
	boot_linux_image(b)->boot_flag = 0;
	boot_refuses_linux(b, -EINVAL, "no kernel");
}

static void addresses_at_the_end_of_all_do_not_wrap(void **state)
{
	struct boot_bench *b = *state;
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
		struct setup_header *header = boot_linux_image(b);

		header->pref_address = addrs[i];
		assert_int_equal(boot_load_linux(b), 0);
		assert_int_equal(b->entry.rip, 2 * MIB + 0x200);
		header->kernel_alignment = 0x80000000;
		boot_refuses_linux(b, -ENOMEM, "needs 8 MiB at 0x80000000");
		header->init_size = UINT32_MAX;
		boot_refuses_linux(b, -ENOMEM, "needs 4096 MiB");
	}
}

/* Each length: it is a kernel only if it is all there. */
static void bzimage_cut_off_anywhere_is_refused(void **state)
{
	struct boot_bench *b = *state;
	size_t len;

	boot_linux_image(b);
	for (len = 0; len < KERNEL_SIZE; len++) {
		boot_file_set(&b->kernel, b->image, len);
		if (len > KERNEL_SIZE - 16) /* syssize is rounded up */
			((struct setup_header *)(b->image + HEADER))->payload_length = 1;
		assert_int_equal(boot_load(b), len > KERNEL_SIZE - 16 + 1 ? 0 : -EINVAL);
	}
}

/* ---- both ---- */

static void what_is_no_file_is_refused(void **state)
{
	struct boot_bench *b = *state;
	char dir[] = "/tmp/vhu-boot.XXXXXX", fifo[sizeof(dir) + 5];

	b->options.kernel = "/tmp";
	boot_refused(b, -EINVAL, "--kernel /tmp: not a regular file");
	b->options.kernel = "/dev/zero";
	boot_refused(b, -EINVAL, "--kernel /dev/zero: not a regular file");
	b->options.kernel = "";
	boot_refused(b, -ENOENT, "No such file");
	/* nobody ever writes into it: it must not be waited for */
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	b->options.kernel = fifo;
	boot_refused(b, -EINVAL, "not a regular file");
	unlink(fifo);
	rmdir(dir);
}

static void what_is_no_kernel_is_refused(void **state)
{
	struct boot_bench *b = *state;
	static const char *const texts[] = { "", "#!/bin/sh\n", "\177", "\177ELF", "MZ" };
	unsigned int i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		boot_file_set(&b->kernel, texts[i], strlen(texts[i]));
		assert_int_equal(boot_load(b), -EINVAL);
	}
	b->options.kernel = "/proc/self/exe"; /* an ELF file, but no kernel */
	assert_int_equal(boot_load(b), -EINVAL);
}

static void too_little_memory_is_refused(void **state)
{
	struct boot_bench *b = *state;

	boot_linux_image(b);
	boot_memory_new(b, MIB, 0);
	boot_refuses_linux(b, -ENOMEM, "--mem: less than 2 MiB");
	vhu_memory_free(b->memory);
	assert_int_equal(vhu_memory_new(&b->memory), 0);
	boot_refuses_linux(b, -ENOMEM, "--mem: less than 2 MiB");
}

static void a_path_that_is_too_long_leaves_one_line(void **state)
{
	struct boot_bench *b = *state;
	char path[2 * VMM_TEXT];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	b->options.kernel = path;
	assert_true(boot_load(b) < 0);
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
	struct boot_bench *b = *state;
	uint32_t seed = 1;
	unsigned int i, loaded = 0;

	boot_memory_new(b, 20 * MIB, 0);
	b->options.initrd = b->initrd.path;
	boot_file_set(&b->initrd, "initial", 7);
	for (i = 0; i < ROUNDS; i++) {
		bool is_elf = i & 1;
		unsigned int n = 1 + next_random(&seed) % 4;

		if (is_elf)
			boot_elf_image(b);
		else
			boot_linux_image(b);
		while (n--) {
			static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff };
			unsigned int at = is_elf ? next_random(&seed) % (NOTE_AT + NOTE_SIZE) :
						   HEADER + next_random(&seed) % 0x80;

			b->image[at] = next_random(&seed) & 1 ? odd[next_random(&seed) % 5] :
								(uint8_t)next_random(&seed);
		}
		if (!(is_elf ? boot_load_elf(b) : boot_load_linux(b)))
			loaded++;
	}
	assert_true(loaded && loaded < ROUNDS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, boot_setup, boot_teardown)
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
		T(what_is_no_file_is_refused),
		T(what_is_no_kernel_is_refused),
		T(too_little_memory_is_refused),
		T(a_path_that_is_too_long_leaves_one_line),
		T(changed_images_are_loaded_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
