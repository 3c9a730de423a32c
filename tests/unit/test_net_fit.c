/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * What a receiver with fewer offloads gets: compared byte by byte with a slow second opinion.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net_frames.h"

enum {
	CAPS_ALL = 0x7f,
};

static struct flat flat;
static struct pieces pieces;
static struct catcher catcher;

static uint8_t gso_of(const struct sample *sample, bool ufo)
{
	if (sample->proto == 6)
		return sample->version == 4 ? VHU_NET_GSO_TCPV4 : VHU_NET_GSO_TCPV6;
	return ufo ? VHU_NET_GSO_UDP : VHU_NET_GSO_UDP_L4;
}

/* The longest head that is allowed, or any that has all headers. */
static uint32_t some_head_len(struct rnd *rnd)
{
	uint32_t most = flat.len < VHU_NET_HEAD_MAX ? flat.len : VHU_NET_HEAD_MAX;

	if (rnd_one_in(rnd, 3))
		return most;
	return flat.payload + rnd_below(rnd, most - flat.payload + 1);
}

static unsigned int some_pieces(struct rnd *rnd)
{
	if (rnd_one_in(rnd, 50))
		return VHU_NET_IOV_MAX;
	return 1 + rnd_below(rnd, 40);
}

static int fit(struct vhu_net_hdr hdr, uint32_t caps)
{
	catcher_reset(&catcher);
	pieces.frame.hdr = hdr;
	return vhu_net_fit(&pieces.frame, caps, catcher_emit, &catcher);
}

static void make(struct rnd *rnd, const struct sample *sample)
{
	flat_build(rnd, sample, &flat);
	pieces_make(rnd, &flat, some_head_len(rnd), some_pieces(rnd), &pieces);
}

/* A frame of which all is known, for cases one by one: TCP over IPv4, 3000 bytes behind. */
static struct vhu_net_hdr make_plain(unsigned int version, unsigned int proto, uint8_t gso_type)
{
	const struct sample sample = { .version = version,
				       .proto = proto,
				       .tcp_options = 12,
				       .tcp_flags = 0x18,
				       .payload_len = 3000 };
	struct rnd rnd = { 7 };

	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 128, 3, &pieces);
	return flat_hdr(&flat, gso_type, 1448);
}

static void frames_that_fit_are_handed_on_as_they_are(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4);

	(void)state;
	pieces.frame.hdr = hdr;
	assert_true(vhu_net_fits(&pieces.frame, CAPS_ALL));
	assert_int_equal(fit(hdr, CAPS_ALL), 0);
	assert_int_equal(catcher.nr, 1);
	assert_memory_equal(&catcher.hdr[0], &hdr, sizeof(hdr));
	assert_int_equal(catcher.len[0], flat.len);
	assert_memory_equal(catcher.bytes, flat.bytes, flat.len);

	hdr = (struct vhu_net_hdr){ 0 };
	pieces.frame.hdr = hdr;
	assert_true(vhu_net_fits(&pieces.frame, 0));
	assert_int_equal(fit(hdr, 0), 0);
	assert_memory_equal(catcher.bytes, flat.bytes, flat.len);
	pieces_free(&pieces);
}

static void fitting_needs_every_cap_that_is_used(void **state)
{
	static const struct {
		unsigned int version, proto;
		uint8_t gso_type;
		uint32_t caps;
	} rows[] = {
		{ 4, 6, VHU_NET_GSO_NONE, VHU_NET_CAP_CSUM },
		{ 4, 6, VHU_NET_GSO_TCPV4, VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4 },
		{ 6, 6, VHU_NET_GSO_TCPV6, VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO6 },
		{ 4, 6, VHU_NET_GSO_TCPV4 | VHU_NET_GSO_ECN,
		  VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4 | VHU_NET_CAP_ECN },
		{ 6, 6, VHU_NET_GSO_TCPV6 | VHU_NET_GSO_ECN,
		  VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO6 | VHU_NET_CAP_ECN },
		{ 4, 17, VHU_NET_GSO_UDP, VHU_NET_CAP_CSUM | VHU_NET_CAP_UFO },
		{ 6, 17, VHU_NET_GSO_UDP, VHU_NET_CAP_CSUM | VHU_NET_CAP_UFO },
		{ 4, 17, VHU_NET_GSO_UDP_L4, VHU_NET_CAP_CSUM | VHU_NET_CAP_USO4 },
		{ 6, 17, VHU_NET_GSO_UDP_L4, VHU_NET_CAP_CSUM | VHU_NET_CAP_USO6 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pieces.frame.hdr = make_plain(rows[i].version, rows[i].proto, rows[i].gso_type);
		for (uint32_t caps = 0; caps <= CAPS_ALL; caps++)
			assert_int_equal(vhu_net_fits(&pieces.frame, caps),
					 (caps & rows[i].caps) == rows[i].caps);
		pieces_free(&pieces);
	}
}

static void gso_without_flags_fits_nobody_without_csum(void **state)
{
	(void)state;
	pieces.frame.hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4);
	pieces.frame.hdr.flags = 0;
	assert_false(vhu_net_fits(&pieces.frame, VHU_NET_CAP_TSO4));
	pieces_free(&pieces);
}

