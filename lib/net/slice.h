/* SPDX-License-Identifier: MIT */
/*
 * Makes many frames out of one: new headers, each with the next bytes of the old frame behind.
 * Knows nothing of protocols.
 *
 * Bytes that lay in the frame's private head are copied to the new head; of the rest the new frame
 * has slices of the sender's pieces.
 */
#ifndef VHU_NET_SLICE_H
#define VHU_NET_SLICE_H

#include <base/bits.h>
#include <vhu/net.h>

struct vhu_net_slicer {
	const uint8_t *src; /* the old head: private, and there until the last new frame is done */
	uint32_t src_len;
	uint32_t pos, len;	   /* of the old frame: the next byte, and where it ends */
	const struct iovec *piece; /* the next byte's, once pos is beyond src_len */
	size_t piece_pos;

	struct vhu_net_frame out; /* the new frame; head and iov point below */
	uint8_t room[VHU_NET_HEAD_ROOM];
	uint8_t head[VHU_NET_HEAD_MAX];
	struct iovec iov[VHU_NET_IOV_MAX + 1]; /* one more for what of src head does not take */
};

/*
 * Begins at byte pos of the frame. -EPROTO: len is not what head_len and the pieces make, or the
 * head is too long, or pos does not lie in it.
 */
VHU_HIDDEN int vhu_net_slicer_init(struct vhu_net_slicer *slicer, const struct vhu_net_frame *frame,
				   uint32_t pos);
/* Puts the next size bytes, which have to be there, behind hdr_len bytes of header in head. */
VHU_HIDDEN void vhu_net_slice(struct vhu_net_slicer *slicer, uint32_t hdr_len, uint32_t size);

#endif
