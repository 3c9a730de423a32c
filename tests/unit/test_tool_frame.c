/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* What the switch reads from a frame's head, and how it puts tags in and takes them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "switch/frame.h"

static const struct sw_vlans unaware = { .mode = SW_VLAN_UNAWARE };
static const struct sw_vlans access7 = { .mode = SW_VLAN_ACCESS, .access = 7 };
/* VLANs 7 and 9 */
static const struct sw_vlans trunk = { .mode = SW_VLAN_TRUNK, .trunk = { 1u << 7 | 1u << 9 } };

static struct sw_space space;

/* A frame of len bytes, all of them in its head if they fit there. */
struct made {
	uint8_t bytes[2048];
	struct iovec iov;
	struct vhu_net_frame frame;
};

static struct made *make(uint32_t len)
{
	static struct made made;
	static const uint8_t stations[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };

	memset(&made, 0, sizeof(made));
	for (uint32_t i = 12; i < len; i++)
		made.bytes[i] = (uint8_t)i;
	memcpy(made.bytes, stations, sizeof(stations));
	made.bytes[12] = 0x08;
	made.bytes[13] = 0x00;
	made.frame.len = len;
	made.frame.head = made.bytes;
	made.frame.head_len = len < VHU_NET_HEAD_MAX ? (uint16_t)len : VHU_NET_HEAD_MAX;
	made.frame.nr_iov = len > VHU_NET_HEAD_MAX;
	made.frame.iov = &made.iov;
	made.iov.iov_base = made.bytes + made.frame.head_len;
	made.iov.iov_len = len - made.frame.head_len;
	return &made;
}

static struct made *make_tagged(uint32_t len, unsigned int tci)
{
	struct made *made = make(len);

	made->bytes[12] = 0x81;
	made->bytes[13] = 0x00;
	made->bytes[14] = (uint8_t)(tci >> 8);
	made->bytes[15] = (uint8_t)tci;
	made->bytes[16] = 0x08;
	made->bytes[17] = 0x00;
	return made;
}

static size_t gather(const struct vhu_net_frame *frame, uint8_t *to)
{
	size_t len = frame->head_len;

	memcpy(to, frame->head, len);
	for (unsigned int i = 0; i < frame->nr_iov; i++) {
		memcpy(to + len, frame->iov[i].iov_base, frame->iov[i].iov_len);
		len += frame->iov[i].iov_len;
	}
	assert_int_equal(len, frame->len);
	return len;
}

static void a_source_is_one_station(void **state)
{
	struct made *made = make(60);
	struct sw_judged judged;

	(void)state;
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_PASS);
	assert_false(judged.is_group);
	made->bytes[6] |= 1;
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_BAD_SOURCE);
	memset(made->bytes + 6, 0, 6);
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_BAD_SOURCE);
}

static void link_local_groups_are_not_forwarded(void **state)
{
	static const uint8_t stp[6] = { 0x01, 0x80, 0xc2, 0, 0, 0 };
	struct made *made = make(60);
	struct sw_judged judged;

	(void)state;
	memcpy(made->bytes, stp, 6);
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_LINK_LOCAL);
	made->bytes[5] = 0x0f;
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_LINK_LOCAL);
	made->bytes[5] = 0x10;
	assert_int_equal(sw_frame_judge(&made->frame, &unaware, &judged), SW_PASS);
	assert_true(judged.is_group);
}

static void an_access_port_takes_untagged_and_priority_frames(void **state)
{
	struct sw_judged judged;

	(void)state;
	assert_int_equal(sw_frame_judge(&make(60)->frame, &access7, &judged), SW_PASS);
	assert_int_equal(judged.vlan, 7);
	assert_false(judged.is_tagged);
	assert_int_equal(sw_frame_judge(&make_tagged(60, 0xe000)->frame, &access7, &judged),
			 SW_PASS);
	assert_int_equal(judged.vlan, 7);
	assert_true(judged.is_tagged);
	assert_int_equal(sw_frame_judge(&make_tagged(60, 7)->frame, &access7, &judged),
			 SW_BAD_VLAN);
}

static void a_trunk_port_takes_tagged_frames_of_its_vlans(void **state)
{
	struct sw_judged judged;

	(void)state;
	assert_int_equal(sw_frame_judge(&make_tagged(60, 0x2009)->frame, &trunk, &judged), SW_PASS);
	assert_int_equal(judged.vlan, 9);
	assert_int_equal(judged.tci, 0x2009);
	assert_int_equal(sw_frame_judge(&make_tagged(60, 8)->frame, &trunk, &judged), SW_BAD_VLAN);
	assert_int_equal(sw_frame_judge(&make_tagged(60, 0)->frame, &trunk, &judged), SW_BAD_VLAN);
	assert_int_equal(sw_frame_judge(&make(60)->frame, &trunk, &judged), SW_BAD_VLAN);
	/* Half a tag. */
	assert_int_equal(sw_frame_judge(&make_tagged(16, 9)->frame, &trunk, &judged), SW_BAD_VLAN);
}

static void an_unaware_port_takes_tags_as_payload(void **state)
{
	struct sw_judged judged;

	(void)state;
	assert_int_equal(sw_frame_judge(&make_tagged(60, 5)->frame, &unaware, &judged), SW_PASS);
	assert_int_equal(judged.vlan, 0);
	assert_false(judged.is_tagged);
}

