/* SPDX-License-Identifier: MIT */
/* tier: fast */
/*
 * Drives the fuzz target of vhu_net_fit() with spoilt frames out of a fixed sequence of numbers.
 * The first argument is another number of rounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fuzz/fuzz_net_fit.c"
#include "net_frames.h"

static unsigned long nr_rounds = 30000;

static struct flat flat;
static uint8_t input[14 + VHU_NET_FRAME_MAX];

static size_t make_input(struct rnd *rnd)
{
	static const uint8_t types[] = { 0, 1, 3, 4, 5, 0x81, 0x84 };
	struct vhu_net_hdr hdr;
	struct sample sample;

	flat_random_sample(rnd, &sample);
	/* Mostly short ones: what is hard lies in the headers. */
	if (!rnd_one_in(rnd, 50))
		sample.payload_len %= 2000;
	flat_build(rnd, &sample, &flat);
	hdr = flat_hdr(&flat,
		       sample.proto == 6  ? (sample.version == 4 ? 1 : 4) :
		       rnd_one_in(rnd, 2) ? 3 :
					    5,
		       (uint16_t)rnd_below(rnd, 2000));
	if (rnd_one_in(rnd, 4))
		hdr.gso_type = types[rnd_below(rnd, sizeof(types))];
	for (int i = 0; i < 4; i++)
		input[i] = (uint8_t)rnd_below(rnd, 256);
	input[4] = hdr.flags;
	input[5] = hdr.gso_type;
	memcpy(input + 6, &hdr.hdr_len, 2);
	memcpy(input + 8, &hdr.gso_size, 2);
	memcpy(input + 10, &hdr.csum_start, 2);
	memcpy(input + 12, &hdr.csum_offset, 2);
	memcpy(input + 14, flat.bytes, flat.len);
	return 14 + flat.len;
}

static void spoil(struct rnd *rnd, size_t *size)
{
	unsigned int nr = rnd_below(rnd, 4);

	while (nr--) {
		const size_t reach = *size < 14 + 180 ? *size : 14 + 180;
		const size_t at = 4 + rnd_below(rnd, (uint32_t)reach - 4);

		if (rnd_one_in(rnd, 2))
			input[at] ^= (uint8_t)(1u << rnd_below(rnd, 8));
		else
			input[at] = (uint8_t)rnd_below(rnd, 256);
	}
	if (rnd_one_in(rnd, 8))
		*size = 14 + rnd_below(rnd, (uint32_t)*size - 13);
}

static void promises_hold_for_spoilt_frames(void **state)
{
	struct rnd rnd = { 16 };

	(void)state;
	for (unsigned long round = 0; round < nr_rounds; round++) {
		size_t size = make_input(&rnd);
		uint8_t *block;

		spoil(&rnd, &size);
		block = malloc(size);
		memcpy(block, input, size);
		assert_int_equal(LLVMFuzzerTestOneInput(block, size), 0);
		free(block);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(promises_hold_for_spoilt_frames),
	};

	if (argc > 1)
		nr_rounds = strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
