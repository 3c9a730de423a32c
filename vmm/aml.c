// SPDX-License-Identifier: MIT
/* Writes ACPI's machine language, and nothing but what aml.h lists. */

#include <vmm/aml.h>

#include <string.h>

/* ACPI 6.4, 20.3 */
enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_EXT = 0x5b,
	OP_EXT_DEVICE = 0x82,
};

/* ACPI 6.4, 6.4.2 and 6.4.3 */
enum {
	RES_IRQ_NO_FLAGS = 0x22, /* small, 2 bytes */
	RES_IO = 0x47,		 /* small, 7 bytes */
	RES_END = 0x79,		 /* small, 1 byte */
	RES_MEMORY32_FIXED = 0x86,
	RES_WINDOW_32 = 0x87,
	RES_WINDOW_16 = 0x88,
	RES_WINDOW_64 = 0x8a,

	WINDOW_MEMORY = 0,
	WINDOW_IO = 1,
	WINDOW_BUS = 2,
	/* A bridge's: passed on (bit 1 clear), neither end is to be moved (bits 2 and 3). */
	WINDOW_FLAGS = 0x0c,
	MEMORY_READ_WRITE = 0x01,
	IO_ENTIRE_RANGE = 0x03,
	IO_DECODE_16 = 0x01,
};

/* Lengths are written in three bytes, whatever they are: it is enough for 1 MiB. */
enum {
	LENGTH_BYTES = 3,
};

void vmm_aml_bytes(struct vmm_aml *aml, const void *bytes, size_t len)
{
	if (aml->is_full || len > aml->size - aml->len) {
		aml->is_full = true;
		return;
	}
	memcpy(aml->bytes + aml->len, bytes, len);
	aml->len += len;
}

void vmm_aml_byte(struct vmm_aml *aml, uint8_t byte)
{
	vmm_aml_bytes(aml, &byte, 1);
}

/* Little endian, as all here is. */
static void put(struct vmm_aml *aml, uint64_t value, unsigned int nr)
{
	for (; nr; nr--, value >>= 8)
		vmm_aml_byte(aml, (uint8_t)value);
}

static struct vmm_aml_mark begin(struct vmm_aml *aml)
{
	struct vmm_aml_mark mark = { aml->len };

	put(aml, 0, LENGTH_BYTES);
	return mark;
}

/* 20.2.4: how many bytes follow and the lowest four bits, then eight in each; itself counted. */
void vmm_aml_end(struct vmm_aml *aml, struct vmm_aml_mark mark)
{
	size_t len = aml->len - mark.at;

	if (aml->is_full)
		return;
	aml->bytes[mark.at] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (len & 0xf));
	aml->bytes[mark.at + 1] = (uint8_t)(len >> 4);
	aml->bytes[mark.at + 2] = (uint8_t)(len >> 12);
}

/* A segment of a name has four characters, filled up with underscores (20.2.2). */
static void put_name(struct vmm_aml *aml, const char *name)
{
	unsigned int i;

	if (*name == '\\')
		vmm_aml_byte(aml, (uint8_t)*name++);
	for (i = 0; i < 4; i++)
		vmm_aml_byte(aml, *name ? (uint8_t)*name++ : '_');
}

struct vmm_aml_mark vmm_aml_scope(struct vmm_aml *aml, const char *name)
{
	struct vmm_aml_mark mark;

	vmm_aml_byte(aml, OP_SCOPE);
	mark = begin(aml);
	put_name(aml, name);
	return mark;
}

struct vmm_aml_mark vmm_aml_device(struct vmm_aml *aml, const char *name)
{
	struct vmm_aml_mark mark;

	vmm_aml_byte(aml, OP_EXT);
	vmm_aml_byte(aml, OP_EXT_DEVICE);
	mark = begin(aml);
	put_name(aml, name);
	return mark;
}

struct vmm_aml_mark vmm_aml_package(struct vmm_aml *aml, uint8_t nr_elements)
{
	struct vmm_aml_mark mark;

	vmm_aml_byte(aml, OP_PACKAGE);
	mark = begin(aml);
	vmm_aml_byte(aml, nr_elements);
	return mark;
}

void vmm_aml_name(struct vmm_aml *aml, const char *name)
{
	vmm_aml_byte(aml, OP_NAME);
	put_name(aml, name);
}

