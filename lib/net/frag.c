/* SPDX-License-Identifier: MIT */
/*
 * Makes IP fragments of a UDP datagram that was handed over whole (UFO). Knows no rings.
 *
 * The fragments cannot have their checksum completed by the receiver, so that is done here. The
 * gso_size counts the datagram's bytes in a fragment, UDP header included, as Linux has it.
 */
#include <net/cut.h>

#include <errno.h>
#include <time.h>

#include <net/bytes.h>
#include <net/slice.h>

enum {
	IPV4_MORE = 0x2000,
	IPV6_MORE = 0x1,
	FRAG_UNIT = 8,
};

/* The fragments of two datagrams must not be taken for one another: no number comes twice soon. */
static uint32_t ipv6_id(void)
{
	struct timespec now = { 0 };
	uint32_t id;

	clock_gettime(CLOCK_MONOTONIC, &now);
	id = (uint32_t)now.tv_sec * 1000000000U + (uint32_t)now.tv_nsec;
	/* One-to-one, and not to be guessed at a glance: the finish of MurmurHash3. */
	id = (id ^ id >> 16) * 0x85ebca6bU;
	id = (id ^ id >> 13) * 0xc2b2ae35U;
	return id ^ id >> 16;
}

/* Completes the datagram's checksum in head, a copy of the frame's. */
static void complete(uint8_t *head, const struct vhu_net_frame *frame,
		     const struct vhu_net_layout *at, bool is_offloaded)
{
	uint8_t *field = head + at->l4 + VHU_UDP_CSUM;
	struct vhu_csum csum = { 0 };

	csum.sum = vhu_net_pseudo_sum(head, frame->len, at, VHU_UDP_CSUM);
	vhu_csum_add_be16(&csum, frame->len - at->l4);
	if (is_offloaded) {
		vhu_csum_store(field, vhu_csum_fold(csum.sum));
		return;
	}
	vhu_csum_store(field, 0);
	vhu_csum_add(&csum, head + at->l4, (size_t)frame->head_len - at->l4);
	for (unsigned int i = 0; i < frame->nr_iov; i++)
		vhu_csum_add(&csum, frame->iov[i].iov_base, frame->iov[i].iov_len);
	vhu_net_store_csum(field, &csum, true);
}

/* The datagram fits into one packet after all. */
static int emit_whole(const struct vhu_net_frame *frame, const struct vhu_net_layout *at,
		      bool is_offloaded, vhu_net_emit_fn *emit, void *arg)
{
	struct {
		uint8_t room[VHU_NET_HEAD_ROOM];
		uint8_t head[VHU_NET_HEAD_MAX];
	} buf;
	struct vhu_net_frame out = *frame;

	memcpy(buf.head, frame->head, frame->head_len);
	vhu_net_put_ip_len(buf.head + at->l3, at, frame->len - at->l3,
			   vhu_get_be16(frame->head + at->l3 + 4));
	complete(buf.head, frame, at, is_offloaded);
	out.head = buf.head;
	out.hdr = (struct vhu_net_hdr){ 0 };
	if (is_offloaded) {
		out.hdr.flags = VHU_NET_HDR_NEEDS_CSUM;
		out.hdr.csum_start = at->l4;
		out.hdr.csum_offset = VHU_UDP_CSUM;
	}
	return emit(arg, &out);
}

/* Writes the headers that all fragments share; the length of them. */
static uint32_t put_headers(uint8_t *out, const uint8_t *src, const struct vhu_net_layout *at)
{
	memcpy(out, src, at->frag);
	if (at->version == 4)
		return at->frag;
	out[at->frag] = src[at->frag_next];
	out[at->frag + 1] = 0;
	out[at->frag_next] = VHU_PROTO_FRAGMENT;
	vhu_put_be32(out + at->frag + 4, ipv6_id());
	return at->frag + (uint32_t)VHU_IPV6_FRAG_LEN;
}

static int emit_fragments(struct vhu_net_slicer *slicer, const struct vhu_net_layout *at,
			  uint32_t unit, vhu_net_emit_fn *emit, void *arg)
{
	const uint32_t hdr_len = put_headers(slicer->head, slicer->src, at);
	uint8_t *ip = slicer->head + at->l3;
	const uint16_t id = vhu_get_be16(ip + 4);
	bool is_last = false;
	int err;

	while (!is_last) {
		const uint32_t offset = slicer->pos - at->frag;
		const uint32_t left = slicer->len - slicer->pos;
		const uint32_t size = vhu_min_u32(unit, left);

		is_last = size == left;
		vhu_net_slice(slicer, hdr_len, size);
		if (at->version == 4)
			vhu_put_be16(ip + 6, offset / FRAG_UNIT | (is_last ? 0 : IPV4_MORE));
		else
			vhu_put_be16(slicer->head + at->frag + 2,
				     offset | (is_last ? 0 : IPV6_MORE));
		vhu_net_put_ip_len(ip, at, slicer->out.len - at->l3, id);
		err = emit(arg, &slicer->out);
		if (err < 0)
			return err;
	}
	return 0;
}

int vhu_net_fragment(const struct vhu_net_frame *frame, const struct vhu_net_layout *layout,
		     bool is_offloaded, vhu_net_emit_fn *emit, void *arg)
{
	const uint32_t unit = frame->hdr.gso_size / FRAG_UNIT * FRAG_UNIT;
	const uint32_t datagram = frame->len - layout->frag;
	struct vhu_net_slicer slicer; /* 17 KiB: what is read is set below, piece by piece */
	uint8_t head[VHU_NET_HEAD_MAX];
	struct vhu_net_frame completed = *frame;
	int err;

	if (!unit || datagram / unit >= VHU_NET_SEGMENTS_MAX ||
	    frame->len - layout->l3 > UINT16_MAX)
		return -EPROTO;
	err = vhu_net_slicer_init(&slicer, frame, layout->frag);
	if (err)
		return err;
	if (datagram <= frame->hdr.gso_size)
		return emit_whole(frame, layout, is_offloaded, emit, arg);
	/* The fragment header makes the head longer: its end may need a piece of its own. */
	if (layout->version == 6 && frame->nr_iov == VHU_NET_IOV_MAX)
		return -EOPNOTSUPP;
	memcpy(head, frame->head, frame->head_len);
	complete(head, frame, layout, false);
	completed.head = head;
	slicer.src = completed.head;
	return emit_fragments(&slicer, layout, unit, emit, arg);
}
