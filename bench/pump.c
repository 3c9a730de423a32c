/* SPDX-License-Identifier: MIT */
/*
 * Guests of one switch in one thread: the first sends to the second, with so many frames on their
 * way at most; all others are there and do nothing. It counts what arrives and looks at none of it.
 * With --beside the third sends as many frames to the fourth, who takes them, or never does.
 *
 * For each line on standard input it prints the frames that have arrived at the second, and the time
 * in nanoseconds.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum {
	MAX_GUESTS = 4096,
	ASK_EVERY = 64,	      /* visits between two looks at standard input */
	LOST_NS = 200000000,  /* what has not arrived after so long never will */
	PAUSE_NS = 5000000,   /* between two visits: the process was stopped */
	FIRST_NS = 100000000, /* between two frames, until one has arrived */
};

struct pump {
	struct guest guest[MAX_GUESTS];
	unsigned int nr_guests, window, under_way;
	enum {
		BESIDE_NOTHING,
		BESIDE_EMPTIED,
		BESIDE_STUCK
	} beside;
	uint64_t arrived, last_ns, visit_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int start(struct pump *pump)
{
	bool runs = false;

	while (!runs) {
		runs = true;
		for (unsigned int i = 0; i < pump->nr_guests; i++) {
			const int ret = guest_look(&pump->guest[i]);

			if (ret < 0)
				return ret;
			runs = runs && ret;
		}
		usleep(1000);
	}
	for (unsigned int i = 0; i < pump->nr_guests; i++)
		guest_fill(&pump->guest[i]);
	return 0;
}

/* One frame now and then, from both: until one has arrived. */
static void open_the_way(struct pump *pump, uint64_t now)
{
	if (now - pump->last_ns < FIRST_NS)
		return;
	for (unsigned int i = 0; i < (pump->beside ? 4 : 2); i++) {
		guest_reclaim(&pump->guest[i]);
		guest_send_some(&pump->guest[i], 1);
	}
	pump->last_ns = now;
}

/* The second pair: as many frames as the first. */
static int visit_beside(struct pump *pump, unsigned int nr)
{
	struct guest *to = &pump->guest[3], *from = &pump->guest[2];

	if (pump->beside == BESIDE_NOTHING)
		return 0;
	if (pump->beside == BESIDE_EMPTIED && guest_receive(to) < 0)
		return -EPROTO;
	if (guest_receive(from) < 0)
		return -EPROTO;
	guest_reclaim(from);
	guest_send_some(from, nr);
	return 0;
}

/* 0, or -errno: a ring is broken, or a backend has gone. */
static int visit(struct pump *pump, uint64_t now)
{
	struct guest *to = &pump->guest[1], *from = &pump->guest[0];
	const int nr = guest_receive(to);

	if (nr < 0)
		return nr;
	if (now - pump->visit_ns > PAUSE_NS)
		pump->last_ns += now - pump->visit_ns;
	pump->visit_ns = now;
	/* What the receiver sent to be learnt is flooded to the sender. */
	if (guest_receive(from) < 0)
		return -EPROTO;
	if (nr) {
		pump->arrived += (unsigned int)nr;
		pump->under_way -=
			(unsigned int)nr < pump->under_way ? (unsigned int)nr : pump->under_way;
		pump->last_ns = now;
	} else if (pump->under_way && now - pump->last_ns > LOST_NS) {
		pump->under_way = 0;
	}
	if (!pump->arrived) {
		open_the_way(pump, now);
		return 0;
	}
	guest_reclaim(from);
	if (pump->under_way < pump->window) {
		const unsigned int more = pump->window - pump->under_way;

		guest_send_some(from, more);
		pump->under_way = pump->window;
		return visit_beside(pump, more);
	}
	return 0;
}

static int run(struct pump *pump)
{
	struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
	char line[16];

	for (unsigned int i = 0;; i++) {
		const uint64_t now = now_ns();
		const int err = visit(pump, now);

		if (err)
			return err;
		if (i % ASK_EVERY || poll(&in, 1, 0) <= 0)
			continue;
		if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
			return 0;
		printf("%llu %llu\n", (unsigned long long)pump->arrived, (unsigned long long)now);
		fflush(stdout);
		for (unsigned int g = 0; g < 2; g++) {
			if (guest_look(&pump->guest[g]) != 1)
				return -ECONNRESET;
		}
	}
}

static int usage(void)
{
	fputs("usage: pump SOCKET SOCKET [SOCKET]... [--packed] [--size BYTES | --tso] [--window N] [--server]\n"
	      "            [--beside emptied|stuck]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "packed", no_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "tso", no_argument, NULL, 't' },
		{ "window", required_argument, NULL, 'w' },
		{ "server", no_argument, NULL, 'l' },
		{ "beside", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	static struct pump pump = { .window = 16 };
	struct guest_load load = { .features = VHU_MASK(VHU_F_VERSION_1_BIT) |
					       VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT),
				   .num = 256,
				   .frame_len = 64 };
	int c, err = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			load.features |= VHU_MASK(VHU_F_RING_PACKED_BIT);
		else if (c == 's')
			load.frame_len = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 't')
			guest_load_tso(&load);
		else if (c == 'w')
			pump.window = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 'l')
			load.listens = true;
		else if (c == 'b' && (!strcmp(optarg, "emptied") || !strcmp(optarg, "stuck")))
			pump.beside = *optarg == 'e' ? BESIDE_EMPTIED : BESIDE_STUCK;
		else
			return usage();
	}
	if (argc - optind < (pump.beside ? 4 : 2) || argc - optind > MAX_GUESTS ||
	    load.frame_len < 60 || !pump.window)
		return usage();
	pump.nr_guests = (unsigned int)(argc - optind);
	for (unsigned int i = 0; i < pump.nr_guests && !err; i++) {
		load.station = (uint8_t)(i & 1);
		load.pair = (uint8_t)(i / 2);
		/* An idle one needs rings and buffers to receive into, and touches none of them. */
		if (i == (pump.beside ? 4 : 2))
			load = (struct guest_load){ .features = VHU_MASK(VHU_F_VERSION_1_BIT),
						    .num = 64,
						    .frame_len = 64,
						    .memory = 1 << 20 };
		err = guest_open(&pump.guest[i], &load, argv[optind + (int)i]);
	}
	if (!err)
		err = start(&pump);
	if (!err)
		err = run(&pump);
	if (err)
		fprintf(stderr, "pump: %s\n", strerror(-err));
	for (unsigned int i = 0; i < pump.nr_guests; i++)
		guest_close(&pump.guest[i]);
	return err ? 1 : 0;
}
