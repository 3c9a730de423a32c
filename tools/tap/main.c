// SPDX-License-Identifier: MIT
/*
 * vhu tap: its command line, the order in which things start, its loop and its end. It knows
 * nothing of rings and of frames.
 */

#include "commands.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/notify.h"
#include "common/opt.h"
#include "common/out.h"
#include "common/sandbox.h"
#include "tap/calls.h"
#include "tap/device.h"
#include "tap/iface.h"

#define PROGRAM "vhu tap"

enum {
	MTU_MIN = 68,
	MTU_MAX = 65535,
	RING_MIN = 8, /* entries; less holds no frame of 64 KiB in any sensible way */
	RING_DEFAULT = 1024,
	STATS_MAX = 86400,
	OPT_SERVER = 256,
	OPT_NETNS,
	OPT_MTU,
	OPT_MAC,
	OPT_UP,
	OPT_QUEUES,
	OPT_RING,
	OPT_RING_SIZE,
	OPT_NO_OFFLOADS,
	OPT_STATS,
	OPT_USER,
	OPT_NO_SANDBOX,
	OPT_LOG_TIME,
};

static const char usage[] =
	"usage: vhu tap --socket PATH --ifname NAME [OPTION]...\n"
	"\n"
	"Makes a network interface of this host whose other end is a port of a\n"
	"vhost-user switch: vhu switch, OVS-DPDK, testpmd, or any other backend.\n"
	"\n"
	"  -s, --socket PATH      the backend's socket; connect to it, again and again\n"
	"      --server           listen there instead, for a backend that connects;\n"
	"                         PATH[,mode=0660][,group=NAME]\n"
	"  -i, --ifname NAME      the interface; \"tap%d\" for a free number\n"
	"      --netns NAME|PATH  in this network namespace\n"
	"      --mtu N            its MTU (default: the backend's, if that has a wish)\n"
	"      --mac MAC          its address\n"
	"      --up               bring it up\n"
	"      --queues N         queues, a pair of rings each (default 1)\n"
	"      --ring split|packed  (default split)\n"
	"      --ring-size N      entries of a ring (default 1024)\n"
	"      --no-offloads      whole checksums and no large segments\n"
	"      --stats S          a line with counters every S seconds\n"
	"      --user NAME        become this user once the interface is there\n"
	"      --no-sandbox       no system call filter (for debuggers)\n"
	"      --log-time         the time before each line of the log\n"
	"  -v, --verbose          more lines; -q, --quiet: warnings and errors alone\n"
	"  -h, --help             this text\n";

static const struct option longs[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "server", no_argument, NULL, OPT_SERVER },
	{ "ifname", required_argument, NULL, 'i' },
	{ "netns", required_argument, NULL, OPT_NETNS },
	{ "mtu", required_argument, NULL, OPT_MTU },
	{ "mac", required_argument, NULL, OPT_MAC },
	{ "up", no_argument, NULL, OPT_UP },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "ring", required_argument, NULL, OPT_RING },
	{ "ring-size", required_argument, NULL, OPT_RING_SIZE },
	{ "no-offloads", no_argument, NULL, OPT_NO_OFFLOADS },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "user", required_argument, NULL, OPT_USER },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "log-time", no_argument, NULL, OPT_LOG_TIME },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* What the command line says, and what was made of it. */
struct program {
	struct opt opt;
	char *socket; /* the path; its options were cut off */
	bool has_socket_options;
	uint8_t mac[6];
	const char *user;
	unsigned int stats_s;
	bool with_sandbox;
	bool log_time;
	int log_level;
	struct iface_options iface_options;
	struct device_options options;

	struct loop *loop;
	struct loop_source *signals, *stats;
	struct iface iface;
	struct device device;
};

/* ---- Command line ---- */

