// SPDX-License-Identifier: MIT
/* The command line of vhu bench; knows nothing of how a measurement is made. */

#include "bench/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/opt.h"

enum {
	WINDOW_DEFAULT = 128,
	WINDOW_MAX = 1 << 20,
	RING_SIZE_DEFAULT = 256,
	RING_SIZE_MAX = 32768,
	PIECES_MAX = 64,
	TSO_SIZE_MIN = 128,
};
#define SECONDS_MAX 1e8

enum {
	OPT_BACKEND = 256,
	OPT_FRONTEND,
	OPT_SERVER,
	OPT_CLIENT,
	OPT_SIZE,
	OPT_TSO,
	OPT_VERIFY,
	OPT_SWAP,
	OPT_DROP,
	OPT_ONE_WAY,
	OPT_WINDOW,
	OPT_SRC,
	OPT_DST,
	OPT_VLAN,
	OPT_RATE,
	OPT_RING,
	OPT_RING_SIZE,
	OPT_QUEUES,
	OPT_PIECES,
	OPT_NO_MRG,
	OPT_NO_INDIRECT,
	OPT_NO_EVENT_IDX,
	OPT_NO_CSUM,
	OPT_IN_ORDER,
	OPT_IN_FLIGHT,
	OPT_HUGE,
	OPT_POLL,
	OPT_SECONDS,
	OPT_FRAMES,
	OPT_WAIT,
	OPT_JSON,
	OPT_NO_SANDBOX,
};

static const struct option longs[] = {
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "frontend", required_argument, NULL, OPT_FRONTEND },
	{ "server", no_argument, NULL, OPT_SERVER },
	{ "client", no_argument, NULL, OPT_CLIENT },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "tso", no_argument, NULL, OPT_TSO },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "swap", no_argument, NULL, OPT_SWAP },
	{ "drop", no_argument, NULL, OPT_DROP },
	{ "one-way", no_argument, NULL, OPT_ONE_WAY },
	{ "window", required_argument, NULL, OPT_WINDOW },
	{ "src", required_argument, NULL, OPT_SRC },
	{ "dst", required_argument, NULL, OPT_DST },
	{ "vlan", required_argument, NULL, OPT_VLAN },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "ring", required_argument, NULL, OPT_RING },
	{ "ring-size", required_argument, NULL, OPT_RING_SIZE },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "pieces", required_argument, NULL, OPT_PIECES },
	{ "no-mrg", no_argument, NULL, OPT_NO_MRG },
	{ "no-indirect", no_argument, NULL, OPT_NO_INDIRECT },
	{ "no-event-idx", no_argument, NULL, OPT_NO_EVENT_IDX },
	{ "no-csum", no_argument, NULL, OPT_NO_CSUM },
	{ "no-offloads", no_argument, NULL, OPT_NO_CSUM },
	{ "in-order", no_argument, NULL, OPT_IN_ORDER },
	{ "in-flight", no_argument, NULL, OPT_IN_FLIGHT },
	{ "huge", no_argument, NULL, OPT_HUGE },
	{ "poll", no_argument, NULL, OPT_POLL },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "frames", required_argument, NULL, OPT_FRAMES },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "quiet", no_argument, NULL, 'q' },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static const char usage[] =
	"usage: vhu bench MODE --backend PATH|--frontend PATH [OPTION]...\n"
	"\n"
	"Takes the other half's part and carries frames. --backend PATH: a backend (a\n"
	"switch, testpmd's net_vhost) is met there, and we are its virtual machine.\n"
	"--frontend PATH: a frontend (QEMU, virtio-user) is, and we are its device.\n"
	"\n"
	"  source    send frames as fast as they are taken\n"
	"  sink      take frames\n"
	"  echo      send back what comes\n"
	"  forward   between two connections, both ways\n"
	"  loop      send what the other side brings back, --window frames at a time;\n"
	"            over two connections: out of one, back on the other, both ways\n"
	"  latency   the same with one frame on its way, timed\n"
	"\n"
	"      --server, --client  listen, or connect; behind the connection it is for\n"
	"                     (default: connect to a backend, listen for a frontend)\n"
	"Traffic:\n"
	"      --size N|imix  bytes of a frame, without FCS (64 to 65535, default 64)\n"
	"      --tso          segmentation offload; frames of 64 KiB still to be cut\n"
	"      --rate R       at most so much each way: 10kpps, 2.5gbit\n"
	"      --window N     loop: frames on their way at once, each queue (default 128,\n"
	"                     or what a receive ring has buffers for)\n"
	"      --one-way      loop over two connections: from the first to the second\n"
	"      --verify       check every byte; count loss, duplicates, reordering\n"
	"      --swap         echo, forward: swap the MAC addresses\n"
	"      --drop         echo, forward: drop what has no room instead of waiting\n"
	"      --src MAC, --dst MAC, --vlan N\n"
	"Rings (towards a backend: what we choose; towards a frontend: what we offer):\n"
	"      --ring split|packed    --ring-size N (default 256)    --queues N (pairs)\n"
	"      --pieces N     descriptors of a frame that is sent (default 1)\n"
	"      --no-mrg --no-indirect --no-event-idx --no-offloads   features left out\n"
	"      --in-order --in-flight                                features asked for\n"
	"      --huge         guest memory of huge pages\n"
	"      --poll         spin; else sleep and be notified\n"
	"End and result:\n"
	"      --seconds S, --frames N (each way)     else until SIGINT or SIGTERM\n"
	"      --wait S       give up if nobody has come after so long\n"
	"      --json         the result as one JSON object\n"
	"  -q, --quiet        nothing while it runs but errors\n"
	"      --no-sandbox   no system call filter (for debuggers and profilers)\n"
	"  -h, --help         this text\n"
	"\n"
	"Examples:\n"
	"  vhu bench source --backend /run/a.sock --size imix --seconds 10\n"
	"  vhu bench loop --backend /run/a.sock --verify --frames 1000000   (testpmd io)\n"
	"  vhu bench loop --backend a.sock --backend b.sock --verify        (a switch)\n"
	"  vhu bench latency --frontend /run/fe.sock --poll --seconds 5     (virtio-user)\n"
	"\n"
	"Exit status: 0 done; 1 it could not be done, or frames were lost in a loop or\n"
	"corrupt; 2 wrong usage.\n";

