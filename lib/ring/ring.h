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

/*
 * A descriptor, virtio 1.2, 2.7.5. This library runs on little-endian hosts, as vhost-user's peers
 * do.
 */
struct vhu_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* The same in a packed ring, 2.8.13. */
struct vhu_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

enum {
	VHU_DESC_F_NEXT = 1,
	VHU_DESC_F_WRITE = 2,
	VHU_DESC_F_INDIRECT = 4,
	VHU_DESC_F_AVAIL = 1 << 7, /* these two in a packed ring */
	VHU_DESC_F_USED = 1 << 15,

	VHU_AVAIL_F_NO_INTERRUPT = 1,
	VHU_USED_F_NO_NOTIFY = 1,

	VHU_SHADOW_MAX = 1024, /* used entries that wait for one publication */
	VHU_CHAIN_MAX = 1024,  /* descriptors and pieces of one chain that are followed */
	VHU_STEPS_MAX = 4096,  /* descriptors read in one visit, of empty buffers say */
	VHU_PLAIN_MAX = 64,    /* chains that are taken at once */
};

/* Why a ring was marked as broken, or a chain was returned unused. */
enum vhu_ring_fault {
	VHU_FAULT_NONE,
	/* the ring is of no further use */
	VHU_FAULT_AVAIL_JUMP,
	VHU_FAULT_HEAD_RANGE,
	VHU_FAULT_HEAD_TWICE,
	VHU_FAULT_ENDLESS,
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
	union {
		struct { /* split */
			const struct vhu_desc *desc;
			const uint16_t *avail; /* flags, idx, ring[num], used_event */
			uint16_t *used;	       /* flags, idx, elements, avail_event */
		};
		struct { /* packed */
			struct vhu_packed_desc *ring;
			const uint32_t *driver_event; /* what calls the driver wants */
			uint32_t *device_event;	      /* what kicks we want */
		};
	};
	uint64_t used_gpa; /* where the log has the used ring, or the device's event area */
	uint64_t desc_gpa;
	const struct vhu_dirty *log_used; /* NULL: not logged */
	const struct vhu_dirty *log_data;
	uint64_t features;
	uint64_t born_ns;
	uint32_t serial; /* a new one wants a call: the old call fd may have missed one */
	uint32_t *run;	 /* the queue's; see there */
	uint32_t num;
	int call_fd, err_fd;
	bool packed, enabled, event_idx, indirect, in_order, mergeable;
	bool reads_only; /* there is nothing to write in any of its chains */
	uint8_t hdr_len; /* of the net header */
};

/* A contiguous piece of a chain in our address space. */
struct vhu_seg {
	uint8_t *host;
	uint64_t gpa;
	uint32_t len;
	uint32_t more; /* of a plain chain: the next one is its piece too */
};

/* What was taken from a ring. If its fault is not VHU_FAULT_NONE, it has no pieces. */
struct vhu_chain {
	uint16_t id;	  /* by which the driver knows it: the head's index, or the buffer id */
	uint16_t nr_desc; /* places of the ring that it takes: always 1 in a split ring */
	uint16_t nr_read, nr_write; /* pieces the device reads come first */
	uint32_t read_len, write_len;
	uint32_t steps; /* descriptors that were read, also if the chain is refused */
	bool writable;	/* some descriptor was for us to write, also if the chain is refused */
	enum vhu_ring_fault fault;
	uint64_t value; /* of the fault */
};

/*
 * A chain given back and not yet published: for a split ring its used element as it will lie there,
 * 2.7.8; for a packed ring the number of its places stands in the upper half of id.
 */
struct vhu_returned {
	uint32_t id;
	uint32_t len;
};

enum {
	VHU_USED_PLACES_SHIFT = 16,
};

enum vhu_arm {
	VHU_ARM_UNKNOWN,
	VHU_ARM_OFF,
	VHU_ARM_ON
};

struct vhu_inflight_ring;

struct vhu_queue {
	struct vhu_view *view; /* atomic; NULL while stopped */

	uint32_t run; /* atomic: counts stops that readers have passed; what is older is over */