/* Written to a tap as TCPV4 with ECN and gso_size 8, read from one without offloads; Linux 6.18. */
static const uint8_t linux_tcp[] = {
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x81, 0x00, 0x12,
	0xbd, 0x08, 0x00, 0x45, 0x63, 0x00, 0x48, 0xac, 0xd0, 0x40, 0x00, 0x9a, 0x06, 0x4b, 0x6a,
	0x08, 0xbc, 0xed, 0xe3, 0xf0, 0xec, 0x00, 0x86, 0xf0, 0x10, 0x38, 0x41, 0xbb, 0xf6, 0x93,
	0xae, 0x2f, 0xac, 0x03, 0xb9, 0x82, 0x99, 0x3a, 0x6b, 0xe8, 0x4c, 0xd7, 0x55, 0x66, 0xe0,
	0x1e, 0x67, 0x9f, 0x39, 0x2c, 0xa7, 0xc0, 0x64, 0x20, 0x36, 0x76, 0x68, 0x6f, 0x73, 0x74,
	0x2d, 0x75, 0x73, 0x65, 0x72, 0x2c, 0x20, 0x73, 0x65, 0x67, 0x6d, 0x65, 0x6e, 0x74, 0x73,
};
static const uint8_t linux_tcp_cut[] = {
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x81, 0x00, 0x12,
	0xbd, 0x08, 0x00, 0x45, 0x63, 0x00, 0x3c, 0xac, 0xd0, 0x40, 0x00, 0x9a, 0x06, 0x4b, 0x76,
	0x08, 0xbc, 0xed, 0xe3, 0xf0, 0xec, 0x00, 0x86, 0xf0, 0x10, 0x38, 0x41, 0xbb, 0xf6, 0x93,
	0xae, 0x2f, 0xac, 0x03, 0xb9, 0x82, 0x90, 0x3a, 0x6b, 0xd6, 0xd0, 0xd7, 0x55, 0x66, 0xe0,
	0x1e, 0x67, 0x9f, 0x39, 0x2c, 0xa7, 0xc0, 0x64, 0x20, 0x36, 0x76, 0x68, 0x6f, 0x73, 0x74,
	0x2d, 0x75, 0x73, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02,
	0x81, 0x00, 0x12, 0xbd, 0x08, 0x00, 0x45, 0x63, 0x00, 0x3c, 0xac, 0xd1, 0x40, 0x00, 0x9a,
	0x06, 0x4b, 0x75, 0x08, 0xbc, 0xed, 0xe3, 0xf0, 0xec, 0x00, 0x86, 0xf0, 0x10, 0x38, 0x41,
	0xbb, 0xf6, 0x93, 0xb6, 0x2f, 0xac, 0x03, 0xb9, 0x82, 0x10, 0x3a, 0x6b, 0x3a, 0x60, 0xd7,
	0x55, 0x66, 0xe0, 0x1e, 0x67, 0x9f, 0x39, 0x2c, 0xa7, 0xc0, 0x64, 0x20, 0x36, 0x65, 0x72,
	0x2c, 0x20, 0x73, 0x65, 0x67, 0x6d, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00,
	0x00, 0x00, 0x02, 0x81, 0x00, 0x12, 0xbd, 0x08, 0x00, 0x45, 0x63, 0x00, 0x38, 0xac, 0xd2,
	0x40, 0x00, 0x9a, 0x06, 0x4b, 0x78, 0x08, 0xbc, 0xed, 0xe3, 0xf0, 0xec, 0x00, 0x86, 0xf0,
	0x10, 0x38, 0x41, 0xbb, 0xf6, 0x93, 0xbe, 0x2f, 0xac, 0x03, 0xb9, 0x82, 0x19, 0x3a, 0x6b,
	0xcc, 0xd6, 0xd7, 0x55, 0x66, 0xe0, 0x1e, 0x67, 0x9f, 0x39, 0x2c, 0xa7, 0xc0, 0x64, 0x20,
	0x36, 0x65, 0x6e, 0x74, 0x73,
};
/* The same with a checksum to complete. */
static const uint8_t linux_udp[] = {
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x86, 0xdd, 0x6a,
	0x75, 0x3b, 0xaf, 0x00, 0x13, 0x11, 0x0f, 0xfd, 0x09, 0xe7, 0x49, 0x1d, 0x98, 0x09, 0x4e,
	0xce, 0x49, 0xc5, 0xd4, 0xf8, 0x9d, 0x6e, 0x22, 0xed, 0xd2, 0x91, 0xe0, 0x77, 0x1d, 0x91,
	0x3d, 0x74, 0x31, 0xb1, 0xe4, 0x22, 0xaf, 0x40, 0x84, 0x70, 0x75, 0x8c, 0x1a, 0x00, 0x13,
	0x17, 0x95, 0xb8, 0x88, 0x77, 0xc7, 0x0e, 0xfc, 0xea, 0x23, 0x94, 0x8c, 0x44,
};
static const uint8_t linux_udp_done[] = {
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x86, 0xdd, 0x6a,
	0x75, 0x3b, 0xaf, 0x00, 0x13, 0x11, 0x0f, 0xfd, 0x09, 0xe7, 0x49, 0x1d, 0x98, 0x09, 0x4e,
	0xce, 0x49, 0xc5, 0xd4, 0xf8, 0x9d, 0x6e, 0x22, 0xed, 0xd2, 0x91, 0xe0, 0x77, 0x1d, 0x91,
	0x3d, 0x74, 0x31, 0xb1, 0xe4, 0x22, 0xaf, 0x40, 0x84, 0x70, 0x75, 0x8c, 0x1a, 0x00, 0x13,
	0xe9, 0xca, 0xb8, 0x88, 0x77, 0xc7, 0x0e, 0xfc, 0xea, 0x23, 0x94, 0x8c, 0x44,
};

