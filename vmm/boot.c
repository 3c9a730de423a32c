// SPDX-License-Identifier: MIT
/*
 * Tells what kind of image a kernel is, and puts beside it what any kernel needs: command line,
 * initial file system, descriptors, the map of memory. What one kind needs is in boot_linux.c and boot_elf.c.
 */

#include <vmm/boot_image.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmm/acpi.h>

enum {
	MIN_MEMORY = 2 << 20,
	MAX_PATH_SHOWN = 100,
	COPY_SIZE = 1 << 16, /* bytes: they stay in the processor's cache */
};

int vmm_boot_fail(struct vmm_boot *boot, const struct vmm_boot_file *file, int error,
		  const char *format, ...)
{
	va_list args;
	int len = 0;

	/* The end of a long path tells more than its beginning, and the reason more than either. */
	if (file && strlen(file->path) > MAX_PATH_SHOWN)
		len = snprintf(boot->text, VMM_TEXT, "%s ...%s: ", file->option,
			       file->path + strlen(file->path) - MAX_PATH_SHOWN);
	else if (file)
		len = snprintf(boot->text, VMM_TEXT, "%s %s: ", file->option, file->path);
	if (len >= 0 && len < VMM_TEXT) {
		va_start(args, format);
		vsnprintf(boot->text + len, (size_t)(VMM_TEXT - len), format, args);
		va_end(args);
	}
	return error;
}

