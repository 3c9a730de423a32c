/* SPDX-License-Identifier: MIT */
/* A card and its backend: made, parted, brought together again, freed; knows no test. */
#include <unistd.h>

#include "vmm_stage.h"

#define PACKED VHU_MASK(VHU_F_RING_PACKED_BIT)
#define EVENT VHU_MASK(VHU_F_EVENT_IDX_BIT)
#define INDIRECT VHU_MASK(VHU_F_INDIRECT_DESC_BIT)

void backend_comes(struct stage *stage)
{
	fixture_init(&stage->fix, &stage->fix_options);
	if (stage->server)
		assert_int_equal(vhu_backend_connect(stage->fix.backend, stage->path), 0);
	else
		assert_int_equal(vhu_backend_listen(stage->fix.backend, stage->path, 0, NULL), 0);
}

void backend_goes(struct stage *stage)
{
	fixture_free(&stage->fix);
}

struct stage *stage_new(const struct nic_options *options)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	struct nic_options o = *options;

	assert_non_null(stage);
	tally_take(&stage->before);
	strcpy(stage->dir, "/tmp/vhu-test-XXXXXX");
	assert_non_null(mkdtemp(stage->dir));
	snprintf(stage->path, sizeof(stage->path), "%s/sock", stage->dir);
	stage->server = o.net.server;
	stage->fix_options.no_listen = true;
	stage->fix_options.protocol_features =
		VHU_BACKEND_PROTOCOL_FEATURES | VHU_MASK(VHU_P_INFLIGHT_SHMFD_BIT);
	stage->fix_options.nr_rings = o.net.queue_pairs ? 2 * o.net.queue_pairs : 2;
	o.net.path = stage->path;
	nic_init(&stage->nic, &o);
	return stage;
}

struct stage *stage_up(const struct nic_options *options)
{
	struct stage *stage = stage_new(options);

	backend_comes(stage);
	nic_wait(&stage->nic);
	return stage;
}

void stage_free(struct stage *stage)
{
	nic_free(&stage->nic);
	backend_goes(stage);
	assert_return_code(rmdir(stage->dir), errno);
	stage->before.heap = SIZE_MAX;
	tally_check(&stage->before);
	free(stage);
}

/* Guests of each kind of ring. */
static const uint64_t no_features[STAGE_KINDS] = {
	0, PACKED, PACKED | EVENT, EVENT, PACKED | INDIRECT, INDIRECT
};

struct nic_options stage_kind(unsigned int i)
{
	return (struct nic_options){ .net = { .packed = true }, .no_features = no_features[i] };
}