static void frames_out_of_linux_are_cut_as_linux_did(void **state)
{
	struct vhu_net_frame frame = { .head = linux_tcp, .head_len = 70, .nr_iov = 1 };
	struct iovec rest = { .iov_base = (void *)(uintptr_t)(linux_tcp + 70),
			      .iov_len = sizeof(linux_tcp) - 70 };

	(void)state;
	frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
					  .gso_type = VHU_NET_GSO_TCPV4 | VHU_NET_GSO_ECN,
					  .gso_size = 8,
					  .csum_start = 38,
					  .csum_offset = 16 };
	frame.len = sizeof(linux_tcp);
	frame.iov = &rest;
	catcher_reset(&catcher);
	assert_int_equal(vhu_net_fit(&frame, 0, catcher_emit, &catcher), 0);
	assert_int_equal(catcher.nr, 3);
	assert_int_equal(catcher.used, sizeof(linux_tcp_cut));
	assert_memory_equal(catcher.bytes, linux_tcp_cut, sizeof(linux_tcp_cut));

	frame = (struct vhu_net_frame){ .head = linux_udp, .head_len = sizeof(linux_udp) };
	frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
					  .csum_start = 54,
					  .csum_offset = 6 };
	frame.len = sizeof(linux_udp);
	catcher_reset(&catcher);
	assert_int_equal(vhu_net_fit(&frame, 0, catcher_emit, &catcher), 0);
	assert_int_equal(catcher.nr, 1);
	assert_int_equal(catcher.used, sizeof(linux_udp_done));
	assert_memory_equal(catcher.bytes, linux_udp_done, sizeof(linux_udp_done));
}

