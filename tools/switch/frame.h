/* SPDX-License-Identifier: MIT */
/*
 * What a bridge has to know of one frame, from its private head only: stations, VLAN, flow, size.
 * Pure functions; ports and rings are not known here.
 */
#ifndef SW_FRAME_H
#define SW_FRAME_H

#include <vhu/net.h>

#include "switch/vlan.h"

enum {
	SW_ETH_LEN = 14,
	SW_TAG_LEN = 4,
};

/* Room for a rewritten frame: its head, and its pieces if the head overflows into one more. */
struct sw_space {
	uint8_t room[VHU_NET_HEAD_ROOM]; /* a pulled frame's head has it too */
	uint8_t head[VHU_NET_HEAD_MAX + SW_TAG_LEN];
	struct iovec iov[VHU_NET_IOV_MAX];
};

/* What becomes of a frame at its port of entry. */
enum sw_verdict {
	SW_PASS,
	SW_BAD_SOURCE, /* a group address or none */
	SW_LINK_LOCAL, /* 01:80:c2:00:00:0x stays on its link: IEEE 802.1Q, 8.6.3 */
	SW_BAD_VLAN,   /* the port does not belong to it */
};

struct sw_judged {
	uint16_t vlan;	/* inside the switch */
	uint16_t tci;	/* of the tag that was looked at; priority alone if there was none */
	bool is_tagged; /* the frame carries a tag that was looked at */
	bool is_group;	/* to be flooded whatever is known */
};

enum sw_verdict sw_frame_judge(const struct vhu_net_frame *frame, const struct sw_vlans *vlans,
			       struct sw_judged *ret_judged);

/*
 * The same frame with its tag taken away, or with a tag put in. The head is a copy in space, the
 * rest is shared with the old frame. False: the header's offsets lie before what is moved, so the
 * frame makes no sense, or it has no room for a tag.
 */
bool sw_frame_untag(const struct vhu_net_frame *frame, struct sw_space *space,
		    struct vhu_net_frame *ret);
bool sw_frame_tag(const struct vhu_net_frame *frame, uint16_t tci, struct sw_space *space,
		  struct vhu_net_frame *ret);

/* Frames of one flow give one number; whatever is no IP over Ethernet is told apart by stations. */
uint32_t sw_frame_flow(const struct vhu_net_frame *frame);

/* Whether what leaves (each segment, if it is to be segmented) keeps to the mtu. */
bool sw_frame_keeps_mtu(const struct vhu_net_frame *frame, unsigned int mtu);

/* A reverse ARP request that announces a station, RFC 903; returns its length, at most 64. */
unsigned int sw_frame_rarp(uint8_t bytes[64], const uint8_t mac[6]);

#endif
