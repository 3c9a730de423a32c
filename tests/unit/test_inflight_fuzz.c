/* SPDX-License-Identifier: MIT */
/* tier: fast */
/* timeout: 300 */
/*
 * Regions that no backend ever wrote. Whatever stands in one, a ring begins on it or is refused
 * with a reason; if it begins, what it hands out are chains of this ring, each once, and nothing
 * beyond the region is touched (which the sanitizers see).
 */
#include "inflight_world.h"

enum {
	REGIONS = 100000, /* of each layout */
};

static uint64_t seed = 1;

static uint32_t random32(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33);
}

/* A number as it is likely to do harm: small, at the edge, or any. */
static uint16_t nasty16(void)
{
	static const uint16_t edges[] = { 0,	   1,	   NUM - 1, NUM,    NUM + 1,
					  2 * NUM, 0x7fff, 0x8000,  0xfffe, 0xffff };

	switch (random32() % 3) {
	case 0:
		return (uint16_t)(random32() % (NUM + 1));
	case 1:
		return edges[random32() % (sizeof(edges) / sizeof(edges[0]))];
	default:
		return (uint16_t)random32();
	}
}

/* A true region, left by a backend in the midst of things. */
static void live(struct world *w, bool packed)
{
	struct vhu_reason why;
	struct backend be;

	memset(w, 0, sizeof(*w));
	assert_int_equal(backend_begin(&be, w, NULL, packed, &why), 0);
	for (uint32_t round = 0; round < 1 + random32() % 4; round++) {
		for (uint32_t i = random32() % 5; i; i--)
			world_make(w, packed);
		for (uint32_t i = random32() % 5; i; i--)
			backend_take(&be);
		if (random32() % 3)
			vhu_ring_publish(&be.q, &be.view);
		assert_true(world_reap(w, packed));
	}
	backend_die(&be);
}

static void spoil(uint8_t *region)
{
	uint16_t *words = (uint16_t *)(void *)region;

	if (random32() % 4 == 0) {
		/* all of it, behind a head that is right or not */
		for (uint32_t i = random32() % 2 ? 6 : 0; i < REGION / 2; i++)
			words[i] = nasty16();
		return;
	}
	for (uint32_t i = 1 + random32() % 6; i; i--) {
		if (random32() % 2)
			words[random32() % (REGION / 2)] = nasty16();
		else
			region[random32() % REGION] = (uint8_t)random32();
	}
}

/* Goes on with a ring that began, as with any. The count of chains handed out again. */
static uint32_t go_on(struct backend *be, struct world *w, bool packed)
{
	uint32_t again = be->q.inflight ? vhu_inflight_nr_again(be->q.inflight) : 0;

	assert_true(again <= NUM);
	for (uint32_t round = 0; round < 3; round++) {
		struct vhu_ring_mark mark = vhu_ring_mark(&be->q);

		for (uint32_t i = 0; i < NUM && be->q.nr_shadow < be->q.shadow_max; i++) {
			if (random32() % 4 == 0)
				world_make(w, packed);
			if (backend_take(be) < 0)
				break;
		}
		if (random32() % 3 == 0)
			vhu_ring_undo(&be->q, mark);
		if (!be->q.fault && random32() % 2)
			vhu_ring_publish(&be->q, &be->view);
	}
	if (random32() % 2) {
		vhu_ring_rewind(&be->q);
		vhu_queue_base(&be->q);
		vhu_record_end(&be->q);
	}
	return again;
}

static void fuzz(bool packed)
{
	struct world *w = aligned_alloc(64, sizeof(*w));
	uint32_t begun = 0, again = 0;

	assert_non_null(w);
	for (uint32_t i = 0; i < REGIONS; i++) {
		struct vhu_reason why = { { 0 } };
		struct backend be;
		uint8_t *region = malloc(REGION); /* of its own: the sanitizers guard its ends */

		assert_non_null(region);
		if (i % 8 == 0)
			live(w, packed);
		memcpy(region, w->region, REGION);
		spoil(region);
		if (backend_begin(&be, w, region, packed, &why) == 0) {
			begun++;
			again += go_on(&be, w, packed);
		} else if (!why.text[0]) {
			fail_msg("region %u was refused without a reason", i);
		}
		backend_die(&be);
		free(region);
	}
	print_message("# %u regions, %u begun on, %u chains handed out again\n", REGIONS, begun,
		      again);
	assert_true(begun > 0 && begun < REGIONS && again > 0);
	free(w);
}

static void split_ring_begins_on_any_region_or_is_refused(void **state)
{
	(void)state;
	fuzz(false);
}

static void packed_ring_begins_on_any_region_or_is_refused(void **state)
{
	(void)state;
	fuzz(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_ring_begins_on_any_region_or_is_refused),
		cmocka_unit_test(packed_ring_begins_on_any_region_or_is_refused),
	};

	return cmocka_run_group_tests_name("in flight, any region", tests, NULL, NULL);
}