static void tcp_and_uso_are_cut_in_any_layout(void **state)
{
	struct rnd rnd = { 8 };

	(void)state;
	for (int round = 0; round < 2500; round++) {
		const bool offloaded = rnd_one_in(&rnd, 2);
		struct vhu_net_hdr hdr;
		struct sample sample;
		const char *wrong;

		flat_random_sample(&rnd, &sample);
		make(&rnd, &sample);
		hdr = flat_hdr(
			&flat, gso_of(&sample, false),
			(uint16_t)(40 + rnd_below(&rnd, rnd_one_in(&rnd, 5) ? 65000 : 1500)));
		if (sample.proto == 6 && rnd_one_in(&rnd, 3))
			hdr.gso_type |= VHU_NET_GSO_ECN;
		hdr.hdr_len = (uint16_t)rnd_below(&rnd, 65536);
		assert_int_equal(fit(hdr, offloaded ? VHU_NET_CAP_CSUM : 0), 0);
		wrong = ref_check_cut(&flat, &hdr, offloaded, &catcher);
		if (wrong)
			fail_msg("round %d: %s", round, wrong);
		pieces_free(&pieces);
	}
}

static void udp_is_fragmented_in_any_layout(void **state)
{
	struct rnd rnd = { 9 };

	(void)state;
	for (int round = 0; round < 2000; round++) {
		const bool offloaded = rnd_one_in(&rnd, 2);
		struct vhu_net_hdr hdr;
		struct sample sample;
		const char *wrong;

		flat_random_sample(&rnd, &sample);
		sample.proto = 17;
		make(&rnd, &sample);
		hdr = flat_hdr(&flat, VHU_NET_GSO_UDP, (uint16_t)(40 + rnd_below(&rnd, 3000)));
		if (pieces.frame.nr_iov == VHU_NET_IOV_MAX && sample.version == 6 &&
		    flat.len - flat.frag > hdr.gso_size) {
			assert_int_equal(fit(hdr, 0), -EOPNOTSUPP);
		} else {
			assert_int_equal(fit(hdr, offloaded ? VHU_NET_CAP_CSUM : 0), 0);
			wrong = ref_check_fragments(&flat, &hdr, offloaded, &catcher);
			if (wrong)
				fail_msg("round %d: %s", round, wrong);
		}
		pieces_free(&pieces);
	}
}

static void udp_of_just_one_fragment_stays_whole(void **state)
{
	const struct sample sample = { .version = 4, .proto = 17, .payload_len = 1400 };
	struct rnd rnd = { 17 };
	struct vhu_net_hdr hdr;

	(void)state;
	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 200, 2, &pieces);
	for (uint16_t size = 1407; size <= 1409; size++) {
		hdr = flat_hdr(&flat, VHU_NET_GSO_UDP, size);
		assert_int_equal(fit(hdr, 0), 0);
		assert_int_equal(catcher.nr, size == 1407 ? 2 : 1);
		assert_null(ref_check_fragments(&flat, &hdr, false, &catcher));
	}
	pieces_free(&pieces);
}

static void checksums_are_completed_in_any_layout(void **state)
{
	struct rnd rnd = { 10 };

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct sample sample;
		const char *wrong;

		flat_random_sample(&rnd, &sample);
		make(&rnd, &sample);
		assert_int_equal(fit(flat_hdr(&flat, VHU_NET_GSO_NONE, 0), 0), 0);
		wrong = ref_check_complete(&flat, &catcher);
		if (wrong)
			fail_msg("round %d: %s", round, wrong);
		pieces_free(&pieces);
	}
}

/* Finds a payload whose checksum comes out as zero: UDP must then say 0xffff, TCP must not care. */
static void zero_checksum_of_udp_is_stored_as_ones(void **state)
{
	(void)state;
	for (unsigned int proto = 6; proto <= 17; proto += 11) {
		const struct sample sample = { .version = 4, .proto = proto, .payload_len = 600 };
		const uint32_t field = proto == 6 ? 34 + 16 : 34 + 6;
		struct rnd rnd = { 11 };
		uint16_t sum;

		for (int cut = 0; cut < (proto == 6 ? 2 : 4); cut++) {
			/* Left alone, one segment of UDP_L4, one datagram of UFO, fragments. */
			const uint8_t gso_type = cut ? gso_of(&sample, cut > 1) : 0;

			flat_build(&rnd, &sample, &flat);
			memset(flat.bytes + flat.payload, 0, 2);
			sum = (uint16_t)~ref_sum(flat.bytes + flat.l4, flat.len - flat.l4, 0);
			flat.bytes[flat.payload] = (uint8_t)(sum >> 8);
			flat.bytes[flat.payload + 1] = (uint8_t)sum;
			pieces_make(&rnd, &flat, 200, 2, &pieces);
			assert_int_equal(fit(flat_hdr(&flat, gso_type, cut < 3 ? 1000 : 304), 0),
					 0);
			assert_int_equal(catcher.nr, cut < 3 ? 1 : 2);
			assert_int_equal(catcher.bytes[field], proto == 6 ? 0 : 0xff);
			assert_int_equal(catcher.bytes[field + 1], proto == 6 ? 0 : 0xff);
			pieces_free(&pieces);
		}
	}
}

