// SPDX-License-Identifier: MIT
/*
 * What each mode does at one visit to its lanes; knows nothing of connections, of sleeping, of time
 * but the one it is told.
 */

#include <errno.h>

#include "bench/bench.h"

#define LOSS_NS LOOP_S		/* what is not back by then is lost */
#define OPEN_NS (100 * LOOP_MS) /* between attempts, until the first has come back */

bool bench_all_up(const struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++)
		if (!bench->sides[i]->is_up)
			return false;
	return true;
}

/* ---- Accounts of what is on its way ---- */

uint64_t bench_outstanding(struct bench *bench, unsigned int side, unsigned int lane)
{
	struct bench_flow *flow = &bench->flows[side][lane];
	uint64_t away;

	if (!flow->back)
		return 0;
	away = bench->sides[side]->lanes[lane].sent_cells - flow->back->track.unique;
	/* what had been given up came home after all */
	if (flow->written_off > away)
		flow->written_off = away;
	return away - flow->written_off;
}

uint64_t bench_all_outstanding(struct bench *bench)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < bench->nr_sides; i++)
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++)
			sum += bench_outstanding(bench, i, k);
	return sum;
}

void bench_write_off(struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			struct bench_flow *flow = &bench->flows[i][k];
			uint64_t nr = bench_outstanding(bench, i, k);

			flow->written_off += nr;
			flow->at_death += nr;
		}
	}
	bench->asked_ns = 0;
}

/*
 * What was on its way at the last look and is so still has got lost; of the gaps between those that
 * came, all that were not filled since.
 */
static void look_at_flow(struct bench *bench, unsigned int side, unsigned int lane)
{
	struct bench_flow *flow = &bench->flows[side][lane];
	const struct track *track = &flow->back->track;
	uint64_t away = bench_outstanding(bench, side, lane);
	uint64_t filled = track->reordered - flow->reordered;
	uint64_t stale = away < flow->away ? away : flow->away;

	if (track->unique != flow->unique) {
		if (flow->gaps > filled && flow->gaps - filled > flow->written_off)
			flow->written_off = flow->gaps - filled;
	} else if (stale && bench_all_up(bench)) {
		flow->written_off += stale;
		if (!track->unique)
			flow->too_early += stale;
		bench->asked_ns = 0;
	}
	flow->looked_ns = bench->now_ns;
	flow->away = bench_outstanding(bench, side, lane);
	flow->unique = track->unique;
	flow->gaps = track_missing(track);
	flow->reordered = track->reordered;
}

void bench_look_for_losses(struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			struct bench_flow *flow = &bench->flows[i][k];
			uint64_t patience = LOSS_NS;

			if (!flow->back)
				continue;
			if (!flow->back->track.unique)
				patience = OPEN_NS;
			if (bench->now_ns - flow->looked_ns >= patience)
				look_at_flow(bench, i, k);
		}
	}
}

void bench_losses(const struct bench *bench, struct bench_losses *ret_losses)
{
	*ret_losses = (struct bench_losses){ 0 };
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			const struct bench_flow *flow = &bench->flows[i][k];
			uint64_t lost, part;

			if (!flow->back)
				continue;
			/* some of what was given up may have come home late */
			lost = bench->sides[i]->lanes[k].sent_cells - flow->back->track.unique;
			part = lost < flow->at_death ? lost : flow->at_death;
			ret_losses->at_death += part;
			lost -= part;
			part = lost < flow->too_early ? lost : flow->too_early;
			/* a way that never was open has no excuse */
			if (!flow->back->track.unique)
				part = 0;
			ret_losses->too_early += part;
			ret_losses->lost += lost - part;
		}
	}
}

/* ---- Pieces of a visit ---- */

static void mark(const struct bench *bench, struct lane_count *count)
{
	if (!count->first_ns)
		count->first_ns = bench->now_ns;
	count->last_ns = bench->now_ns;
}

