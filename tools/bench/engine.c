// SPDX-License-Identifier: MIT
/*
 * Runs a measurement: when lanes are visited, when it sleeps, when it ends. Knows nothing of what a
 * visit does.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "common/log.h"

enum {
	TURNS = 64, /* visits between two looks at the clock */
};
#define CONTROL_NS LOOP_MS	  /* between two looks at sockets while it is busy */
#define DRAIN_NS (2 * LOOP_S)	  /* for what is on its way at the end */
#define QUIET_NS (100 * LOOP_MS)  /* with nothing come: what was given up does not come home */
#define OPEN_MAX_NS (30 * LOOP_S) /* for the first frame to come back, unless --wait says */
#define AGAIN_NS (2 * LOOP_MS)	  /* for rings that nobody tells of */
#define NAP_NS UINT64_C(50000)	  /* shorter sleeps are not worth it */

/* ---- What the sides tell ---- */

static void on_changed(void *arg, struct side *side)
{
	struct bench *bench = arg;

	if (!side->is_up)
		bench_write_off(bench);
}

/* What lies in a burst belongs to a memory that may go now. */
static void on_let_go(void *arg, struct side *side)
{
	for (unsigned int i = 0; i < side->nr_lanes; i++) {
		struct lane *lane = &side->lanes[i];

		(void)arg;
		if (!lane->nr)
			continue;
		if (lane->is_device && lane->is_up) {
			lane_put_back(lane);
			continue;
		}
		lane->dropped += lane->nr - lane->done;
		if (lane->is_up)
			lane_done(lane);
		lane->nr = 0;
		lane->done = 0;
	}
}

static void on_failed(void *arg, struct side *side)
{
	struct bench *bench = arg;

	(void)side;
	bench->failed = true;
	bench->phase = BENCH_END;
}

/* ---- When it ends ---- */

static void drain(struct bench *bench)
{
	if (bench->phase != BENCH_RUN)
		return;
	bench->phase = BENCH_DRAIN;
	bench->end_ns = bench->now_ns;
	bench->drain_ns = bench->now_ns;
}

static bool sends(const struct bench *bench)
{
	return bench->options.mode == BENCH_SOURCE || bench->options.mode == BENCH_LOOP ||
	       bench->options.mode == BENCH_LATENCY;
}

static bool has_sent_all(const struct bench *bench)
{
	unsigned int nr = bench->options.one_way ? 1 : bench->nr_sides;

	for (unsigned int i = 0; i < nr; i++)
		if (bench->left[i])
			return false;
	return true;
}

/*
 * Of what was given up at a death, the most comes home. How much is not known: the account that says
 * "nothing more is on its way" may stand at 0 while a burst still lies in a ring.
 */
static bool may_come_home(const struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			uint64_t since = bench->sides[i]->lanes[k].received.last_ns;

			if (since < bench->drain_ns)
				since = bench->drain_ns;
			if (bench->flows[i][k].written_off && bench->now_ns - since < QUIET_NS)
				return true;
		}
	}
	return false;
}

/* All chains are back, and all frames that somebody brings back. */
static bool is_drained(struct bench *bench)
{
	bool drained = bench_all_outstanding(bench) == 0 && !may_come_home(bench);

	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct side *side = bench->sides[i];

		for (unsigned int k = 0; k < side->nr_lanes; k++)
			drained &= !lane_on_the_way(&side->lanes[k]);
		/* while it is away nothing can come back; it may return */
		drained &= side->is_up || !side->was_up || !sends(bench);
	}
	return drained;
}

static bool is_closed(const struct bench *bench)
{
	return bench->options.mode == BENCH_LOOP || bench->options.mode == BENCH_LATENCY;
}

/* The measurement begins: with the first frame that came, or went where nothing comes back. */
static bool has_traffic(const struct bench *bench)
{
	if (bench->options.mode == BENCH_SOURCE)
		return bench_all_up(bench);
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++) {
			const struct bench_flow *flow = &bench->flows[i][k];

			if (flow->back ? flow->back->track.unique :
					 bench->sides[i]->lanes[k].received.frames)
				return true;
		}
	}
	return false;
}

static void give_up(struct bench *bench, const char *option, uint64_t after_ns)
{
	log_line(LOG_ERR, NULL, "%s%s for %.3g seconds", option,
		 !bench_all_up(bench) ? "nobody has come" :
		 is_closed(bench)     ? "no frame has come back" :
					"no frame has come",
		 (double)after_ns / 1e9);
	bench->failed = true;
	bench->phase = BENCH_END;
}