static void checksum_field_beyond_the_head_is_refused(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_NONE);

	(void)state;
	hdr.csum_start = 110;
	assert_int_equal(fit(hdr, 0), 0);
	hdr.csum_start = 111;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr.csum_start = 2000;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr.csum_start = 34;
	hdr.csum_offset = 0xffff;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	assert_int_equal(catcher.nr, 0);
	pieces_free(&pieces);
}

static void checksum_never_rewrites_addresses_or_tags(void **state)
{
	const struct sample sample = { .nr_vlan = 2, .version = 4, .proto = 6, .payload_len = 100 };
	struct rnd rnd = { 12 };
	struct vhu_net_hdr hdr;

	(void)state;
	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 100, 2, &pieces);
	hdr = flat_hdr(&flat, VHU_NET_GSO_NONE, 0);
	hdr.csum_offset = 0;
	for (uint16_t start = 0; start < 22; start++) {
		hdr.csum_start = start;
		assert_int_equal(fit(hdr, 0), -EPROTO);
	}
	hdr.csum_start = 22;
	assert_int_equal(fit(hdr, 0), 0);
	pieces_free(&pieces);
}

static void unknown_flags_do_not_reach_the_receiver(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_NONE);

	(void)state;
	hdr.flags = VHU_NET_HDR_DATA_VALID;
	assert_int_equal(fit(hdr, 0), 0);
	assert_int_equal(catcher.hdr[0].flags, 0);
	assert_memory_equal(catcher.bytes, flat.bytes, flat.len);
	assert_int_equal(fit(hdr, VHU_NET_CAP_CSUM), 0);
	assert_int_equal(catcher.hdr[0].flags, VHU_NET_HDR_DATA_VALID);
	hdr.flags = 0xf8 | VHU_NET_HDR_NEEDS_CSUM;
	assert_int_equal(fit(hdr, VHU_NET_CAP_CSUM), 0);
	assert_int_equal(catcher.hdr[0].flags, VHU_NET_HDR_NEEDS_CSUM);
	assert_int_equal(fit(hdr, 0), 0);
	assert_int_equal(catcher.hdr[0].flags, 0);
	pieces_free(&pieces);
}

static void ecn_is_cut_for_a_receiver_without_it(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4 | VHU_NET_GSO_ECN);

	(void)state;
	flat.bytes[flat.l4 + 13] |= 0x80;
	pieces.head[flat.l4 + 13] |= 0x80;
	assert_int_equal(fit(hdr, VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4), 0);
	assert_int_equal(catcher.nr, 3);
	assert_null(ref_check_cut(&flat, &hdr, true, &catcher));
	assert_int_equal(catcher.bytes[catcher.at[0] + flat.l4 + 13] & 0x80, 0x80);
	assert_int_equal(catcher.bytes[catcher.at[1] + flat.l4 + 13] & 0x80, 0);
	pieces_free(&pieces);
}

