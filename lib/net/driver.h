/* SPDX-License-Identifier: MIT */
/*
 * What transmit and receive rings have in common on the driver's side: their options, and how a
 * buffer is cut into pieces. Knows nothing of what frames say.
 */
#ifndef VHU_NET_DRIVER_SHAPE_H
#define VHU_NET_DRIVER_SHAPE_H

#include <vhu/net_driver.h>

#include <ring/driver.h>

enum {
	VHU_NET_PIECES_MAX = 64,
	VHU_NET_SLOT_ALIGN = 64,
	VHU_NET_SLOT_HEAD = 16, /* the header ends there, the frame is aligned to that */
};

struct vhu_net_shape {
	uint32_t hdr_len;
	uint32_t frame_max;
	uint32_t pieces;
	uint32_t entries; /* of the ring, that a buffer takes */
	uint32_t nr_buffers;
};

/* 0 and the options with their defaults filled in, or -EINVAL. */
VHU_HIDDEN int vhu_net_judge_options(const struct vhu_net_ring_options *options,
				     struct vhu_net_shape *ret_shape);
VHU_HIDDEN int vhu_net_new_ring(const struct vhu_net_ring_options *options,
				const struct vhu_net_shape *shape, struct vhu_driver **ret_driver);
/*
 * The header of hdr_len bytes at gpa apart, then len bytes in at most pieces - 1 equal parts, none
 * of them empty. The number of pieces.
 */
VHU_HIDDEN unsigned int vhu_net_cut_pieces(uint64_t gpa, uint32_t hdr_len, uint32_t len,
					   uint32_t pieces, struct vhu_buffer *ret_pieces);

#endif
