/* SPDX-License-Identifier: MIT */
/*
 * A ring as the device's data side sees it: an immutable view that the control side publishes, and
 * the position that only the data thread moves. Knows nothing of messages or of frames.
 */
#ifndef VHU_RING_RING_H
#define VHU_RING_RING_H

#include <vhu/queue.h>

#include <base/atomics.h>
#include <mem/store.h>

/* virtio 1.2, 2.7.5. This library runs on little-endian hosts, as vhost-user's peers do. */
struct vhu_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

enum {
	VHU_DESC_F_NEXT = 1,
	VHU_DESC_F_WRITE = 2,
	VHU_DESC_F_INDIRECT = 4,

	VHU_AVAIL_F_NO_INTERRUPT = 1,
	VHU_USED_F_NO_NOTIFY = 1,

	VHU_SHADOW_MAX = 1024, /* used entries that wait for one publication */
	VHU_CHAIN_MAX = 1024,  /* descriptors and pieces of one chain that are followed */
	VHU_STEPS_MAX = 4096,  /* descriptors read in one visit, of empty buffers say */
};

/* Why a ring was marked as broken, or a chain was returned unused. */
enum vhu_ring_fault {
	VHU_FAULT_NONE,
	/* the ring is of no further use */
	VHU_FAULT_AVAIL_JUMP,
	VHU_FAULT_HEAD_RANGE,
	VHU_FAULT_HEAD_TWICE,
	VHU_FAULT_CALL_BLOCKED,
	VHU_FAULT_CALL_FAILED,
	VHU_FAULT_POISONED,
	/* this chain only */
	VHU_FAULT_CHAIN,
	VHU_FAULT_LOOP = VHU_FAULT_CHAIN,
	VHU_FAULT_NEXT_RANGE,
	VHU_FAULT_ADDRESS,
	VHU_FAULT_ORDER,
	VHU_FAULT_PIECES,
	VHU_FAULT_LENGTH,
	VHU_FAULT_INDIRECT_OFF,
	VHU_FAULT_INDIRECT_NEXT,
	VHU_FAULT_INDIRECT_WRITE,
	VHU_FAULT_INDIRECT_NESTED,
	VHU_FAULT_INDIRECT_SIZE,
	VHU_FAULT_END,
};

/* Everything about a running ring that the data side reads and never changes. */
struct vhu_view {
	const struct vhu_mem *mem;
	const struct vhu_desc *desc;
	const uint16_t *avail; /* flags, idx, ring[num], used_event */
	uint16_t *used;	       /* flags, idx, elements, avail_event */
	uint64_t used_gpa;     /* where the log has the used ring */
	uint64_t desc_gpa;
	const struct vhu_dirty *log_used; /* NULL: not logged */
	const struct vhu_dirty *log_data;
	uint64_t features;
	uint64_t born_ns;
	uint32_t serial; /* a new one wants a call: the old call fd may have missed one */
	uint32_t *run;	 /* the queue's; see there */
	uint32_t num;
	int call_fd, err_fd;
	bool enabled, event_idx, indirect, mergeable;
	uint8_t hdr_len; /* of the net header */
};

/* A contiguous piece of a chain in our address space. */
struct vhu_seg {
	uint8_t *host;
	uint64_t gpa;
	uint32_t len;
};

struct vhu_chain {
	uint16_t nr_read, nr_write; /* pieces the device reads come first */
	uint32_t read_len, write_len;
	uint32_t steps; /* descriptors that were read, also if the chain is refused */
};

struct vhu_used_entry {
	uint32_t id;
	uint32_t len;
};

enum vhu_arm {
	VHU_ARM_UNKNOWN,
	VHU_ARM_OFF,
	VHU_ARM_ON
};

struct vhu_queue {
	struct vhu_view *view; /* atomic; NULL while stopped */

	uint32_t run; /* atomic: counts stops that readers have passed; what is older is over */

	/* The data thread's; the control side's while no view is published and readers passed. */
	uint16_t last_avail; /* next entry to take */
	uint16_t committed;  /* last_avail at the last publication */
	uint16_t avail_seen; /* newest index read from the driver */
	uint16_t used_idx;   /* index as published */
	uint16_t signalled;  /* index at the last decision about a call */
	bool signalled_valid;
	uint8_t armed;	     /* enum vhu_arm */
	bool ever_published; /* there may be a call to make up for */
	uint32_t serial_seen;
	uint32_t nr_shadow;
	uint32_t shadow_max;
	struct vhu_used_entry *shadow;
	uint8_t *taken; /* one bit a head: taken and not yet returned */

