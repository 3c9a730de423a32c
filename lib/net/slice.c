/* SPDX-License-Identifier: MIT */
/*
 * The walk along a frame's head and pieces while it is cut. Knows nothing of protocols.
 */
#include <net/slice.h>

#include <errno.h>
#include <string.h>

int vhu_net_slicer_init(struct vhu_net_slicer *slicer, const struct vhu_net_frame *frame,
			uint32_t pos)
{
	uint64_t len = frame->head_len;

	for (unsigned int i = 0; i < frame->nr_iov; i++)
		len += frame->iov[i].iov_len;
	if (len != frame->len || frame->nr_iov > VHU_NET_IOV_MAX ||
	    frame->head_len > VHU_NET_HEAD_MAX || pos > frame->head_len)
		return -EPROTO;
	slicer->src = frame->head;
	slicer->src_len = frame->head_len;
	slicer->pos = pos;
	slicer->len = frame->len;
	slicer->piece = frame->iov;
	slicer->piece_pos = 0;
	slicer->out = (struct vhu_net_frame){ .head = slicer->head, .iov = slicer->iov };
	return 0;
}

static void slice_pieces(struct vhu_net_slicer *slicer, struct iovec *iov, uint32_t size)
{
	while (size) {
		const size_t left = slicer->piece->iov_len - slicer->piece_pos;
		const size_t n = left < size ? left : size;

		if (n) {
			iov->iov_base = (uint8_t *)slicer->piece->iov_base + slicer->piece_pos;
			iov->iov_len = n;
			iov++;
			size -= (uint32_t)n;
			slicer->piece_pos += n;
		}
		if (slicer->piece_pos == slicer->piece->iov_len) {
			slicer->piece++;
			slicer->piece_pos = 0;
		}
	}
	slicer->out.nr_iov = (uint16_t)(iov - slicer->iov);
}

void vhu_net_slice(struct vhu_net_slicer *slicer, uint32_t hdr_len, uint32_t size)
{
	struct iovec *iov = slicer->iov;
	uint32_t n;

	slicer->out.len = hdr_len + size;
	slicer->out.head_len = (uint16_t)hdr_len;
	if (slicer->pos < slicer->src_len) {
		n = vhu_min_u32(size, slicer->src_len - slicer->pos);
		n = vhu_min_u32(n, VHU_NET_HEAD_MAX - hdr_len);
		memcpy(slicer->head + hdr_len, slicer->src + slicer->pos, n);
		slicer->out.head_len = (uint16_t)(hdr_len + n);
		slicer->pos += n;
		size -= n;
		/* Longer headers than before: a few bytes of the old head find no room. */
		n = vhu_min_u32(size, slicer->src_len - slicer->pos);
		if (n) {
			iov->iov_base = (void *)(uintptr_t)(slicer->src + slicer->pos);
			iov->iov_len = n;
			iov++;
			slicer->pos += n;
			size -= n;
		}
	}
	slicer->pos += size;
	slice_pieces(slicer, iov, size);
}