const char *bench_mode_name(enum bench_mode mode)
{
	static const char *const names[BENCH_MODE_END] = {
		[BENCH_SOURCE] = "source",   [BENCH_SINK] = "sink", [BENCH_ECHO] = "echo",
		[BENCH_FORWARD] = "forward", [BENCH_LOOP] = "loop", [BENCH_LATENCY] = "latency",
	};

	return names[mode];
}

/* ---- Values ---- */

struct parser {
	struct opt opt;
	struct bench_options *options;
	bool seen[OPT_NO_SANDBOX + 1];
	/* --server and --client before the first connection: for all that say nothing else */
	bool has_default, default_server;
	bool side_said[BENCH_SIDES_MAX];
};

static int number(struct parser *p, const char *option, uint64_t min, uint64_t max, uint64_t *ret)
{
	if (opt_number(optarg, min, max, ret))
		return 0;
	return opt_error(&p->opt, option, "%s: no number from %llu to %llu", optarg,
			 (unsigned long long)min, (unsigned long long)max);
}

static int small(struct parser *p, const char *option, unsigned int min, unsigned int max,
		 unsigned int *ret)
{
	uint64_t value = 0;
	int status = number(p, option, min, max, &value);

	*ret = (unsigned int)value;
	return status;
}

static int seconds(struct parser *p, const char *option, uint64_t *ret_ns)
{
	char *end;
	double value;

	if (!*optarg || optarg[strspn(optarg, "0123456789.")])
		return opt_error(&p->opt, option, "%s: no number of seconds", optarg);
	value = strtod(optarg, &end);
	if (*end || value < 0.001 || value > SECONDS_MAX)
		return opt_error(&p->opt, option, "%s: no number of seconds from 0.001 to %.0f",
				 optarg, SECONDS_MAX);
	*ret_ns = (uint64_t)(value * 1e9);
	return 0;
}

