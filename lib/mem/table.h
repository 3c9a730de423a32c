/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: an immutable table of regions, and the one function that turns a guest address
 * into a pointer. Tables are built and freed on the control thread, read by any reader.
 */
#ifndef VHU_MEM_TABLE_H
#define VHU_MEM_TABLE_H

#include <sys/types.h>
#include <vhu/wire.h>

#include <base/bits.h>
#include <mem/domain.h>

/* One mmap of a shared file, counted by the tables that use it. */
struct vhu_mapping {
	unsigned int refs; /* control thread only */
	dev_t dev;
	ino_t ino;
	uint64_t offset, size; /* in the file: as asked for */
	void *map;	       /* page aligned start and length of the mmap */
	size_t map_len;
	uint8_t *bytes; /* the byte at offset */
	struct vhu_fault_slot *slot;
};

/* Who the mappings are for: where faults are guarded, and which flag they set. */
struct vhu_mem_owner {
	struct vhu_domain *domain;
	bool *poisoned;
};

struct vhu_mem_region {
	uint64_t gpa, size, uva, mmap_offset;
	unsigned int adds; /* how often it was added: as often it has to be removed */
	uint8_t *host;
	struct vhu_mapping *mapping;
};

struct vhu_mem {
	unsigned int nr;
	struct vhu_mem_region region[]; /* by gpa, ascending */
};

/*
 * Maps a shared file, or takes the mapping that one of old's regions has of the same part. The fd
 * is borrowed. what names the thing in the reason.
 */
VHU_HIDDEN int vhu_mapping_new(struct vhu_mapping **ret_mapping, const struct vhu_mem_owner *owner,
			       const struct vhu_mem *old, int fd, uint64_t offset, uint64_t size,
			       const char *what, struct vhu_reason *why);
VHU_HIDDEN void vhu_mapping_put(struct vhu_mapping *mapping);

/*
 * New tables: of nr regions with their fds (borrowed); old with one more; old with one less. old
 * may be NULL for no regions, and stays as it is. All are judged whole: no wrap, no overlap. To add
 * the very same region of the same file again only counts: it has to be removed as often.
 */
VHU_HIDDEN int vhu_mem_build(struct vhu_mem **ret_mem, const struct vhu_mem_owner *owner,
			     const struct vhu_mem *old, const struct vhu_region *regions,
			     const int *fds, unsigned int nr, struct vhu_reason *why);
VHU_HIDDEN int vhu_mem_add(struct vhu_mem **ret_mem, const struct vhu_mem_owner *owner,
			   const struct vhu_mem *old, const struct vhu_region *region, int fd,
			   struct vhu_reason *why);
VHU_HIDDEN int vhu_mem_remove(struct vhu_mem **ret_mem, const struct vhu_mem *old,
			      const struct vhu_region *region, struct vhu_reason *why);
VHU_HIDDEN void vhu_mem_free(struct vhu_mem *mem);

/* The region that has guest address gpa, or NULL. */
static inline const struct vhu_mem_region *vhu_mem_region_of(const struct vhu_mem *mem,
							     uint64_t gpa)
{
	for (unsigned int i = 0; i < mem->nr; i++) {
		const struct vhu_mem_region *r = &mem->region[i];

		/* wraps to huge below the region */
		if (gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

/*
 * The one translation: where guest address gpa lies, and how many of the *len bytes asked for are
 * contiguous from there (written back, at least 1 if it was). NULL: no region has that address.
 */
static inline uint8_t *vhu_mem_gpa(const struct vhu_mem *mem, uint64_t gpa, uint64_t *len)
{
	const struct vhu_mem_region *r = vhu_mem_region_of(mem, gpa);

	if (!r)
		return NULL;
	*len = vhu_min_u64(*len, r->size - (gpa - r->gpa));
	return r->host + (gpa - r->gpa);
}

/* The same for an address of the frontend, whole or not at all; *ret_gpa is its guest address. */
VHU_HIDDEN uint8_t *vhu_mem_uva(const struct vhu_mem *mem, uint64_t uva, uint64_t len,
				uint64_t *ret_gpa);
/* Copies len bytes out of guest memory, across regions if need be. -EFAULT: not all are there. */
VHU_HIDDEN int vhu_mem_read(const struct vhu_mem *mem, uint64_t gpa, void *to, uint64_t len);

#endif
