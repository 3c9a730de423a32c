/* SPDX-License-Identifier: MIT */
/*
 * A ring as its driver holds it: everything that is needed to judge what the device says, in
 * private memory. Knows nothing of what chains carry, nor of the device's side of a ring.
 *
 * A chain takes as many slots as it takes entries of the ring. Slots are private: they hold the
 * chain's pieces and the links between them, and the first one's number is the chain's id (split:
 * its head's index in the descriptor table; packed: the buffer id). Free slots are a list; with
 * IN_ORDER they are a circle instead, whose links never change (virtio 1.2, 2.7.5.2).
 */
#ifndef VHU_RING_DRIVER_H
#define VHU_RING_DRIVER_H

#include <vhu/driver.h>

#include <errno.h>

#include <base/atomics.h>
#include <base/bits.h>

enum {
	VHU_DRV_NEXT = 0x1,
	VHU_DRV_WRITE = 0x2,
	VHU_DRV_INDIRECT = 0x4,

	VHU_DRV_DESC_SIZE = 16,
};

/* A descriptor of either layout is two words; the second one differs in its upper half. */
struct vhu_driver_desc {
	uint64_t addr;
	uint64_t rest;
};

/* Why a ring is broken; the rules stand in driver.c. */
enum vhu_driver_fault {
	VHU_DRV_OK,
	VHU_DRV_USED_JUMP,
	VHU_DRV_USED_RANGE,
	VHU_DRV_USED_UNKNOWN,
	VHU_DRV_USED_EARLY,
	VHU_DRV_USED_LEN,
	VHU_DRV_USED_BATCH,
	VHU_DRV_KICK_BLOCKED,
	VHU_DRV_KICK_FAILED,
	VHU_DRV_FAULT_END,
};

struct vhu_driver_slot {
	uint64_t gpa;
	uint32_t len;
	uint16_t next;
	uint16_t unused;
};

/* By the number of its first slot. */
struct vhu_driver_chain {
	uint64_t seq; /* chains are numbered as they are added */
	uint32_t token;
	uint32_t write_len;
	uint16_t nr; /* slots; 0: not outstanding */
	uint16_t last;
	uint16_t nr_read, nr_write; /* pieces: more than slots if they lie in an indirect table */
};

struct vhu_driver_store {
	struct vhu_driver_slot *slots;
	struct vhu_driver_chain *chains;
	struct vhu_buffer *tables; /* copies of the indirect tables, or NULL */
};

struct vhu_driver_order {
	uint64_t seq;
	uint16_t id;
};

struct vhu_driver {
	bool packed, event_idx, in_order;
	bool armed;
	uint32_t fault; /* enum vhu_driver_fault */
	uint32_t num;
	uint32_t chain_max;    /* pieces of a chain */
	uint32_t indirect_max; /* pieces of a chain that goes through a table; 0: none does */

	struct vhu_driver_store store;
	uint16_t free_head;
	uint32_t room;	    /* entries that may be added */
	uint32_t nr_chains; /* outstanding */
	uint32_t nr_shown;  /* outstanding and published: what the device may use */
	uint64_t seq_next;  /* of the next chain */
	uint64_t seq_shown; /* below that: published */

	/* In order: the oldest chain, and what is left of a batch that the device used. */
	uint16_t oldest;
	uint32_t batch_left;
	uint32_t batch_len; /* used length of its last chain */
	uint64_t seq_oldest;

	/* The ring. Shared with the device: desc, avail, used (packed: driver and device area). */
	struct vhu_driver_desc *desc;
	union {
		uint16_t *avail;	/* flags, idx, ring[num], used_event */
		uint32_t *driver_event; /* off_wrap, flags << 16 */
	};
	union {
		const uint16_t *used;	      /* flags, idx, elements, avail_event */
		const uint32_t *device_event; /* as driver_event */
	};
	struct vhu_driver_desc *indirect; /* num tables of indirect_max descriptors */
	uint64_t indirect_gpa;

	/* Split: indices. Packed: positions, with their wrap counters. */
	uint16_t next_avail; /* where the next chain goes */
	uint16_t last_used;  /* where the next used element is looked for */
	uint16_t used_seen;  /* split: newest index read from the device */
	uint16_t shown;	     /* split: index as published; packed: first position not published */
	bool avail_wrap, used_wrap;
	uint16_t withheld;  /* packed: flags of the descriptor at shown */
	uint32_t nr_hidden; /* packed: descriptors not published */

	int kick_fd;
	struct vhu_driver_stats stats;

	uint64_t features;
	struct vhu_ring_addr addr;

	/* Used by a device that died, or before a base was asked for, and not yet taken. */
	struct vhu_used *kept; /* num of them, a circle */
	uint32_t kept_first, nr_kept;

	/* Those who keep books on tokens look whether they still hold. */
	uint32_t resets; /* times that everything was forgotten */
	uint32_t deaths; /* times that another device took over */

