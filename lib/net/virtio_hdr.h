/* SPDX-License-Identifier: MIT */
/*
 * The net header as it lies in a ring (virtio 1.2, 5.1.6), to and from the form that is judged.
 */
#ifndef VHU_NET_VIRTIO_HDR_H
#define VHU_NET_VIRTIO_HDR_H

#include <vhu/net.h>

struct vhu_virtio_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers; /* not there in the 10-byte form */
};

static inline void vhu_virtio_hdr_unpack(const struct vhu_virtio_net_hdr *raw,
					 struct vhu_net_hdr *ret)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): hdr_len, which raw was filled with, is not 0 */
	ret->flags = raw->flags;
	ret->gso_type = raw->gso_type;
	ret->hdr_len = raw->hdr_len;
	ret->gso_size = raw->gso_size;
	ret->csum_start = raw->csum_start;
	ret->csum_offset = raw->csum_offset;
}

static inline void vhu_virtio_hdr_pack(const struct vhu_net_hdr *hdr, uint16_t num_buffers,
				       struct vhu_virtio_net_hdr *ret_raw)
{
	ret_raw->flags = hdr->flags;
	ret_raw->gso_type = hdr->gso_type;
	ret_raw->hdr_len = hdr->hdr_len;
	ret_raw->gso_size = hdr->gso_size;
	ret_raw->csum_start = hdr->csum_start;
	ret_raw->csum_offset = hdr->csum_offset;
	ret_raw->num_buffers = num_buffers;
}

#endif