	uint32_t locked; /* atomic */

	/* Read by the control side. */
	uint32_t fault; /* atomic: enum vhu_ring_fault that broke the ring */
	uint64_t fault_value;
	uint32_t chain_fault; /* atomic: the first bad chain's */
	uint64_t chain_value;
	struct vhu_queue_stats stats;

	const bool *poisoned; /* the device's memory vanished */
	int wake_fd;	      /* the control side's eventfd */
};

/* Says once and for all that the ring is of no use, and tells the control side. */
VHU_HIDDEN void vhu_queue_break(struct vhu_queue *q, const struct vhu_view *view,
				enum vhu_ring_fault fault, uint64_t value);
/* The rule that a fault violates, with %llu for the value. */
VHU_HIDDEN const char *vhu_ring_fault_text(enum vhu_ring_fault fault);

VHU_HIDDEN void vhu_queue_wake_control(struct vhu_queue *q);
/*
 * The one place where calls are decided, for n chains just published. With n = 0 only a call that
 * an older call fd may have missed is made up for.
 */
VHU_HIDDEN void vhu_queue_notify(struct vhu_queue *q, const struct vhu_view *view, uint32_t n);

/* Makes room for a ring of num entries / gives it back. Control side, ring stopped. */
VHU_HIDDEN int vhu_queue_prepare(struct vhu_queue *q, uint32_t num);
VHU_HIDDEN void vhu_queue_release(struct vhu_queue *q);
VHU_HIDDEN void vhu_queue_forget_faults(struct vhu_queue *q);
/* Sets the position at a start, before the view is published. */
VHU_HIDDEN void vhu_queue_start(struct vhu_queue *q, const struct vhu_view *view, uint16_t base);

/* The published view of a ring that works, or NULL. */
static inline const struct vhu_view *vhu_queue_view(const struct vhu_queue *q)
{
	/* pairs with the control side's publication: the view's content before the pointer */
	const struct vhu_view *view = vhu_load_acquire(&q->view);

	if (vhu_unlikely(!view || vhu_read_once(&q->fault)))
		return NULL;
	return view;
}

static inline void vhu_count(uint64_t *counter, uint64_t n)
{
	vhu_write_once(counter, *counter + n);
}

/*
 * ---- Split ring, device side. ----
 */

/* Chains that are available and not taken, at most max. 0 also if the ring was found broken. */
VHU_HIDDEN uint32_t vhu_split_available(struct vhu_queue *q, const struct vhu_view *view,
					uint32_t max);
/* The head of available chain number last_avail, now taken. -1: the ring is broken. */
VHU_HIDDEN int vhu_split_take(struct vhu_queue *q, const struct vhu_view *view);
/* Follows a chain. 0 and the pieces, or the fault and its value. */
VHU_HIDDEN enum vhu_ring_fault vhu_split_walk(const struct vhu_view *view, uint16_t head,
					      struct vhu_seg *segs, unsigned int max,
					      struct vhu_chain *ret_chain, uint64_t *ret_value);
/* Notes a chain as used, to be published with the next vhu_split_publish(). Needs room. */
static inline void vhu_split_return(struct vhu_queue *q, uint16_t head, uint32_t len)
{
	q->shadow[q->nr_shadow++] = (struct vhu_used_entry){ .id = head, .len = len };
}
/* Publishes what was returned, and calls the driver if it asked for that. */
VHU_HIDDEN void vhu_split_publish(struct vhu_queue *q, const struct vhu_view *view);
/* Forgets what was taken and returned since the last publication. */
VHU_HIDDEN void vhu_split_rewind(struct vhu_queue *q);
/* The layout's part of deciding about calls and kicks; see vhu_queue_notify() and _arm(). */
VHU_HIDDEN bool vhu_split_wants_call(struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN void vhu_split_set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted);
VHU_HIDDEN bool vhu_split_has_more(const struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN uint16_t vhu_split_read_used_idx(const struct vhu_view *view);
/* Counts a chain that was refused, and keeps the first one's fault for the control side. */
VHU_HIDDEN void vhu_split_bad_chain(struct vhu_queue *q, enum vhu_ring_fault fault, uint64_t value);

#endif