/* PATH[,mode=0660][,group=NAME] */
static int set_socket(struct program *program)
{
	char *rest, *word;

	free(program->socket);
	program->socket = strdup(optarg);
	if (!program->socket)
		return opt_error(&program->opt, "--socket", "no memory");
	rest = strchr(program->socket, ',');
	program->has_socket_options = rest != NULL;
	if (rest)
		*rest++ = '\0';
	while ((word = strsep(&rest, ",")) != NULL) {
		if (!strncmp(word, "group=", 6) && word[6])
			program->options.group = word + 6;
		else if (!strncmp(word, "mode=", 5) && strlen(word) <= 9 && word[5] &&
			 !word[5 + strspn(word + 5, "01234567")] &&
			 strtoul(word + 5, NULL, 8) <= 0777)
			program->options.mode = (unsigned int)strtoul(word + 5, NULL, 8);
		else
			return opt_error(&program->opt, "--socket",
					 "%s: neither mode= nor group=", word);
	}
	if (!*program->socket)
		return opt_error(&program->opt, "--socket", "the path is empty");
	if (strlen(program->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return opt_error(&program->opt, "--socket",
				 "%s: longer than a socket's path can be", program->socket);
	program->options.path = program->socket;
	return 0;
}

/* The kernel's own rule (dev_valid_name()). */
static int set_ifname(struct program *program)
{
	const char *name = optarg;

	if (!*name || strlen(name) >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return opt_error(&program->opt, "--ifname", "%s: not of 1 to %d characters", name,
				 IFNAMSIZ - 1);
	for (const char *p = name; *p; p++)
		if (*p == '/' || *p == ':' || isspace((unsigned char)*p))
			return opt_error(&program->opt, "--ifname",
					 "%s: no interface can be called that", name);
	program->iface_options.name = name;
	return 0;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	static const char form[] = "hh:hh:hh:hh:hh:hh";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == ':' ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return false;
	for (size_t i = 0; i < 6; i++)
		mac[i] = (uint8_t)strtoul(text + 3 * i, NULL, 16);
	return true;
}

static int set_mac(struct program *program)
{
	static const uint8_t none[6];

	if (!parse_mac(optarg, program->mac))
		return opt_error(&program->opt, "--mac", "%s: no address like 52:54:00:00:00:01",
				 optarg);
	if ((program->mac[0] & 1) || !memcmp(program->mac, none, 6))
		return opt_error(&program->opt, "--mac", "%s: no address of one station", optarg);
	program->iface_options.mac = program->mac;
	return 0;
}

static int set_number(struct program *program, const char *option, uint64_t min, uint64_t max,
		      unsigned int *ret_number)
{
	uint64_t number;

	if (!opt_number(optarg, min, max, &number))
		return opt_error(&program->opt, option, "%s: no number from %llu to %llu", optarg,
				 (unsigned long long)min, (unsigned long long)max);
	*ret_number = (unsigned int)number;
	return 0;
}

static int set_ring(struct program *program)
{
	if (strcmp(optarg, "split") && strcmp(optarg, "packed"))
		return opt_error(&program->opt, "--ring", "%s: neither split nor packed", optarg);
	program->options.packed = *optarg == 'p';
	return 0;
}

/* Those with a value. */
static int take_value(struct program *program, int val)
{
	switch (val) {
	case 's':
		return set_socket(program);
	case 'i':
		return set_ifname(program);
	case OPT_NETNS:
		program->iface_options.netns = optarg;
		return *optarg ? 0 : opt_error(&program->opt, "--netns", "the name is empty");
	case OPT_MTU:
		return set_number(program, "--mtu", MTU_MIN, MTU_MAX, &program->options.mtu);
	case OPT_MAC:
		return set_mac(program);
	case OPT_QUEUES:
		return set_number(program, "--queues", 1, TAP_QUEUES_MAX,
				  &program->iface_options.nr_queues);
	case OPT_RING:
		return set_ring(program);
	case OPT_RING_SIZE:
		return set_number(program, "--ring-size", RING_MIN, VHU_MAX_RING_SIZE,
				  &program->options.ring_size);
	case OPT_STATS:
		return set_number(program, "--stats", 1, STATS_MAX, &program->stats_s);
	case OPT_USER:
		program->user = optarg;
		return 0;
	default:
		return OPT_EXIT;
	}
}

static int take_option(struct program *program, int val)
{
	switch (val) {
	case OPT_SERVER:
		program->options.server = true;
		return 0;
	case OPT_UP:
		program->iface_options.up = true;
		return 0;
	case OPT_NO_OFFLOADS:
		program->options.offloads = false;
		return 0;
	case OPT_NO_SANDBOX:
		program->with_sandbox = false;
		return 0;
	case OPT_LOG_TIME:
		program->log_time = true;
		return 0;
	case 'v':
		program->log_level = LOG_DEBUG;
		return 0;
	case 'q':
		program->log_level = LOG_WARNING;
		return 0;
	default:
		return take_value(program, val);
	}
}

/* What no option alone can tell. */
static int check(const struct program *program, const char *word)
{
	const struct device_options *options = &program->options;

	if (word)
		return opt_error(&program->opt, word, "everything here is an option: --socket %s?",
				 word);
	if (!program->socket)
		return opt_error(&program->opt, "--socket", "it is needed: where the backend is");
	if (!program->iface_options.name)
		return opt_error(&program->opt, "--ifname", "it is needed: the interface's name");
	if (program->has_socket_options && !options->server)
		return opt_error(&program->opt, "--socket",
				 "mode= and group= are for a socket that is made: --server");
	if (!options->packed && (options->ring_size & (options->ring_size - 1)))
		return opt_error(&program->opt, "--ring-size",
				 "%u: a split ring has a power of two", options->ring_size);
	return OPT_END;
}

/* OPT_END: go on. Else the exit status. */
static int parse(struct program *program)
{
	int val;

	opt_begin(&program->opt);
	while ((val = opt_next(&program->opt)) != OPT_END) {
		int status;

		if (val == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		status = take_option(program, val);
		if (status)
			return status;
	}
	program->iface_options.mtu = program->options.mtu;
	return check(program, opt_rest(&program->opt));
}

/* ---- Counters ---- */

static void say_counters(const struct program *program)
{
	struct queue_counters sum;
	char sent[2][OUT_NUMBER_SIZE], received[2][OUT_NUMBER_SIZE], dropped[2][OUT_NUMBER_SIZE];

	device_count(&program->device, &sum);
	log_line(LOG_INFO, NULL,
		 "%s: sent %s frames, %s bytes; received %s frames, %s bytes; "
		 "dropped %s on the way out, %s on the way in",
		 program->iface.name, out_number(sent[0], sum.sent_frames),
		 out_number(sent[1], sum.sent_bytes), out_number(received[0], sum.received_frames),
		 out_number(received[1], sum.received_bytes),
		 out_number(dropped[0], sum.drop_header + sum.drop_long),
		 out_number(dropped[1], sum.drop_bad + sum.drop_down + sum.drop_refused));
}

static void on_stats(void *arg)
{
	say_counters(arg);
}

/* ---- Start ---- */

static void on_signal(void *arg, int signal, pid_t sender)
{
	struct program *program = arg;

	(void)sender;
	log_line(LOG_INFO, NULL, "ended by SIG%s", sigabbrev_np(signal));
	loop_stop(program->loop, 0);
}

static int cannot(const char *text)
{
	log_line(LOG_ERR, NULL, "%s", text);
	return 1;
}

static int start_loop(struct program *program)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP };
	int err = loop_new(&program->loop);

	if (!err)
		err = loop_add_signals(program->loop, ends, 3, on_signal, program,
				       &program->signals);
	if (!err)
		err = loop_add_timer(program->loop, on_stats, program, &program->stats);
	if (!err && program->stats_s)
		err = loop_set_timer(program->stats, program->stats_s * LOOP_S,
				     program->stats_s * LOOP_S);
	return err;
}

/* All that wants privileges, or a name in the file system. The exit status. */
static int open_all(struct program *program)
{
	char text[TAP_ERR_MAX] = "", user_text[SANDBOX_TEXT];

	if (iface_open(&program->iface, &program->iface_options, text, sizeof(text)) < 0)
		return cannot(text);
	if (!program->options.mtu)
		iface_keep_setter(&program->iface);
	if (start_loop(program))
		return cannot("the event loop cannot be made");
	if (program->user && sandbox_become(program->user, user_text) < 0) {
		log_line(LOG_ERR, NULL, "--user %s: %s", program->user, user_text);
		return 1;
	}
	if (device_init(&program->device, &program->options, program->loop, &program->iface, text,
			sizeof(text)) < 0)
		return cannot(text);
	return 0;
}

/* What would else be tried again and again in silence. Without capabilities, as it will be later. */
static void look_at_socket(const struct program *program)
{
	const char *path = program->options.path;

	if (program->options.server || !access(path, W_OK))
		return;
	if (errno == ENOENT)
		log_line(LOG_NOTICE, program->iface.name, "%s is not there yet", path);
	else
		log_line(
			LOG_WARNING, program->iface.name,
			"%s: %s: with the rights that are left it cannot be connected to (--user?)",
			path, strerror(errno));
}

static int start(struct program *program)
{
	const struct device_options *options = &program->options;
	char text[SANDBOX_TEXT];
	int status;

	sandbox_raise_files();
	status = open_all(program);
	if (status)
		return status;
	if (sandbox_enter(tap_calls, nr_tap_calls, program->with_sandbox, text) < 0) {
		log_line(LOG_ERR, NULL, "sandbox: %s", text);
		return 1;
	}
	log_line(LOG_INFO, program->iface.name, "%u queue%s%s%s; %s a backend at %s",
		 program->iface.nr_queues, program->iface.nr_queues == 1 ? "" : "s",
		 program->iface_options.netns ? ", in network namespace " : "",
		 program->iface_options.netns ? program->iface_options.netns : "",
		 options->server ? "waiting for" : "looking for", options->path);
	look_at_socket(program);
	return device_start(&program->device) ? cannot("the event loop is full") : 0;
}

static int run(struct program *program)
{
	int status = start(program);

	if (!status) {
		notify_ready(program->iface.name);
		status = loop_run(program->loop);
		notify_stopping();
		say_counters(program);
	}
	device_free(&program->device);
	iface_close(&program->iface);
	loop_free(program->loop);
	return status < 0 ? cannot(strerror(-status)) : status;
}

int cmd_tap(int argc, char **argv)
{
	struct program program = {
		.opt = {
			.program = PROGRAM,
			.help = "vhu help tap",
			.shorts = "s:i:vqh",
			.longs = longs,
			.argc = argc,
			.argv = argv,
		},
		.with_sandbox = true,
		.log_level = LOG_INFO,
		.iface_options = { .nr_queues = 1 },
		.options = { .ring_size = RING_DEFAULT, .offloads = true },
		.iface = { .control_fd = -1, .setter_fd = -1 },
		.device.queues.again_fd = -1,
	};
	int status = parse(&program);

	if (status == OPT_END) {
		log_init(PROGRAM, program.log_level, program.log_time);
		status = run(&program);
	}
	free(program.socket);
	return status;
}