	struct vhu_driver_store spare;	/* to lay the ring out anew from .store */
	struct vhu_driver_order *order; /* num of them */
	struct vhu_buffer *gather;	/* num of them */
	struct vhu_reason reason;
};

/* Says once that the ring is of no use, and why. -EPROTO. */
VHU_HIDDEN int vhu_driver_break(struct vhu_driver *d, enum vhu_driver_fault fault, uint64_t value);

/*
 * ---- What a layout does; each is called on a ring that is not broken. ----
 */

/* Zeroed memory becomes a ring without chains; the device is asked not to call. */
VHU_HIDDEN void vhu_driver_split_lay(struct vhu_driver *d);
VHU_HIDDEN void vhu_driver_packed_lay(struct vhu_driver *d);
VHU_HIDDEN int vhu_driver_split_add(struct vhu_driver *d, const struct vhu_buffer *buffers,
				    unsigned int nr_read, unsigned int nr_write, uint32_t token);
VHU_HIDDEN int vhu_driver_packed_add(struct vhu_driver *d, const struct vhu_buffer *buffers,
				     unsigned int nr_read, unsigned int nr_write, uint32_t token);
/* Makes what was added visible, at least one chain. */
VHU_HIDDEN void vhu_driver_split_show(struct vhu_driver *d);
VHU_HIDDEN void vhu_driver_packed_show(struct vhu_driver *d);
/* The same; true if the device wants a kick for it. */
VHU_HIDDEN bool vhu_driver_split_publish(struct vhu_driver *d);
VHU_HIDDEN bool vhu_driver_packed_publish(struct vhu_driver *d);
/* The next used chain, see vhu_driver_take(); what was kept is not looked at. */
VHU_HIDDEN int vhu_driver_split_take(struct vhu_driver *d, struct vhu_used *ret_used);
VHU_HIDDEN int vhu_driver_packed_take(struct vhu_driver *d, struct vhu_used *ret_used);
/* Asks for calls from the next used element on, or not at all. */
VHU_HIDDEN void vhu_driver_split_set_calls(struct vhu_driver *d, bool wanted);
VHU_HIDDEN void vhu_driver_packed_set_calls(struct vhu_driver *d, bool wanted);
VHU_HIDDEN bool vhu_driver_split_has_used(const struct vhu_driver *d);
VHU_HIDDEN bool vhu_driver_packed_has_used(const struct vhu_driver *d);
/*
 * Writes the nr outstanding chains of .order once more behind the last used one, as if none had
 * been looked at. Their number of entries is just what is there: ids and next position stay.
 */
VHU_HIDDEN void vhu_driver_split_rewrite(struct vhu_driver *d, uint32_t nr);
VHU_HIDDEN void vhu_driver_packed_rewrite(struct vhu_driver *d, uint32_t nr);

/*
 * ---- What both layouts share, inlined into each. ----
 */

static inline void vhu_driver_count(uint64_t *counter, uint64_t n)
{
	vhu_write_once(counter, *counter + n);
}

/* Entries that a chain takes: 1 if it goes through a table. 0: it cannot be added at all. */
static VHU_ALWAYS_INLINE uint32_t vhu_driver_entries(const struct vhu_driver *d, unsigned int nr)
{
	if (vhu_likely(nr == 1))
		return 1;
	if (nr && nr <= d->indirect_max)
		return 1;
	return nr <= d->chain_max ? nr : 0;
}

/* One piece: what nearly all chains are, so that it has a body of its own. */
static VHU_ALWAYS_INLINE bool vhu_driver_is_single(unsigned int nr_read, unsigned int nr_write)
{
	return vhu_likely((nr_read | nr_write) == 1 && nr_read != nr_write);
}

/* 0 and the length of the writable part; what vhu_driver_add() returns otherwise. */
static VHU_ALWAYS_INLINE int
vhu_driver_judge(const struct vhu_driver *d, const struct vhu_buffer *buffers, unsigned int nr_read,
		 unsigned int nr_write, bool single, uint32_t *ret_entries, uint32_t *ret_write_len)
{
	uint64_t read_len = 0, write_len = 0;
	unsigned int i;

	*ret_entries = 1;
	if (!single) {
		/* each below what their sum could wrap at */
		if (vhu_unlikely(nr_read > VHU_MAX_RING_SIZE || nr_write > VHU_MAX_RING_SIZE))
			return -EINVAL;
		*ret_entries = vhu_driver_entries(d, nr_read + nr_write);
		if (vhu_unlikely(!*ret_entries))
			return -EINVAL;
	}
	if (vhu_unlikely(*ret_entries > d->room))
		return -ENOSPC;
	if (single) {
		*ret_write_len = nr_write ? buffers[0].len : 0;
		return 0;
	}
	for (i = 0; i < nr_read; i++)
		read_len += buffers[i].len;
	for (; i < nr_read + nr_write; i++)
		write_len += buffers[i].len;
	/* virtio 1.2, 2.7.5.2: not longer than 2^32 bytes; a used length has 32 bits */
	if (vhu_unlikely(read_len > UINT32_MAX || write_len > UINT32_MAX))
		return -EINVAL;
	*ret_write_len = (uint32_t)write_len;
	return 0;
}

