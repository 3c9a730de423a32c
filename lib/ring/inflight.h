/* SPDX-License-Identifier: MIT */
/*
 * The in-flight region ("Inflight I/O tracking"): which chains of a ring were taken and not yet
 * returned, kept where it outlives this process. Knows the two layouts; nothing of messages, and
 * nothing of what a chain carries.
 *
 * Who reads the region is the next backend, after this one was killed. Only this process dies: what
 * it stored stays, and since a thread is interrupted between two of its instructions, what it
 * stored is exactly what its instructions up to there stored. So the order in the code is all the
 * order there has to be, and release stores are what keeps the compiler to it (on a machine with
 * weak stores they also keep it for a frontend that looks on). Each function below says after which
 * store a chain counts as taken or returned, and what the next backend makes of a stop before it.
 *
 * Nobody vouches for what stands in the region, ever. It is read when a ring starts, once, into
 * private copies, which are then judged; from there on it is only stored to.
 */
#ifndef VHU_RING_INFLIGHT_H
#define VHU_RING_INFLIGHT_H

#include <vhu/wire.h>

#include <base/atomics.h>
#include <mem/store.h>
#include <ring/ring.h>

enum {
	VHU_INFLIGHT_VERSION = 1, /* 0: nothing has been recorded yet */
	VHU_INFLIGHT_ALIGN = 64,  /* of each ring's part */
};

/* The most that GET_INFLIGHT_FD makes: enough for 256 packed rings of 1024. */
#define VHU_INFLIGHT_MAX_BYTES (UINT64_C(16) << 20)

/*
 * ---- What stands in the region ----
 */
struct vhu_inflight_split_desc {
	uint8_t inflight; /* of heads */
	uint8_t pad[5];
	uint16_t next; /* in the list of the last batch returned */
	uint64_t counter;
};

struct vhu_inflight_split {
	uint64_t features; /* 0 */
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct vhu_inflight_split_desc desc[];
};

struct vhu_inflight_packed_desc {
	uint8_t inflight; /* of heads, as are last, num and counter */
	uint8_t pad;
	uint16_t next; /* in the chain, or in the list of free entries */
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id; /* the rest is the descriptor itself: its slot may be overwritten */
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

/* Where the used side of a packed ring stands: one aligned word, so that it is stored whole. */
struct vhu_inflight_used {
	uint16_t idx, old_idx;
	uint8_t wrap, old_wrap;
	uint8_t pad[2];
};

struct vhu_inflight_packed {
	uint64_t features; /* 0 */
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint64_t used; /* struct vhu_inflight_used */
	uint8_t pad[8];
	struct vhu_inflight_packed_desc desc[];
};

/*
 * ---- The region as a whole. Control thread ----
 */
struct vhu_inflight_area {
	struct vhu_mapping *mapping;
	uint64_t size; /* bytes mapped */
	uint32_t nr_queues, queue_size;
	int fd; /* of a region made here, until it is handed out; else -1 */
};

/* Bytes that one ring's part takes. */
VHU_HIDDEN uint64_t vhu_inflight_stride(bool packed, uint32_t queue_size);
/*
 * A fresh region for nr_queues rings of queue_size entries, sealed. either: the kind of rings is
 * not known yet, so there is room for both.
 */
VHU_HIDDEN int vhu_inflight_make(struct vhu_inflight_area **ret_area,
				 const struct vhu_mem_owner *owner, uint32_t nr_queues,
				 uint32_t queue_size, bool packed, bool either,
				 struct vhu_reason *why);
/* The region that a frontend hands back (fd is borrowed), of whatever backend it is. */
VHU_HIDDEN int vhu_inflight_adopt(struct vhu_inflight_area **ret_area,
				  const struct vhu_mem_owner *owner, int fd,
				  const struct vhu_inflight *desc, bool packed,
				  struct vhu_reason *why);
VHU_HIDDEN void vhu_inflight_area_free(struct vhu_inflight_area *area);
/* Judges what the head of each ring's part says of itself. */
VHU_HIDDEN int vhu_inflight_judge(const struct vhu_inflight_area *area, bool packed,
				  struct vhu_reason *why);
/* The driver has taken all buffers back: nothing is in flight in any ring. No ring runs. */
VHU_HIDDEN void vhu_inflight_forget(const struct vhu_inflight_area *area, bool packed);

/*
 * ---- One running ring's record. The data thread's, but for start, told and free ----
 */

/* A chain that is handed out once more. */
struct vhu_inflight_again {
	uint64_t counter;
	uint16_t id;	/* split: the head */
	uint16_t entry; /* packed: of the region */
	uint16_t nr;	/* packed: descriptors */
	uint32_t first; /* packed: of vhu_inflight_ring.copies */
};

struct vhu_inflight_ring {
	struct vhu_mapping *mapping; /* counted: the record may outlive the area */
	struct vhu_inflight_split *split;
	struct vhu_inflight_packed *packed; /* one of the two is NULL */
	uint32_t num;			    /* of the ring, at most desc_num */
	uint32_t desc_num;
	uint64_t counter;

	struct vhu_inflight_again *again; /* oldest first */
	struct vhu_packed_desc *copies;
	uint32_t nr_again, at_again; /* how many there were, how many are handed out */
	uint32_t left; /* split: chains, packed: descriptors not yet returned of them */