	/*
	 * The data thread's; the control side's while no view is published and readers passed.
	 * A position is a free-running index in a split ring; in a packed one an index below num,
	 * with the wrap counter in bit 15.
	 */
	uint16_t avail_pos;  /* next entry to take */
	uint16_t committed;  /* avail_pos at the last publication */
	uint16_t avail_seen; /* split: newest index read from the driver */
	uint16_t used_pos;   /* next entry to publish */
	uint16_t signalled;  /* used_pos at the last decision about a call */
	bool packed;	     /* the layout of this run, or of the last */
	bool signalled_valid;
	uint8_t armed; /* enum vhu_arm */
	uint32_t serial_seen;
	uint32_t nr_shadow; /* chains that were given back since the last publication */
	uint32_t shadow_max;
	bool dry;	    /* the last taking of plain chains ended since no more were available */
	uint32_t nr_stamps; /* num of the run that prepared them */
	bool any_writable;  /* there was something to write in one of them */
	struct vhu_returned *shadow;
	uint16_t *stamp;     /* by id: the publication that it was last taken for */
	uint16_t now;	     /* the next publication's; never 0 */
	uint32_t buffer_len; /* of a plain chain that was too small for a frame; 0: they do */
	uint32_t push_steps; /* descriptors walked for frames since the last publication */
	struct vhu_inflight_ring *inflight; /* NULL: nothing is recorded; see record.h */

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
/* Sets the position at a start, before the view is published. The base has been judged. */
VHU_HIDDEN void vhu_queue_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base);
/* The position as SET_VRING_BASE and GET_VRING_BASE have it; of a stopped ring. */
VHU_HIDDEN uint32_t vhu_queue_base(const struct vhu_queue *q);
/* Whether a ring of num entries can go on from base. Control side. */
VHU_HIDDEN bool vhu_ring_base_is_good(uint32_t base, uint32_t num, bool packed);

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
 * ---- The layouts, each by its own name. Only for what stands below. ----
 *
 * take, take_plain: see vhu_ring_take(). publish: writes the used entries and moves used_pos;
 * wants_call: whether the driver asked to be called for what was just published; set_kicks: asks
 * for kicks or for silence; has_more: whether there is something to take; start: sets
 * the positions.
 */
VHU_HIDDEN int vhu_split_take(struct vhu_queue *q, const struct vhu_view *view,
			      struct vhu_seg *segs, unsigned int max, struct vhu_chain *ret);
VHU_HIDDEN unsigned int vhu_split_take_plain(struct vhu_queue *q, const struct vhu_view *view,
					     struct vhu_seg *segs, unsigned int nr_segs,
					     unsigned int max, bool write);
