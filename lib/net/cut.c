/* SPDX-License-Identifier: MIT */
/*
 * Cuts a TCP frame, or one of many UDP datagrams, into segments of its gso_size. Knows no rings.
 *
 * The headers are written once and amended for each segment; what lies behind is never copied.
 */
#include <net/cut.h>

#include <errno.h>

#include <net/bytes.h>
#include <net/slice.h>

enum {
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
};

struct cut {
	const struct vhu_net_layout *at;
	uint64_t pseudo_sum;
	uint32_t tcp_seq;
	uint16_t ipv4_id;
	uint8_t tcp_flags;
	bool is_udp;
	bool is_offloaded;
	struct vhu_net_slicer slicer;
};

uint64_t vhu_net_pseudo_sum(const uint8_t *head, uint32_t len, const struct vhu_net_layout *layout,
			    uint32_t csum_offset)
{
	const uint8_t *ip = head + layout->l3;
	struct vhu_csum csum = { 0 };

	if (layout->is_routed) {
		const uint32_t l4_len = len - layout->l4;

		/* In ones' complement, adding the complement takes away. */
		csum.sum = vhu_csum_load(head + layout->l4 + csum_offset);
		vhu_csum_add_be16(&csum, (uint16_t)~l4_len);
		vhu_csum_add_be16(&csum, (uint16_t) ~(l4_len >> 16));
		return csum.sum;
	}
	if (layout->version == 4)
		vhu_csum_add(&csum, ip + 12, 8);
	else
		vhu_csum_add(&csum, ip + 8, 32);
	vhu_csum_add_be16(&csum, layout->proto);
	return csum.sum;
}

void vhu_net_store_csum(uint8_t *field, const struct vhu_csum *csum, bool is_udp)
{
	uint16_t result = (uint16_t)~vhu_csum_fold(csum->sum);

	if (is_udp && !result)
		result = 0xffff;
	vhu_csum_store(field, result);
}

void vhu_net_put_ip_len(uint8_t *ip, const struct vhu_net_layout *layout, uint32_t len,
			uint16_t ipv4_id)
{
	struct vhu_csum csum = { 0 };

	if (layout->version == 6) {
		vhu_put_be16(ip + 4, len - VHU_IPV6_LEN);
		return;
	}
	vhu_put_be16(ip + 2, len);
	vhu_put_be16(ip + 4, ipv4_id);
	vhu_put_be16(ip + 10, 0);
	vhu_csum_add(&csum, ip, (size_t)layout->l4 - layout->l3);
	vhu_net_store_csum(ip + 10, &csum, false);
}

/* Amends the headers for segment number index, whose payload is in the slicer. */
static void seal(struct cut *cut, uint32_t index, uint32_t gso_size, bool is_last)
{
	const struct vhu_net_layout *at = cut->at;
	struct vhu_net_slicer *slicer = &cut->slicer;
	uint8_t *l4 = slicer->head + at->l4;
	uint8_t *field = l4 + (cut->is_udp ? VHU_UDP_CSUM : VHU_TCP_CSUM);
	const uint32_t len = slicer->out.len;
	struct vhu_csum csum = { .sum = cut->pseudo_sum };

	vhu_net_put_ip_len(slicer->head + at->l3, at, len - at->l3,
			   (uint16_t)(cut->ipv4_id + index));
	if (cut->is_udp) {
		vhu_put_be16(l4 + 4, len - at->l4);
	} else {
		uint8_t flags = cut->tcp_flags;

		if (!is_last)
			flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		if (index)
			flags &= (uint8_t)~TCP_CWR;
		l4[13] = flags;
		vhu_put_be32(l4 + 4, cut->tcp_seq + index * gso_size);
	}
	vhu_csum_add_be16(&csum, len - at->l4);
	if (cut->is_offloaded) {
		vhu_csum_store(field, vhu_csum_fold(csum.sum));
		return;
	}
	vhu_csum_store(field, 0);
	vhu_csum_add(&csum, l4, (size_t)slicer->out.head_len - at->l4);
	for (unsigned int i = 0; i < slicer->out.nr_iov; i++)
		vhu_csum_add(&csum, slicer->iov[i].iov_base, slicer->iov[i].iov_len);
	vhu_net_store_csum(field, &csum, cut->is_udp);
}

static int check(const struct vhu_net_frame *frame, const struct vhu_net_layout *at)
{
	const uint32_t payload = frame->len - at->payload;
	const uint32_t size = vhu_min_u32(frame->hdr.gso_size, payload);
	uint32_t ip_len = at->payload + size - at->l3;

	if (!frame->hdr.gso_size || payload / frame->hdr.gso_size >= VHU_NET_SEGMENTS_MAX)
		return -EPROTO;
	/* The IP header's length field has 16 bits; IPv6 does not count its own header. */
	if (at->version == 6)
		ip_len -= VHU_IPV6_LEN;
	return ip_len > UINT16_MAX ? -EPROTO : 0;
}

int vhu_net_cut(const struct vhu_net_frame *frame, const struct vhu_net_layout *layout,
		bool is_offloaded, vhu_net_emit_fn *emit, void *arg)
{
	const uint8_t *l4 = frame->head + layout->l4;
	const uint32_t hdr_len = layout->payload;
	struct cut cut; /* 17 KiB: what is read is set below, piece by piece */
	struct vhu_net_slicer *slicer = &cut.slicer;
	bool is_last = false;
	int err;

	err = check(frame, layout);
	if (!err)
		err = vhu_net_slicer_init(slicer, frame, hdr_len);
	if (err)
		return err;
	cut.at = layout;
	cut.is_udp = layout->proto == VHU_PROTO_UDP;
	cut.is_offloaded = is_offloaded;
	cut.pseudo_sum = vhu_net_pseudo_sum(frame->head, frame->len, layout,
					    cut.is_udp ? VHU_UDP_CSUM : VHU_TCP_CSUM);
	cut.ipv4_id = vhu_get_be16(frame->head + layout->l3 + 4);
	cut.tcp_seq = vhu_get_be32(l4 + 4);
	cut.tcp_flags = cut.is_udp ? 0 : l4[13];
	memcpy(slicer->head, frame->head, hdr_len);
	if (is_offloaded) {
		slicer->out.hdr.flags = VHU_NET_HDR_NEEDS_CSUM;
		slicer->out.hdr.csum_start = layout->l4;
		slicer->out.hdr.csum_offset = frame->hdr.csum_offset;
	}
	for (uint32_t i = 0; !is_last; i++) {
		const uint32_t left = slicer->len - slicer->pos;
		const uint32_t size = vhu_min_u32(frame->hdr.gso_size, left);

		is_last = size == left;
		vhu_net_slice(slicer, hdr_len, size);
		seal(&cut, i, frame->hdr.gso_size, is_last);
		err = emit(arg, &slicer->out);
		if (err < 0)
			return err;
	}
	return 0;
}
