/* SPDX-License-Identifier: MIT */
/*
 * What a frame costs on the device's side of a ring, in nanoseconds; linked with libvhu as the device
 * (ring_cost) and with DPDK's librte_vhost (ring_cost_dpdk). Both are driven by the same guest in this
 * process, on the same thread, whose work is not timed.
 *
 * Under callgrind (--toggle-collect) the same program counts instructions: bench/ring-cost.py.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "guest.h"

enum deed {
	TAKE,
	GIVE,
	FORWARD,
	NR_DEEDS,
};

static const char *const deed_names[NR_DEEDS] = { "take", "give", "forward" };

struct run {
	enum deed deed;
	struct guest_load load;
	struct device_options device;
	unsigned int nr_bursts, nr_warm;
	struct guest guests[DEVICE_PORTS];
	uint64_t frames;
	uint32_t *ns; /* of each burst */
};

static const struct {
	const char *name;
	uint64_t bits;
} feature_names[] = {
	{ "packed", VHU_MASK(VHU_F_RING_PACKED_BIT) },
	{ "mergeable", VHU_MASK(VHU_NET_F_MRG_RXBUF_BIT) },
	{ "in-order", VHU_MASK(VHU_F_IN_ORDER_BIT) },
	{ "indirect", VHU_MASK(VHU_F_INDIRECT_DESC_BIT) },
	{ "event-index", VHU_MASK(VHU_F_EVENT_IDX_BIT) },
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "ring_cost: %s: %s\n", what, strerror(-err));
	return err;
}

static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* One burst: what the guests do before and after it is not timed. 0, or -EPROTO: frames are missing. */
static int one_burst(struct run *run, uint32_t *ret_ns)
{
	struct guest *sender = &run->guests[0];
	struct guest *receiver = &run->guests[run->deed == FORWARD];
	uint64_t begin = 0, end = 0;
	unsigned int nr = 0;

	if (run->deed != GIVE && !guest_send(sender))
		return -ENOSPC;
	device_prepare(run->deed == GIVE);
	switch (run->deed) {
	case TAKE:
		begin = now_ns();
		nr = device_take(0);
		end = now_ns();
		break;
	case GIVE:
		begin = now_ns();
		nr = device_give(0);
		end = now_ns();
		break;
	default:
		begin = now_ns();
		nr = device_forward(0, 1);
		end = now_ns();
		break;
	}
	device_clean();
	*ret_ns = (uint32_t)(end - begin);
	run->frames += nr;
	if (nr != run->load.burst)
		return -EPROTO;
	if (run->deed != GIVE && guest_reclaim(sender) != nr)
		return -EPROTO;
	return run->deed != TAKE && guest_receive(receiver) != (int)nr ? -EPROTO : 0;
}

/* Until all rings run. */
static int bring_up(struct run *run)
{
	const uint64_t deadline = now_ns() + UINT64_C(60000000000);

	while (now_ns() < deadline) {
		int ready = device_look();

		for (unsigned int i = 0; i < DEVICE_PORTS && ready >= 0; i++) {
			const int ret = guest_look(&run->guests[i]);

			ready = ret < 0 ? ret : ready && ret;
		}
		if (ready < 0)
			return ready;
		if (ready) {
			for (unsigned int i = 0; i < DEVICE_PORTS; i++)
				guest_fill(&run->guests[i]);
			return 0;
		}
		usleep(200);
	}
	return -ETIMEDOUT;
}

static int measure(struct run *run)
{
	uint32_t ns;
	int err = 0;

	for (unsigned int i = 0; i < run->nr_warm && !err; i++)
		err = one_burst(run, &ns);
	run->frames = 0;
	for (unsigned int i = 0; i < run->nr_bursts && !err; i++)
		err = one_burst(run, &run->ns[i]);
	return err;
}

/* What the clock itself takes, of which each burst has one reading. */
static uint32_t clock_cost_ns(void)
{
	uint32_t least = UINT32_MAX;

	for (int i = 0; i < 1000; i++) {
		const uint64_t begin = now_ns();
		const uint32_t ns = (uint32_t)(now_ns() - begin);

		least = ns < least ? ns : least;
	}
	return least;
}

static void report(const struct run *run)
{
	const uint32_t clock_ns = clock_cost_ns();
	double quartile[3];

	qsort(run->ns, run->nr_bursts, sizeof(*run->ns), compare);
	for (unsigned int i = 0; i < 3; i++) {
		const uint32_t ns = run->ns[(size_t)run->nr_bursts * (i + 1) / 4];

		quartile[i] = (double)(ns > clock_ns ? ns - clock_ns : 0) / run->load.burst;
	}
	/* The warm bursts are collected by callgrind too: the counts have to be divided by both. */
	printf("{\"frames\": %llu, \"collected\": %llu, \"ns\": %.2f, \"ns_q1\": %.2f, \"ns_q3\": %.2f}\n",
	       (unsigned long long)run->frames,
	       (unsigned long long)run->load.burst * (run->nr_bursts + run->nr_warm), quartile[1],
	       quartile[0], quartile[2]);
}

