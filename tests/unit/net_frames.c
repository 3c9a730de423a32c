/* SPDX-License-Identifier: MIT */
/*
 * Builds frames out of random numbers, and collects what comes out of vhu_net_fit().
 */
#include "net_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint32_t rnd_below(struct rnd *rnd, uint32_t n)
{
	/* splitmix64 */
	uint64_t z = rnd->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) % n);
}

static void rnd_fill(struct rnd *rnd, uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)rnd_below(rnd, 256);
}

void flat_random_sample(struct rnd *rnd, struct sample *ret_sample)
{
	static const uint8_t exts[] = { 0, 43, 60 };
	struct sample s = { 0 };

	s.nr_vlan = rnd_below(rnd, 3);
	s.version = rnd_one_in(rnd, 2) ? 4 : 6;
	s.proto = rnd_one_in(rnd, 2) ? 6 : 17;
	s.ip_options = rnd_one_in(rnd, 2) ? 0 : rnd_below(rnd, 11) * 4;
	s.tcp_options = rnd_one_in(rnd, 2) ? 12 : rnd_below(rnd, 11) * 4;
	s.tcp_flags = (uint8_t)rnd_below(rnd, 256);
	if (rnd_one_in(rnd, 2)) {
		s.nr_ext = rnd_below(rnd, 4);
		for (unsigned int i = 0; i < s.nr_ext; i++) {
			s.ext[i] = exts[rnd_below(rnd, 3)];
			s.ext_units[i] = (uint8_t)rnd_below(rnd, 4);
		}
	}
	s.payload_len = rnd_one_in(rnd, 3) ? rnd_below(rnd, 65000) : rnd_below(rnd, 5000);
	if (rnd_one_in(rnd, 20))
		s.payload_len = rnd_below(rnd, 3);
	*ret_sample = s;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8 & 0xff);
	p[1] = (uint8_t)(v & 0xff);
}

static uint32_t build_ipv4(const struct sample *s, struct flat *flat)
{
	uint8_t *ip = flat->bytes + flat->l3;
	const uint32_t hdr_len = 20 + s->ip_options;

	ip[0] = (uint8_t)(0x40 | hdr_len / 4);
	put16(ip + 6, 0x4000);
	ip[9] = (uint8_t)s->proto;
	memcpy(flat->final_dst, ip + 16, 4);
	flat->l4 = flat->l3 + hdr_len;
	flat->frag = flat->l4;
	return hdr_len;
}

static uint32_t build_ipv6(struct rnd *rnd, const struct sample *s, struct flat *flat)
{
	uint8_t *ip = flat->bytes + flat->l3;
	uint32_t next_at = flat->l3 + 6, at = flat->l3 + 40;

	ip[0] = (uint8_t)(0x60 | (ip[0] & 15));
	memcpy(flat->final_dst, ip + 24, 16);
	flat->frag = at;
	flat->frag_next = next_at;
	for (unsigned int i = 0; i < s->nr_ext; i++) {
		flat->bytes[next_at] = s->ext[i];
		flat->bytes[at + 1] = s->ext_units[i];
		next_at = at;
		at += 8 + 8 * (uint32_t)s->ext_units[i];
		if (s->ext[i] == 43)
			rnd_fill(rnd, flat->final_dst, 16);
		if (s->ext[i] != 60) {
			flat->frag = at;
			flat->frag_next = next_at;
		}
	}
	flat->bytes[next_at] = (uint8_t)s->proto;
	flat->l4 = at;
	return at - flat->l3;
}

void flat_build(struct rnd *rnd, const struct sample *sample, struct flat *ret_flat)
{
	struct flat *flat = ret_flat;
	uint32_t at = 12;
	uint8_t *l4;

	flat->of = *sample;
	/* What is not set below stays random; all of a frame's bytes can be. */
	rnd_fill(rnd, flat->bytes, 400);
	for (unsigned int i = 0; i < sample->nr_vlan; i++, at += 4)
		put16(flat->bytes + at, i + 1 < sample->nr_vlan ? 0x88a8 : 0x8100);
	put16(flat->bytes + at, sample->version == 4 ? 0x0800 : 0x86dd);
	flat->l3 = at + 2;
	if (sample->version == 4)
		build_ipv4(sample, flat);
	else
		build_ipv6(rnd, sample, flat);
	flat->payload = flat->l4 + (sample->proto == 6 ? 20 + sample->tcp_options : 8);
	flat->len = flat->payload + sample->payload_len;
	rnd_fill(rnd, flat->bytes + flat->payload, sample->payload_len);
	/* A run of ones makes for carries. */
	if (sample->payload_len && rnd_one_in(rnd, 4))
		memset(flat->bytes + flat->payload, 0xff, sample->payload_len);
	if (sample->version == 4)
		put16(flat->bytes + flat->l3 + 2, flat->len - flat->l3);
	else
		put16(flat->bytes + flat->l3 + 4, flat->len - flat->l3 - 40);
	l4 = flat->bytes + flat->l4;
	if (sample->proto == 6) {
		l4[12] = (uint8_t)((20 + sample->tcp_options) / 4 << 4 | (l4[12] & 15));
		l4[13] = sample->tcp_flags;
	} else {
		put16(l4 + 4, flat->len - flat->l4);
	}
	put16(l4 + (sample->proto == 6 ? 16 : 6), ref_pseudo(flat, flat->len - flat->l4));
}