static void look_at_begin(struct bench *bench)
{
	uint64_t wait_ns = bench->options.wait_ns;

	if (has_traffic(bench)) {
		bench->begin_ns = bench->now_ns;
	} else if (wait_ns && bench->now_ns - bench->opened_ns >= wait_ns) {
		give_up(bench, "--wait: ", wait_ns);
	} else if (!bench_all_up(bench)) {
		bench->up_ns = 0;
	} else if (!bench->up_ns) {
		bench->up_ns = bench->now_ns;
	} else if (is_closed(bench) && !wait_ns && bench->now_ns - bench->up_ns >= OPEN_MAX_NS) {
		give_up(bench, "", OPEN_MAX_NS);
	}
}

static void look_at_ends(struct bench *bench)
{
	const struct bench_options *options = &bench->options;

	if (bench->phase == BENCH_DRAIN) {
		if (is_drained(bench) || bench->now_ns - bench->drain_ns >= DRAIN_NS)
			bench->phase = BENCH_END;
		return;
	}
	if (!bench->begin_ns)
		look_at_begin(bench);
	else if (options->run_ns && bench->now_ns - bench->begin_ns >= options->run_ns)
		drain(bench);
	if (options->frames &&
	    (sends(bench) ? has_sent_all(bench) : bench->nr_taken >= options->frames))
		drain(bench);
}

static void on_signal(void *arg, int signal, pid_t sender)
{
	struct bench *bench = arg;

	(void)sender;
	/* the second time without more waiting */
	if (bench->signal)
		bench->phase = BENCH_END;
	bench->signal = signal;
	drain(bench);
}

static void on_tick(void *arg)
{
	struct bench *bench = arg;

	bench->now_ns = bench_clock_now(&bench->clock);
	bench_look_for_losses(bench);
	if (bench->on_second && bench->now_ns - bench->shown_ns >= LOOP_S - BENCH_CLOCK_LOOK_NS / 2)
		bench->on_second(bench);
}

static void on_timer(void *arg)
{
	(void)arg; /* to wake up is all */
}

/* ---- Sleeping ---- */

/* A ring without an eventfd that tells of it. */
static bool is_silent(const struct side *side, const struct lane *lane)
{
	const size_t ring = (size_t)2 * lane->index;

	return lane->is_up && (!side->notify[ring] || !side->notify[ring + 1]);
}

/* Asks to be told. True: there is something to do already. */
static bool arm(struct bench *bench)
{
	bool takes = bench->options.mode != BENCH_SOURCE;
	bool drains = bench->phase == BENCH_DRAIN;
	bool ready = false;

	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct side *side = bench->sides[i];

		for (unsigned int k = 0; k < side->nr_lanes; k++) {
			struct lane *lane = &side->lanes[k];

			/* a lane that holds a burst waits for another's room */
			if (takes && !lane->nr)
				ready |= lane_arm_in(lane);
			if (lane->out_full || (drains && lane_on_the_way(lane)))
				ready |= lane_arm_out(lane);
			bench->look_again |= is_silent(side, lane);
		}
	}
	return ready;
}

static void disarm(struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++)
		for (unsigned int k = 0; k < bench->sides[i]->nr_lanes; k++)
			lane_disarm(&bench->sides[i]->lanes[k]);
}

static int rest(struct bench *bench)
{
	uint64_t nap_ns = bench->look_again ? AGAIN_NS : 0;
	int err;

	if (bench->pace_ns && (!nap_ns || bench->pace_ns < nap_ns))
		nap_ns = bench->pace_ns < NAP_NS ? NAP_NS : bench->pace_ns;
	if (nap_ns)
		loop_set_timer(bench->timer, nap_ns, 0);
	err = loop_turn(bench->loop, -1);
	bench->looked_ns = bench->now_ns = bench_clock_now(&bench->clock);
	disarm(bench);
	return err;
}

/* ---- Running ---- */

static bool any_up(const struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++)
		if (bench->sides[i]->is_up)
			return true;
	return false;
}

/* Visits lanes until there is nothing to do, or it is time to look at the clock. */
static bool work(struct bench *bench)
{
	bool paced = bench->options.rate.per_s && sends(bench);
	int turns = paced ? 1 : TURNS;
	bool busy = true;

	bench->look_again = false;
	bench->pace_ns = 0;
	if (paced)
		for (unsigned int i = 0; i < bench->nr_sides; i++)
			bucket_fill(&bench->buckets[i], bench->now_ns);
	for (int i = 0; i < turns && busy; i++) {
		busy = bench->turn(bench);
		if (bench->options.frames && !sends(bench) &&
		    bench->nr_taken >= bench->options.frames)
			break;
	}
	return busy;
}

static uint64_t cpu_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * LOOP_S + (uint64_t)now.tv_nsec;
}

