/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * Which virtio_net_hdr is refused, with which words, and what a receiver's features make of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vhu/net.h>

#define HOST_ALL                                                                                   \
	(VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(VHU_NET_F_HOST_TSO4_BIT) |                        \
	 VHU_MASK(VHU_NET_F_HOST_TSO6_BIT) | VHU_MASK(VHU_NET_F_HOST_ECN_BIT) |                    \
	 VHU_MASK(VHU_NET_F_HOST_UFO_BIT) | VHU_MASK(VHU_NET_F_HOST_USO_BIT))

static struct vhu_net_hdr tcp_hdr(void)
{
	return (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
				     .gso_type = VHU_NET_GSO_TCPV4,
				     .hdr_len = 54,
				     .gso_size = 1448,
				     .csum_start = 34,
				     .csum_offset = 16 };
}

static struct vhu_net_hdr udp_hdr(uint8_t gso_type)
{
	return (struct vhu_net_hdr){ .flags = VHU_NET_HDR_NEEDS_CSUM,
				     .gso_type = gso_type,
				     .gso_size = 1472,
				     .csum_start = 34,
				     .csum_offset = 6 };
}

#define accepted(hdr, len, features) accepted_at((hdr), (len), (features), __FILE__, __LINE__)
static void accepted_at(struct vhu_net_hdr hdr, uint32_t len, uint64_t features, const char *file,
			int line)
{
	struct vhu_reason why = { "" };

	if (vhu_net_hdr_check(&hdr, len, features, &why) != 0) {
		print_error("refused: %s\n", why.text);
		_fail(file, line);
	}
}

#define refused(hdr, len, features, words)                                                         \
	refused_at((hdr), (len), (features), (words), __FILE__, __LINE__)
static void refused_at(struct vhu_net_hdr hdr, uint32_t len, uint64_t features, const char *words,
		       const char *file, int line)
{
	struct vhu_reason why = { "" };

	_assert_int_equal((uintmax_t)vhu_net_hdr_check(&hdr, len, features, &why),
			  (uintmax_t)-EPROTO, file, line);
	if (!strstr(why.text, words)) {
		print_error("the reason is: %s\n", why.text);
		_fail(file, line);
	}
	/* A caller that does not want to know why. */
	_assert_int_equal((uintmax_t)vhu_net_hdr_check(&hdr, len, features, NULL),
			  (uintmax_t)-EPROTO, file, line);
}

static void plain_frames_pass_whatever_unused_fields_hold(void **state)
{
	struct vhu_net_hdr hdr = {
		.hdr_len = 0xffff, .gso_size = 0xffff, .csum_start = 0xffff, .csum_offset = 0xffff
	};

	(void)state;
	accepted(hdr, 14, 0);
	/* Flags that the device does not know are none of its business (5.1.6.2.2). */
	hdr.flags = VHU_NET_HDR_DATA_VALID | 0xf8;
	accepted(hdr, 60, 0);
}

static void checksum_has_to_lie_within_the_frame(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.gso_type = VHU_NET_GSO_NONE;
	accepted(hdr, 52, HOST_ALL);
	refused(hdr, 51, HOST_ALL, "csum_offset 16");
	refused(hdr, 34, HOST_ALL, "csum_start 34 lies beyond");
	hdr.csum_start = 0xffff;
	refused(hdr, 60, HOST_ALL, "csum_start 65535");
	hdr.csum_offset = 0xffff;
	refused(hdr, VHU_NET_FRAME_MAX, HOST_ALL, "csum_offset 65535");
	hdr.csum_start = 34;
	refused(hdr, 60, HOST_ALL, "csum_offset 65535");
	hdr.csum_offset = 0;
	accepted(hdr, 36, HOST_ALL);
	refused(hdr, 35, HOST_ALL, "csum_offset 0");
	/* A sum over the addresses could rewrite what the forwarding went by. */
	hdr.csum_start = 14;
	accepted(hdr, 60, HOST_ALL);
	hdr.csum_start = 13;
	refused(hdr, 60, HOST_ALL, "Ethernet");
	hdr.csum_start = 0;
	refused(hdr, 60, HOST_ALL, "Ethernet");
}

