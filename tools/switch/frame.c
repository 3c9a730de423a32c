// SPDX-License-Identifier: MIT
/* Looks at, and rewrites, the private head of one frame; never at what still lies in guest memory. */

#include <string.h>

#include "switch/frame.h"

enum {
	TYPE_IPV4 = 0x0800,
	TYPE_RARP = 0x8035,
	TYPE_VLAN = 0x8100,
	TYPE_IPV6 = 0x86dd,
	TYPE_QINQ = 0x88a8,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

enum sw_verdict sw_frame_judge(const struct vhu_net_frame *frame, const struct sw_vlans *vlans,
			       struct sw_judged *ret_judged)
{
	static const uint8_t link_local[5] = { 0x01, 0x80, 0xc2, 0x00, 0x00 };
	static const uint8_t nobody[6];
	const uint8_t *head = frame->head;
	unsigned int vid;

	*ret_judged = (struct sw_judged){ .is_group = head[0] & 1 };
	if (head[6] & 1 || !memcmp(head + 6, nobody, 6))
		return SW_BAD_SOURCE;
	if (!memcmp(head, link_local, sizeof(link_local)) && head[5] < 0x10)
		return SW_LINK_LOCAL;
	if (vlans->mode == SW_VLAN_UNAWARE)
		return SW_PASS;

