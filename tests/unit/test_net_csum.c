/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * The Internet checksum against RFC 1071, known packets and a sum made byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <net/bytes.h>
#include <net/csum.h>

#include "net_frames.h"

/* As a number, whatever the byte order of the host. */
static uint16_t folded(uint64_t sum)
{
	return be16toh(vhu_csum_fold(sum));
}

static void example_of_rfc_1071_comes_out(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	struct vhu_csum pieces = { 0 };

	(void)state;
	assert_int_equal(folded(vhu_csum_piece(bytes, sizeof(bytes))), 0xddf2);
	/* The same table breaks it after the third byte: "0001f2" and "03f4f5f6f7". */
	vhu_csum_add(&pieces, bytes, 3);
	vhu_csum_add(&pieces, bytes + 3, 5);
	assert_int_equal(folded(pieces.sum), 0xddf2);
}

static void known_packets_sum_to_all_ones(void **state)
{
	/* IPv4 headers as they were on the wire. */
	static const uint8_t ipv4[] = {
		0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
		0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7
	};
	static const uint8_t ipv4_tcp[] = { 0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40,
					    0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10,
					    0x0a, 0x63, 0xac, 0x10, 0x0a, 0x0c };

	(void)state;
	assert_int_equal(folded(vhu_csum_piece(ipv4, sizeof(ipv4))), 0xffff);
	assert_int_equal(folded(vhu_csum_piece(ipv4_tcp, sizeof(ipv4_tcp))), 0xffff);
}

static void every_length_and_alignment_agrees_with_the_slow_sum(void **state)
{
	struct rnd rnd = { 1 };
	uint8_t bytes[700];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rnd_below(&rnd, 256);
	for (size_t align = 0; align < 33; align++) {
		for (size_t len = 0; len < 600; len++) {
			/* Its own block, so that a byte too many is seen. */
			uint8_t *block = malloc(align + len + 1);
			uint8_t *copy = block + 1 + align;

			memcpy(copy, bytes, len);
			assert_int_equal(folded(vhu_csum_piece(copy, len)), ref_sum(bytes, len, 0));
			assert_int_equal(folded(vhu_csum_piece_plain(copy, len)),
					 ref_sum(bytes, len, 0));
			free(block);
		}
	}
}

static void no_carry_is_lost_in_64_kib_of_ones(void **state)
{
	enum {
		SIZE = 65536 + 22,
	};
	uint8_t *bytes = malloc(SIZE);

	(void)state;
	memset(bytes, 0xff, SIZE);
	assert_int_equal(folded(vhu_csum_piece(bytes, SIZE)), 0xffff);
	assert_int_equal(folded(vhu_csum_piece_plain(bytes, SIZE)), 0xffff);
	bytes[SIZE - 1] = 0xfe;
	assert_int_equal(folded(vhu_csum_piece(bytes, SIZE)), 0xfffe);
	assert_int_equal(folded(vhu_csum_piece_plain(bytes, SIZE)), 0xfffe);
	assert_true(vhu_csum_piece(bytes, SIZE) < UINT64_C(1) << 33);
	free(bytes);
}

static void zero_comes_only_from_zeros(void **state)
{
	uint8_t bytes[256] = { 0 };

	(void)state;
	assert_int_equal(vhu_csum_fold(vhu_csum_piece(bytes, sizeof(bytes))), 0);
	for (size_t i = 0; i < sizeof(bytes); i += 2) {
		bytes[i] = 0xff;
		bytes[i + 1] = 0xff;
		assert_int_equal(vhu_csum_fold(vhu_csum_piece(bytes, sizeof(bytes))), 0xffff);
		bytes[i] = 0;
		bytes[i + 1] = 0;
	}
	assert_int_equal(vhu_csum_fold(UINT64_MAX), 0xffff);
}

static void pieces_of_any_length_sum_like_the_whole(void **state)
{
	struct rnd rnd = { 2 };
	static uint8_t bytes[9000];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		const uint32_t len = rnd_below(&rnd, rnd_one_in(&rnd, 10) ? sizeof(bytes) : 400);
		const uint32_t most = 1 + rnd_below(&rnd, 200);
		struct vhu_csum csum = { 0 };
		uint32_t at = 0;

		for (uint32_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)rnd_below(&rnd, 256);
		while (at < len) {
			uint32_t n = rnd_below(&rnd, most + 1);

			n = n < len - at ? n : len - at;
			vhu_csum_add(&csum, bytes + at, n);
			at += n;
		}
		assert_int_equal(folded(csum.sum), ref_sum(bytes, len, 0));
		assert_int_equal(csum.odd, len % 2);
	}
}

static void numbers_are_added_in_network_order(void **state)
{
	static const uint8_t bytes[] = { 0x12, 0x34, 0x00, 0x06 };
	struct vhu_csum csum = { 0 };
	uint8_t field[2];

	(void)state;
	vhu_csum_add_be16(&csum, 0x1234);
	vhu_csum_add_be16(&csum, 6);
	assert_int_equal(vhu_csum_fold(csum.sum), vhu_csum_fold(vhu_csum_piece(bytes, 4)));
	vhu_csum_store(field, vhu_csum_fold(csum.sum));
	assert_int_equal(vhu_get_be16(field), 0x123a);
	assert_int_equal(vhu_csum_load(field), vhu_csum_fold(csum.sum));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(example_of_rfc_1071_comes_out),
		cmocka_unit_test(known_packets_sum_to_all_ones),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_slow_sum),
		cmocka_unit_test(no_carry_is_lost_in_64_kib_of_ones),
		cmocka_unit_test(zero_comes_only_from_zeros),
		cmocka_unit_test(pieces_of_any_length_sum_like_the_whole),
		cmocka_unit_test(numbers_are_added_in_network_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
