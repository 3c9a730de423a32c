/* SPDX-License-Identifier: MIT */
/*
 * Finds the headers of a frame in its private head. Knows nothing of offloads.
 *
 * Total lengths that headers claim are not looked at: what counts is what is there.
 */
#include <net/parse.h>

#include <errno.h>

#include <net/bytes.h>

size_t vhu_net_l2_len(const uint8_t *head, size_t head_len, uint16_t *ret_ethertype)
{
	size_t len = VHU_ETH_LEN;
	uint16_t type;

	if (head_len < len)
		return 0;
	type = vhu_get_be16(head + len - 2);
	for (int tags = 0; tags < VHU_VLAN_TAGS_MAX; tags++) {
		if (type != VHU_ETHERTYPE_VLAN && type != VHU_ETHERTYPE_QINQ)
			break;
		if (head_len - len < VHU_VLAN_LEN)
			break;
		len += VHU_VLAN_LEN;
		type = vhu_get_be16(head + len - 2);
	}
	*ret_ethertype = type;
	return len;
}

static int parse_ipv4(const uint8_t *head, size_t head_len, struct vhu_net_layout *layout)
{
	const uint8_t *ip = head + layout->l3;
	size_t len;

	if (head_len - layout->l3 < VHU_IPV4_LEN || ip[0] >> 4 != 4)
		return -EPROTO;
	len = (size_t)(ip[0] & 0xf) * 4;
	if (len < VHU_IPV4_LEN || len > head_len - layout->l3)
		return -EPROTO;
	layout->version = 4;
	layout->proto = ip[9];
	/* More fragments, or an offset: the reserved and don't-fragment bits do not count. */
	layout->is_fragment = vhu_get_be16(ip + 6) & 0x3fff;
	layout->l4 = (uint16_t)(layout->l3 + len);
	layout->frag = layout->l4;
	return 0;
}

static int parse_ipv6(const uint8_t *head, size_t head_len, struct vhu_net_layout *layout)
{
	const uint8_t *ip = head + layout->l3;
	size_t next_at = layout->l3 + 6U, at = layout->l3 + (size_t)VHU_IPV6_LEN;

	if (head_len - layout->l3 < VHU_IPV6_LEN || ip[0] >> 4 != 6)
		return -EPROTO;
	layout->frag = (uint16_t)at;
	layout->frag_next = (uint16_t)next_at;
	/* Each round passes eight bytes or more, so head_len bounds it. */
	for (;;) {
		const uint8_t type = head[next_at];
		size_t len;

		if (type != VHU_PROTO_HOP_BY_HOP && type != VHU_PROTO_ROUTING &&
		    type != VHU_PROTO_DEST_OPTIONS && type != VHU_PROTO_FRAGMENT)
			break;
		if (head_len - at < 8)
			return -EPROTO;
		/* The fragment header's second byte is reserved, its length fixed (RFC 8200, 4.5). */
		len = type == VHU_PROTO_FRAGMENT ? 8 : ((size_t)head[at + 1] + 1) * 8;
		if (len > head_len - at)
			return -EPROTO;
		next_at = at;
		at += len;
		if (type == VHU_PROTO_FRAGMENT) {
			layout->is_fragment = true;
			/* Another than the first fragment has no headers behind this one. */
			if (vhu_get_be16(head + next_at + 2) & 0xfff8)
				break;
		} else if (type != VHU_PROTO_DEST_OPTIONS) {
			layout->is_routed |= type == VHU_PROTO_ROUTING;
			layout->frag = (uint16_t)at;
			layout->frag_next = (uint16_t)next_at;
		}
	}
	layout->version = 6;
	layout->proto = head[next_at];
	layout->l4 = (uint16_t)at;
	return 0;
}

static int parse_l4(const uint8_t *head, size_t head_len, struct vhu_net_layout *layout)
{
	const size_t left = head_len - layout->l4;
	size_t len = 0;

	layout->payload = layout->l4;
	if (layout->is_fragment)
		return 0;
	if (layout->proto == VHU_PROTO_TCP) {
		if (left < VHU_TCP_LEN)
			return -EPROTO;
		len = (size_t)(head[layout->l4 + 12] >> 4) * 4;
		if (len < VHU_TCP_LEN)
			return -EPROTO;
	} else if (layout->proto == VHU_PROTO_UDP) {
		len = VHU_UDP_LEN;
	}
	if (len > left)
		return -EPROTO;
	layout->payload = (uint16_t)(layout->l4 + len);
	return 0;
}

int vhu_net_parse(const uint8_t *head, size_t head_len, struct vhu_net_layout *ret_layout)
{
	struct vhu_net_layout layout = { 0 };
	int err = 0;

	if (head_len > UINT16_MAX)
		head_len = UINT16_MAX;
	layout.l3 = (uint16_t)vhu_net_l2_len(head, head_len, &layout.ethertype);
	if (!layout.l3)
		return -EPROTO;
	if (layout.ethertype == VHU_ETHERTYPE_IPV4)
		err = parse_ipv4(head, head_len, &layout);
	else if (layout.ethertype == VHU_ETHERTYPE_IPV6)
		err = parse_ipv6(head, head_len, &layout);
	if (!err && layout.version)
		err = parse_l4(head, head_len, &layout);
	if (err)
		return err;
	*ret_layout = layout;
	return 0;
}
