/* SPDX-License-Identifier: MIT */
/*
 * Makes the view of a ring out of what was said of it: its size, its three parts, its features.
 * Knows nothing of who said so, nor of who will use it.
 */
#ifndef VHU_RING_VIEW_H
#define VHU_RING_VIEW_H

#include <ring/ring.h>

/* Where the parts lie: descriptors, driver (avail) and device (used) area. */
struct vhu_ring_place {
	uint64_t desc, avail, used;
	bool is_uva; /* addresses of the frontend; otherwise guest addresses */
};

/*
 * A view of num entries with what follows from features and place filled in; -EPROTO or -ENOMEM with
 * a reason that begins with "ring i". Freed by free().
 */
VHU_HIDDEN int vhu_view_new(struct vhu_view **ret_view, unsigned int i, uint32_t num,
			    const struct vhu_mem *mem, const struct vhu_ring_place *place,
			    uint64_t features, struct vhu_reason *why);
/* Whether the ring can go on from base. */
VHU_HIDDEN int vhu_view_judge_base(const struct vhu_view *view, unsigned int i, uint32_t base,
				   struct vhu_reason *why);

#endif