int vmm_boot_read(struct vmm_boot *boot, const struct vmm_boot_file *file, uint64_t offset,
		  void *bytes, uint64_t len)
{
	uint8_t *to = bytes;

	if (offset > file->size || len > file->size - offset)
		return vmm_boot_fail(boot, file, -EINVAL,
				     "truncated: it ends at byte %" PRIu64 ", before %" PRIu64,
				     file->size, offset + len < len ? UINT64_MAX : offset + len);
	while (len) {
		size_t part = len > 1u << 30 ? 1u << 30 : (size_t)len;
		ssize_t got = pread(file->fd, to, part, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return vmm_boot_fail(boot, file, -errno, "%s", strerror(errno));
		if (!got) /* it is shorter than it was when we looked */
			return vmm_boot_fail(boot, file, -EINVAL, "truncated while it was read");
		to += got;
		offset += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

/* Which region addr is in. */
static bool find_region(const struct vmm_boot *boot, uint64_t addr,
			struct vhu_memory_region *ret_region)
{
	unsigned int i;

	for (i = 0; !vhu_memory_region(boot->memory, i, ret_region); i++)
		if (addr >= ret_region->gpa && addr - ret_region->gpa < ret_region->size)
			return true;
	return false;
}

/*
 * Writing to memory's file needs neither a fault for each page, nor pages that are cleared first. What
 * cannot be written (-EINVAL), a file of huge pages, is copied to where it is mapped.
 */
static int write_guest(const struct vhu_memory_region *region, uint64_t addr, const uint8_t *bytes,
		       size_t len)
{
	while (len) {
		ssize_t nr = pwrite(region->fd, bytes, len,
				    (off_t)(region->offset + (addr - region->gpa)));

		if (nr < 0 && errno == EINTR)
			continue;
		if (nr <= 0)
			return nr ? -errno : -EIO;
		bytes += nr;
		addr += (uint64_t)nr;
		len -= (size_t)nr;
	}
	return 0;
}

int vmm_boot_read_guest(struct vmm_boot *boot, const struct vmm_boot_file *file, uint64_t offset,
			uint64_t addr, uint64_t len)
{
	struct vhu_memory_region region;
	uint8_t bytes[COPY_SIZE];
	int result;

	if (!len)
		return 0;
	if (!vhu_memory_ptr(boot->memory, addr, len) || !find_region(boot, addr, &region))
		return vmm_boot_fail(boot, file, -ENOMEM,
				     "%" PRIu64 " bytes at %#" PRIx64 ": no memory is there", len,
				     addr);
	while (len) {
		size_t part = len < COPY_SIZE ? (size_t)len : COPY_SIZE;

		result = vmm_boot_read(boot, file, offset, bytes, part);
		if (result)
			return result;
		result = write_guest(&region, addr, bytes, part);
		if (result && result != -EINVAL)
			return vmm_boot_fail(boot, NULL, result, "guest memory: %s",
					     strerror(-result));
		if (result)
			memcpy(vhu_memory_ptr(boot->memory, addr, part), bytes, part);
		offset += part;
		addr += part;
		len -= part;
	}
	return 0;
}

/* A pipe or a terminal has no size, and would make us wait. */
static int open_file(struct vmm_boot *boot, struct vmm_boot_file *file, const char *option,
		     const char *path)
{
	struct stat stat;
	int result;

	file->option = option;
	file->path = path;
	file->size = 0;
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return vmm_boot_fail(boot, file, -errno, "%s", strerror(errno));
	if (fstat(file->fd, &stat)) {
		result = vmm_boot_fail(boot, file, -errno, "%s", strerror(errno));
	} else if (!S_ISREG(stat.st_mode)) {
		result = vmm_boot_fail(boot, file, -EINVAL, "not a regular file");
	} else {
		file->size = (uint64_t)stat.st_size;
		return 0;
	}
	close(file->fd);
	file->fd = -1;
	return result;
}

int vmm_boot_put_initrd(struct vmm_boot *boot, uint64_t end)
{
	struct vmm_boot_file file;
	int result;

	if (!boot->options->initrd)
		return 0;
	result = open_file(boot, &file, "--initrd", boot->options->initrd);
	if (result)
		return result;
	if (end > boot->low_end)
		end = boot->low_end;
	if (!file.size) {
		result = vmm_boot_fail(boot, &file, -EINVAL, "empty");
	} else if (end < boot->kernel_end || file.size > end - boot->kernel_end ||
		   ((end - file.size) & ~UINT64_C(4095)) < boot->kernel_end) {
		result = vmm_boot_fail(boot, &file, -ENOMEM,
				       "%" PRIu64 " bytes do not fit into the memory above the "
				       "kernel (%#" PRIx64 " to %#" PRIx64 ")",
				       file.size, boot->kernel_end, end);
	} else {
		boot->initrd_addr = (end - file.size) & ~UINT64_C(4095);
		boot->initrd_size = file.size;
		result = vmm_boot_read_guest(boot, &file, 0, boot->initrd_addr, file.size);
	}
	close(file.fd);
	return result;
}

int vmm_boot_put_append(struct vmm_boot *boot, uint64_t max)
{
	const char *append = boot->options->append ? boot->options->append : "";
	size_t len = strlen(append);
	char *to;

	if (max > VMM_BOOT_APPEND_SIZE - 1)
		max = VMM_BOOT_APPEND_SIZE - 1;
	if (len > max)
		return vmm_boot_fail(boot, NULL, -EINVAL,
				     "--append: %zu bytes, this kernel takes %" PRIu64, len, max);
	to = vhu_memory_ptr(boot->memory, VMM_BOOT_APPEND_ADDR, len + 1);
	if (!to)
		return vmm_boot_fail(boot, NULL, -ENOMEM, "--append: no memory to put it into");
	memcpy(to, append, len + 1);
	boot->append_len = len;
	return 0;
}

static void add_range(struct vmm_boot_range *ranges, unsigned int *nr, uint64_t addr, uint64_t end,
		      uint32_t type)
{
	if (end > addr && *nr < VMM_BOOT_MAX_RANGES)
		ranges[(*nr)++] = (struct vmm_boot_range){ addr, end - addr, type };
}

unsigned int vmm_boot_map(const struct vmm_boot *boot,
			  struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES])
{
	struct vhu_memory_region region;
	unsigned int i, nr = 0;

	add_range(ranges, &nr, 0, VMM_LEGACY_HOLE, VMM_BOOT_RAM);
	/* where ACPI is: read anywhere, but never to be handed out */
	add_range(ranges, &nr, VMM_ACPI_BASE, VMM_ACPI_BASE + VMM_ACPI_SIZE, VMM_BOOT_RESERVED);
	add_range(ranges, &nr, VMM_BOOT_KERNEL_MIN, boot->low_end, VMM_BOOT_RAM);
	/* Linux believes in ECAM only where this map, or ACPI, has it as reserved. */
	add_range(ranges, &nr, VMM_ECAM, VMM_ECAM + VMM_ECAM_SIZE, VMM_BOOT_RESERVED);
	for (i = 1; !vhu_memory_region(boot->memory, i, &region); i++)
		add_range(ranges, &nr, region.gpa, region.gpa + region.size, VMM_BOOT_RAM);
	return nr;
}

/* Flat segments, and a task segment that nobody ever looks into. */
static void put_descriptors(struct vmm_boot *boot, struct vmm_boot_entry *entry)
{
	uint64_t gdt[(VMM_BOOT_GDT_LIMIT + 1) / 8] = {
		[VMM_BOOT_CODE / 8] = entry->mode == VMM_BOOT_PVH ? UINT64_C(0x00cf9b000000ffff) :
								    UINT64_C(0x00af9b000000ffff),
		[VMM_BOOT_DATA / 8] = UINT64_C(0x00cf93000000ffff),
		[VMM_BOOT_TSS / 8] = UINT64_C(0x00008b0000000067) | (uint64_t)VMM_BOOT_TSS_ADDR
									    << 16,
	};

	memcpy(vhu_memory_ptr(boot->memory, VMM_BOOT_GDT_ADDR, sizeof(gdt)), gdt, sizeof(gdt));
	entry->gdt = VMM_BOOT_GDT_ADDR;
	entry->tss = VMM_BOOT_TSS_ADDR;
	entry->rsp = VMM_BOOT_STACK_END;
}

static int load_kernel(struct vmm_boot *boot, struct vmm_boot_entry *entry)
{
	uint8_t head[4096];
	size_t len = boot->kernel.size < sizeof(head) ? (size_t)boot->kernel.size : sizeof(head);
	int result = vmm_boot_read(boot, &boot->kernel, 0, head, len);

	if (result)
		return result;
	if (vmm_boot_is_linux(head, len))
		return vmm_boot_load_linux(boot, entry);
	if (vmm_boot_is_elf(head, len))
		return vmm_boot_load_elf(boot, entry);
	return vmm_boot_fail(boot, &boot->kernel, -EINVAL,
			     "no kernel: neither bzImage nor ELF with a PVH note");
}

int vmm_boot_load(struct vhu_memory *memory, const struct vmm_boot_options *options,
		  struct vmm_boot_entry *ret_entry, char text[VMM_TEXT])
{
	struct vmm_boot boot = {
		.memory = memory, .options = options, .kernel.fd = -1, .text = text
	};
	struct vmm_boot_entry entry = { 0 };
	struct vhu_memory_region low;
	int result;

	text[0] = 0;
	if (vhu_memory_region(memory, 0, &low) || low.gpa || low.size < MIN_MEMORY)
		return vmm_boot_fail(&boot, NULL, -ENOMEM, "--mem: less than 2 MiB");
	boot.low_end = low.size;
	boot.kernel_end = VMM_BOOT_KERNEL_MIN;
	result = open_file(&boot, &boot.kernel, "--kernel", options->kernel);
	if (result)
		return result;
	result = load_kernel(&boot, &entry);
	close(boot.kernel.fd);
	if (result)
		return result;
	put_descriptors(&boot, &entry);
	*ret_entry = entry;
	return 0;
}