/* The first sign of life after an outage: the other side took or brought something. */
static void end_outage(struct side *side, bool has_brought)
{
	bool passed = has_brought;

	if (!side->outage.is_back || !side->is_up)
		return;
	for (unsigned int i = 0; i < side->nr_lanes && !passed && !side->where.is_device; i++)
		passed = vhu_net_tx_reclaim(side->lanes[i].tx) > 0;
	if (passed)
		side_passed(side);
}

/* Sends up to a burst of the lane's own flow. Counts in cells if the flow comes back. */
static bool send_burst(struct bench *bench, unsigned int side_nr, struct lane *lane,
		       uint64_t window)
{
	struct bucket *bucket = &bench->buckets[side_nr];
	uint64_t *left = &bench->left[side_nr];
	unsigned int nr = 0;

	lane->out_full = false;
	if (!lane->is_up || bench->phase != BENCH_RUN)
		return false;
	while (nr < LANE_BURST && nr < window && *left) {
		uint32_t len;

		if (!bucket_may(bucket)) {
			uint64_t wait = bucket_wait_ns(bucket);

			if (!bench->pace_ns || wait < bench->pace_ns)
				bench->pace_ns = wait;
			break;
		}
		len = lane_send_own(lane);
		if (!len) {
			lane->out_full = true;
			break;
		}
		bucket_take(bucket, len);
		if (*left != UINT64_MAX)
			--*left;
		nr++;
	}
	if (nr)
		mark(bench, &lane->sent);
	lane_flush(lane, NULL);
	return nr;
}

/* Takes a burst and judges it. */
static bool take_burst(struct bench *bench, struct side *side, struct lane *lane)
{
	int nr = lane_pull(lane);

	if (nr == -EAGAIN)
		bench->look_again = true;
	else if (nr == -EPROTO)
		side_fail(side, "ring %u is broken: %s", 2 * lane->index,
			  vhu_driver_fault(vhu_net_rx_driver(lane->rx)));
	if (nr <= 0)
		return false;
	if (bench->judges)
		for (int i = 0; i < nr; i++)
			verify_frame(&bench->verify, &lane->frames[i]);
	bench->nr_taken += (unsigned int)nr;
	mark(bench, &lane->received);
	lane_done(lane);
	return true;
}

/* ---- source, sink ---- */

static bool turn_source(struct bench *bench)
{
	struct side *side = bench->sides[0];
	bool busy = false;

	for (unsigned int i = 0; i < side->nr_lanes; i++)
		busy |= send_burst(bench, 0, &side->lanes[i], LANE_BURST);
	if (side->outage.is_open)
		end_outage(side, side->where.is_device && busy);
	return busy;
}

static bool turn_sink(struct bench *bench)
{
	struct side *side = bench->sides[0];
	bool busy = false;

	for (unsigned int i = 0; i < side->nr_lanes; i++)
		busy |= take_burst(bench, side, &side->lanes[i]);
	if (side->outage.is_open)
		end_outage(side, busy);
	return busy;
}

/* ---- echo, forward ---- */

/* Sends on what lies in from's burst. True: all of it is done with. */
static bool send_rest(struct bench *bench, struct lane *from, struct lane *to)
{
	while (from->done < from->nr) {
		int err = lane_send_on(to, &from->frames[from->done], bench->options.swap);

		if (err == -ENOSPC && !bench->options.drop) {
			to->out_full = true;
			return false;
		}
		if (err == -ENOSPC || err == -ENOTCONN || err == -ENOBUFS)
			to->dropped++;
		else if (err)
			to->refused++;
		from->done++;
	}
	return true;
}

static bool pass_burst(struct bench *bench, struct side *side, struct lane *from, struct lane *to)
{
	unsigned int before;
	bool done;

	to->out_full = false;
	if (!from->nr) {
		int nr = lane_pull(from);

		if (nr == -EAGAIN)
			bench->look_again = true;
		else if (nr == -EPROTO)
			side_fail(side, "ring %u is broken: %s", 2 * from->index,
				  vhu_driver_fault(vhu_net_rx_driver(from->rx)));
		if (nr <= 0) {
			lane_flush(to, NULL);
			return false;
		}
		if (bench->judges)
			for (unsigned int i = from->done; i < from->nr; i++)
				verify_frame(&bench->verify, &from->frames[i]);
		mark(bench, &from->received);
	}
	before = from->done;
	done = send_rest(bench, from, to);
	if (from->done != before)
		mark(bench, &to->sent);
	bench->nr_taken += from->done - before;
	lane_flush(to, from);
	if (done) {
		lane_done(from);
		return true;
	}
	return from->done != before;
}