static void checksum_has_to_be_agreed(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.gso_type = VHU_NET_GSO_NONE;
	accepted(hdr, 60, VHU_MASK(VHU_NET_F_CSUM_BIT));
	refused(hdr, 60, HOST_ALL & ~VHU_MASK(VHU_NET_F_CSUM_BIT), "CSUM was not agreed");
	/* The other direction's bit has the same name with GUEST before it. */
	refused(hdr, 60, VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT), "CSUM was not agreed");
}

static void each_gso_type_needs_its_own_feature(void **state)
{
	static const struct {
		uint8_t type;
		unsigned int bit;
		const char *words;
	} rows[] = {
		{ VHU_NET_GSO_TCPV4, VHU_NET_F_HOST_TSO4_BIT, "HOST_TSO4 was not agreed" },
		{ VHU_NET_GSO_TCPV6, VHU_NET_F_HOST_TSO6_BIT, "HOST_TSO6 was not agreed" },
		{ VHU_NET_GSO_UDP, VHU_NET_F_HOST_UFO_BIT, "HOST_UFO was not agreed" },
		{ VHU_NET_GSO_UDP_L4, VHU_NET_F_HOST_USO_BIT, "HOST_USO was not agreed" },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct vhu_net_hdr hdr = i < 2 ? tcp_hdr() : udp_hdr(0);

		hdr.gso_type = rows[i].type;
		accepted(hdr, 9000, VHU_MASK(VHU_NET_F_CSUM_BIT) | VHU_MASK(rows[i].bit));
		refused(hdr, 9000, HOST_ALL & ~VHU_MASK(rows[i].bit), rows[i].words);
	}
}

static void unknown_gso_types_are_refused(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	for (unsigned int type = 1; type < 256; type++) {
		const unsigned int known = type & ~0x80u;

		if (known == 1 || known == 3 || known == 4 || known == 5)
			continue;
		hdr.gso_type = (uint8_t)type;
		refused(hdr, 9000, UINT64_MAX, "is unknown");
	}
}

static void ecn_goes_with_tcp_and_its_feature(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.gso_type = VHU_NET_GSO_TCPV4 | VHU_NET_GSO_ECN;
	accepted(hdr, 9000, HOST_ALL);
	refused(hdr, 9000, HOST_ALL & ~VHU_MASK(VHU_NET_F_HOST_ECN_BIT), "HOST_ECN");
	hdr.gso_type = VHU_NET_GSO_TCPV6 | VHU_NET_GSO_ECN;
	accepted(hdr, 9000, HOST_ALL);
	refused(udp_hdr(VHU_NET_GSO_UDP_L4 | VHU_NET_GSO_ECN), 9000, HOST_ALL, "with ECN");
	refused(udp_hdr(VHU_NET_GSO_UDP | VHU_NET_GSO_ECN), 9000, HOST_ALL, "with ECN");
}

static void gso_needs_the_checksum_of_its_protocol(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.flags = 0;
	refused(hdr, 9000, HOST_ALL, "without NEEDS_CSUM");
	hdr = tcp_hdr();
	hdr.csum_offset = 6;
	refused(hdr, 9000, HOST_ALL, "csum_offset is 6, not 16");
	hdr = udp_hdr(VHU_NET_GSO_UDP_L4);
	hdr.csum_offset = 16;
	refused(hdr, 9000, HOST_ALL, "csum_offset is 16, not 6");
}

static void gso_size_is_bounded_from_below(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.gso_size = 0;
	refused(hdr, 9000, HOST_ALL, "gso_size is 0");
	hdr.gso_size = 7;
	refused(hdr, 900, HOST_ALL, "gso_size is 7");
	/* Linux: a least MSS of 48, of which options may take 40. */
	hdr.gso_size = 8;
	accepted(hdr, 900, HOST_ALL);
	hdr = udp_hdr(VHU_NET_GSO_UDP_L4);
	hdr.gso_size = 0;
	refused(hdr, 900, HOST_ALL, "gso_size is 0");
	hdr.gso_size = 1;
	accepted(hdr, 900, HOST_ALL);
	hdr = udp_hdr(VHU_NET_GSO_UDP);
	hdr.gso_size = 7;
	refused(hdr, 900, HOST_ALL, "gso_size is 7");
}