static void a_tag_goes_in_and_comes_out_again(void **state)
{
	static const uint32_t lens[] = { 14, 60, 252, 253, 256, 257, 1500 };
	uint8_t before[2048], tagged[2048], after[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		static struct sw_space other;
		struct made *made = make(lens[i]);
		struct vhu_net_frame with, without;

		made->frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
							.csum_start = 34,
							.csum_offset = 16,
							.hdr_len = 54 };
		gather(&made->frame, before);
		assert_true(sw_frame_tag(&made->frame, 0x6009, &space, &with));
		assert_int_equal(gather(&with, tagged), lens[i] + 4);
		assert_true(with.head_len <= VHU_NET_HEAD_MAX);
		assert_memory_equal(tagged, before, 12);
		assert_memory_equal(tagged + 12, "\x81\x00\x60\x09", 4);
		assert_memory_equal(tagged + 16, before + 12, lens[i] - 12);
		assert_int_equal(with.hdr.csum_start, 38);
		assert_int_equal(with.hdr.hdr_len, 58);

		assert_true(sw_frame_untag(&with, &other, &without));
		assert_int_equal(gather(&without, after), lens[i]);
		assert_memory_equal(after, before, lens[i]);
		assert_int_equal(without.hdr.csum_start, 34);
		assert_int_equal(without.hdr.csum_offset, 16);
	}
}

static void a_checksum_that_begins_before_the_tag_is_nonsense(void **state)
{
	struct made *made = make_tagged(60, 9);
	struct vhu_net_frame out;

	(void)state;
	made->frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM, .csum_start = 17 };
	assert_false(sw_frame_untag(&made->frame, &space, &out));
	made->frame.hdr.csum_start = 13;
	assert_false(sw_frame_tag(&made->frame, 9, &space, &out));
	made->frame.hdr.csum_start = 65535;
	assert_false(sw_frame_tag(&made->frame, 9, &space, &out));
	/* Without the flag the field means nothing. */
	made->frame.hdr.flags = 0;
	assert_true(sw_frame_tag(&made->frame, 9, &space, &out));
}

static void the_mtu_holds_for_what_leaves(void **state)
{
	struct made *made = make(1514);

	(void)state;
	assert_true(sw_frame_keeps_mtu(&made->frame, 1500));
	assert_false(sw_frame_keeps_mtu(&made->frame, 1499));
	made = make_tagged(1518, 9);
	assert_true(sw_frame_keeps_mtu(&made->frame, 1500));
	assert_false(sw_frame_keeps_mtu(&made->frame, 1499));
	/* A large frame is as large as its segments: 20 of IP, 32 of TCP, 1448 of payload. */
	made = make(2000);
	made->bytes[34 + 12] = 0x80;
	made->frame.hdr = (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
						.gso_type = VHU_NET_GSO_TCPV4,
						.gso_size = 1448,
						.csum_start = 34,
						.csum_offset = 16 };
	assert_true(sw_frame_keeps_mtu(&made->frame, 1500));
	assert_false(sw_frame_keeps_mtu(&made->frame, 1499));
	/* Or as its fragments: 20 of IP and 1480 of the datagram; 40 of IPv6, 8 more, and as many. */
	made->frame.hdr.gso_type = VHU_NET_GSO_UDP;
	made->frame.hdr.gso_size = 1480;
	made->frame.hdr.csum_offset = 6;
	assert_true(sw_frame_keeps_mtu(&made->frame, 1500));
	assert_false(sw_frame_keeps_mtu(&made->frame, 1499));
	made->bytes[12] = 0x86;
	made->bytes[13] = 0xdd;
	made->frame.hdr.csum_start = 54;
	assert_true(sw_frame_keeps_mtu(&made->frame, 1528));
	assert_false(sw_frame_keeps_mtu(&made->frame, 1527));
}

static void a_flow_stays_together_and_flows_are_spread(void **state)
{
	struct made *made = make(100);
	unsigned int hits[4] = { 0 };
	uint32_t one;

	(void)state;
	made->bytes[14] = 0x45;
	made->bytes[20] = made->bytes[21] = 0; /* no fragment */
	made->bytes[23] = 6;
	one = sw_frame_flow(&made->frame);
	made->bytes[50] ^= 0xff; /* payload */
	assert_int_equal(sw_frame_flow(&made->frame), one);
	for (unsigned int port = 0; port < 1000; port++) {
		made->bytes[34] = (uint8_t)(port >> 8);
		made->bytes[35] = (uint8_t)port;
		hits[sw_frame_flow(&made->frame) % 4]++;
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(hits[i], 150, 350);
	/* Fragments have no ports that could tell them apart. */
	made->bytes[20] = 0x20;
	one = sw_frame_flow(&made->frame);
	made->bytes[35] ^= 0xff;
	assert_int_equal(sw_frame_flow(&made->frame), one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_is_one_station),
		cmocka_unit_test(link_local_groups_are_not_forwarded),
		cmocka_unit_test(an_access_port_takes_untagged_and_priority_frames),
		cmocka_unit_test(a_trunk_port_takes_tagged_frames_of_its_vlans),
		cmocka_unit_test(an_unaware_port_takes_tags_as_payload),
		cmocka_unit_test(a_tag_goes_in_and_comes_out_again),
		cmocka_unit_test(a_checksum_that_begins_before_the_tag_is_nonsense),
		cmocka_unit_test(the_mtu_holds_for_what_leaves),
		cmocka_unit_test(a_flow_stays_together_and_flows_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