VHU_HIDDEN void vhu_split_publish(struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN bool vhu_split_wants_call(struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN void vhu_split_set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted);
VHU_HIDDEN bool vhu_split_has_more(const struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN void vhu_split_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base);

VHU_HIDDEN int vhu_packed_take(struct vhu_queue *q, const struct vhu_view *view,
			       struct vhu_seg *segs, unsigned int max, struct vhu_chain *ret);
VHU_HIDDEN unsigned int vhu_packed_take_plain(struct vhu_queue *q, const struct vhu_view *view,
					      struct vhu_seg *segs, unsigned int nr_segs,
					      unsigned int max, bool write);
/* The position n places before pos, n below num. */
VHU_HIDDEN uint16_t vhu_packed_retreat(uint16_t pos, uint32_t n, uint32_t num);
VHU_HIDDEN void vhu_packed_publish(struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN bool vhu_packed_wants_call(struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN void vhu_packed_set_kicks(struct vhu_queue *q, const struct vhu_view *view, bool wanted);
VHU_HIDDEN bool vhu_packed_has_more(const struct vhu_queue *q, const struct vhu_view *view);
VHU_HIDDEN void vhu_packed_start(struct vhu_queue *q, const struct vhu_view *view, uint32_t base);
VHU_HIDDEN bool vhu_packed_base_is_good(uint32_t base, uint32_t num);

/*
 * ---- Any ring, device side. ----
 */

/*
 * Takes the next chain and follows it. 1: taken, to be given back by vhu_ring_return() in any case,
 * its pieces in segs (at most max) or its fault in ret->fault. 0: none is available. -1: the ring is
 * broken.
 */
static inline int vhu_ring_take(struct vhu_queue *q, const struct vhu_view *view,
				struct vhu_seg *segs, unsigned int max, struct vhu_chain *ret)
{
	if (view->packed)
		return vhu_packed_take(q, view, segs, max, ret);
	return vhu_split_take(q, view, segs, max, ret);
}

/*
 * Takes up to max chains as long as they are plain: all of a chain is for us to write (or all to
 * read, as the caller says), none of it is empty, each descriptor's buffer is contiguous in our
 * address space. They are noted as used with length 0 at once, the newest last in q->shadow, where
 * that can be changed. Stops before the first chain that is anything else, or wrong, or longer than
 * segs has room for: vhu_ring_take() tells; or where there is none, which q->dry says, so that
 * nobody need look again at what the driver is writing. The number taken; segs has the pieces of
 * all, one chain after another.
 */
static inline unsigned int vhu_ring_take_plain(struct vhu_queue *q, const struct vhu_view *view,
					       struct vhu_seg *segs, unsigned int nr_segs,
					       unsigned int max, bool write)
{
	max = vhu_min_u32(max, q->shadow_max - q->nr_shadow);
	q->dry = false;
	/* a record wants to see each chain by itself */
	if (vhu_unlikely(!max || q->inflight))
		return 0;
	if (view->packed)
		return vhu_packed_take_plain(q, view, segs, nr_segs, max, write);
	return vhu_split_take_plain(q, view, segs, nr_segs, max, write);
}

/* A plain chain from its first piece on: what it holds, and its next chain's first piece. */
static inline const struct vhu_seg *vhu_plain_end(const struct vhu_seg *seg, uint32_t *ret_len)
{
	uint32_t len = seg->len;

	while (seg->more)
		len += (++seg)->len;
	*ret_len = len;
	return seg + 1;
}

/*
 * Notes a chain as used, with len bytes written, for the next vhu_ring_publish(). There has to be
 * room: q->nr_shadow is below q->shadow_max. Chains are returned in the order of their taking.
 */
static inline struct vhu_returned *vhu_ring_return(struct vhu_queue *q,
						   const struct vhu_chain *chain, uint32_t len)
{
	struct vhu_returned *e = &q->shadow[q->nr_shadow++];
	uint32_t places = q->packed ? chain->nr_desc : 0;

	*e = (struct vhu_returned){ .id = chain->id | places << VHU_USED_PLACES_SHIFT, .len = len };
	q->any_writable |= chain->writable;
	return e;
}

/* How far takings and returns since the last publication are undone. */
struct vhu_ring_mark {
	uint32_t nr_shadow;
	uint16_t avail_pos;
};

static inline struct vhu_ring_mark vhu_ring_mark(const struct vhu_queue *q)
{
	return (struct vhu_ring_mark){ .nr_shadow = q->nr_shadow, .avail_pos = q->avail_pos };
}

/* Gives back the newest nr chains: they will be taken again. Not with a record. */
VHU_HIDDEN void vhu_ring_put_back(struct vhu_queue *q, const struct vhu_view *view,
				  unsigned int nr);
VHU_HIDDEN void vhu_ring_undo(struct vhu_queue *q, struct vhu_ring_mark mark);
/* Forgets what was taken and returned since the last publication. */
VHU_HIDDEN void vhu_ring_rewind(struct vhu_queue *q);
/* Publishes what was returned, and calls the driver if it asked for that. */
VHU_HIDDEN void vhu_ring_publish(struct vhu_queue *q, const struct vhu_view *view);
/* Counts a chain that was refused, and keeps the first one's fault for the control side. */
VHU_HIDDEN void vhu_ring_bad_chain(struct vhu_queue *q, enum vhu_ring_fault fault, uint64_t value);

/*
 * True if one used entry may stand for all that is to be published. With IN_ORDER it bears the id
 * of the last, and those that are left out count as used completely (2.7.9, 2.8.9): so there may have
 * been nothing to write in any of them.
 */
static inline bool vhu_ring_one_stands_for_all(const struct vhu_queue *q,
					       const struct vhu_view *view)
{
	return view->in_order && !q->any_writable;
}

#endif