static bool turn_pass(struct bench *bench)
{
	bool busy = false;

	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct side *from = bench->sides[i];
		struct side *to = bench->sides[bench->nr_sides - 1 - i];
		bool brought = false;

		for (unsigned int k = 0; k < from->nr_lanes; k++)
			brought |= pass_burst(bench, from, &from->lanes[k], &to->lanes[k]);
		if (from->outage.is_open)
			end_outage(from, brought);
		busy |= brought;
	}
	return busy;
}

/* ---- loop, latency ---- */

static bool takes_back(struct bench *bench)
{
	bool busy = false;

	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct side *side = bench->sides[i];
		bool brought = false;

		for (unsigned int k = 0; k < side->nr_lanes; k++)
			brought |= take_burst(bench, side, &side->lanes[k]);
		if (side->outage.is_open)
			end_outage(side, brought);
		busy |= brought;
	}
	return busy;
}

/*
 * One frame until the way is known to be open: switches have to learn, testpmd throws away what came
 * before it began. The rate is that of what follows.
 */
static bool try_way(struct bench *bench, unsigned int side_nr, struct lane *lane)
{
	bool sent = send_burst(bench, side_nr, lane, 1);

	lane->sent.first_ns = 0;
	return sent;
}

static bool turn_loop(struct bench *bench)
{
	uint64_t cells = (uint64_t)bench->options.window * bench->traffic.nr_cells;
	unsigned int nr_senders = bench->options.one_way ? 1 : bench->nr_sides;
	bool busy = takes_back(bench);

	/* what is sent while nobody can bring it back is lost */
	if (!bench_all_up(bench))
		return busy;
	for (unsigned int i = 0; i < nr_senders; i++) {
		struct side *side = bench->sides[i];

		for (unsigned int k = 0; k < side->nr_lanes; k++) {
			uint64_t away = bench_outstanding(bench, i, k), room;

			room = away < cells ? (cells - away) / bench->traffic.nr_cells : 0;
			if (bench->flows[i][k].back->track.unique)
				busy |= send_burst(bench, i, &side->lanes[k], room);
			else if (!away)
				busy |= try_way(bench, i, &side->lanes[k]);
		}
	}
	return busy;
}

static bool turn_latency(struct bench *bench)
{
	const struct track *track = &bench->flows[0][0].back->track;
	uint64_t before = track->unique;
	bool busy = takes_back(bench);

	if (bench->asked_ns && track->unique != before) {
		bench->now_ns = bench_clock_now(&bench->clock);
		hist_add(&bench->latency_ns, bench->now_ns - bench->asked_ns);
		bench->asked_ns = 0;
	}
	if (bench->asked_ns || bench_outstanding(bench, 0, 0) || !bench_all_up(bench))
		return busy;
	if (bench->options.rate.per_s) {
		bench->now_ns = bench_clock_now(&bench->clock);
		bucket_fill(&bench->buckets[0], bench->now_ns);
	}
	/* before it is sent: the other side may be faster than we come back */
	bench->asked_ns = bench_clock_now(&bench->clock);
	if (!send_burst(bench, 0, &bench->sides[0]->lanes[0], 1)) {
		bench->asked_ns = 0;
		return busy;
	}
	return true;
}

void bench_choose_turn(struct bench *bench)
{
	static bool (*const turns[BENCH_MODE_END])(struct bench * bench) = {
		[BENCH_SOURCE] = turn_source, [BENCH_SINK] = turn_sink,
		[BENCH_ECHO] = turn_pass,     [BENCH_FORWARD] = turn_pass,
		[BENCH_LOOP] = turn_loop,     [BENCH_LATENCY] = turn_latency,
	};

	bench->turn = turns[bench->options.mode];
}
