/* SPDX-License-Identifier: MIT */
/*
 * What transmit and receive rings have in common on the driver's side: their options, and how a
 * buffer is cut into pieces. Knows nothing of what frames say.
 */
#include <net/driver.h>

enum {
	FRAME_MAX = 1518 + 4, /* Ethernet with a VLAN tag: what a frame may be if nothing is said */
	FRAME_MIN = 14,
	BUFFERS_MAX = 1 << 20,
};

int vhu_net_judge_options(const struct vhu_net_ring_options *options,
			  struct vhu_net_shape *ret_shape)
{
	struct vhu_net_shape shape = { 0 };

	if (!options || options->size < sizeof(*options))
		return -EINVAL;
	shape.frame_max = options->frame_max ? options->frame_max : FRAME_MAX;
	shape.pieces = options->pieces ? options->pieces : 1;
	if (shape.frame_max < FRAME_MIN || shape.frame_max > VHU_NET_FRAME_MAX ||
	    shape.pieces > VHU_NET_PIECES_MAX || shape.pieces > options->num)
		return -EINVAL;
	/* 5.1.6.1: num_buffers is there with either */
	shape.hdr_len = 10;
	if (vhu_has_bit(options->features, VHU_F_VERSION_1_BIT) ||
	    vhu_has_bit(options->features, VHU_NET_F_MRG_RXBUF_BIT))
		shape.hdr_len = 12;
	shape.entries = shape.pieces;
	if (vhu_has_bit(options->features, VHU_F_INDIRECT_DESC_BIT))
		shape.entries = 1;
	shape.nr_buffers = options->nr_buffers ? options->nr_buffers : options->num / shape.entries;
	if (!shape.nr_buffers || shape.nr_buffers > BUFFERS_MAX)
		return -EINVAL;
	*ret_shape = shape;
	return 0;
}

int vhu_net_new_ring(const struct vhu_net_ring_options *options, const struct vhu_net_shape *shape,
		     struct vhu_driver **ret_driver)
{
	const struct vhu_driver_options ring = {
		.size = sizeof(ring),
		.memory = options->memory,
		.num = options->num,
		.features = options->features,
		.indirect_max = shape->pieces > 1 ? shape->pieces : 0,
	};

	return vhu_driver_new(ret_driver, &ring);
}

unsigned int vhu_net_cut_pieces(uint64_t gpa, uint32_t hdr_len, uint32_t len, uint32_t pieces,
				struct vhu_buffer *ret_pieces)
{
	const uint32_t parts = vhu_min_u32(pieces - 1, len);
	uint32_t done = 0;

	ret_pieces[0] = (struct vhu_buffer){ .gpa = gpa, .len = hdr_len };
	for (uint32_t i = 0; i < parts; i++) {
		uint32_t part = (len - done) / (parts - i);

		ret_pieces[i + 1] = (struct vhu_buffer){ .gpa = gpa + hdr_len + done, .len = part };
		done += part;
	}
	return parts + 1;
}
