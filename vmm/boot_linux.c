// SPDX-License-Identifier: MIT
/*
 * Loads a Linux bzImage for its 64-bit entry (Linux's Documentation/arch/x86/boot.rst, protocol 2.12
 * and later). Knows nothing of ELF.
 */

#include <vmm/boot_image.h>

#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

enum {
	HEADER_AT = offsetof(struct boot_params, hdr), /* in the file as in the zero page */
	SECTOR = 512,
	PROTOCOL_MIN = 0x020c,
	ENTRY_64 = 0x200, /* from where the protected-mode part was put */
	PAGE = 4096,
	PAGES_2M = 4 * 512, /* for 4 GiB */
	TABLES_SIZE = 6 * PAGE,
};

bool vmm_boot_is_linux(const uint8_t *head, size_t len)
{
	return len >= 0x206 && !memcmp(head + 0x202, "HdrS", 4) && head[0x1fe] == 0x55 &&
	       head[0x1ff] == 0xaa;
}

/* The header's length is told by the byte at its jump: an older one is shorter, the rest is 0. */
static int read_header(struct vmm_boot *boot, struct setup_header *header)
{
	uint8_t jump;
	size_t len;
	int result = vmm_boot_read(boot, &boot->kernel, 0x201, &jump, 1);

	if (result)
		return result;
	memset(header, 0, sizeof(*header));
	len = 0x202u + jump - HEADER_AT;
	if (len > sizeof(*header))
		len = sizeof(*header);
	return vmm_boot_read(boot, &boot->kernel, HEADER_AT, header, len);
}

static int judge_header(struct vmm_boot *boot, const struct setup_header *header)
{
	const struct vmm_boot_file *kernel = &boot->kernel;

	if (header->version < PROTOCOL_MIN)
		return vmm_boot_fail(boot, kernel, -EINVAL,
				     "its boot protocol is %u.%02u, 2.12 is the oldest known here",
				     header->version >> 8, header->version & 0xffu);
	if (!(header->loadflags & LOADED_HIGH))
		return vmm_boot_fail(boot, kernel, -EINVAL, "a zImage, to be loaded below 1 MiB");
	if (!(header->xloadflags & XLF_KERNEL_64))
		return vmm_boot_fail(boot, kernel, -EINVAL, "a kernel of 32 bits only");
	if (header->relocatable_kernel &&
	    (!header->kernel_alignment ||
	     header->kernel_alignment & (header->kernel_alignment - 1)))
		return vmm_boot_fail(boot, kernel, -EINVAL, "its alignment is %#x, no power of two",
				     header->kernel_alignment);
	return 0;
}

/* What follows the real-mode part. */
static int judge_body(struct vmm_boot *boot, const struct setup_header *header,
		      uint64_t *ret_offset, uint64_t *ret_size)
{
	const struct vmm_boot_file *kernel = &boot->kernel;
	uint64_t offset = (header->setup_sects ? header->setup_sects + 1u : 5u) * UINT64_C(512);
	uint64_t size;

	if (kernel->size <= offset)
		return vmm_boot_fail(boot, kernel, -EINVAL,
				     "truncated: it ends at byte %" PRIu64
				     ", its code begins at %" PRIu64,
				     kernel->size, offset);
	size = kernel->size - offset;
	/* syssize is rounded up to 16 bytes; what follows it (a signature) is of no interest */
	if (header->syssize * UINT64_C(16) > size + 15)
		return vmm_boot_fail(boot, kernel, -EINVAL,
				     "truncated: %" PRIu64
				     " bytes of code, its header says %" PRIu64,
				     size, header->syssize * UINT64_C(16));
	if (header->payload_offset > size || header->payload_length > size - header->payload_offset)
		return vmm_boot_fail(
			boot, kernel, -EINVAL,
			"truncated: its payload of %u bytes at %u is not within %" PRIu64,
			header->payload_length, header->payload_offset, size);
	if (size < ENTRY_64 + 1)
		return vmm_boot_fail(boot, kernel, -EINVAL, "truncated: it ends before its entry");
	*ret_offset = offset;
	*ret_size = size;
	return 0;
}

