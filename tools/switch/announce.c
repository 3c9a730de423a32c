// SPDX-License-Identifier: MIT
/*
 * Announces a station that has come to a port, by frames as if it had sent them: what becomes of them
 * is forward.c's affair.
 *
 * On a trunk it has come to each of the port's VLANs. Those may be 4094, so they take turns with the
 * work of others: the next one stands in the port's order, above the station's address.
 */

#include <string.h>

#include "switch/announce.h"

enum {
	VLAN_SHIFT = 48,
	FRAME_MAX = 64 + SW_TAG_LEN,
};

#define VLAN_MASK (UINT64_C(0xfff) << VLAN_SHIFT)

struct space {
	uint8_t room[VHU_NET_HEAD_ROOM];
	uint8_t bytes[FRAME_MAX];
};

static void make(struct space *space, const uint8_t mac[6], unsigned int vlan,
		 struct vhu_net_frame *ret_frame)
{
	uint8_t *bytes = space->bytes;
	unsigned int len = sw_frame_rarp(bytes, mac);

	if (vlan) {
		memmove(bytes + 12 + SW_TAG_LEN, bytes + 12, len - 12);
		bytes[12] = 0x81;
		bytes[13] = 0x00;
		bytes[14] = (uint8_t)(vlan >> 8);
		bytes[15] = (uint8_t)vlan;
		len += SW_TAG_LEN;
	}
	*ret_frame = (struct vhu_net_frame){ .head = bytes, .head_len = (uint16_t)len, .len = len };
}

bool sw_announce(struct sw_forward *fwd, const struct sw_view *view, struct sw_queue *queue)
{
	struct sw_port *port = queue->port;
	uint64_t order = atomic_load(&port->rarp), rest = 0;
	unsigned int vlan = (unsigned int)(order >> VLAN_SHIFT & 0xfff), nr = 0;
	struct vhu_net_frame frames[VHU_NET_BURST];
	struct space space[VHU_NET_BURST];
	uint8_t mac[6];

	if (!order)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(order >> (40 - 8 * i));
	if (port->spec.vlans.mode != SW_VLAN_TRUNK) {
		make(&space[0], mac, 0, &frames[0]);
		nr = 1;
		vlan = SW_VLAN_MAX + 1;
	}
	for (; vlan <= SW_VLAN_MAX && nr < VHU_NET_BURST; vlan++)
		if (sw_vlans_has(&port->spec.vlans, vlan)) {
			make(&space[nr], mac, vlan, &frames[nr]);
			nr++;
		}
	if (nr)
		sw_forward_burst(fwd, view, queue, frames, nr);
	if (vlan <= SW_VLAN_MAX)
		rest = (order & ~VLAN_MASK) | (uint64_t)vlan << VLAN_SHIFT;
	/* if another one has come meanwhile, it is that one's turn, from its first VLAN on */
	if (atomic_compare_exchange_strong(&port->rarp, &order, rest))
		return rest;
	return true;
}