static int go(struct run *run)
{
	char dir[] = "/tmp/vhu-ring-cost-XXXXXX", sockets[DEVICE_PORTS][64];
	const char *paths[DEVICE_PORTS];
	int err;

	if (!mkdtemp(dir))
		return fail(dir, -errno);
	for (unsigned int i = 0; i < DEVICE_PORTS; i++) {
		snprintf(sockets[i], sizeof(sockets[i]), "%s/%u", dir, i);
		paths[i] = sockets[i];
	}
	err = device_open(&run->device, paths);
	for (unsigned int i = 0; i < DEVICE_PORTS && !err; i++)
		err = guest_open(&run->guests[i], &run->load, paths[i]);
	if (err)
		fail("open", err);
	else if ((err = bring_up(run)) != 0)
		fail("start of the rings", err);
	else if ((err = measure(run)) != 0)
		fail("a burst did not pass whole", err);
	else
		report(run);
	for (unsigned int i = 0; i < DEVICE_PORTS; i++)
		guest_close(&run->guests[i]);
	device_close();
	for (unsigned int i = 0; i < DEVICE_PORTS; i++)
		unlink(paths[i]);
	rmdir(dir);
	return err;
}

static int parse_features(char *text, uint64_t *ret_bits)
{
	*ret_bits = VHU_MASK(VHU_F_VERSION_1_BIT);
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		size_t i = 0;

		while (i < 5 && strcmp(word, feature_names[i].name) != 0)
			i++;
		if (i == 5)
			return -EINVAL;
		*ret_bits |= feature_names[i].bits;
	}
	return 0;
}

static int usage(void)
{
	fputs("usage: ring_cost --do take|give|forward [--features NAME,...] [--size BYTES | --tso]\n"
	      "                 [--pieces N] [--bursts N] [--warm N] [--huge] [--no-free]\n"
	      "features: packed, mergeable, in-order, indirect, event-index. The result is a line of JSON:\n"
	      "nanoseconds for a frame on the device's side (median of bursts, quartiles).\n",
	      stderr);
	return -EINVAL;
}

static int parse(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "do", required_argument, NULL, 'd' },
		{ "features", required_argument, NULL, 'f' },
		{ "size", required_argument, NULL, 's' },
		{ "tso", no_argument, NULL, 't' },
		{ "bursts", required_argument, NULL, 'b' },
		{ "warm", required_argument, NULL, 'w' },
		{ "huge", no_argument, NULL, 'h' },
		{ "no-free", no_argument, NULL, 'n' },
		{ "pieces", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			run->deed = TAKE;
			while (run->deed < NR_DEEDS && strcmp(optarg, deed_names[run->deed]) != 0)
				run->deed++;
			break;
		case 'f':
			if (parse_features(optarg, &run->load.features) != 0)
				return usage();
			break;
		case 's':
			run->load.frame_len = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 't':
			run->load.tso = true;
			break;
		case 'b':
			run->nr_bursts = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			run->nr_warm = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			run->load.pieces = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'h':
			run->device.huge = true;
			break;
		case 'n':
			run->device.no_free = true;
			break;
		default:
			return usage();
		}
	}
	if (run->deed >= NR_DEEDS || optind != argc || run->nr_bursts == 0 ||
	    run->load.frame_len < 60 || run->load.frame_len > 1518)
		return usage();
	return 0;
}

int main(int argc, char **argv)
{
	struct run run = {
		.deed = NR_DEEDS,
		.load = { .features = VHU_MASK(VHU_F_VERSION_1_BIT),
			  .num = 256,
			  .frame_len = 64,
			  .burst = VHU_NET_BURST },
		.nr_bursts = 20000,
		.nr_warm = 200,
	};
	int err = parse(&run, argc, argv);

	if (err)
		return 2;
	if (run.load.tso)
		guest_load_tso(&run.load);
	/* One thread for both sides: it stays where it is. */
	cpu_set_t set;

	run.device.cpu = sched_getcpu();
	CPU_ZERO(&set);
	CPU_SET((size_t)run.device.cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	run.device.features = run.load.features;
	run.device.frame_len = run.load.frame_len;
	run.device.tso = run.load.tso;
	run.device.burst = run.load.burst;
	run.ns = calloc(run.nr_bursts, sizeof(*run.ns));
	if (!run.ns)
		return 1;
	err = go(&run);
	free(run.ns);
	return err ? 1 : 0;
}
