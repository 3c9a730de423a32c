/* SPDX-License-Identifier: MIT */
/*
 * The one primitive by which a device stores to guest memory, and the dirty log that it keeps.
 * Nothing else on the device's side writes guest memory. Data thread.
 */
#ifndef VHU_MEM_STORE_H
#define VHU_MEM_STORE_H

#include <base/atomics.h>
#include <base/copy.h>
#include <mem/table.h>

enum {
	VHU_LOG_PAGE_SHIFT = 12
}; /* "Migration": 4 KiB pages, one bit each */

/* A dirty log as mapped; immutable. */
struct vhu_dirty {
	struct vhu_mapping *mapping;
	uint8_t *bits;
	uint64_t size; /* bytes */
};

VHU_HIDDEN int vhu_dirty_new(struct vhu_dirty **ret_dirty, const struct vhu_mem_owner *owner,
			     int fd, uint64_t offset, uint64_t size, struct vhu_reason *why);
VHU_HIDDEN void vhu_dirty_free(struct vhu_dirty *dirty);
/* Marks the pages of [gpa, gpa + len), as far as the log reaches. After the bytes were stored. */
VHU_HIDDEN void vhu_dirty_mark(const struct vhu_dirty *dirty, uint64_t gpa, uint64_t len);

/* Stores len bytes at host, which is guest address gpa; dirty is NULL while nothing is logged. */
static inline void vhu_guest_store(const struct vhu_dirty *dirty, uint8_t *host, uint64_t gpa,
				   const void *from, size_t len)
{
	vhu_copy(host, from, len);
	if (vhu_unlikely(dirty != NULL))
		vhu_dirty_mark(dirty, gpa, len);
}

/* The same for the aligned words of a ring, each stored whole. */
static inline void vhu_guest_store16(const struct vhu_dirty *dirty, uint16_t *host, uint64_t gpa,
				     uint16_t value)
{
	/* release: whatever the word publishes was stored before it */
	vhu_store_release(host, value);
	if (vhu_unlikely(dirty != NULL))
		vhu_dirty_mark(dirty, gpa, sizeof(value));
}

static inline void vhu_guest_store32(const struct vhu_dirty *dirty, uint32_t *host, uint64_t gpa,
				     uint32_t value)
{
	vhu_write_once(host, value);
	if (vhu_unlikely(dirty != NULL))
		vhu_dirty_mark(dirty, gpa, sizeof(value));
}

static inline void vhu_guest_store64(const struct vhu_dirty *dirty, uint64_t *host, uint64_t gpa,
				     uint64_t value)
{
	vhu_write_once(host, value);
	if (vhu_unlikely(dirty != NULL))
		vhu_dirty_mark(dirty, gpa, sizeof(value));
}

#endif
