/* SPDX-License-Identifier: MIT */
/*
 * Makes a frame fit for a receiver that agreed on less than its sender. Knows no rings.
 *
 * What is decided here is decided by the frame's private head. Pieces are read to sum them up and
 * for nothing else: if they change meanwhile, the sender has spoilt a frame of its own.
 */
#include <vhu/net.h>

#include <errno.h>

#include <net/cut.h>

/* The caps that a receiver has to have; UINT32_MAX if it is beyond all of them. */
static uint32_t caps_needed(const struct vhu_net_frame *frame)
{
	const struct vhu_net_hdr *hdr = &frame->hdr;
	uint32_t caps = 0;
	uint16_t ethertype = 0;

	if (hdr->flags & ~(VHU_NET_HDR_NEEDS_CSUM | VHU_NET_HDR_DATA_VALID))
		return UINT32_MAX;
	if (hdr->flags || hdr->gso_type)
		caps |= VHU_NET_CAP_CSUM;
	if (hdr->gso_type & VHU_NET_GSO_ECN)
		caps |= VHU_NET_CAP_ECN;
	switch (hdr->gso_type & ~VHU_NET_GSO_ECN) {
	case VHU_NET_GSO_NONE:
		return caps;
	case VHU_NET_GSO_TCPV4:
		return caps | VHU_NET_CAP_TSO4;
	case VHU_NET_GSO_TCPV6:
		return caps | VHU_NET_CAP_TSO6;
	case VHU_NET_GSO_UDP:
		return caps | VHU_NET_CAP_UFO;
	case VHU_NET_GSO_UDP_L4:
		vhu_net_l2_len(frame->head, frame->head_len, &ethertype);
		if (ethertype == VHU_ETHERTYPE_IPV4)
			return caps | VHU_NET_CAP_USO4;
		if (ethertype == VHU_ETHERTYPE_IPV6)
			return caps | VHU_NET_CAP_USO6;
		return UINT32_MAX;
	default:
		return UINT32_MAX;
	}
}

bool vhu_net_fits(const struct vhu_net_frame *frame, uint32_t caps)
{
	if (vhu_likely(!(frame->hdr.flags | frame->hdr.gso_type)))
		return true;
	return !(caps_needed(frame) & ~caps);
}

static int complete_csum(const struct vhu_net_frame *frame, vhu_net_emit_fn *emit, void *arg)
{
	const uint32_t start = frame->hdr.csum_start;
	const uint32_t field = start + frame->hdr.csum_offset;
	struct {
		uint8_t room[VHU_NET_HEAD_ROOM];
		uint8_t head[VHU_NET_HEAD_MAX];
	} buf;
	struct vhu_net_frame out = *frame;
	struct vhu_csum csum = { 0 };
	uint16_t ethertype;
	size_t l2_len;

	if (frame->head_len > VHU_NET_HEAD_MAX || !vhu_range_within(field, 2, frame->head_len))
		return -EPROTO;
	/* Addresses and VLAN tags were judged by whoever forwards: they stay as they are. */
	l2_len = vhu_net_l2_len(frame->head, frame->head_len, &ethertype);
	if (!l2_len || start < l2_len)
		return -EPROTO;
	memcpy(buf.head, frame->head, frame->head_len);
	/* The field holds the pseudo header's sum and counts with the rest. */
	vhu_csum_add(&csum, buf.head + start, frame->head_len - start);
	for (unsigned int i = 0; i < frame->nr_iov; i++)
		vhu_csum_add(&csum, frame->iov[i].iov_base, frame->iov[i].iov_len);
	/* No other protocol has its field there: it is UDP, whatever lies before. */
	vhu_net_store_csum(buf.head + field, &csum, frame->hdr.csum_offset == VHU_UDP_CSUM);
	out.head = buf.head;
	out.hdr = (struct vhu_net_hdr){ 0 };
	return emit(arg, &out);
}

static int cut_gso(const struct vhu_net_frame *frame, uint32_t caps, vhu_net_emit_fn *emit,
		   void *arg)
{
	const struct vhu_net_hdr *hdr = &frame->hdr;
	const uint8_t type = hdr->gso_type & (uint8_t)~VHU_NET_GSO_ECN;
	const bool is_tcp = type == VHU_NET_GSO_TCPV4 || type == VHU_NET_GSO_TCPV6;
	const bool is_offloaded = caps & VHU_NET_CAP_CSUM;
	struct vhu_net_layout layout;
	int err;

	if (!is_tcp && type != VHU_NET_GSO_UDP && type != VHU_NET_GSO_UDP_L4)
		return -EOPNOTSUPP;
	err = vhu_net_parse(frame->head, frame->head_len, &layout);
	if (err)
		return err;
	if (layout.is_fragment || (type == VHU_NET_GSO_TCPV4 && layout.version != 4) ||
	    (type == VHU_NET_GSO_TCPV6 && layout.version != 6) ||
	    layout.proto != (is_tcp ? VHU_PROTO_TCP : VHU_PROTO_UDP))
		return -EPROTO;
	/* Whoever sums up something else than this header means a frame within the frame. */
	if (!(hdr->flags & VHU_NET_HDR_NEEDS_CSUM) || hdr->csum_start != layout.l4 ||
	    hdr->csum_offset != (is_tcp ? VHU_TCP_CSUM : VHU_UDP_CSUM))
		return -EPROTO;
	if (type == VHU_NET_GSO_UDP)
		return vhu_net_fragment(frame, &layout, is_offloaded, emit, arg);
	return vhu_net_cut(frame, &layout, is_offloaded, emit, arg);
}

int vhu_net_fit(const struct vhu_net_frame *frame, uint32_t caps,
		int (*emit)(void *arg, const struct vhu_net_frame *frame), void *arg)
{
	struct vhu_net_frame plain = *frame;
	int err;

	if (!vhu_net_fits(&plain, caps))
		/* Flags that nobody asked for are no reason to work: without them it may fit. */
		plain.hdr.flags &= VHU_NET_HDR_NEEDS_CSUM;
	if (vhu_net_fits(&plain, caps))
		err = emit(arg, &plain);
	else if (frame->hdr.gso_type != VHU_NET_GSO_NONE)
		err = cut_gso(frame, caps, emit, arg);
	else
		err = complete_csum(frame, emit, arg);
	return err < 0 ? err : 0;
}
