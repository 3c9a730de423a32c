/* SPDX-License-Identifier: MIT */
/*
 * Writes ACPI's machine language: names, numbers, packages, resource descriptors (ACPI 6.4, 20 and
 * 6.4). Knows nothing of what they describe.
 *
 * Too much for the room sets is_full; the rest is then not written.
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm_aml {
	uint8_t *bytes;
	size_t size, len;
	bool is_full;
};

/* What vmm_aml_end() has to know of something that has a length. */
struct vmm_aml_mark {
	size_t at;
};

void vmm_aml_bytes(struct vmm_aml *aml, const void *bytes, size_t len);
void vmm_aml_byte(struct vmm_aml *aml, uint8_t byte);

/* Each goes on until vmm_aml_end(). name: four characters; a scope's may begin with a backslash. */
struct vmm_aml_mark vmm_aml_scope(struct vmm_aml *aml, const char *name);
struct vmm_aml_mark vmm_aml_device(struct vmm_aml *aml, const char *name);
struct vmm_aml_mark vmm_aml_package(struct vmm_aml *aml, uint8_t nr_elements);
void vmm_aml_end(struct vmm_aml *aml, struct vmm_aml_mark mark);

/* A name for the object that follows. */
void vmm_aml_name(struct vmm_aml *aml, const char *name);
void vmm_aml_integer(struct vmm_aml *aml, uint64_t value);
/* "PNP0A08": three letters, four hexadecimal digits. */
void vmm_aml_eisa_id(struct vmm_aml *aml, const char *id);

/* Resources, one buffer of them. */
struct vmm_aml_resources {
	struct vmm_aml_mark mark;
	size_t size_at, begin;
};
struct vmm_aml_resources vmm_aml_resources(struct vmm_aml *aml);
void vmm_aml_resources_end(struct vmm_aml *aml, struct vmm_aml_resources resources);
/* Buses, ports, or memory below or above 4 GiB, that a bridge passes on: first to last. */
void vmm_aml_window_bus(struct vmm_aml *aml, uint16_t first, uint16_t last);
void vmm_aml_window_io(struct vmm_aml *aml, uint16_t first, uint16_t last);
void vmm_aml_window_32(struct vmm_aml *aml, uint32_t first, uint32_t last);
void vmm_aml_window_64(struct vmm_aml *aml, uint64_t first, uint64_t last);
/* What a device takes itself. An ISA interrupt: edge, active high. */
void vmm_aml_ports(struct vmm_aml *aml, uint16_t first, uint8_t nr);
void vmm_aml_memory(struct vmm_aml *aml, uint32_t base, uint32_t size);
void vmm_aml_isa_irq(struct vmm_aml *aml, unsigned int irq);

#endif
