/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * Where the headers of a frame are found, and that nothing is read behind the head.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <net/parse.h>

#include "net_frames.h"

static struct flat flat;

static int parse_block(const uint8_t *bytes, size_t len, struct vhu_net_layout *ret_layout)
{
	uint8_t *block = malloc(len ? len : 1);
	int err;

	memcpy(block, bytes, len);
	err = vhu_net_parse(block, len, ret_layout);
	free(block);
	return err;
}

static void headers_are_found_in_any_layout(void **state)
{
	struct rnd rnd = { 3 };

	(void)state;
	for (int round = 0; round < 5000; round++) {
		struct vhu_net_layout got;
		struct sample sample;

		flat_random_sample(&rnd, &sample);
		sample.payload_len = rnd_below(&rnd, 20);
		flat_build(&rnd, &sample, &flat);
		assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
		assert_int_equal(got.l3, flat.l3);
		assert_int_equal(got.l4, flat.l4);
		assert_int_equal(got.payload, flat.payload);
		assert_int_equal(got.version, sample.version);
		assert_int_equal(got.proto, sample.proto);
		assert_int_equal(got.frag, flat.frag);
		assert_false(got.is_fragment);
		if (sample.version == 6)
			assert_int_equal(got.frag_next, flat.frag_next);
		/* The headers alone will do, and each byte less will not. */
		assert_int_equal(parse_block(flat.bytes, flat.payload, &got), 0);
		for (uint32_t len = flat.l3; len < flat.payload; len++)
			assert_int_equal(parse_block(flat.bytes, len, &got), -EPROTO);
	}
}

static void frames_without_ip_have_no_version(void **state)
{
	uint8_t bytes[60] = { 0 };
	struct vhu_net_layout got;

	(void)state;
	bytes[12] = 0x08;
	bytes[13] = 0x06;
	assert_int_equal(parse_block(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.version, 0);
	assert_int_equal(got.l3, 14);
	assert_int_equal(got.ethertype, 0x0806);
	assert_int_equal(parse_block(bytes, 13, &got), -EPROTO);
	assert_int_equal(parse_block(bytes, 0, &got), -EPROTO);
}

static void at_most_two_whole_tags_are_passed(void **state)
{
	static const uint8_t tag[4] = { 0x81, 0x00, 0x00, 0x05 };
	uint8_t bytes[60] = { 0 };
	uint16_t type = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		memcpy(bytes + 12 + 4 * i, tag, 4);
	assert_int_equal(vhu_net_l2_len(bytes, sizeof(bytes), &type), 22);
	assert_int_equal(type, 0x8100);
	assert_int_equal(vhu_net_l2_len(bytes, 21, &type), 18);
	assert_int_equal(vhu_net_l2_len(bytes, 17, &type), 14);
	assert_int_equal(vhu_net_l2_len(bytes, 14, &type), 14);
	assert_int_equal(vhu_net_l2_len(bytes, 13, &type), 0);
}

static void wrong_versions_and_lengths_are_refused(void **state)
{
	struct sample sample = { .version = 4, .proto = 6, .payload_len = 10 };
	struct rnd rnd = { 4 };
	struct vhu_net_layout got;

	(void)state;
	flat_build(&rnd, &sample, &flat);
	for (unsigned int first = 0; first < 256; first++) {
		const bool good = first >> 4 == 4 && (first & 15) >= 5;

		flat.bytes[14] = (uint8_t)first;
		flat.bytes[9 + 14] = 1;
		/* Room for the longest header. */
		assert_int_equal(parse_block(flat.bytes, 100, &got), good ? 0 : -EPROTO);
	}
	flat_build(&rnd, &sample, &flat);
	flat.bytes[flat.l4 + 12] = 0x40;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), -EPROTO);
	flat.bytes[flat.l4 + 12] = 0xf0;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), -EPROTO);
	sample.version = 6;
	flat_build(&rnd, &sample, &flat);
	flat.bytes[14] = 0x45;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), -EPROTO);
}

static void fragments_are_told(void **state)
{
	struct sample sample = { .version = 4, .proto = 17, .payload_len = 100 };
	struct rnd rnd = { 5 };
	struct vhu_net_layout got;

	(void)state;
	flat_build(&rnd, &sample, &flat);
	flat.bytes[flat.l3 + 6] = 0x20;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_true(got.is_fragment);
	flat.bytes[flat.l3 + 6] = 0x00;
	flat.bytes[flat.l3 + 7] = 0x01;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_true(got.is_fragment);
	assert_int_equal(got.payload, got.l4);
	flat.bytes[flat.l3 + 6] = 0xc0;
	flat.bytes[flat.l3 + 7] = 0x00;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_false(got.is_fragment);

	sample.version = 6;
	sample.nr_ext = 1;
	sample.ext[0] = 60;
	flat_build(&rnd, &sample, &flat);
	flat.bytes[flat.l3 + 6] = 44;
	memset(flat.bytes + flat.l3 + 42, 0, 2);
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_true(got.is_fragment);
	assert_int_equal(got.l4, flat.l4);
	/* Its second byte is reserved and no length. */
	flat.bytes[flat.l3 + 41] = 0xff;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_int_equal(got.l4, flat.l4);
	/* A later fragment: what its header names comes in the first one only. */
	flat.bytes[flat.l3 + 40] = 60;
	flat.bytes[flat.l3 + 42] = 1;
	assert_int_equal(parse_block(flat.bytes, flat.len, &got), 0);
	assert_true(got.is_fragment);
	assert_int_equal(got.l4, flat.l3 + 48);
}

static void any_bytes_are_parsed_within_their_length(void **state)
{
	static const uint8_t types[][2] = { { 0x08, 0x00 }, { 0x86, 0xdd }, { 0x81, 0x00 } };
	struct rnd rnd = { 6 };
	uint8_t bytes[256];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const uint32_t len = rnd_below(&rnd, sizeof(bytes) + 1);
		struct vhu_net_layout got;

		for (uint32_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)rnd_below(&rnd, rnd_one_in(&rnd, 2) ? 256 : 64);
		memcpy(bytes + 12, types[rnd_below(&rnd, 3)], 2);
		if (rnd_one_in(&rnd, 2))
			bytes[14] = bytes[12] == 0x08 ? 0x46 : 0x60;
		if (parse_block(bytes, len, &got) != 0 || !got.version)
			continue;
		assert_in_range(got.l4, got.l3, len);
		assert_in_range(got.payload, got.l4, len);
		assert_in_range(got.frag, got.l3, got.l4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_found_in_any_layout),
		cmocka_unit_test(frames_without_ip_have_no_version),
		cmocka_unit_test(at_most_two_whole_tags_are_passed),
		cmocka_unit_test(wrong_versions_and_lengths_are_refused),
		cmocka_unit_test(fragments_are_told),
		cmocka_unit_test(any_bytes_are_parsed_within_their_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