void vmm_aml_integer(struct vmm_aml *aml, uint64_t value)
{
	if (value <= 1) {
		vmm_aml_byte(aml, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		vmm_aml_byte(aml, OP_BYTE);
		put(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		vmm_aml_byte(aml, OP_WORD);
		put(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		vmm_aml_byte(aml, OP_DWORD);
		put(aml, value, 4);
	} else {
		vmm_aml_byte(aml, OP_QWORD);
		put(aml, value, 8);
	}
}

static unsigned int hex_digit(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : (unsigned int)(c - 'A' + 10);
}

/* 19.3.4: five bits a letter, four a digit, the most significant byte first. */
void vmm_aml_eisa_id(struct vmm_aml *aml, const char *id)
{
	unsigned int i, value = 0;

	for (i = 0; i < 3; i++)
		value = value << 5 | (unsigned int)(id[i] - 'A' + 1);
	for (; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	vmm_aml_byte(aml, OP_DWORD);
	put(aml, __builtin_bswap32(value), 4);
}

/* A buffer says its size twice: that of its package, and that of its content, a number in front. */
struct vmm_aml_resources vmm_aml_resources(struct vmm_aml *aml)
{
	struct vmm_aml_resources resources;

	vmm_aml_byte(aml, OP_BUFFER);
	resources.mark = begin(aml);
	vmm_aml_byte(aml, OP_WORD);
	resources.size_at = aml->len;
	put(aml, 0, 2);
	resources.begin = aml->len;
	return resources;
}

void vmm_aml_resources_end(struct vmm_aml *aml, struct vmm_aml_resources resources)
{
	size_t size;

	vmm_aml_byte(aml, RES_END);
	vmm_aml_byte(aml, 0); /* 6.4.2.9: no checksum */
	vmm_aml_end(aml, resources.mark);
	if (aml->is_full)
		return;
	size = aml->len - resources.begin;
	aml->bytes[resources.size_at] = (uint8_t)size;
	aml->bytes[resources.size_at + 1] = (uint8_t)(size >> 8);
}

/* 6.4.3.5: all three widths are the same but for their numbers' nr bytes. */
static void window(struct vmm_aml *aml, uint8_t tag, unsigned int nr, uint8_t type,
		   uint8_t type_flags, uint64_t first, uint64_t last)
{
	vmm_aml_byte(aml, tag);
	put(aml, 3 + 5 * nr, 2);
	vmm_aml_byte(aml, type);
	vmm_aml_byte(aml, WINDOW_FLAGS);
	vmm_aml_byte(aml, type_flags);
	put(aml, 0, nr); /* granularity: of a fixed one there is none */
	put(aml, first, nr);
	put(aml, last, nr);
	put(aml, 0, nr); /* the bus sees the same addresses */
	put(aml, last - first + 1, nr);
}

void vmm_aml_window_bus(struct vmm_aml *aml, uint16_t first, uint16_t last)
{
	window(aml, RES_WINDOW_16, 2, WINDOW_BUS, 0, first, last);
}

void vmm_aml_window_io(struct vmm_aml *aml, uint16_t first, uint16_t last)
{
	window(aml, RES_WINDOW_16, 2, WINDOW_IO, IO_ENTIRE_RANGE, first, last);
}

void vmm_aml_window_32(struct vmm_aml *aml, uint32_t first, uint32_t last)
{
	window(aml, RES_WINDOW_32, 4, WINDOW_MEMORY, MEMORY_READ_WRITE, first, last);
}

void vmm_aml_window_64(struct vmm_aml *aml, uint64_t first, uint64_t last)
{
	window(aml, RES_WINDOW_64, 8, WINDOW_MEMORY, MEMORY_READ_WRITE, first, last);
}

void vmm_aml_ports(struct vmm_aml *aml, uint16_t first, uint8_t nr)
{
	vmm_aml_byte(aml, RES_IO);
	vmm_aml_byte(aml, IO_DECODE_16);
	put(aml, first, 2); /* from here */
	put(aml, first, 2); /* to here it may begin */
	vmm_aml_byte(aml, 1);
	vmm_aml_byte(aml, nr);
}

void vmm_aml_memory(struct vmm_aml *aml, uint32_t base, uint32_t size)
{
	vmm_aml_byte(aml, RES_MEMORY32_FIXED);
	put(aml, 9, 2);
	vmm_aml_byte(aml, MEMORY_READ_WRITE);
	put(aml, base, 4);
	put(aml, size, 4);
}

void vmm_aml_isa_irq(struct vmm_aml *aml, unsigned int irq)
{
	vmm_aml_byte(aml, RES_IRQ_NO_FLAGS);
	put(aml, 1u << irq, 2);
}
