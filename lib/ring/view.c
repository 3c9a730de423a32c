/* SPDX-License-Identifier: MIT */
/* Views: sizes, alignments and places of a ring's parts (virtio 1.2, 2.7 and 2.8). Control side. */
#include <ring/view.h>

#include <errno.h>
#include <stdlib.h>

typedef unsigned long long ull; /* for printing */

/* What is asked of one part of a ring. */
struct part {
	const char *name;
	uint64_t addr, len, align;
};

static uint8_t *find(const struct vhu_mem *mem, const struct part *part, bool is_uva,
		     uint64_t *ret_gpa)
{
	uint64_t len = part->len;
	uint8_t *host;

	if (is_uva)
		return vhu_mem_uva(mem, part->addr, part->len, ret_gpa);
	host = vhu_mem_gpa(mem, part->addr, &len);
	*ret_gpa = part->addr;
	return len == part->len ? host : NULL;
}

/* A part of the ring, whole within one region and aligned, or a reason. */
static int translate(const struct vhu_mem *mem, unsigned int i, bool is_uva,
		     const struct part *part, void *ret_host, uint64_t *ret_gpa,
		     struct vhu_reason *why)
{
	uint8_t *host;

	if (part->addr % part->align)
		return vhu_refuse(why, -EPROTO,
				  "ring %u: %s address 0x%llx, must be aligned to %llu", i,
				  part->name, (ull)part->addr, (ull)part->align);
	host = find(mem, part, is_uva, ret_gpa);
	if (!host)
		return vhu_refuse(why, -EPROTO,
				  "ring %u: %s at 0x%llx needs %llu bytes within one region", i,
				  part->name, (ull)part->addr, (ull)part->len);
	/* the region's own place in the file may be odd: what counts for us is our address */
	if ((uintptr_t)host % part->align)
		return vhu_refuse(why, -EPROTO, "ring %u: %s lies unaligned in its file", i,
				  part->name);
	*(uint8_t **)ret_host = host;
	return 0;
}

/* Where the three parts of the ring lie, in the order of SET_VRING_ADDR. */
static int translate_parts(struct vhu_view *view, unsigned int i,
			   const struct vhu_ring_place *place, struct vhu_reason *why)
{
	uint64_t num = view->num, words = view->event_idx ? 2 : 0, avail_gpa;
	const struct part desc = { "desc", place->desc, 16 * num, 16 };
	const struct part avail = { "avail", place->avail, 4 + 2 * num + words, 2 };
	const struct part used = { "used", place->used, 4 + 8 * num + words, 4 };
	const struct part driver = { "avail (driver area)", place->avail, 4, 4 };
	const struct part device = { "used (device area)", place->used, 4, 4 };
	bool is_uva = place->is_uva;
	int err;

	err = translate(view->mem, i, is_uva, &desc,
			view->packed ? (void *)&view->ring : (void *)&view->desc, &view->desc_gpa,
			why);
	if (err)
		return err;
	if (view->packed) {
		err = translate(view->mem, i, is_uva, &driver, &view->driver_event, &avail_gpa,
				why);
		if (err)
			return err;
		return translate(view->mem, i, is_uva, &device, &view->device_event,
				 &view->used_gpa, why);
	}
	err = translate(view->mem, i, is_uva, &avail, &view->avail, &avail_gpa, why);
	if (err)
		return err;
	return translate(view->mem, i, is_uva, &used, &view->used, &view->used_gpa, why);
}

/* Size and base are judged when they are sent, and here, where it is certain which layout it is. */
static int judge_num(unsigned int i, uint32_t num, bool packed, struct vhu_reason *why)
{
	if (packed || vhu_is_power_of_two(num))
		return 0;
	return vhu_refuse(why, -EPROTO, "ring %u: num %u, must be a power of two in a split ring",
			  i, num);
}

int vhu_view_judge_base(const struct vhu_view *view, unsigned int i, uint32_t base,
			struct vhu_reason *why)
{
	if (vhu_ring_base_is_good(base, view->num, view->packed))
		return 0;
	return vhu_refuse(why, -EPROTO, "ring %u: base 0x%x, has %s", i, base,
			  view->packed ? "indices within the ring, no further apart than its size" :
					 "16 bits in a split ring");
}

int vhu_view_new(struct vhu_view **ret_view, unsigned int i, uint32_t num,
		 const struct vhu_mem *mem, const struct vhu_ring_place *place, uint64_t features,
		 struct vhu_reason *why)
{
	struct vhu_view *view = calloc(1, sizeof(*view));
	int err;

	if (!view)
		return vhu_refuse(why, -ENOMEM, "ring %u: out of memory", i);
	view->mem = mem;
	view->num = num;
	view->features = features;
	view->packed = vhu_has_bit(features, VHU_F_RING_PACKED_BIT);
	view->event_idx = vhu_has_bit(features, VHU_F_EVENT_IDX_BIT);
	view->in_order = vhu_has_bit(features, VHU_F_IN_ORDER_BIT);
	view->indirect = vhu_has_bit(features, VHU_F_INDIRECT_DESC_BIT);
	view->call_fd = view->err_fd = -1;
	err = judge_num(i, num, view->packed, why);
	if (!err)
		err = translate_parts(view, i, place, why);
	if (err) {
		free(view);
		return err;
	}
	*ret_view = view;
	return 0;
}
