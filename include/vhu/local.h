/* SPDX-License-Identifier: MIT */
/*
 * A ring that the program serves itself, in guest memory that it holds: no vhost-user connection is
 * involved. For what a VMM keeps to itself of a device whose other rings a backend serves: a network
 * device's control queue, say.
 *
 * Split and packed, indirect tables, event index, in order. What the guest writes is never trusted:
 * a chain that cannot be right is returned unused and counted, an index that cannot be right marks
 * the ring as broken.
 *
 * Experimental. One thread at a time.
 */
#ifndef VHU_LOCAL_H
#define VHU_LOCAL_H

#include <sys/uio.h>
#include <vhu/driver.h>
#include <vhu/memory.h>
#include <vhu/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_local;

struct vhu_local_ring {
	size_t size;  /* sizeof(struct vhu_local_ring) */
	uint32_t num; /* entries: 1 to 32768; a power of two unless packed */
	struct vhu_ring_addr addr;
	uint64_t features; /* agreed: RING_PACKED, INDIRECT_DESC, EVENT_IDX, IN_ORDER count */
	bool go_on;	   /* from base; otherwise the ring is new */
	uint32_t base;	   /* as vhu_local_base() gave it */
	int call_fd;	   /* borrowed until the ring is stopped; -1: nobody is called */
};

/* A chain that was popped. Its pieces are guest memory: what is read there may change meanwhile. */
struct vhu_local_chain {
	const struct iovec *read; /* what the driver wrote for us */
	const struct iovec *write;
	unsigned int nr_read, nr_write;
	uint32_t read_len, write_len; /* bytes in all */
};

/* memory is borrowed for the ring's life. -ENOMEM. */
VHU_API int vhu_local_new(struct vhu_local **ret_local, struct vhu_memory *memory);
/* Stops it first. NULL is allowed. */
VHU_API void vhu_local_free(struct vhu_local *local);

/*
 * Serves the ring from now on; no region may be added to or removed from the memory until it is
 * stopped. The first publication calls, whatever the driver asked for. -EBUSY: it is started.
 * -EPROTO: size, base or addresses cannot be, why (may be NULL) says what. -ENOMEM.
 */
VHU_API int vhu_local_start(struct vhu_local *local, const struct vhu_local_ring *ring,
			    struct vhu_reason *why);
/* Lets go of it. A chain that was popped and not pushed will be there again. */
VHU_API void vhu_local_stop(struct vhu_local *local);
/* Where a stopped ring stood. */
VHU_API uint32_t vhu_local_base(const struct vhu_local *local);
/* For vhu_queue_arm(), vhu_queue_disarm(), vhu_queue_is_running(), vhu_queue_stats(); the same for life. */
VHU_API struct vhu_queue *vhu_local_queue(struct vhu_local *local);

/*
 * Takes the next chain. 1: it is in ret_chain until it is pushed. 0: none now, or only such as had
 * to be refused: arm tells. -EBUSY: one was popped and is not pushed. -ENOTCONN: not started.
 * -EPROTO: the ring is broken, see vhu_local_fault().
 */
VHU_API int vhu_local_pop(struct vhu_local *local, struct vhu_local_chain *ret_chain);
/* Copies at most len bytes, as many as there are from offset on. How many. */
VHU_API uint32_t vhu_local_read(const struct vhu_local_chain *chain, uint32_t offset, void *to,
				uint32_t len);
VHU_API uint32_t vhu_local_write(const struct vhu_local_chain *chain, uint32_t offset,
				 const void *from, uint32_t len);
/*
 * Gives the chain that was popped back, with the number of bytes written from its beginning on,
 * publishes it, and calls the driver if it asked for that.
 */
VHU_API void vhu_local_push(struct vhu_local *local, uint32_t written);
/* Why the ring is broken. False: it is not. */
VHU_API bool vhu_local_fault(const struct vhu_local *local, struct vhu_reason *ret_why);

#ifdef __cplusplus
}
#endif
#endif
