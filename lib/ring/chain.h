/* SPDX-License-Identifier: MIT */
/*
 * What the two layouts have in common on the device's side: elements of a chain, indirect tables,
 * ids that are taken, plain chains. Knows neither ring. Only split.c and packed.c
 * include it; the compiler makes one variant for each.
 */
#ifndef VHU_RING_CHAIN_H
#define VHU_RING_CHAIN_H

#include <base/bits.h>
#include <base/copy.h>
#include <ring/ring.h>

/* Where descriptors of a chain are read from: the ring's table, or an indirect one. */
struct desc_table {
	const struct vhu_desc *host; /* NULL: in pieces, read through mem */
	const struct vhu_mem *mem;
	uint64_t gpa;
	uint32_t nr;
};

/* A descriptor of either layout, from its two words. next is the id of a packed one. */
static VHU_ALWAYS_INLINE void unpack_desc(uint64_t addr, uint64_t rest, bool packed,
					  struct vhu_desc *ret)
{
	ret->addr = addr;
	ret->len = (uint32_t)rest;
	ret->flags = (uint16_t)(packed ? rest >> 48 : rest >> 32);
	ret->next = (uint16_t)(packed ? rest >> 32 : rest >> 48);
}

static VHU_ALWAYS_INLINE void read_host(const struct vhu_desc *table, uint32_t i, bool packed,
					struct vhu_desc *ret)
{
	const uint64_t *word = (const uint64_t *)(const void *)&table[i];

	unpack_desc(vhu_read_once(&word[0]), vhu_read_once(&word[1]), packed, ret);
}

static VHU_ALWAYS_INLINE bool read_desc(const struct desc_table *t, uint32_t i, bool packed,
					struct vhu_desc *ret)
{
	uint64_t copy[2];

	if (vhu_likely(t->host != NULL)) {
		read_host(t->host, i, packed, ret);
		return true;
	}
	if (vhu_mem_read(t->mem, t->gpa + (uint64_t)i * sizeof(copy), copy, sizeof(copy))) {
		return false;
	}
	unpack_desc(copy[0], copy[1], packed, ret);
	return true;
}

/* Turns to an indirect table, judged from the copy of the descriptor that names it. */
static __attribute__((noinline)) enum vhu_ring_fault enter_indirect(const struct vhu_view *view,
								    const struct vhu_desc *d,
								    struct desc_table *t,
								    uint64_t *ret_value)
{
	uint32_t limit = view->num > VHU_CHAIN_MAX ? view->num : VHU_CHAIN_MAX;
	uint64_t contiguous = d->len;
	const uint8_t *host;

	*ret_value = d->len;
	if (!view->indirect)
		return VHU_FAULT_INDIRECT_OFF;
	if (d->flags & VHU_DESC_F_NEXT)
		return VHU_FAULT_INDIRECT_NEXT;
	if (d->flags & VHU_DESC_F_WRITE)
		return VHU_FAULT_INDIRECT_WRITE;
	if (!d->len || d->len % sizeof(*d) || d->len / sizeof(*d) > limit)
		return VHU_FAULT_INDIRECT_SIZE;
	*ret_value = d->addr;
	if (vhu_range_wraps(d->addr, d->len))
		return VHU_FAULT_ADDRESS;
	host = vhu_mem_gpa(view->mem, d->addr, &contiguous);
	if (!host)
		return VHU_FAULT_ADDRESS;
	/* an odd address or a table across regions is read in pieces */
	if (contiguous < d->len || (uintptr_t)host % _Alignof(uint64_t))
		host = NULL;
	t->host = (const struct vhu_desc *)(const void *)host;
	t->gpa = d->addr;
	t->nr = d->len / (uint32_t)sizeof(*d);
	return VHU_FAULT_NONE;
}

static VHU_ALWAYS_INLINE enum vhu_ring_fault refuse(struct vhu_chain *chain,
						    enum vhu_ring_fault fault, uint64_t value)
{
	chain->value = value;
	return fault;
}

/*
 * Adds the pieces of one element to those in segs. Its address is judged even if its length is 0.
 * No pointer into chain is made: it can live in registers.
 */
static VHU_ALWAYS_INLINE enum vhu_ring_fault add_element(const struct vhu_view *view,
							 const struct vhu_desc *d,
							 struct vhu_seg *segs, unsigned int max,
							 struct vhu_chain *chain)
{
	unsigned int before = (unsigned int)chain->nr_read + chain->nr_write, nr = before;
	bool write = d->flags & VHU_DESC_F_WRITE;
	uint32_t total = write ? chain->write_len : chain->read_len;
	uint64_t gpa = d->addr;
	uint32_t left = d->len;