static int mac(struct parser *p, const char *option, uint8_t ret_mac[6])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(optarg) != 17)
		return opt_error(&p->opt, option, "%s: no MAC address like 02:00:00:00:00:01",
				 optarg);
	for (int i = 0; i < 6; i++) {
		const char *at = optarg + (size_t)3 * (size_t)i;
		const char *high = strchr(digits, at[0] | 0x20);
		const char *low = strchr(digits, at[1] | 0x20);

		if (!high || !low || (i < 5 && at[2] != ':'))
			return opt_error(&p->opt, option,
					 "%s: no MAC address like 02:00:00:00:00:01", optarg);
		ret_mac[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	if (ret_mac == p->options->src && ret_mac[0] & 1)
		return opt_error(&p->opt, option, "%s: a group is no sender", optarg);
	return 0;
}

static int add_side(struct parser *p, const char *option, bool is_device)
{
	struct bench_options *options = p->options;

	if (options->nr_sides == BENCH_SIDES_MAX)
		return opt_error(&p->opt, option, "%s: more than %d connections", optarg,
				 BENCH_SIDES_MAX);
	if (!*optarg)
		return opt_error(&p->opt, option, "the path is empty");
	options->sides[options->nr_sides++] = (struct bench_side_options){
		.path = optarg,
		.is_device = is_device,
		/* a frontend looks for its backend, which is there before */
		.is_server = is_device,
	};
	return 0;
}

static int set_server(struct parser *p, bool server)
{
	unsigned int nr = p->options->nr_sides;

	if (!nr) {
		p->has_default = true;
		p->default_server = server;
		return 0;
	}
	p->side_said[nr - 1] = true;
	p->options->sides[nr - 1].is_server = server;
	return 0;
}

static int set_size(struct parser *p)
{
	struct bench_options *options = p->options;

	options->is_imix = !strcmp(optarg, "imix");
	if (options->is_imix)
		return 0;
	if (!opt_number(optarg, BENCH_SIZE_MIN, BENCH_SIZE_MAX, &(uint64_t){ 0 }))
		return opt_error(&p->opt, "--size", "%s: neither imix nor a number from %d to %d",
				 optarg, BENCH_SIZE_MIN, BENCH_SIZE_MAX);
	return small(p, "--size", BENCH_SIZE_MIN, BENCH_SIZE_MAX, &options->size);
}

static int set_ring(struct parser *p)
{
	if (!strcmp(optarg, "split"))
		p->options->ring = BENCH_RING_SPLIT;
	else if (!strcmp(optarg, "packed"))
		p->options->ring = BENCH_RING_PACKED;
	else
		return opt_error(&p->opt, "--ring", "%s: neither split nor packed", optarg);
	return 0;
}

static int take_value(struct parser *p, int val)
{
	struct bench_options *options = p->options;

	switch (val) {
	case OPT_BACKEND:
		return add_side(p, "--backend", false);
	case OPT_FRONTEND:
		return add_side(p, "--frontend", true);
	case OPT_SIZE:
		return set_size(p);
	case OPT_WINDOW:
		return small(p, "--window", 1, WINDOW_MAX, &options->window);
	case OPT_SRC:
		return mac(p, "--src", options->src);
	case OPT_DST:
		return mac(p, "--dst", options->dst);
	case OPT_VLAN:
		return small(p, "--vlan", 1, 4094, &options->vlan);
	case OPT_RATE:
		if (!rate_parse(optarg, &options->rate))
			return opt_error(&p->opt, "--rate", "%s: no rate like 10kpps or 2.5gbit",
					 optarg);
		return 0;
	case OPT_RING:
		return set_ring(p);
	case OPT_RING_SIZE:
		return small(p, "--ring-size", 2, RING_SIZE_MAX, &options->ring_size);
	case OPT_QUEUES:
		return small(p, "--queues", 1, BENCH_QUEUES_MAX, &options->pairs);
	case OPT_PIECES:
		return small(p, "--pieces", 1, PIECES_MAX, &options->pieces);
	case OPT_SECONDS:
		return seconds(p, "--seconds", &options->run_ns);
	case OPT_WAIT:
		return seconds(p, "--wait", &options->wait_ns);
	case OPT_FRAMES:
		return number(p, "--frames", 1, INT64_MAX, &options->frames);
	default:
		return OPT_EXIT;
	}
}

static int take_option(struct parser *p, int val)
{
	struct bench_options *options = p->options;
	struct {
		int val;
		bool *flag;
	} flags[] = {
		{ OPT_TSO, &options->is_tso },
		{ OPT_VERIFY, &options->verify },
		{ OPT_SWAP, &options->swap },
		{ OPT_DROP, &options->drop },
		{ OPT_ONE_WAY, &options->one_way },
		{ OPT_NO_MRG, &options->no_mrg },
		{ OPT_NO_INDIRECT, &options->no_indirect },
		{ OPT_NO_EVENT_IDX, &options->no_event_idx },
		{ OPT_NO_CSUM, &options->no_csum },
		{ OPT_IN_ORDER, &options->in_order },
		{ OPT_IN_FLIGHT, &options->in_flight },
		{ OPT_HUGE, &options->huge },
		{ OPT_POLL, &options->poll },
		{ OPT_JSON, &options->json },
		{ OPT_NO_SANDBOX, &options->no_sandbox },
		{ 'q', &options->quiet },
	};

	if (val == OPT_WRONG)
		return OPT_EXIT;
	if (val < OPT_NO_SANDBOX + 1)
		p->seen[val] = true;
	if (val == OPT_SERVER || val == OPT_CLIENT)
		return set_server(p, val == OPT_SERVER);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (flags[i].val == val) {
			*flags[i].flag = true;
			return 0;
		}
	}
	return take_value(p, val);
}

