/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as the frontend's side holds it: regions of shared files, mapped here, described to
 * a backend. Memory made here is a memfd sealed against shrinking, so that a backend, which gets the
 * fd, cannot take it away from under us.
 *
 * Control thread, but vhu_memory_ptr(): any thread while no region is added or removed.
 */
#ifndef VHU_MEMORY_H
#define VHU_MEMORY_H

#include <vhu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_memory;

enum {
	VHU_MEMORY_HUGE = 0x1, /* of huge pages of 2 MiB; size has to be a multiple */
};

VHU_API int vhu_memory_new(struct vhu_memory **ret_memory);
/* Unmaps and closes everything. NULL is allowed. */
VHU_API void vhu_memory_free(struct vhu_memory *memory);

/*
 * Makes size bytes (a multiple of 4096) of zeroed memory at guest address gpa, sealed. -EINVAL: not
 * aligned, wraps, or no region is left of VHU_MAX_MEM_SLOTS. -EEXIST: overlaps another region.
 * -ENOMEM.
 */
VHU_API int vhu_memory_add(struct vhu_memory *memory, uint64_t gpa, uint64_t size,
			   unsigned int flags);
/*
 * Takes memory that the program made itself: size bytes at offset (a multiple of 4096) of a shared
 * file. The fd is borrowed (duplicated). The file should be sealed against shrinking: see
 * vhu_memory_seal().
 */
VHU_API int vhu_memory_add_fd(struct vhu_memory *memory, uint64_t gpa, uint64_t size, int fd,
			      uint64_t offset);
/* Takes the region that begins at gpa away again. -ENOENT. No ring may lie in it. */
VHU_API int vhu_memory_remove(struct vhu_memory *memory, uint64_t gpa);
/* Seals a memfd against shrinking, growing and further seals. 0 or -errno (-EINVAL: a file that cannot be sealed). */
VHU_API int vhu_memory_seal(int fd);

/* Where len bytes at gpa lie, whole within one region; NULL if they do not. */
VHU_API void *vhu_memory_ptr(const struct vhu_memory *memory, uint64_t gpa, uint64_t len);

/*
 * Hands out len bytes that nobody got before, aligned to align (a power of two), for programs whose
 * "guest" is the program itself; never given back singly. *ret_gpa is its guest address. NULL: no
 * region has that much left.
 */
VHU_API void *vhu_memory_alloc(struct vhu_memory *memory, uint64_t len, uint64_t align,
			       uint64_t *ret_gpa);
/* Takes back all that was handed out. */
VHU_API void vhu_memory_alloc_reset(struct vhu_memory *memory);

/* The regions in ascending order of gpa: how many, and number i. */
struct vhu_memory_region {
	uint64_t gpa, size;
	uint64_t offset; /* in the file */
	int fd;		 /* the memory's own: borrowed */
	void *host;
};
VHU_API unsigned int vhu_memory_count(const struct vhu_memory *memory);
VHU_API int vhu_memory_region(const struct vhu_memory *memory, unsigned int i,
			      struct vhu_memory_region *ret_region);

#ifdef __cplusplus
}
#endif
#endif
