/* SPDX-License-Identifier: MIT */
/*
 * From a kick to the call that answers it, out of idle, beside the floor: an eventfd written to a
 * process on the backend's core that sleeps in a read, and the one that it writes back. Both in turns
 * in one run; it knows nothing of who the backend is.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum {
	TURN = 16, /* samples of one kind, then of the other */
	PATIENCE_MS = 1000,
	START_TRIES = 100,
};

struct probe {
	struct guest guest[2];
	unsigned int nr_guests;
	unsigned int cpu[2]; /* ours, the backend's */
	unsigned int nr_samples, idle_us;
	int ping, pong;
	pid_t child;
	uint32_t *floor_ns, *frame_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static struct guest *receiver(struct probe *probe)
{
	return &probe->guest[probe->nr_guests - 1];
}

/* ---- The floor ---- */
static int start_floor(struct probe *probe)
{
	uint64_t value;

	probe->ping = eventfd(0, 0);
	probe->pong = eventfd(0, 0);
	if (probe->ping < 0 || probe->pong < 0)
		return -errno;
	probe->child = fork();
	if (probe->child < 0)
		return -errno;
	if (probe->child)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(probe->cpu[1]);
	while (read(probe->ping, &value, sizeof(value)) == sizeof(value) &&
	       write(probe->pong, &value, sizeof(value)) == sizeof(value))
		;
	_exit(0);
}

static int sample_floor(struct probe *probe, uint32_t *ret_ns)
{
	const uint64_t one = 1, begin = now_ns();
	uint64_t value;

	if (write(probe->ping, &one, sizeof(one)) != sizeof(one) ||
	    read(probe->pong, &value, sizeof(value)) != sizeof(value))
		return -errno;
	*ret_ns = (uint32_t)(now_ns() - begin);
	return 0;
}

/* ---- Frames ---- */
/* 0: a call came. -ETIMEDOUT. */
static int wait_call(struct probe *probe, int timeout_ms)
{
	const int call_fd = vhu_frontend_call_fd(receiver(probe)->fe, 0);
	struct pollfd in = { call_fd, POLLIN, 0 };
	uint64_t calls;

	if (poll(&in, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	return read(call_fd, &calls, sizeof(calls)) == sizeof(calls) ? 0 : -errno;
}

/* Takes what has come, asks for a call with the next. The count of frames, or -EPROTO. */
static int take(struct probe *probe)
{
	int sum = 0, nr;

	do {
		nr = guest_receive(receiver(probe));
		if (nr < 0)
			return nr;
		sum += nr;
	} while (!guest_arm(receiver(probe)));
	guest_reclaim(&probe->guest[0]);
	return sum;
}

static int sample_frame(struct probe *probe, uint32_t *ret_ns)
{
	const uint64_t begin = now_ns();
	uint64_t end;
	int nr, err;

	if (!guest_send_some(&probe->guest[0], 1))
		return -ENOSPC;
	do { /* a call without a frame is one too many, and no answer */
		err = wait_call(probe, PATIENCE_MS);
		end = now_ns();
		if (err)
			return err;
		nr = take(probe);
	} while (nr == 0);
	*ret_ns = (uint32_t)(end - begin);
	return nr == 1 ? 0 : -EPROTO;
}

static int bring_up(struct probe *probe)
{
	unsigned int ready = 0;
	int ret;

	while (ready < probe->nr_guests) {
		ready = 0;
		for (unsigned int i = 0; i < probe->nr_guests; i++) {
			ret = guest_look(&probe->guest[i]);
			if (ret < 0)
				return ret;
			ready += (unsigned int)ret;
		}
		usleep(1000);
	}
	for (unsigned int i = 0; i < probe->nr_guests; i++)
		guest_fill(&probe->guest[i]);
	/* Until a frame has come; a switch has to learn where the receiver is. */
	for (unsigned int i = 0; i < START_TRIES; i++) {
		for (unsigned int g = probe->nr_guests; g-- > 0;)
			guest_send_some(&probe->guest[g], 1);
		usleep(50000);
		ret = take(probe);
		for (unsigned int g = 0; g < probe->nr_guests; g++) {
			guest_reclaim(&probe->guest[g]);
			if (g < probe->nr_guests - 1)
				guest_receive(&probe->guest[g]);
		}
		if (ret) {
			usleep(50000);
			ret = ret < 0 ? ret : take(probe);
			while (wait_call(probe, 0) == 0)
				; /* of those frames */
			return ret < 0 ? ret : 0;
		}
	}
	return -ETIMEDOUT;
}

static int measure(struct probe *probe)
{
	int err = 0;

	for (unsigned int i = 0; i < 2 * probe->nr_samples && !err; i++) {
		const unsigned int at = i / (2 * TURN) * TURN + i % TURN;

		usleep(probe->idle_us);
		if (at >= probe->nr_samples)
			continue;
		err = i / TURN % 2 ? sample_frame(probe, &probe->frame_ns[at]) :
				     sample_floor(probe, &probe->floor_ns[at]);
	}
	return err;
}

/* ---- Result ---- */
static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *name, uint32_t *ns, unsigned int nr)
{
	static const struct {
		const char *name;
		unsigned int percent;
	} parts[] = { { "min", 0 }, { "p50", 50 }, { "p90", 90 }, { "p99", 99 } };

	qsort(ns, nr, sizeof(*ns), compare);
	printf("\"%s\": {", name);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const size_t at = (size_t)nr * parts[i].percent / 100;

		printf("%s\"%s\": %.1f", i ? ", " : "", parts[i].name, ns[at] / 1e3);
	}
	printf("}");
}

static int usage(void)
{
	fputs("usage: latency SOCKET [SOCKET] [--cpus OURS,BACKEND] [--samples N] [--idle US] [--packed]\n"
	      "One socket: of a backend that echoes; two: of a switch, from the first to the second.\n"
	      "Microseconds, as a line of JSON: eventfd, there and back; frame, from kick to call.\n",
	      stderr);
	return 2;
}

static int run(struct probe *probe, const struct guest_load *load, char *const *paths)
{
	struct guest_load mine = *load;
	int err = start_floor(probe);

	pin(probe->cpu[0]);
	for (unsigned int i = 0; i < probe->nr_guests && !err; i++) {
		mine.station = (uint8_t)i;
		err = guest_open(&probe->guest[i], &mine, paths[i]);
	}
	if (!err)
		err = bring_up(probe);
	if (!err)
		err = measure(probe);
	if (probe->child > 0) {
		kill(probe->child, SIGKILL);
		waitpid(probe->child, NULL, 0);
	}
	for (unsigned int i = 0; i < probe->nr_guests; i++)
		guest_close(&probe->guest[i]);
	return err;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", required_argument, NULL, 'c' },
		{ "samples", required_argument, NULL, 's' },
		{ "idle", required_argument, NULL, 'i' },
		{ "packed", no_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	struct probe probe = { .cpu = { 0, 1 }, .nr_samples = 2000, .idle_us = 1000 };
	struct guest_load load = { .features = VHU_MASK(VHU_F_VERSION_1_BIT) |
					       VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT),
				   .num = 256,
				   .frame_len = 64,
				   .notified = true };
	int c, err;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c' && strchr(optarg, ',')) {
			probe.cpu[0] = (unsigned int)strtoul(optarg, NULL, 10);
			probe.cpu[1] = (unsigned int)strtoul(strchr(optarg, ',') + 1, NULL, 10);
		} else if (c == 's') {
			probe.nr_samples = (unsigned int)strtoul(optarg, NULL, 10);
		} else if (c == 'i') {
			probe.idle_us = (unsigned int)strtoul(optarg, NULL, 10);
		} else if (c == 'p') {
			load.features |= VHU_MASK(VHU_F_RING_PACKED_BIT);
		} else {
			return usage();
		}
	}
	probe.nr_guests = (unsigned int)(argc - optind);
	if (probe.nr_guests < 1 || probe.nr_guests > 2 || !probe.nr_samples)
		return usage();
	probe.floor_ns = calloc(probe.nr_samples, sizeof(uint32_t));
	probe.frame_ns = calloc(probe.nr_samples, sizeof(uint32_t));
	err = probe.floor_ns && probe.frame_ns ? run(&probe, &load, argv + optind) : -ENOMEM;
	if (err) {
		fprintf(stderr, "latency: %s\n", strerror(-err));
	} else {
		printf("{");
		report("eventfd", probe.floor_ns, probe.nr_samples);
		printf(", ");
		report("frame", probe.frame_ns, probe.nr_samples);
		puts("}");
	}
	free(probe.floor_ns);
	free(probe.frame_ns);
	return err ? 1 : 0;
}