/* ---- What goes together ---- */

#define FOR(mode) (1u << (mode))
#define SENDERS (FOR(BENCH_SOURCE) | FOR(BENCH_LOOP) | FOR(BENCH_LATENCY))
#define PASSERS (FOR(BENCH_ECHO) | FOR(BENCH_FORWARD))

/* Options that say nothing to every mode. */
static const struct {
	int val;
	const char *name;
	unsigned int modes;
} only_for[] = {
	{ OPT_WINDOW, "--window", FOR(BENCH_LOOP) },
	{ OPT_ONE_WAY, "--one-way", FOR(BENCH_LOOP) },
	{ OPT_SWAP, "--swap", PASSERS },
	{ OPT_DROP, "--drop", PASSERS },
	{ OPT_RATE, "--rate", SENDERS },
	{ OPT_SRC, "--src", SENDERS },
	{ OPT_DST, "--dst", SENDERS },
	{ OPT_VLAN, "--vlan", SENDERS },
};

static int check_mode(struct parser *p)
{
	const struct bench_options *options = p->options;
	const char *name = bench_mode_name(options->mode);
	bool takes_two = options->mode == BENCH_FORWARD || options->mode == BENCH_LOOP ||
			 options->mode == BENCH_LATENCY;

	if (!options->nr_sides)
		return opt_error(&p->opt, name,
				 "whom shall we meet? --backend PATH or --frontend PATH");
	if (options->mode == BENCH_FORWARD && options->nr_sides < 2)
		return opt_error(&p->opt, name, "two connections are needed, there is one");
	if (!takes_two && options->nr_sides > 1)
		return opt_error(&p->opt, name, "takes one connection, there are two");
	if (options->nr_sides == 2 && !strcmp(options->sides[0].path, options->sides[1].path))
		return opt_error(&p->opt, options->sides[0].path, "two connections on one socket");
	for (size_t i = 0; i < sizeof(only_for) / sizeof(only_for[0]); i++)
		if (p->seen[only_for[i].val] && !(only_for[i].modes & FOR(options->mode)))
			return opt_error(&p->opt, only_for[i].name, "has no meaning for %s", name);
	if (options->one_way && options->nr_sides < 2)
		return opt_error(&p->opt, "--one-way", "is for two connections");
	if (options->mode == BENCH_LATENCY && options->pairs > 1)
		return opt_error(&p->opt, "--queues", "%u: latency has one frame on its way",
				 options->pairs);
	if (options->is_imix && !(SENDERS & FOR(options->mode)))
		return opt_error(&p->opt, "--size", "imix: %s sends none of its own", name);
	return 0;
}