static void one_frame_makes_a_bounded_number_of_segments(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	hdr.gso_size = 8;
	refused(hdr, VHU_NET_FRAME_MAX, HOST_ALL, "segments");
	/* What any sender with an MSS of 48 and timestamps may do is allowed. */
	hdr.gso_size = 36;
	accepted(hdr, VHU_NET_FRAME_MAX, HOST_ALL);
	hdr = udp_hdr(VHU_NET_GSO_UDP_L4);
	hdr.gso_size = 1;
	accepted(hdr, 2000, HOST_ALL);
	refused(hdr, 3000, HOST_ALL, "segments");
}

static void hdr_len_is_never_looked_at(void **state)
{
	struct vhu_net_hdr hdr = tcp_hdr();

	(void)state;
	for (unsigned int len = 0; len < 65536; len += 255) {
		hdr.hdr_len = (uint16_t)len;
		accepted(hdr, 9000, HOST_ALL);
	}
}

static void caps_follow_the_guest_features(void **state)
{
	const uint64_t csum = VHU_MASK(VHU_NET_F_GUEST_CSUM_BIT);
	const uint64_t tso4 = VHU_MASK(VHU_NET_F_GUEST_TSO4_BIT);
	const uint64_t ecn = VHU_MASK(VHU_NET_F_GUEST_ECN_BIT);

	(void)state;
	assert_int_equal(vhu_net_caps(0), 0);
	assert_int_equal(vhu_net_caps(HOST_ALL), 0);
	assert_int_equal(vhu_net_caps(csum), VHU_NET_CAP_CSUM);
	assert_int_equal(vhu_net_caps(csum | tso4), VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO4);
	assert_int_equal(vhu_net_caps(csum | VHU_MASK(VHU_NET_F_GUEST_TSO6_BIT) | ecn),
			 VHU_NET_CAP_CSUM | VHU_NET_CAP_TSO6 | VHU_NET_CAP_ECN);
	assert_int_equal(vhu_net_caps(csum | VHU_MASK(VHU_NET_F_GUEST_UFO_BIT)),
			 VHU_NET_CAP_CSUM | VHU_NET_CAP_UFO);
	assert_int_equal(vhu_net_caps(csum | VHU_MASK(VHU_NET_F_GUEST_USO4_BIT) |
				      VHU_MASK(VHU_NET_F_GUEST_USO6_BIT)),
			 VHU_NET_CAP_CSUM | VHU_NET_CAP_USO4 | VHU_NET_CAP_USO6);
	/* Bits whose requirement is missing count for nothing. */
	assert_int_equal(vhu_net_caps(tso4 | ecn), 0);
	assert_int_equal(vhu_net_caps(csum | ecn), VHU_NET_CAP_CSUM);
	assert_int_equal(vhu_net_caps(UINT64_MAX), 0x7f);
}

static void each_drop_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < VHU_NET_DROP_END; a++) {
		assert_non_null(vhu_net_drop_name((enum vhu_net_drop)a));
		assert_string_not_equal(vhu_net_drop_name((enum vhu_net_drop)a), "unknown");
		for (int b = 0; b < a; b++)
			assert_string_not_equal(vhu_net_drop_name((enum vhu_net_drop)a),
						vhu_net_drop_name((enum vhu_net_drop)b));
	}
	assert_string_equal(vhu_net_drop_name(VHU_NET_DROP_END), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_frames_pass_whatever_unused_fields_hold),
		cmocka_unit_test(checksum_has_to_lie_within_the_frame),
		cmocka_unit_test(checksum_has_to_be_agreed),
		cmocka_unit_test(each_gso_type_needs_its_own_feature),
		cmocka_unit_test(unknown_gso_types_are_refused),
		cmocka_unit_test(ecn_goes_with_tcp_and_its_feature),
		cmocka_unit_test(gso_needs_the_checksum_of_its_protocol),
		cmocka_unit_test(gso_size_is_bounded_from_below),
		cmocka_unit_test(one_frame_makes_a_bounded_number_of_segments),
		cmocka_unit_test(hdr_len_is_never_looked_at),
		cmocka_unit_test(caps_follow_the_guest_features),
		cmocka_unit_test(each_drop_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