int bench_run(struct bench *bench)
{
	uint64_t cpu_before = cpu_now();
	int err = loop_set_timer(bench->tick, BENCH_CLOCK_LOOK_NS, BENCH_CLOCK_LOOK_NS);

	bench->opened_ns = bench->shown_ns = bench->now_ns = bench_clock_now(&bench->clock);
	while (!err && bench->phase != BENCH_END) {
		bool was_begun = bench->begin_ns;
		bool busy = work(bench);

		bench->now_ns = bench_clock_now(&bench->clock);
		look_at_ends(bench);
		if (bench->phase == BENCH_END)
			break;
		if (!was_begun && bench->begin_ns)
			cpu_before = cpu_now();
		if (busy || (bench->options.poll && any_up(bench))) {
			if (bench->now_ns - bench->looked_ns < CONTROL_NS)
				continue;
			bench->looked_ns = bench->now_ns;
			err = loop_turn(bench->loop, 0);
		} else if (bench->options.poll || !arm(bench)) {
			err = rest(bench);
		}
	}
	bench->cpu_ns = cpu_now() - cpu_before;
	if (!bench->end_ns)
		bench->end_ns = bench->now_ns;
	return err;
}

/* ---- Beginning and end ---- */

static int open_loop(struct bench *bench)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	int err = loop_new(&bench->loop);

	if (!err)
		err = loop_add_signals(bench->loop, ends, 3, on_signal, bench, &bench->signals);
	if (!err)
		err = loop_add_timer(bench->loop, on_tick, bench, &bench->tick);
	if (!err)
		err = loop_add_timer(bench->loop, on_timer, bench, &bench->timer);
	return err;
}

static int open_traffic(struct bench *bench)
{
	const struct bench_options *options = &bench->options;
	const struct traffic_options wishes = {
		.size = options->is_imix ? 0 : options->size,
		.is_tso = options->is_tso,
		.with_pattern = options->verify,
		.vlan = options->vlan,
		.run = (uint32_t)(loop_now_ns() >> 10),
	};
	bool closed = is_closed(bench);

	bench->judges = closed || (options->verify && options->mode != BENCH_SOURCE);
	if (traffic_init(&bench->traffic, &wishes))
		return -ENOMEM;
	verify_init(&bench->verify, &bench->traffic, closed);
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		bench->left[i] = options->frames ? options->frames : UINT64_MAX;
		bench->buckets[i].rate = options->rate;
		for (unsigned int k = 0; k < options->pairs; k++) {
			uint16_t id = (uint16_t)(i * BENCH_QUEUES_MAX + k);

			/* the second side answers the first */
			traffic_flow_init(&bench->sides[i]->lanes[k].flow, &bench->traffic, id,
					  i ? options->dst : options->src,
					  i ? options->src : options->dst);
			if (!closed)
				continue;
			bench->flows[i][k].back = verify_own(&bench->verify, id);
			if (!bench->flows[i][k].back)
				return -ENOMEM;
		}
	}
	return 0;
}

static int open_sides(struct bench *bench)
{
	uint32_t longest = traffic_max_len(&bench->traffic);

	if (longest < BENCH_SIZE_MTU)
		longest = BENCH_SIZE_MTU;
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		struct side *side = bench->sides[i];

		/* room for a tag that somebody adds */
		side->frame_max = bench->options.is_tso ? VHU_NET_FRAME_MAX : longest + 4;
		if (side->frame_max > VHU_NET_FRAME_MAX)
			side->frame_max = VHU_NET_FRAME_MAX;
		if (side_open(side, bench->loop))
			return -1;
	}
	return 0;
}

int bench_open(struct bench *bench, const struct bench_options *options)
{
	int err;

	bench->options = *options;
	bench->events = (struct side_events){
		.changed = on_changed, .let_go = on_let_go, .failed = on_failed, .arg = bench
	};
	err = open_loop(bench);
	for (unsigned int i = 0; i < options->nr_sides && !err; i++) {
		struct side *side = calloc(1, sizeof(*side));

		if (!side) {
			err = -ENOMEM;
			break;
		}
		side->where = options->sides[i];
		side->options = &bench->options;
		side->events = &bench->events;
		side->clock = &bench->clock;
		side->index = i;
		bench->sides[bench->nr_sides++] = side;
	}
	if (!err)
		err = open_traffic(bench);
	if (err) {
		log_line(LOG_ERR, NULL, "start: %s", strerror(-err));
		return -1;
	}
	bench_choose_turn(bench);
	return open_sides(bench);
}

void bench_close(struct bench *bench)
{
	/* the end of one is still told, and looks at the accounts of all */
	for (unsigned int i = 0; i < bench->nr_sides; i++)
		side_close(bench->sides[i]);
	for (unsigned int i = 0; i < bench->nr_sides; i++)
		free(bench->sides[i]);
	verify_fini(&bench->verify);
	traffic_fini(&bench->traffic);
	loop_free(bench->loop);
}