static int check_rings(struct parser *p)
{
	static const struct {
		int val;
		const char *name;
	} drivers[] = {
		{ OPT_RING_SIZE, "--ring-size" },
		{ OPT_PIECES, "--pieces" },
		{ OPT_HUGE, "--huge" },
	};
	const struct bench_options *options = p->options;
	unsigned int size = options->ring_size;
	bool has_driver = false;

	for (unsigned int i = 0; i < options->nr_sides; i++)
		has_driver |= !options->sides[i].is_device;
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (p->seen[drivers[i].val] && !has_driver)
			return opt_error(&p->opt, drivers[i].name,
					 "towards a frontend that is the frontend's choice");
	if (options->ring != BENCH_RING_PACKED && size & (size - 1))
		return opt_error(&p->opt, "--ring-size", "%u: split rings want a power of two",
				 size);
	if (options->pieces > size)
		return opt_error(&p->opt, "--pieces", "%u: more than the ring's %u entries",
				 options->pieces, size);
	return 0;
}

/* Frames for which our receive rings have buffers: with more of them on their way some would be dropped. */
static unsigned int default_window(const struct bench_options *options)
{
	unsigned int len = options->size + BENCH_HDR_LEN;
	unsigned int buffers = options->no_mrg ? 1 : 1 + (len - 1) / BENCH_RX_BUFFER;
	unsigned int room = options->ring_size / buffers;

	if (room > WINDOW_DEFAULT)
		return WINDOW_DEFAULT;
	return room ? room : 1;
}

static int check_traffic(struct parser *p)
{
	struct bench_options *options = p->options;

	if (options->is_tso && options->no_csum)
		return opt_error(&p->opt, "--tso", "cannot be without checksum offload");
	if (options->is_tso && options->is_imix)
		return opt_error(&p->opt, "--tso", "frames of one size: --size imix is none");
	if (options->is_tso && !p->seen[OPT_SIZE])
		options->size = BENCH_SIZE_MAX;
	if (options->is_tso && options->size < TSO_SIZE_MIN)
		return opt_error(&p->opt, "--size", "%u: at least %d with --tso", options->size,
				 TSO_SIZE_MIN);
	if (!p->seen[OPT_WINDOW])
		options->window = default_window(options);
	/* each frame that is timed goes alone, and in one direction */
	if (options->mode == BENCH_LATENCY)
		options->one_way = true;
	return 0;
}

static int take_mode(struct parser *p)
{
	const char *word = opt_rest(&p->opt);
	unsigned int mode = 0;

	if (!word)
		return opt_error(&p->opt, "",
				 "a mode is missing: source, sink, echo, forward, loop or latency");
	while (mode < BENCH_MODE_END && strcmp(word, bench_mode_name(mode)))
		mode++;
	if (mode == BENCH_MODE_END)
		return opt_error(&p->opt, word,
				 "no such mode; source, sink, echo, forward, loop or latency");
	p->options->mode = mode;
	word = opt_rest(&p->opt);
	return word ? opt_error(&p->opt, word, "one mode is enough") : 0;
}

int bench_options_parse(int argc, char **argv, struct bench_options *ret_options)
{
	struct bench_options options = {
		.size = BENCH_SIZE_MIN,
		.src = { 0x02, 'v', 'h', 'u', 0, 1 },
		.dst = { 0x02, 'v', 'h', 'u', 0, 2 },
		.ring_size = RING_SIZE_DEFAULT,
		.pairs = 1,
		.pieces = 1,
	};
	struct parser p = {
		.opt = {
			.program = "vhu bench",
			.help = "vhu help bench",
			.shorts = "qh",
			.longs = longs,
			.argc = argc,
			.argv = argv,
		},
		.options = &options,
	};
	int val, status;

	opt_begin(&p.opt);
	while ((val = opt_next(&p.opt)) != OPT_END) {
		if (val == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		status = take_option(&p, val);
		if (status)
			return status;
	}
	for (unsigned int i = 0; i < options.nr_sides; i++)
		if (p.has_default && !p.side_said[i])
			options.sides[i].is_server = p.default_server;
	status = take_mode(&p);
	if (!status)
		status = check_mode(&p);
	if (!status)
		status = check_rings(&p);
	if (!status)
		status = check_traffic(&p);
	if (status)
		return status;
	*ret_options = options;
	return BENCH_GO;
}