static void headers_that_contradict_the_hdr_are_refused(void **state)
{
	static const struct {
		unsigned int version, proto;
		uint8_t gso_type;
	} rows[] = {
		{ 6, 6, VHU_NET_GSO_TCPV4 },  { 4, 6, VHU_NET_GSO_TCPV6 },
		{ 4, 17, VHU_NET_GSO_TCPV4 }, { 6, 17, VHU_NET_GSO_TCPV6 },
		{ 4, 6, VHU_NET_GSO_UDP },    { 6, 6, VHU_NET_GSO_UDP },
		{ 4, 6, VHU_NET_GSO_UDP_L4 }, { 6, 6, VHU_NET_GSO_UDP_L4 },
	};
	struct vhu_net_hdr hdr;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		hdr = make_plain(rows[i].version, rows[i].proto, rows[i].gso_type);
		hdr.csum_offset = rows[i].gso_type == VHU_NET_GSO_TCPV4 ||
						  rows[i].gso_type == VHU_NET_GSO_TCPV6 ?
					  16 :
					  6;
		assert_int_equal(fit(hdr, 0), -EPROTO);
		assert_int_equal(catcher.nr, 0);
		pieces_free(&pieces);
	}
	hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4);
	hdr.csum_start++;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr = flat_hdr(&flat, VHU_NET_GSO_TCPV4, 1448);
	hdr.csum_offset = 6;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr = flat_hdr(&flat, VHU_NET_GSO_TCPV4, 1448);
	hdr.flags = 0;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr = flat_hdr(&flat, VHU_NET_GSO_TCPV4, 0);
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr = flat_hdr(&flat, VHU_NET_GSO_TCPV4, 1);
	assert_int_equal(fit(hdr, 0), -EPROTO);
	hdr = flat_hdr(&flat, 2, 1000);
	assert_int_equal(fit(hdr, CAPS_ALL), -EOPNOTSUPP);
	hdr = flat_hdr(&flat, VHU_NET_GSO_TCPV4, 1448);
	pieces.head[flat.l3 + 6] = 0x20;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	assert_int_equal(catcher.nr, 0);
	pieces_free(&pieces);
}

static void headers_that_go_beyond_the_head_are_refused(void **state)
{
	struct rnd rnd = { 13 };

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct sample sample;

		flat_random_sample(&rnd, &sample);
		flat_build(&rnd, &sample, &flat);
		pieces_make(&rnd, &flat, rnd_below(&rnd, flat.payload), 5, &pieces);
		assert_int_equal(fit(flat_hdr(&flat, gso_of(&sample, round % 2), 1000), 0),
				 -EPROTO);
		assert_int_equal(catcher.nr, 0);
		pieces_free(&pieces);
	}
}

static void packets_above_64_kib_are_refused(void **state)
{
	struct sample sample = { .version = 4 };
	struct rnd rnd = { 14 };

	(void)state;
	for (unsigned int proto = 6; proto <= 17; proto += 11) {
		const uint8_t type = proto == 6 ? VHU_NET_GSO_TCPV4 : VHU_NET_GSO_UDP_L4;
		const uint16_t largest = proto == 6 ? 65535 - 40 : 65535 - 28;

		sample.proto = proto;
		sample.payload_len = largest + 1u;
		flat_build(&rnd, &sample, &flat);
		pieces_make(&rnd, &flat, 200, 2, &pieces);
		assert_int_equal(fit(flat_hdr(&flat, type, largest), 0), 0);
		assert_int_equal(catcher.nr, 2);
		assert_int_equal(fit(flat_hdr(&flat, type, (uint16_t)(largest + 1)), 0), -EPROTO);
		assert_int_equal(catcher.nr, 0);
		pieces_free(&pieces);
	}
	/* IPv6 does not count its own header: the longest frame is still good. */
	sample.version = 6;
	sample.proto = 6;
	sample.payload_len = VHU_NET_FRAME_MAX - 14 - 40 - 20;
	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 200, 2, &pieces);
	assert_int_equal(fit(flat_hdr(&flat, VHU_NET_GSO_TCPV6, 65535), 0), 0);
	assert_int_equal(catcher.nr, 1);
	pieces_free(&pieces);
}

static void datagrams_above_64_kib_are_refused(void **state)
{
	struct sample sample = { .version = 4, .proto = 17, .payload_len = 65535 - 28 };
	struct rnd rnd = { 18 };

	(void)state;
	for (int more = 0; more < 2; more++) {
		sample.payload_len += (uint32_t)more;
		flat_build(&rnd, &sample, &flat);
		pieces_make(&rnd, &flat, 200, 2, &pieces);
		assert_int_equal(fit(flat_hdr(&flat, VHU_NET_GSO_UDP, 1480), 0),
				 more ? -EPROTO : 0);
		pieces_free(&pieces);
	}
}

