/* SPDX-License-Identifier: MIT */
/*
 * The virtio_net_hdr of a frame: whether it can be, and what a receiver takes. Knows no rings.
 */
#include <vhu/net.h>
#include <vhu/wire.h>

#include <errno.h>

#include <net/cut.h>
#include <net/parse.h>

const char *vhu_net_drop_name(enum vhu_net_drop drop)
{
	static const char *const names[VHU_NET_DROP_END] = {
		[VHU_NET_DROP_BAD_CHAIN] = "bad_chain", [VHU_NET_DROP_SHORT] = "short",
		[VHU_NET_DROP_LONG] = "long",		[VHU_NET_DROP_BAD_HDR] = "bad_hdr",
		[VHU_NET_DROP_DISABLED] = "disabled",
	};

	return (unsigned int)drop < VHU_NET_DROP_END ? names[drop] : "unknown";
}

/* What the specification ties to a segmentation type; a type not listed does not exist. */
struct gso_row {
	const char *name;
	uint8_t type;
	uint8_t feature;     /* the sender's bit */
	uint8_t min_size;    /* of a segment */
	uint8_t csum_offset; /* of the protocol that is cut */
};

/*
 * The least size for TCP is that of Linux (a sender's least MSS of 48 less 40 bytes of options);
 * that for UFO is one unit of the fragment offset.
 */
static const struct gso_row gso_rows[] = {
	{ "TCPV4", VHU_NET_GSO_TCPV4, VHU_NET_F_HOST_TSO4_BIT, 8, VHU_TCP_CSUM },
	{ "TCPV6", VHU_NET_GSO_TCPV6, VHU_NET_F_HOST_TSO6_BIT, 8, VHU_TCP_CSUM },
	{ "UDP", VHU_NET_GSO_UDP, VHU_NET_F_HOST_UFO_BIT, 8, VHU_UDP_CSUM },
	{ "UDP_L4", VHU_NET_GSO_UDP_L4, VHU_NET_F_HOST_USO_BIT, 1, VHU_UDP_CSUM },
};

static int check_csum(const struct vhu_net_hdr *hdr, uint32_t len, uint64_t features,
		      struct vhu_reason *why)
{
	if (!vhu_has_bit(features, VHU_NET_F_CSUM_BIT))
		return vhu_refuse(why, -EPROTO, "NEEDS_CSUM: CSUM was not agreed");
	/* The Ethernet header was judged by whoever forwards: no checksum may be written into it. */
	if (hdr->csum_start < VHU_ETH_LEN)
		return vhu_refuse(why, -EPROTO, "csum_start %u lies in the Ethernet header",
				  hdr->csum_start);
	if (hdr->csum_start >= len)
		return vhu_refuse(why, -EPROTO, "csum_start %u lies beyond the frame's %u bytes",
				  hdr->csum_start, len);
	if (!vhu_range_within(hdr->csum_offset, 2, len - hdr->csum_start))
		return vhu_refuse(why, -EPROTO, "csum_start %u + csum_offset %u: frame of %u bytes",
				  hdr->csum_start, hdr->csum_offset, len);
	return 0;
}

static int check_gso(const struct vhu_net_hdr *hdr, uint32_t len, uint64_t features,
		     struct vhu_reason *why)
{
	const uint8_t type = hdr->gso_type & (uint8_t)~VHU_NET_GSO_ECN;
	const struct gso_row *row = gso_rows;

	while (row < gso_rows + VHU_ARRAY_SIZE(gso_rows) && row->type != type)
		row++;
	if (row == gso_rows + VHU_ARRAY_SIZE(gso_rows))
		return vhu_refuse(why, -EPROTO, "gso_type 0x%x is unknown", hdr->gso_type);
	if (!vhu_has_bit(features, row->feature))
		return vhu_refuse(why, -EPROTO, "gso_type %s: %s was not agreed", row->name,
				  vhu_feature_name(row->feature));
	if (hdr->gso_type & VHU_NET_GSO_ECN) {
		if (row->csum_offset != VHU_TCP_CSUM)
			return vhu_refuse(why, -EPROTO, "gso_type %s with ECN", row->name);
		if (!vhu_has_bit(features, VHU_NET_F_HOST_ECN_BIT))
			return vhu_refuse(why, -EPROTO,
					  "gso_type with ECN: HOST_ECN was not agreed");
	}
	if (!(hdr->flags & VHU_NET_HDR_NEEDS_CSUM))
		return vhu_refuse(why, -EPROTO, "gso_type %s without NEEDS_CSUM", row->name);
	if (hdr->csum_offset != row->csum_offset)
		return vhu_refuse(why, -EPROTO, "gso_type %s: csum_offset is %u, not %u", row->name,
				  hdr->csum_offset, row->csum_offset);
	if (hdr->gso_size < row->min_size)
		return vhu_refuse(why, -EPROTO, "gso_type %s: gso_size is %u, below %u", row->name,
				  hdr->gso_size, row->min_size);
	/* One buffer of the sender's may not cost a receiver, or us, any amount of work. */
	if ((len - hdr->csum_start) / hdr->gso_size >= VHU_NET_SEGMENTS_MAX)
		return vhu_refuse(why, -EPROTO,
				  "gso_size %u cuts %u bytes into more than %d segments",
				  hdr->gso_size, len, VHU_NET_SEGMENTS_MAX);
	return 0;
}

int vhu_net_hdr_check(const struct vhu_net_hdr *hdr, uint32_t len, uint64_t features,
		      struct vhu_reason *why)
{
	int err = 0;

	/* hdr_len is a hint (virtio 1.2, 5.1.6.2.2); nothing here or elsewhere goes by it. */
	if (hdr->flags & VHU_NET_HDR_NEEDS_CSUM)
		err = check_csum(hdr, len, features, why);
	if (!err && hdr->gso_type != VHU_NET_GSO_NONE)
		err = check_gso(hdr, len, features, why);
	return err;
}

uint32_t vhu_net_caps(uint64_t features)
{
	static const struct {
		uint8_t feature;
		uint8_t cap;
	} rows[] = {
		{ VHU_NET_F_GUEST_TSO4_BIT, VHU_NET_CAP_TSO4 },
		{ VHU_NET_F_GUEST_TSO6_BIT, VHU_NET_CAP_TSO6 },
		{ VHU_NET_F_GUEST_UFO_BIT, VHU_NET_CAP_UFO },
		{ VHU_NET_F_GUEST_USO4_BIT, VHU_NET_CAP_USO4 },
		{ VHU_NET_F_GUEST_USO6_BIT, VHU_NET_CAP_USO6 },
	};
	uint32_t caps = VHU_NET_CAP_CSUM;

	/* Each of the others needs GUEST_CSUM, and ECN needs TSO (virtio 1.2, 5.1.3.1). */
	if (!vhu_has_bit(features, VHU_NET_F_GUEST_CSUM_BIT))
		return 0;
	for (size_t i = 0; i < VHU_ARRAY_SIZE(rows); i++)
		if (vhu_has_bit(features, rows[i].feature))
			caps |= rows[i].cap;
	if (caps & (VHU_NET_CAP_TSO4 | VHU_NET_CAP_TSO6) &&
	    vhu_has_bit(features, VHU_NET_F_GUEST_ECN_BIT))
		caps |= VHU_NET_CAP_ECN;
	return caps;
}