	if (get16(head + 12) == TYPE_VLAN) {
		/* Half a tag is none that could be stripped. */
		if (frame->head_len < SW_ETH_LEN + SW_TAG_LEN)
			return SW_BAD_VLAN;
		ret_judged->is_tagged = true;
		ret_judged->tci = get16(head + 14);
	}
	vid = ret_judged->tci & 0xfff;
	if (vlans->mode == SW_VLAN_ACCESS) {
		/* A tag of VLAN 0 carries a priority and no VLAN: IEEE 802.1Q, 9.6. */
		if (vid)
			return SW_BAD_VLAN;
		ret_judged->vlan = vlans->access;
		return SW_PASS;
	}
	if (!vid || !sw_vlans_has(vlans, vid))
		return SW_BAD_VLAN;
	ret_judged->vlan = (uint16_t)vid;
	return SW_PASS;
}

/* Offsets of the net header are from the frame's first byte, so they move with what follows. */
static bool move_offsets(struct vhu_net_hdr *hdr, unsigned int min, int by)
{
	if (hdr->flags & VHU_NET_HDR_NEEDS_CSUM) {
		if (hdr->csum_start < min || hdr->csum_start + by > UINT16_MAX)
			return false;
		hdr->csum_start = (uint16_t)(hdr->csum_start + by);
	}
	/* A hint only, and not always a good one. */
	if (hdr->hdr_len >= min && hdr->hdr_len + by <= UINT16_MAX)
		hdr->hdr_len = (uint16_t)(hdr->hdr_len + by);
	return true;
}

bool sw_frame_untag(const struct vhu_net_frame *frame, struct sw_space *space,
		    struct vhu_net_frame *ret)
{
	*ret = *frame;
	if (frame->head_len < SW_ETH_LEN + SW_TAG_LEN ||
	    !move_offsets(&ret->hdr, SW_ETH_LEN + SW_TAG_LEN, -SW_TAG_LEN))
		return false;
	memcpy(space->head, frame->head, 12);
	memcpy(space->head + 12, frame->head + 16, frame->head_len - 16u);
	ret->head = space->head;
	ret->head_len = (uint16_t)(frame->head_len - SW_TAG_LEN);
	ret->len = frame->len - SW_TAG_LEN;
	return true;
}

/* What of a head is too much for a head becomes a piece; it stays a private copy all the same. */
static bool split_head(struct sw_space *space, struct vhu_net_frame *frame)
{
	size_t excess = frame->head_len - (size_t)VHU_NET_HEAD_MAX;

	if (frame->nr_iov >= VHU_NET_IOV_MAX)
		return false;
	space->iov[0].iov_base = space->head + VHU_NET_HEAD_MAX;
	space->iov[0].iov_len = excess;
	if (frame->nr_iov)
		memcpy(space->iov + 1, frame->iov, frame->nr_iov * sizeof(*frame->iov));
	frame->iov = space->iov;
	frame->nr_iov++;
	frame->head_len = VHU_NET_HEAD_MAX;
	return true;
}

bool sw_frame_tag(const struct vhu_net_frame *frame, uint16_t tci, struct sw_space *space,
		  struct vhu_net_frame *ret)
{
	*ret = *frame;
	if (frame->head_len < SW_ETH_LEN || frame->len > VHU_NET_FRAME_MAX - SW_TAG_LEN ||
	    !move_offsets(&ret->hdr, SW_ETH_LEN, SW_TAG_LEN))
		return false;
	memcpy(space->head, frame->head, 12);
	put16(space->head + 12, TYPE_VLAN);
	put16(space->head + 14, tci);
	memcpy(space->head + 16, frame->head + 12, frame->head_len - 12u);
	ret->head = space->head;
	ret->head_len = (uint16_t)(frame->head_len + SW_TAG_LEN);
	ret->len = frame->len + SW_TAG_LEN;
	return ret->head_len <= VHU_NET_HEAD_MAX || split_head(space, ret);
}

static uint32_t mix(uint32_t hash, const uint8_t *bytes, unsigned int len)
{
	while (len--)
		hash = (hash ^ *bytes++) * UINT32_C(16777619);
	return hash;
}

/* Where the payload of the Ethernet frame begins, and its type. */
static unsigned int skip_tags(const struct vhu_net_frame *frame, uint16_t *ret_type)
{
	unsigned int at = SW_ETH_LEN;
	uint16_t type = get16(frame->head + 12);

	for (int i = 0; i < 2 && (type == TYPE_VLAN || type == TYPE_QINQ); i++) {
		if (frame->head_len < at + SW_TAG_LEN)
			break;
		type = get16(frame->head + at + 2);
		at += SW_TAG_LEN;
	}
	*ret_type = type;
	return at;
}

uint32_t sw_frame_flow(const struct vhu_net_frame *frame)
{
	const uint8_t *head = frame->head;
	uint32_t hash = UINT32_C(2166136261);
	unsigned int at, ports = 0;
	uint16_t type;
	uint8_t proto = 0;

	at = skip_tags(frame, &type);
	if (type == TYPE_IPV4 && frame->head_len >= at + 20) {
		proto = head[at + 9];
		hash = mix(hash, head + at + 12, 8);
		/* The fragments of a datagram stay together: none is told by its ports. */
		if (!(get16(head + at + 6) & 0x3fff))
			ports = at + (head[at] & 15) * 4u;
	} else if (type == TYPE_IPV6 && frame->head_len >= at + 40) {
		proto = head[at + 6];
		hash = mix(hash, head + at + 8, 32);
		ports = at + 40;
	} else {
		hash = mix(hash, head, 12);
	}
	if (ports && (proto == PROTO_TCP || proto == PROTO_UDP) && frame->head_len >= ports + 4)
		hash = mix(hash, head + ports, 4);
	hash ^= hash >> 15;
	return hash * UINT32_C(0x2c1b3c6d) >> 8;
}

bool sw_frame_keeps_mtu(const struct vhu_net_frame *frame, unsigned int mtu)
{
	unsigned int at, l4 = frame->hdr.csum_start, l4_len = 8;
	uint16_t type;

	at = skip_tags(frame, &type);
	switch (frame->hdr.gso_type & ~VHU_NET_GSO_ECN) {
	case VHU_NET_GSO_NONE:
		return frame->len - at <= mtu;
	case VHU_NET_GSO_UDP:
		/* A fragment repeats what comes before UDP; IPv6 has a header for it (RFC 8200, 4.5). */
		l4_len = type == TYPE_IPV6 ? 8 : 0;
		break;
	case VHU_NET_GSO_UDP_L4:
		break;
	default:
		/* A segment repeats the headers; the length of TCP's stands in its 13th byte. */
		l4_len = l4 + 12u < frame->head_len ? (frame->head[l4 + 12] >> 4) * 4u : 20;
	}
	if (l4 < at)
		l4 = at;
	return l4 - at + l4_len + frame->hdr.gso_size <= mtu;
}

unsigned int sw_frame_rarp(uint8_t bytes[64], const uint8_t mac[6])
{
	memset(bytes, 0, 64);
	memset(bytes, 0xff, 6);
	memcpy(bytes + 6, mac, 6);
	put16(bytes + 12, TYPE_RARP);
	put16(bytes + 14, 1); /* Ethernet */
	put16(bytes + 16, TYPE_IPV4);
	bytes[18] = 6;
	bytes[19] = 4;
	put16(bytes + 20, 3); /* request reverse */
	memcpy(bytes + 22, mac, 6);
	memcpy(bytes + 32, mac, 6);
	return 60;
}