	uint16_t *taken; /* ids since the last publication, oldest first */
	uint32_t nr_taken;
	uint8_t *old;	 /* by id: it is one of those that were handed out again */
	uint16_t *batch; /* ids that are being returned */
	uint32_t nr_batch;

	uint16_t last_batch; /* split */

	/* packed: private copies of what the region says */
	struct vhu_inflight_used used;
	uint16_t free_head;
	uint16_t chain_head, chain_at; /* of the chain that is being taken */
	uint16_t *next;		       /* by entry; desc_num ends a list */
	uint16_t *last;		       /* by entry, of heads */
	uint16_t *nr;		       /* by entry, of heads */
	uint16_t *entry;	       /* by id */
};

/* Where a ring goes on. wrap: packed only. */
struct vhu_inflight_at {
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
};

/* What the ring itself says at its start. */
struct vhu_inflight_driver {
	uint16_t avail_idx; /* split */
	/* packed: the ring, where it lies for the guest, and the log that stores to it keep */
	struct vhu_packed_desc *slots;
	uint64_t slots_gpa;
	const struct vhu_dirty *log;
};

/*
 * Begins to record ring number i, of num entries. at is where the ring would go on; if the region
 * has a record of an earlier life it says better. NULL in *ret_ring and 0: the region does not
 * cover this ring. -EPROTO with a reason: what stands in the region cannot be.
 */
VHU_HIDDEN int vhu_inflight_start(struct vhu_inflight_ring **ret_ring,
				  const struct vhu_inflight_area *area, unsigned int i, bool packed,
				  uint32_t num, const struct vhu_inflight_driver *driver,
				  struct vhu_inflight_at *at, struct vhu_reason *why);
/*
 * The frontend is told where the ring stands, and will say so at the next start: a record with
 * nothing in flight has done its duty. What is still to be handed out again stays recorded.
 */
VHU_HIDDEN void vhu_inflight_told(struct vhu_inflight_ring *ring);
VHU_HIDDEN void vhu_inflight_ring_free(struct vhu_inflight_ring *ring);

/* Chains that are to be handed out before any new one. */
static inline uint32_t vhu_inflight_nr_again(const struct vhu_inflight_ring *ring)
{
	return ring->nr_again - ring->at_again;
}

/* The next of them, now taken. There has to be one. */
VHU_HIDDEN const struct vhu_inflight_again *vhu_inflight_take_again(struct vhu_inflight_ring *ring);
/* A new chain was taken; split ring. */
VHU_HIDDEN void vhu_inflight_take(struct vhu_inflight_ring *ring, uint16_t head);
/*
 * A new chain of a packed ring: begin, each descriptor in the ring (of an indirect table the one
 * that names it), and, once it is sure that the chain is taken, end with the buffer's id. A chain
 * that was begun and not ended was not taken.
 */
VHU_HIDDEN void vhu_inflight_begin(struct vhu_inflight_ring *ring);
VHU_HIDDEN void vhu_inflight_add(struct vhu_inflight_ring *ring,
				 const struct vhu_packed_desc *desc);
VHU_HIDDEN void vhu_inflight_end(struct vhu_inflight_ring *ring, uint16_t id);
/* The newest n chains of those taken since the last publication were not taken after all. */
VHU_HIDDEN void vhu_inflight_untake(struct vhu_inflight_ring *ring, uint32_t n);
/* Before the publication: each chain of the batch, then its end. After it: it is done. */
VHU_HIDDEN void vhu_inflight_return(struct vhu_inflight_ring *ring, uint16_t id);
VHU_HIDDEN void vhu_inflight_batch_end(struct vhu_inflight_ring *ring);
VHU_HIDDEN void vhu_inflight_returned(struct vhu_inflight_ring *ring, uint16_t used_idx);

/*
 * ---- Between the files of this record ----
 */
VHU_HIDDEN int vhu_inflight_split_recover(struct vhu_inflight_ring *ring,
					  const struct vhu_inflight_driver *driver,
					  struct vhu_inflight_at *at, struct vhu_reason *why);
VHU_HIDDEN void vhu_inflight_split_init(struct vhu_inflight_split *part, uint32_t desc_num,
					uint16_t used_idx);
VHU_HIDDEN int vhu_inflight_packed_recover(struct vhu_inflight_ring *ring,
					   const struct vhu_inflight_driver *driver,
					   struct vhu_inflight_at *at, struct vhu_reason *why);
VHU_HIDDEN void vhu_inflight_packed_init(struct vhu_inflight_packed *part, uint32_t desc_num,
					 uint16_t used_idx, bool used_wrap);
/* The private copies for an empty record. */
VHU_HIDDEN void vhu_inflight_packed_mirror(struct vhu_inflight_ring *ring, uint16_t used_idx,
					   bool used_wrap);
VHU_HIDDEN void vhu_inflight_packed_untake(struct vhu_inflight_ring *ring, uint16_t id);
VHU_HIDDEN void vhu_inflight_packed_return(struct vhu_inflight_ring *ring, uint16_t id);
VHU_HIDDEN void vhu_inflight_packed_returned(struct vhu_inflight_ring *ring);
/* Puts the chains that are handed out again into the order in which they were taken first. */
VHU_HIDDEN void vhu_inflight_sort(struct vhu_inflight_ring *ring);

#endif
