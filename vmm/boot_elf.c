// SPDX-License-Identifier: MIT
/*
 * Loads an ELF image, of 64 or of 32 bits, that has a PVH entry: a note XEN_ELFNOTE_PHYS32_ENTRY
 * (Xen's docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h). Knows nothing of bzImage.
 */

#include <vmm/boot_image.h>

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	NOTE_PHYS32_ENTRY = 18,
	MAX_PHDRS = 256,
	MAX_NOTES_SIZE = 1 << 20, /* bytes of all notes: their walk has to end */
	START_MAGIC = 0x336ec578,
};

/* struct hvm_start_info, version 1, and what it points to. */
struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_addr, cmdline_addr, rsdp_addr;
	uint64_t memmap_addr;
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t addr, size, cmdline_addr, reserved;
};

struct start_range {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* All that stands at VMM_BOOT_INFO_ADDR. */
struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_range ranges[VMM_BOOT_MAX_RANGES];
};

_Static_assert(sizeof(struct start_info) == 56, "as Xen has it");
_Static_assert(sizeof(struct start_range) == 24, "as Xen has it");
_Static_assert(sizeof(struct start_page) <= VMM_BOOT_ZERO_PAGE - VMM_BOOT_INFO_ADDR, "its room");

/* What both classes say of a segment. */
struct segment {
	uint32_t type;
	uint64_t offset, addr, file_size, size, align;
};

struct elf {
	bool is_64;
	uint64_t phdrs_at;
	unsigned int nr_phdrs;
	uint64_t notes_size; /* of all that were looked at */
	bool has_entry;
	uint64_t entry;
};

bool vmm_boot_is_elf(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static int judge_ident(struct vmm_boot *boot, const unsigned char *ident, unsigned int type,
		       unsigned int machine)
{
	if (ident[EI_DATA] != ELFDATA2LSB || (machine != EM_X86_64 && machine != EM_386))
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "an ELF file for another processor");
	if (type != ET_EXEC)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "an ELF file of type %u, not an image at fixed addresses",
				     type);
	return 0;
}

static int judge_table(struct vmm_boot *boot, const struct elf *elf, unsigned int entsize,
		       unsigned int expected)
{
	if (!elf->nr_phdrs)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL, "an ELF file without segments");
	if (entsize != expected || elf->nr_phdrs > MAX_PHDRS)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "an ELF file with %u program headers of %u bytes",
				     elf->nr_phdrs, entsize);
	return 0;
}

static int read_header(struct vmm_boot *boot, struct elf *elf)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr h64;
		Elf32_Ehdr h32;
	} header;
	int result = vmm_boot_read(boot, &boot->kernel, 0, header.ident, EI_NIDENT);

	if (result)
		return result;
	elf->is_64 = header.ident[EI_CLASS] == ELFCLASS64;
	if (!elf->is_64 && header.ident[EI_CLASS] != ELFCLASS32)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL, "an ELF file of class %u",
				     header.ident[EI_CLASS]);
	result = vmm_boot_read(boot, &boot->kernel, 0, &header,
			       elf->is_64 ? sizeof(header.h64) : sizeof(header.h32));
	if (result)
		return result;
	if (elf->is_64) {
		elf->phdrs_at = header.h64.e_phoff;
		elf->nr_phdrs = header.h64.e_phnum;
		result = judge_ident(boot, header.ident, header.h64.e_type, header.h64.e_machine);
		return result ? result :
				judge_table(boot, elf, header.h64.e_phentsize, sizeof(Elf64_Phdr));
	}
	elf->phdrs_at = header.h32.e_phoff;
	elf->nr_phdrs = header.h32.e_phnum;
	result = judge_ident(boot, header.ident, header.h32.e_type, header.h32.e_machine);
	return result ? result : judge_table(boot, elf, header.h32.e_phentsize, sizeof(Elf32_Phdr));
}

static int read_segment(struct vmm_boot *boot, const struct elf *elf, unsigned int i,
			struct segment *segment)
{
	union {
		Elf64_Phdr h64;
		Elf32_Phdr h32;
	} phdr;
	uint64_t size = elf->is_64 ? sizeof(phdr.h64) : sizeof(phdr.h32);
	uint64_t at = elf->phdrs_at;
	int result;

	if (at > boot->kernel.size) /* before the multiplication below could make it wrap */
		at = boot->kernel.size;
	result = vmm_boot_read(boot, &boot->kernel, at + i * size, &phdr, size);
	if (result)
		return result;
	if (elf->is_64)
		*segment =
			(struct segment){ phdr.h64.p_type,   phdr.h64.p_offset, phdr.h64.p_paddr,
					  phdr.h64.p_filesz, phdr.h64.p_memsz,	phdr.h64.p_align };
	else
		*segment =
			(struct segment){ phdr.h32.p_type,   phdr.h32.p_offset, phdr.h32.p_paddr,
					  phdr.h32.p_filesz, phdr.h32.p_memsz,	phdr.h32.p_align };
	return 0;
}

/* One note: whether it is the one looked for, and how many bytes it takes. */
static int read_note(struct vmm_boot *boot, struct elf *elf, const struct segment *segment,
		     uint64_t at, uint64_t *ret_taken)
{
	uint64_t align = segment->align == 8 ? 8 : 4;
	uint64_t left = segment->file_size - at, desc_at;
	Elf64_Nhdr note; /* the same in both classes */
	uint64_t entry = 0;
	char name[4];
	int result = vmm_boot_read(boot, &boot->kernel, segment->offset + at, &note, sizeof(note));

	if (result)
		return result;
	desc_at = (sizeof(note) + note.n_namesz + align - 1) & ~(align - 1);
	if (desc_at > left || note.n_descsz > left - desc_at)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "a note of the ELF file is longer than its segment");
	*ret_taken = (desc_at + note.n_descsz + align - 1) & ~(align - 1);
	if (note.n_type != NOTE_PHYS32_ENTRY || note.n_namesz != sizeof(name))
		return 0;
	result = vmm_boot_read(boot, &boot->kernel, segment->offset + at + sizeof(note), name,
			       sizeof(name));
	if (result || memcmp(name, "Xen", sizeof(name)))
		return result;
	if (note.n_descsz != 4 && note.n_descsz != 8)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL, "its PVH note has %u bytes",
				     note.n_descsz);
	result = vmm_boot_read(boot, &boot->kernel, segment->offset + at + desc_at, &entry,
			       note.n_descsz);
	elf->has_entry = !result;
	elf->entry = entry;
	return result;
}

