/* SPDX-License-Identifier: MIT */
/*
 * Cutting a frame of the sender's into what a receiver takes. Knows no rings.
 */
#ifndef VHU_NET_CUT_H
#define VHU_NET_CUT_H

#include <base/bits.h>
#include <vhu/net.h>

#include <net/csum.h>
#include <net/parse.h>

enum {
	VHU_NET_SEGMENTS_MAX = 2048, /* out of one frame: 64 KiB in pieces of 32 bytes */
};

typedef int vhu_net_emit_fn(void *arg, const struct vhu_net_frame *frame);

/*
 * The sum over the TCP or UDP pseudo header of the layout's frame, without its length. From the
 * addresses; with an IPv6 routing header, where the address that counts may be elsewhere, from the
 * checksum field, which holds the sum with the length of the whole frame.
 */
VHU_HIDDEN uint64_t vhu_net_pseudo_sum(const uint8_t *head, uint32_t len,
				       const struct vhu_net_layout *layout, uint32_t csum_offset);

/* Stores a checksum at field; for UDP an outcome of zero is stored as its twin (RFC 768). */
VHU_HIDDEN void vhu_net_store_csum(uint8_t *field, const struct vhu_csum *csum, bool is_udp);

/* Stores the length into the IP header of hdr_len + size bytes, and for IPv4 the id and checksum. */
VHU_HIDDEN void vhu_net_put_ip_len(uint8_t *ip, const struct vhu_net_layout *layout, uint32_t len,
				   uint16_t ipv4_id);

/* TSO and USO. is_offloaded: the receiver completes checksums. For the rest see vhu_net_fit(). */
VHU_HIDDEN int vhu_net_cut(const struct vhu_net_frame *frame, const struct vhu_net_layout *layout,
			   bool is_offloaded, vhu_net_emit_fn *emit, void *arg);
/* UFO: IP fragments of one UDP datagram. */
VHU_HIDDEN int vhu_net_fragment(const struct vhu_net_frame *frame,
				const struct vhu_net_layout *layout, bool is_offloaded,
				vhu_net_emit_fn *emit, void *arg);

#endif