struct vhu_net_hdr flat_hdr(const struct flat *flat, uint8_t gso_type, uint16_t gso_size)
{
	return (struct vhu_net_hdr){
		.flags = VHU_NET_HDR_NEEDS_CSUM,
		.gso_type = gso_type,
		.gso_size = gso_size,
		.hdr_len = (uint16_t)flat->payload,
		.csum_start = (uint16_t)flat->l4,
		.csum_offset = flat->of.proto == 6 ? 16 : 6,
	};
}

void pieces_make(struct rnd *rnd, const struct flat *flat, uint32_t head_len,
		 unsigned int nr_pieces, struct pieces *ret_pieces)
{
	struct vhu_net_frame *frame = &ret_pieces->frame;
	uint32_t at = head_len;

	memset(frame, 0, sizeof(*frame));
	ret_pieces->head = malloc(head_len ? head_len : 1);
	memcpy(ret_pieces->head, flat->bytes, head_len);
	frame->head = ret_pieces->head;
	frame->head_len = (uint16_t)head_len;
	frame->len = flat->len;
	frame->iov = ret_pieces->iov;
	while (at < flat->len) {
		struct iovec *iov = &ret_pieces->iov[frame->nr_iov];
		const uint32_t left = flat->len - at;
		uint32_t size = left;

		if (frame->nr_iov + 1u < nr_pieces) {
			size = rnd_below(rnd, 1 + 2 * left / (nr_pieces - frame->nr_iov));
			if (size > left)
				size = left;
		}
		iov->iov_base = malloc(size ? size : 1);
		iov->iov_len = size;
		memcpy(iov->iov_base, flat->bytes + at, size);
		at += size;
		frame->nr_iov++;
	}
}

void pieces_free(struct pieces *pieces)
{
	for (unsigned int i = 0; i < pieces->frame.nr_iov; i++)
		free(pieces->iov[i].iov_base);
	free(pieces->head);
}

void catcher_reset(struct catcher *catcher)
{
	catcher->nr = 0;
	catcher->used = 0;
	catcher->fail_at = 0;
	catcher->wrong = NULL;
}

static void append(struct catcher *catcher, const void *bytes, size_t len)
{
	if (len > sizeof(catcher->bytes) - catcher->used) {
		catcher->wrong = "far too many bytes";
		return;
	}
	memcpy(catcher->bytes + catcher->used, bytes, len);
	catcher->used += (uint32_t)len;
}

int catcher_emit(void *arg, const struct vhu_net_frame *frame)
{
	struct catcher *catcher = arg;
	const uint32_t at = catcher->used;
	const unsigned int nr = catcher->nr;

	if (catcher->fail_at && nr + 1 == catcher->fail_at)
		return -ENOSPC;
	if (nr == CATCH_FRAMES) {
		catcher->wrong = "far too many frames";
		return -E2BIG;
	}
	if (frame->head_len > VHU_NET_HEAD_MAX)
		catcher->wrong = "head_len above the maximum";
	if (frame->nr_iov > VHU_NET_IOV_MAX)
		catcher->wrong = "nr_iov above the maximum";
	append(catcher, frame->head, frame->head_len);
	for (unsigned int i = 0; i < frame->nr_iov; i++)
		append(catcher, frame->iov[i].iov_base, frame->iov[i].iov_len);
	if (catcher->used - at != frame->len)
		catcher->wrong = "len is not the sum of head and pieces";
	catcher->hdr[nr] = frame->hdr;
	catcher->len[nr] = frame->len;
	catcher->at[nr] = at;
	catcher->nr++;
	return 0;
}