static int read_notes(struct vmm_boot *boot, struct elf *elf, const struct segment *segment)
{
	uint64_t at = 0, taken = 0;
	int result;

	if (segment->file_size > MAX_NOTES_SIZE - elf->notes_size)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "more than %d bytes of notes in the ELF file", MAX_NOTES_SIZE);
	elf->notes_size += segment->file_size;
	if (segment->offset > boot->kernel.size ||
	    segment->file_size > boot->kernel.size - segment->offset)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "truncated: it ends within its notes");
	while (at < segment->file_size && segment->file_size - at >= sizeof(Elf64_Nhdr) &&
	       !elf->has_entry) {
		result = read_note(boot, elf, segment, at, &taken);
		if (result)
			return result;
		at += taken;
	}
	return 0;
}

static int find_entry(struct vmm_boot *boot, struct elf *elf)
{
	struct segment segment;
	unsigned int i;
	int result;

	for (i = 0; i < elf->nr_phdrs && !elf->has_entry; i++) {
		result = read_segment(boot, elf, i, &segment);
		if (!result && segment.type == PT_NOTE)
			result = read_notes(boot, elf, &segment);
		if (result)
			return result;
	}
	if (!elf->has_entry)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "no kernel: an ELF file without a PVH note");
	return 0;
}

static int load_segment(struct vmm_boot *boot, const struct segment *segment)
{
	uint64_t end;

	if (segment->file_size > segment->size)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "a segment of %" PRIu64 " bytes has %" PRIu64 " in the file",
				     segment->size, segment->file_size);
	if (segment->addr < VMM_BOOT_KERNEL_MIN)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "a segment at %#" PRIx64 ", below 1 MiB", segment->addr);
	if (segment->addr > boot->low_end || segment->size > boot->low_end - segment->addr)
		return vmm_boot_fail(boot, &boot->kernel, -ENOMEM,
				     "needs %" PRIu64 " bytes at %#" PRIx64
				     ", the memory there ends at %#" PRIx64,
				     segment->size, segment->addr, boot->low_end);
	end = segment->addr + segment->size;
	if (end > boot->kernel_end)
		boot->kernel_end = end;
	/* the rest is 0: memory is new */
	return vmm_boot_read_guest(boot, &boot->kernel, segment->offset, segment->addr,
				   segment->file_size);
}

static int load_segments(struct vmm_boot *boot, const struct elf *elf)
{
	bool has_entry = false;
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < elf->nr_phdrs; i++) {
		struct segment segment;
		int result = read_segment(boot, elf, i, &segment);

		if (result)
			return result;
		if (segment.type != PT_LOAD || !segment.size)
			continue;
		result = load_segment(boot, &segment);
		if (result)
			return result;
		total += segment.size;	   /* each is at most low_end: no wrap */
		if (total > boot->low_end) /* the same place again and again */
			return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
					     "its segments lie upon each other");
		if (elf->entry >= segment.addr && elf->entry - segment.addr < segment.file_size)
			has_entry = true;
	}
	if (!has_entry)
		return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
				     "its PVH entry %#" PRIx64 " is in no segment", elf->entry);
	return 0;
}

static void put_start_info(struct vmm_boot *boot)
{
	struct start_page page = {
		.info = {
			.magic = START_MAGIC,
			.version = 1,
			.cmdline_addr = VMM_BOOT_APPEND_ADDR,
			.rsdp_addr = boot->options->rsdp,
			.memmap_addr = VMM_BOOT_INFO_ADDR + offsetof(struct start_page, ranges),
		},
	};
	struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES];
	unsigned int i, nr = vmm_boot_map(boot, ranges);

	if (boot->initrd_size) {
		page.info.nr_modules = 1;
		page.info.modlist_addr = VMM_BOOT_INFO_ADDR + offsetof(struct start_page, module);
		page.module.addr = boot->initrd_addr;
		page.module.size = boot->initrd_size;
	}
	for (i = 0; i < nr; i++)
		page.ranges[i] =
			(struct start_range){ ranges[i].addr, ranges[i].size, ranges[i].type, 0 };
	page.info.memmap_entries = nr;
	memcpy(vhu_memory_ptr(boot->memory, VMM_BOOT_INFO_ADDR, sizeof(page)), &page, sizeof(page));
}

int vmm_boot_load_elf(struct vmm_boot *boot, struct vmm_boot_entry *ret_entry)
{
	struct elf elf = { 0 };
	int result = read_header(boot, &elf);

	if (!result)
		result = find_entry(boot, &elf);
	if (!result)
		result = load_segments(boot, &elf);
	if (!result)
		result = vmm_boot_put_initrd(boot, boot->low_end);
	if (!result)
		result = vmm_boot_put_append(boot, UINT64_MAX);
	if (result)
		return result;
	put_start_info(boot);
	*ret_entry = (struct vmm_boot_entry){
		.mode = VMM_BOOT_PVH,
		.rip = elf.entry,
		.rbx = VMM_BOOT_INFO_ADDR,
	};
	return 0;
}
