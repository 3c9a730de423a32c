// SPDX-License-Identifier: MIT
/* Frames judged and flows kept account of; knows nothing of where they came from. */

#include "bench/verify.h"

#include <stdlib.h>
#include <string.h>

void verify_init(struct verify *verify, const struct traffic *traffic, bool own_only)
{
	memset(verify, 0, sizeof(*verify));
	verify->traffic = traffic;
	verify->own_only = own_only;
}

void verify_fini(struct verify *verify)
{
	for (unsigned int i = 0; i < VERIFY_FLOWS_MAX; i++) {
		free(verify->flows[i]);
		verify->flows[i] = NULL;
	}
}

/* The place of a flow in the table, or where it would be; NULL: the table is full. */
static struct verify_flow **find(struct verify *verify, uint32_t run, uint16_t id)
{
	uint32_t at = (run ^ id * 0x9e3779b1u) * 0x85ebca6bu >> 16;

	for (unsigned int i = 0; i < VERIFY_FLOWS_MAX; i++) {
		struct verify_flow **flow = &verify->flows[(at + i) % VERIFY_FLOWS_MAX];

		if (!*flow || ((*flow)->run == run && (*flow)->id == id))
			return flow;
	}
	return NULL;
}

static struct verify_flow *add(struct verify *verify, struct verify_flow **place, uint32_t run,
			       uint16_t id, uint64_t first)
{
	struct verify_flow *flow = malloc(sizeof(*flow));

	if (!flow)
		return NULL;
	flow->run = run;
	flow->id = id;
	track_begin(&flow->track, first);
	*place = flow;
	verify->nr++;
	return flow;
}

struct verify_flow *verify_own(struct verify *verify, uint16_t id)
{
	uint32_t run = verify->traffic->options.run;
	struct verify_flow **place = find(verify, run, id);

	return place && !*place ? add(verify, place, run, id, 0) : NULL;
}

static void on_cell(void *arg, const struct traffic_cell *cell)
{
	struct verify *verify = arg;
	struct verify_flow *flow = verify->last;

	if (!flow || flow->id != cell->flow || flow->run != cell->run) {
		struct verify_flow **place = find(verify, cell->run, cell->flow);

		if (!place || (!*place && verify->own_only)) {
			verify->foreign++;
			return;
		}
		/* somebody else's flow counts from its first frame that came here */
		flow = *place ? *place : add(verify, place, cell->run, cell->flow, cell->seq);
		if (!flow) {
			verify->foreign++;
			return;
		}
		verify->last = flow;
	}
	verify->cells++;
	verify->plain += !cell->has_pattern;
	track_add(&flow->track, cell->seq);
}

void verify_frame(struct verify *verify, const struct vhu_net_frame *frame)
{
	switch (traffic_check(verify->traffic, frame, on_cell, verify)) {
	case TRAFFIC_OURS:
		break;
	case TRAFFIC_FOREIGN:
		verify->foreign++;
		break;
	case TRAFFIC_CORRUPT:
		verify->corrupt++;
		break;
	}
}

void verify_sum(const struct verify *verify, struct verify_sum *ret_sum)
{
	memset(ret_sum, 0, sizeof(*ret_sum));
	for (unsigned int i = 0; i < VERIFY_FLOWS_MAX; i++) {
		const struct verify_flow *flow = verify->flows[i];

		if (!flow)
			continue;
		ret_sum->unique += flow->track.unique;
		ret_sum->missing += track_missing(&flow->track);
		ret_sum->duplicates += flow->track.duplicates;
		ret_sum->reordered += flow->track.reordered;
	}
}