static void lengths_that_disagree_are_refused(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4);

	(void)state;
	pieces.frame.len++;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	pieces.frame.len -= 2;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	assert_int_equal(catcher.nr, 0);
	pieces.frame.len++;
	assert_int_equal(fit(hdr, 0), 0);
	pieces_free(&pieces);
}

static void too_many_pieces_are_refused(void **state)
{
	struct vhu_net_hdr hdr = make_plain(4, 6, VHU_NET_GSO_TCPV4);
	struct iovec iov[VHU_NET_IOV_MAX + 1] = { { 0 } };

	(void)state;
	memcpy(iov, pieces.iov, pieces.frame.nr_iov * sizeof(iov[0]));
	pieces.frame.iov = iov;
	pieces.frame.nr_iov = VHU_NET_IOV_MAX;
	assert_int_equal(fit(hdr, 0), 0);
	assert_null(ref_check_cut(&flat, &hdr, false, &catcher));
	pieces.frame.nr_iov = VHU_NET_IOV_MAX + 1;
	assert_int_equal(fit(hdr, 0), -EPROTO);
	assert_int_equal(catcher.nr, 0);
	pieces.frame.nr_iov = 3;
	pieces_free(&pieces);
}

static void refusal_by_the_receiver_ends_the_work(void **state)
{
	(void)state;
	for (unsigned int proto = 6; proto <= 17; proto += 11) {
		struct vhu_net_hdr hdr =
			make_plain(4, proto, proto == 6 ? VHU_NET_GSO_TCPV4 : VHU_NET_GSO_UDP);

		for (unsigned int at = 1; at <= 3; at++) {
			catcher_reset(&catcher);
			catcher.fail_at = at;
			pieces.frame.hdr = hdr;
			assert_int_equal(vhu_net_fit(&pieces.frame, 0, catcher_emit, &catcher),
					 -ENOSPC);
			assert_int_equal(catcher.nr, at - 1);
		}
		pieces_free(&pieces);
	}
}

static void most_segments_are_exactly_the_bound(void **state)
{
	struct sample sample = { .version = 4, .proto = 17, .payload_len = 2047 };
	struct rnd rnd = { 15 };
	struct vhu_net_hdr hdr;

	(void)state;
	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 200, 30, &pieces);
	hdr = flat_hdr(&flat, VHU_NET_GSO_UDP_L4, 1);
	assert_int_equal(fit(hdr, 0), 0);
	assert_int_equal(catcher.nr, 2047);
	assert_null(ref_check_cut(&flat, &hdr, false, &catcher));
	pieces_free(&pieces);
	sample.payload_len = 2048;
	flat_build(&rnd, &sample, &flat);
	pieces_make(&rnd, &flat, 200, 30, &pieces);
	assert_int_equal(fit(hdr, 0), -EPROTO);
	pieces_free(&pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_that_fit_are_handed_on_as_they_are),
		cmocka_unit_test(fitting_needs_every_cap_that_is_used),
		cmocka_unit_test(gso_without_flags_fits_nobody_without_csum),
		cmocka_unit_test(frames_out_of_linux_are_cut_as_linux_did),
		cmocka_unit_test(tcp_and_uso_are_cut_in_any_layout),
		cmocka_unit_test(udp_is_fragmented_in_any_layout),
		cmocka_unit_test(udp_of_just_one_fragment_stays_whole),
		cmocka_unit_test(checksums_are_completed_in_any_layout),
		cmocka_unit_test(zero_checksum_of_udp_is_stored_as_ones),
		cmocka_unit_test(checksum_field_beyond_the_head_is_refused),
		cmocka_unit_test(checksum_never_rewrites_addresses_or_tags),
		cmocka_unit_test(unknown_flags_do_not_reach_the_receiver),
		cmocka_unit_test(ecn_is_cut_for_a_receiver_without_it),
		cmocka_unit_test(headers_that_contradict_the_hdr_are_refused),
		cmocka_unit_test(headers_that_go_beyond_the_head_are_refused),
		cmocka_unit_test(packets_above_64_kib_are_refused),
		cmocka_unit_test(datagrams_above_64_kib_are_refused),
		cmocka_unit_test(lengths_that_disagree_are_refused),
		cmocka_unit_test(too_many_pieces_are_refused),
		cmocka_unit_test(refusal_by_the_receiver_ends_the_work),
		cmocka_unit_test(most_segments_are_exactly_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
