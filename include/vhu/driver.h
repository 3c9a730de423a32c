/* SPDX-License-Identifier: MIT */
/*
 * A ring from the driver's side: split or packed, with indirect tables, event index, in order
 * (virtio 1.2, 2.7 and 2.8). For programs that are their own guest: interfaces, load generators, tests.
 *
 * What the device writes is never trusted: an id that is not outstanding, a length beyond the
 * buffer, an index that jumps mark the ring as broken, with a reason; nothing else happens.
 *
 * Experimental. One thread at a time (the data thread).
 */
#ifndef VHU_DRIVER_H
#define VHU_DRIVER_H

#include <vhu/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_driver;

struct vhu_driver_options {
	size_t size;		   /* sizeof(struct vhu_driver_options) */
	struct vhu_memory *memory; /* the ring is allocated there; borrowed for the driver's life */
	uint32_t num;		   /* entries: 1 to 32768; a power of two unless packed */
	uint64_t features; /* agreed: RING_PACKED, INDIRECT_DESC, EVENT_IDX, IN_ORDER count */
	/*
	 * With INDIRECT_DESC: chains of 2 to this many pieces go through a table of their own. 0: none
	 * does, and a chain takes as many entries as it has pieces. More than num counts as num: no chain
	 * is longer than the ring (virtio 1.2, 2.7.5.3.1). At most 32768.
	 */
	uint32_t indirect_max;
};

/* Where the ring lies, in the terms of SET_VRING_ADDR. */
struct vhu_ring_addr {
	uint64_t desc_gpa;
	uint64_t avail_gpa; /* packed: the driver area */
	uint64_t used_gpa;  /* packed: the device area */
};

/* A piece of a chain, in guest addresses. */
struct vhu_buffer {
	uint64_t gpa;
	uint32_t len;
};

/* A chain that came back. */
struct vhu_used {
	uint32_t token;
	uint32_t len; /* bytes that the device wrote; at most the chain's writable part */
};

/* -EINVAL: an option out of range. -ENOSPC: the memory has no room. -ENOMEM. */
VHU_API int vhu_driver_new(struct vhu_driver **ret_driver,
			   const struct vhu_driver_options *options);
/* Its place in the memory is not given back: see vhu_memory_alloc_reset(). NULL is allowed. */
VHU_API void vhu_driver_free(struct vhu_driver *driver);
VHU_API void vhu_driver_addr(const struct vhu_driver *driver, struct vhu_ring_addr *ret_addr);
VHU_API uint32_t vhu_driver_num(const struct vhu_driver *driver);
VHU_API uint64_t vhu_driver_features(const struct vhu_driver *driver);

/* The fd that vhu_driver_publish() kicks; borrowed. -1: none, the program kicks itself. */
VHU_API void vhu_driver_set_kick_fd(struct vhu_driver *driver, int kick_fd);

/*
 * Adds a chain: nr_read pieces that the device reads, then nr_write that it writes, at least one in
 * all. token comes back with it. Nobody sees it before vhu_driver_publish(). -ENOSPC: the ring has
 * not so many entries free. -EINVAL: no piece, more than num and indirect_max allow, or more than
 * 2^32 - 1 bytes. -EPROTO: the ring is broken.
 */
VHU_API int vhu_driver_add(struct vhu_driver *driver, const struct vhu_buffer *buffers,
			   unsigned int nr_read, unsigned int nr_write, uint32_t token);
/*
 * Makes what was added available, and kicks the device if it asked for that. True if it was kicked,
 * or would have to be, with no kick fd.
 */
VHU_API bool vhu_driver_publish(struct vhu_driver *driver);
/* Entries free. A chain through an indirect table takes one. */
VHU_API uint32_t vhu_driver_free_entries(const struct vhu_driver *driver);
/* Chains added and not yet taken back. */
VHU_API uint32_t vhu_driver_outstanding(const struct vhu_driver *driver);

/*
 * Takes the next used chain back. 1: there was one. 0: none now. -EPROTO: the ring is broken; see
 * vhu_driver_fault().
 */
VHU_API int vhu_driver_take(struct vhu_driver *driver, struct vhu_used *ret_used);
/* Why the ring is broken, or NULL if it is not. */
VHU_API const char *vhu_driver_fault(const struct vhu_driver *driver);

/*
 * Asks for calls and looks once more. True: something was used already (disarmed again), take it;
 * or the ring is broken, and taking says so. False: a call will come. arm, then sleep; never sleep
 * without. A ring begins disarmed.
 */
VHU_API bool vhu_driver_arm(struct vhu_driver *driver);
/* Asks the device not to call; a hint. */
VHU_API void vhu_driver_disarm(struct vhu_driver *driver);

/*
 * What SET_VRING_BASE has to say for a device that takes the ring over as it stands: what it has
 * used is used, all else is available (split: used->idx; packed: both positions and wrap counters).
 * Only while no device works on the ring: what is available is written once more, in its old order
 * and with its old ids, since a device that uses chains out of order leaves holes (split) or writes
 * over descriptors (packed). Of a broken ring the base is where it broke: resubmit that.
 */
VHU_API uint32_t vhu_driver_base(struct vhu_driver *driver);
/*
 * For a device that died: keeps what it had used (vhu_driver_take() still gives that, so look there
 * afterwards even if no call comes), lays the ring out anew from its beginning, and adds all other
 * chains again in their old order, published. The next base is that of a new ring. Nobody is
 * kicked: whoever starts a ring does that. A ring that was armed still is. Mends a broken ring too:
 * chains of which nobody knows are added again. Only while no device works on the ring.
 */
VHU_API void vhu_driver_resubmit(struct vhu_driver *driver);
/*
 * Forgets everything: the ring is as after vhu_driver_new(), but for kick fd and counters. Only
 * while no device works on the ring. A net ring on top notices, and has all its buffers back.
 */
VHU_API void vhu_driver_reset(struct vhu_driver *driver);

/* Counters, written by the data thread, readable from any. */
struct vhu_driver_stats {
	uint64_t added;		   /* chains that were published */
	uint64_t taken;		   /* chains that came back */
	uint64_t kicks;		   /* kick eventfd written, or asked to be */
	uint64_t kicks_suppressed; /* the device had asked for silence */
	uint64_t arms;		   /* times that calls were asked for */
	uint64_t resubmitted;	   /* chains added again after a device died */
};
VHU_API void vhu_driver_get_stats(const struct vhu_driver *driver,
				  struct vhu_driver_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
