/* SPDX-License-Identifier: MIT */
/*
 * What should become of a frame, worked out slowly and compared byte by byte.
 */
#include "net_frames.h"

#include <string.h>

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8 & 0xff);
	p[1] = (uint8_t)(v & 0xff);
}

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] * 256 + p[1];
}

uint16_t ref_sum(const uint8_t *bytes, size_t len, uint32_t begin)
{
	uint32_t sum = begin;

	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] * 256;
		while (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

uint16_t ref_pseudo(const struct flat *flat, uint32_t l4_len)
{
	const uint8_t *ip = flat->bytes + flat->l3;
	uint8_t pseudo[40] = { 0 };

	if (flat->of.version == 4) {
		memcpy(pseudo, ip + 12, 4);
		memcpy(pseudo + 4, flat->final_dst, 4);
		pseudo[9] = (uint8_t)flat->of.proto;
		put16(pseudo + 10, l4_len);
		return ref_sum(pseudo, 12, 0);
	}
	memcpy(pseudo, ip + 8, 16);
	memcpy(pseudo + 16, flat->final_dst, 16);
	pseudo[33] = (uint8_t)(l4_len >> 16);
	put16(pseudo + 34, l4_len);
	pseudo[39] = (uint8_t)flat->of.proto;
	return ref_sum(pseudo, 40, 0);
}

/* Sets lengths, id and checksum of the IP header of a packet that ends at len. */
static void put_ip(uint8_t *packet, const struct flat *flat, uint32_t len, uint32_t ipv4_id)
{
	uint8_t *ip = packet + flat->l3;

	if (flat->of.version == 6) {
		put16(ip + 4, len - flat->l3 - 40);
		return;
	}
	put16(ip + 2, len - flat->l3);
	put16(ip + 4, ipv4_id);
	put16(ip + 10, 0);
	put16(ip + 10, (uint32_t)~ref_sum(ip, flat->l4 - flat->l3, 0));
}

/* Sets the checksum of the TCP segment or UDP datagram that ends at len. */
static void put_csum(uint8_t *packet, const struct flat *flat, uint32_t len, bool offloaded)
{
	const uint32_t at = flat->l4 + (flat->of.proto == 6 ? 16 : 6);
	const uint16_t pseudo = ref_pseudo(flat, len - flat->l4);
	uint16_t csum;

	put16(packet + at, pseudo);
	if (offloaded)
		return;
	csum = (uint16_t)~ref_sum(packet + flat->l4, len - flat->l4, 0);
	if (flat->of.proto == 17 && csum == 0)
		csum = 0xffff;
	put16(packet + at, csum);
}

static const char *check_hdr(const struct vhu_net_hdr *hdr, const struct flat *flat, bool offloaded)
{
	if (hdr->gso_type || hdr->gso_size)
		return "what was emitted still wants to be cut";
	if (hdr->flags != (offloaded ? VHU_NET_HDR_NEEDS_CSUM : 0))
		return "flags";
	if (offloaded &&
	    (hdr->csum_start != flat->l4 || hdr->csum_offset != (flat->of.proto == 6 ? 16 : 6)))
		return "csum_start or csum_offset";
	return NULL;
}

const char *ref_check_cut(const struct flat *flat, const struct vhu_net_hdr *hdr, bool offloaded,
			  const struct catcher *catcher)
{
	static uint8_t expected[VHU_NET_FRAME_MAX];
	const uint32_t seq =
		get16(flat->bytes + flat->l4 + 4) << 16 | get16(flat->bytes + flat->l4 + 6);
	uint32_t at = flat->payload;
	unsigned int nr = 0;

	if (catcher->wrong)
		return catcher->wrong;
	do {
		const uint32_t left = flat->len - at;
		const uint32_t size = left < hdr->gso_size ? left : hdr->gso_size;
		const uint32_t len = flat->payload + size;
		uint8_t *l4 = expected + flat->l4;
		const char *wrong;

		if (nr == catcher->nr)
			return "too few segments";
		if (catcher->len[nr] != len)
			return "a segment's length";
		memcpy(expected, flat->bytes, flat->payload);
		memcpy(expected + flat->payload, flat->bytes + at, size);
		put_ip(expected, flat, len, get16(flat->bytes + flat->l3 + 4) + nr);
		if (flat->of.proto == 6) {
			put16(l4 + 4, (seq + (at - flat->payload)) >> 16);
			put16(l4 + 6, seq + (at - flat->payload));
			if (at != flat->payload)
				l4[13] &= 0x7f; /* CWR */
			if (at + size != flat->len)
				l4[13] &= 0xf6; /* PSH, FIN */
		} else {
			put16(l4 + 4, len - flat->l4);
		}
		put_csum(expected, flat, len, offloaded);
		if (memcmp(expected, catcher->bytes + catcher->at[nr], len) != 0)
			return "a segment's bytes";
		wrong = check_hdr(&catcher->hdr[nr], flat, offloaded);
		if (wrong)
			return wrong;
		at += size;
		nr++;
	} while (at < flat->len);
	return nr == catcher->nr ? NULL : "too many segments";
}

const char *ref_check_complete(const struct flat *flat, const struct catcher *catcher)
{
	static uint8_t expected[VHU_NET_FRAME_MAX];

	if (catcher->wrong)
		return catcher->wrong;
	if (catcher->nr != 1 || catcher->len[0] != flat->len)
		return "not one frame of the same length";
	memcpy(expected, flat->bytes, flat->len);
	put_csum(expected, flat, flat->len, false);
	if (memcmp(expected, catcher->bytes + catcher->at[0], flat->len) != 0)
		return "the bytes";
	return check_hdr(&catcher->hdr[0], flat, false);
}

/* Puts fragments together: each has to lie where the one before ended. */
const char *ref_check_fragments(const struct flat *flat, const struct vhu_net_hdr *hdr,
				bool offloaded, const struct catcher *catcher)
{
	static uint8_t whole[VHU_NET_FRAME_MAX], head[VHU_NET_HEAD_MAX + 8];
	const bool is_cut = flat->len - flat->frag > hdr->gso_size;
	const uint32_t extra = is_cut && flat->of.version == 6 ? 8 : 0;
	const uint32_t unit = hdr->gso_size / 8u * 8u;
	uint32_t at = flat->frag;

	if (catcher->wrong)
		return catcher->wrong;
	memcpy(whole, flat->bytes, flat->len);
	put_csum(whole, flat, flat->len, offloaded && !is_cut);
	for (unsigned int nr = 0; nr < catcher->nr; nr++) {
		const uint8_t *packet = catcher->bytes + catcher->at[nr];
		const uint32_t len = catcher->len[nr];
		const bool more = nr + 1 < catcher->nr;
		const uint32_t size = len - flat->frag - extra;
		const char *wrong = check_hdr(&catcher->hdr[nr], flat, offloaded && !is_cut);

		if (wrong)
			return wrong;
		if (is_cut && more && size != unit)
			return "a fragment's length";
		memcpy(head, flat->bytes, flat->frag);
		if (flat->of.version == 4 && is_cut) {
			put16(head + flat->l3 + 6, (at - flat->frag) / 8 | (more ? 0x2000 : 0));
		} else if (is_cut) {
			head[flat->frag] = head[flat->frag_next];
			head[flat->frag_next] = 44;
			head[flat->frag + 1] = 0;
			put16(head + flat->frag + 2, (at - flat->frag) | more);
			/* Any id will do, but one for all. */
			memcpy(head + flat->frag + 4,
			       catcher->bytes + catcher->at[0] + flat->frag + 4, 4);
		}
		put_ip(head, flat, len, get16(flat->bytes + flat->l3 + 4));
		if (memcmp(head, packet, flat->frag + extra) != 0)
			return "a fragment's headers";
		if (size > flat->len - at)
			return "too much";
		if (memcmp(whole + at, packet + flat->frag + extra, size) != 0)
			return "a fragment's bytes";
		at += size;
	}
	if (at != flat->len)
		return "too little";
	return is_cut == (catcher->nr > 1) ? NULL : "cut without need, or not cut";
}