	if (write)
		chain->writable = true;
	else if (vhu_unlikely(chain->writable))
		return refuse(chain, VHU_FAULT_ORDER, chain->id);
	if (vhu_unlikely(vhu_range_wraps(gpa, left)))
		return refuse(chain, VHU_FAULT_ADDRESS, gpa);
	if (vhu_unlikely(left > UINT32_MAX - total))
		return refuse(chain, VHU_FAULT_LENGTH, gpa);
	total += left;
	do {
		uint64_t part = left ? left : 1;
		uint8_t *host = vhu_mem_gpa(view->mem, gpa, &part);

		if (vhu_unlikely(!host))
			return refuse(chain, VHU_FAULT_ADDRESS, gpa);
		if (!left)
			break;
		if (vhu_unlikely(nr >= max))
			return refuse(chain, VHU_FAULT_PIECES, gpa);
		segs[nr++] = (struct vhu_seg){ .host = host, .gpa = gpa, .len = (uint32_t)part };
		gpa += part;
		left -= (uint32_t)part;
	} while (left);
	if (write) {
		chain->write_len = total;
		chain->nr_write = (uint16_t)(chain->nr_write + nr - before);
	} else {
		chain->read_len = total;
		chain->nr_read = (uint16_t)(chain->nr_read + nr - before);
	}
	return VHU_FAULT_NONE;
}

/* Marks an id as taken, until the next publication, or breaks the ring: false. */
static VHU_ALWAYS_INLINE bool take_id(struct vhu_queue *q, const struct vhu_view *view, uint16_t id)
{
	if (vhu_unlikely(id >= view->num)) {
		vhu_queue_break(q, view, VHU_FAULT_HEAD_RANGE, id);
		return false;
	}
	if (vhu_unlikely(q->stamp[id] == q->now)) {
		vhu_queue_break(q, view, VHU_FAULT_HEAD_TWICE, id);
		return false;
	}
	q->stamp[id] = q->now;
	return true;
}

/* The region where the last piece lay: the next mostly lies there too. */
struct plain_place {
	const struct vhu_mem *mem;
	uint64_t gpa, size;
	uint8_t *host;
};

/* Apart, and without a pointer to any place: a place stays in registers. */
static __attribute__((noinline)) const struct vhu_mem_region *find_region(const struct vhu_mem *mem,
									  uint64_t gpa)
{
	return vhu_mem_region_of(mem, gpa);
}

/* Whether [off, off + len) lies in a place and is not empty. An address below it is a huge off. */
static VHU_ALWAYS_INLINE bool is_within(const struct plain_place *p, uint64_t off, uint32_t len)
{
	/* not the case if the end wraps, nor if len is 0 */
	return off < off + len && off + len <= p->size;
}

/* False: it is empty, or does not lie in one region. */
static VHU_ALWAYS_INLINE bool find_plain(struct plain_place *p, uint64_t gpa, uint32_t len,
					 struct vhu_seg *ret)
{
	uint64_t off = gpa - p->gpa, len_and_no_more = len;

	if (vhu_unlikely(!is_within(p, off, len))) {
		const struct vhu_mem_region *r = find_region(p->mem, gpa);

		if (!r)
			return false;
		p->gpa = r->gpa;
		p->size = r->size;
		p->host = r->host;
		off = gpa - p->gpa;
		if (!is_within(p, off, len))
			return false;
	}
	ret->host = p->host + off;
	ret->gpa = gpa;
	/* both words in one store */
	_Static_assert(offsetof(struct vhu_seg, more) ==
			       offsetof(struct vhu_seg, len) + sizeof(len),
		       "the one follows the other");
	__builtin_memcpy((uint8_t *)ret + offsetof(struct vhu_seg, len), &len_and_no_more,
			 sizeof(len_and_no_more));
	return true;
}

/*
 * The beginning of a chain's piece number n will be needed soon: a header, and that of the frame. Where
 * there are more, there is enough to do.
 */
static VHU_ALWAYS_INLINE void ask_for(uint8_t *host, uint32_t n, const bool write)
{
	if (n >= 2)
		return;
	if (write)
		vhu_prefetch_write(host);
	else
		vhu_prefetch_read(host);
}

/*
 * A table of a plain chain, judged from the copy of the descriptor that names it. False: whatever
 * is wrong with it is said by enter_indirect().
 */
static VHU_ALWAYS_INLINE bool enter_plain(const struct vhu_view *view, struct plain_place *place,
					  const struct vhu_desc *d,
					  const struct vhu_desc **ret_table, uint32_t *ret_nr)
{
	struct vhu_seg seg;

	if (!view->indirect || d->flags & (VHU_DESC_F_NEXT | VHU_DESC_F_WRITE) ||
	    d->len % sizeof(*d) || d->len / sizeof(*d) > VHU_CHAIN_MAX ||
	    !find_plain(place, d->addr, d->len, &seg) || (uintptr_t)seg.host % _Alignof(uint64_t))
		return false;
	*ret_table = (const struct vhu_desc *)(const void *)seg.host;
	*ret_nr = d->len / (uint32_t)sizeof(*d);
	return true;
}

#endif