/* Notes a chain whose slots, from the first free one to last, were filled. */
static VHU_ALWAYS_INLINE void vhu_driver_note(struct vhu_driver *d, uint16_t last, uint32_t entries,
					      unsigned int nr_read, unsigned int nr_write,
					      uint32_t write_len, uint32_t token)
{
	struct vhu_driver_chain *chain = &d->store.chains[d->free_head];

	chain->seq = d->seq_next++;
	chain->token = token;
	chain->write_len = write_len;
	chain->nr = (uint16_t)entries;
	chain->last = last;
	chain->nr_read = (uint16_t)nr_read;
	chain->nr_write = (uint16_t)nr_write;
	d->free_head = d->store.slots[last].next;
	d->room -= entries;
	d->nr_chains++;
}

static VHU_ALWAYS_INLINE bool vhu_driver_is_indirect(const struct vhu_driver_chain *chain)
{
	return (uint32_t)chain->nr_read + chain->nr_write > chain->nr;
}

/* Judges a used element, read once, in the order in which it becomes certain what it speaks of. */
static VHU_ALWAYS_INLINE int vhu_driver_judge_used(struct vhu_driver *d, uint32_t id, uint32_t len)
{
	const struct vhu_driver_chain *chain;

	if (vhu_unlikely(id >= d->num))
		return vhu_driver_break(d, VHU_DRV_USED_RANGE, id);
	chain = &d->store.chains[id];
	if (vhu_unlikely(!chain->nr))
		return vhu_driver_break(d, VHU_DRV_USED_UNKNOWN, id);
	if (vhu_unlikely(chain->seq >= d->seq_shown))
		return vhu_driver_break(d, VHU_DRV_USED_EARLY, id);
	if (vhu_unlikely(len > chain->write_len))
		return vhu_driver_break(d, VHU_DRV_USED_LEN, len);
	return 0;
}

/* The chain is used: its slots are free. Returns how many they were. */
static VHU_ALWAYS_INLINE uint16_t vhu_driver_complete(struct vhu_driver *d, uint32_t id,
						      uint32_t len, struct vhu_used *ret_used)
{
	struct vhu_driver_chain *chain = &d->store.chains[id];
	uint16_t nr = chain->nr;

	ret_used->token = chain->token;
	ret_used->len = len;
	chain->nr = 0;
	d->room += nr;
	d->nr_chains--;
	d->nr_shown--;
	if (!d->in_order) {
		d->store.slots[chain->last].next = d->free_head;
		d->free_head = (uint16_t)id;
	}
	return nr;
}

/*
 * In order (virtio 1.2, 2.7.9 and 2.8.8): the device names the last chain of a batch; those before
 * it were used completely. Completes the oldest chain.
 */
static VHU_ALWAYS_INLINE uint16_t vhu_driver_complete_oldest(struct vhu_driver *d,
							     struct vhu_used *ret_used)
{
	const struct vhu_driver_chain *chain = &d->store.chains[d->oldest];
	uint32_t id = d->oldest;
	uint32_t len = --d->batch_left ? chain->write_len : d->batch_len;

	d->oldest = d->store.slots[chain->last].next;
	d->seq_oldest++;
	return vhu_driver_complete(d, id, len, ret_used);
}

/* Begins a batch that ends with chain id, which was judged. Its number of chains. */
static VHU_ALWAYS_INLINE uint64_t vhu_driver_batch(const struct vhu_driver *d, uint32_t id)
{
	return d->store.chains[id].seq - d->seq_oldest + 1;
}

static VHU_ALWAYS_INLINE void vhu_driver_store_desc(struct vhu_driver_desc *desc, uint64_t addr,
						    uint64_t rest)
{
	vhu_write_once(&desc->addr, addr);
	vhu_write_once(&desc->rest, rest);
}

static inline struct vhu_driver_desc *vhu_driver_table(const struct vhu_driver *d, uint32_t id,
						       uint64_t *ret_gpa)
{
	uint64_t first = (uint64_t)id * d->indirect_max;

	*ret_gpa = d->indirect_gpa + first * VHU_DRV_DESC_SIZE;
	return d->indirect + first;
}

static inline struct vhu_buffer *vhu_driver_table_copy(const struct vhu_driver_store *store,
						       uint32_t indirect_max, uint32_t id)
{
	return store->tables + (uint64_t)id * indirect_max;
}

#endif