static bool fits(const struct vmm_boot *boot, uint64_t addr, uint64_t need)
{
	return addr >= VMM_BOOT_KERNEL_MIN && addr < boot->low_end && need <= boot->low_end - addr;
}

/* Where it wants to be, if that is memory; else as low as it can be. */
static int place(struct vmm_boot *boot, const struct setup_header *header, uint64_t size,
		 uint64_t *ret_addr)
{
	uint64_t need = header->init_size > size ? header->init_size : size;
	uint64_t addr = header->pref_address;

	if (!fits(boot, addr, need) && header->relocatable_kernel) {
		uint64_t mask = header->kernel_alignment - UINT64_C(1);

		addr = (VMM_BOOT_KERNEL_MIN + mask) & ~mask;
	}
	if (!fits(boot, addr, need))
		return vmm_boot_fail(boot, &boot->kernel, -ENOMEM,
				     "needs %" PRIu64 " MiB at %#" PRIx64
				     ", the memory there ends at %#" PRIx64,
				     (need + (1u << 20) - 1) >> 20, addr, boot->low_end);
	boot->kernel_end = addr + need;
	*ret_addr = addr;
	return 0;
}

/* The lowest 4 GiB to themselves, in pages of 2 MiB: kernel, zero page and command line are there. */
static void put_page_tables(struct vmm_boot *boot)
{
	uint64_t *entries = vhu_memory_ptr(boot->memory, VMM_BOOT_TABLES_ADDR, TABLES_SIZE);
	unsigned int i;

	entries[0] = (VMM_BOOT_TABLES_ADDR + PAGE) | 0x3u;
	for (i = 0; i < 4; i++)
		entries[512 + i] = (uint64_t)(VMM_BOOT_TABLES_ADDR + (2 + i) * PAGE) | 0x3u;
	for (i = 0; i < PAGES_2M; i++)
		entries[1024 + i] = (uint64_t)i << 21 | 0x83u;
}

static void put_zero_page(struct vmm_boot *boot, struct boot_params *params)
{
	struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES];
	unsigned int i, nr = vmm_boot_map(boot, ranges);

	params->hdr.type_of_loader = 0xff; /* none that has a number */
	params->hdr.loadflags = LOADED_HIGH;
	params->hdr.cmd_line_ptr = VMM_BOOT_APPEND_ADDR;
	params->hdr.ramdisk_image = (uint32_t)boot->initrd_addr;
	params->hdr.ramdisk_size = (uint32_t)boot->initrd_size;
	params->hdr.setup_data = 0; /* a list of the loader's; we have none */
	params->acpi_rsdp_addr = boot->options->rsdp;
	for (i = 0; i < nr; i++)
		params->e820_table[i] =
			(struct boot_e820_entry){ ranges[i].addr, ranges[i].size, ranges[i].type };
	params->e820_entries = (uint8_t)nr;
	memcpy(vhu_memory_ptr(boot->memory, VMM_BOOT_ZERO_PAGE, sizeof(*params)), params,
	       sizeof(*params));
}

int vmm_boot_load_linux(struct vmm_boot *boot, struct vmm_boot_entry *ret_entry)
{
	struct boot_params params = { 0 };
	struct setup_header *header = &params.hdr;
	uint64_t offset = 0, size = 0, addr = 0;
	int result = read_header(boot, header);

	if (!result)
		result = judge_header(boot, header);
	if (!result)
		result = judge_body(boot, header, &offset, &size);
	if (!result)
		result = place(boot, header, size, &addr);
	if (!result)
		result = vmm_boot_read_guest(boot, &boot->kernel, offset, addr, size);
	if (!result)
		result = vmm_boot_put_initrd(boot, header->initrd_addr_max + UINT64_C(1));
	if (!result)
		result = vmm_boot_put_append(boot, header->cmdline_size);
	if (result)
		return result;
	put_page_tables(boot);
	put_zero_page(boot, &params);
	*ret_entry = (struct vmm_boot_entry){
		.mode = VMM_BOOT_LINUX64,
		.rip = addr + ENTRY_64,
		.rsi = VMM_BOOT_ZERO_PAGE,
		.cr3 = VMM_BOOT_TABLES_ADDR,
	};
	return 0;
}
