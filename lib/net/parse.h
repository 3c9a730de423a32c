/* SPDX-License-Identifier: MIT */
/*
 * Where the headers of a frame lie. Knows nothing of offloads.
 */
#ifndef VHU_NET_PARSE_H
#define VHU_NET_PARSE_H

#include <base/bits.h>

enum {
	VHU_ETH_LEN = 14,
	VHU_VLAN_LEN = 4,
	VHU_VLAN_TAGS_MAX = 2,
	VHU_IPV4_LEN = 20,
	VHU_IPV6_LEN = 40,
	VHU_TCP_LEN = 20,
	VHU_UDP_LEN = 8,
	VHU_IPV6_FRAG_LEN = 8,

	VHU_ETHERTYPE_IPV4 = 0x0800,
	VHU_ETHERTYPE_VLAN = 0x8100,
	VHU_ETHERTYPE_IPV6 = 0x86dd,
	VHU_ETHERTYPE_QINQ = 0x88a8,

	/* Protocols, and IPv6 headers of the same number space. */
	VHU_PROTO_HOP_BY_HOP = 0,
	VHU_PROTO_TCP = 6,
	VHU_PROTO_UDP = 17,
	VHU_PROTO_ROUTING = 43,
	VHU_PROTO_FRAGMENT = 44,
	VHU_PROTO_DEST_OPTIONS = 60,

	/* Offsets in their headers. */
	VHU_TCP_CSUM = 16,
	VHU_UDP_CSUM = 6,
};

/* Offsets from the frame's first byte. */
struct vhu_net_layout {
	uint16_t l3;	  /* behind the Ethernet header and its VLAN tags */
	uint16_t l4;	  /* behind the IP header with its options, or the IPv6 extension headers */
	uint16_t payload; /* behind the TCP or UDP header; l4 if it is neither */
	uint16_t frag;	  /* where the part begins that IP fragments */
	uint16_t frag_next; /* IPv6: the byte that names the header at frag */
	uint16_t ethertype; /* behind the tags */
	uint8_t version;    /* 4, 6; 0: not IP, what is neither l3 nor ethertype is 0 */
	uint8_t proto;	    /* of l4 */
	bool is_fragment;   /* the datagram is not whole, or has a fragment header */
	bool is_routed;	    /* IPv6: a routing header; the final address may be another */
};

/*
 * The length of the Ethernet header with up to two VLAN tags; a tag that is cut short counts as
 * what it is: payload. 0 if there is no whole Ethernet header.
 */
VHU_HIDDEN size_t vhu_net_l2_len(const uint8_t *head, size_t head_len, uint16_t *ret_ethertype);

/* -EPROTO: a header is not all within head_len, or is none. head has to be private memory. */
VHU_HIDDEN int vhu_net_parse(const uint8_t *head, size_t head_len,
			     struct vhu_net_layout *ret_layout);

#endif
