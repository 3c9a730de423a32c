// SPDX-License-Identifier: MIT
/*
 * vhu switch: its command line, the order in which things start, its loop and its end. It knows
 * nothing of frames.
 */

#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/ctl_path.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/notify.h"
#include "common/opt.h"
#include "common/sandbox.h"
#include "config.h"
#include "switch/calls.h"
#include "switch/ctl_server.h"
#include "switch/switch.h"

#define PROGRAM "vhu switch"
/* The port of a backend program that was started with --socket-path or --fd. */
#define ONLY_PORT "port0"

enum {
	MAX_PORT_OPTIONS = SW_PORTS_MAX,
	OPT_SOCKET_PATH = 256,
	OPT_FD,
	OPT_PRINT_CAPABILITIES,
	OPT_WORKERS,
	OPT_MODE,
	OPT_SPIN,
	OPT_FDB_SIZE,
	OPT_AGEING,
	OPT_USER,
	OPT_NO_SANDBOX,
	OPT_LOG_TIME,
};

static const char usage[] =
	"usage: vhu switch --port NAME=KIND:WHERE[,OPTION]... [--port ...]... [OPTION]...\n"
	"\n"
	"  -p, --port NAME=vhost-user:PATH[,server|client][,mode=0660][,group=kvm]\n"
	"                       a virtual machine: listen on a socket, or connect to one\n"
	"      --port NAME=vhost-user:fd=N    on a socket that was handed over\n"
	"      --port NAME=tap:IFNAME         an interface of this host\n"
	"      --port NAME=pcap:FILE          a capture of all that passes\n"
	"         also: ,mtu=N  ,vlan=N (access)  ,trunk=N-M+K (tagged)  ,queues=N\n"
	"         ,mode=M  ,rate=10M (bits a second)  ,pps=10k (frames)\n"
	"  -c, --ctl PATH[,mode=0660][,group=NAME]    the socket of 'vhu ctl', or 'none'\n"
	"                       (default: /run/vhu/switch.ctl for root, else\n"
	"                       $XDG_RUNTIME_DIR/vhu-switch.ctl)\n"
	"      --workers N      threads that carry frames (default 1)\n"
	"      --mode M         of rings: adaptive (default), poll or interrupt\n"
	"      --spin US        adaptive: how long one looks, at most (default 50)\n"
	"      --fdb-size N     addresses that are remembered (default 4096)\n"
	"      --ageing S       seconds after which one is forgotten (default 300)\n"
	"      --user NAME      become this user once the taps are open\n"
	"      --no-sandbox     no system call filter (for debuggers)\n"
	"      --log-time       the time before each line of the log\n"
	"  -v, --verbose        more lines; -q, --quiet: warnings and errors alone\n"
	"  -h, --help           this text\n"
	"\n"
	"As a backend program (vhost-user specification):\n"
	"      --socket-path=PATH, --fd=N     one port, named " ONLY_PORT "\n"
	"      --print-capabilities           what this program is, as JSON\n";

static const struct option longs[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "ctl", required_argument, NULL, 'c' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "socket-path", required_argument, NULL, OPT_SOCKET_PATH },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "print-capabilities", no_argument, NULL, OPT_PRINT_CAPABILITIES },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "spin", required_argument, NULL, OPT_SPIN },
	{ "fdb-size", required_argument, NULL, OPT_FDB_SIZE },
	{ "ageing", required_argument, NULL, OPT_AGEING },
	{ "user", required_argument, NULL, OPT_USER },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "log-time", no_argument, NULL, OPT_LOG_TIME },
	{ 0 },
};

/* What the command line says, and what was made of it. */
struct program {
	struct opt opt;
	const char *ports[MAX_PORT_OPTIONS];
	unsigned int nr_ports;
	char *only_port; /* the spec made of --socket-path or --fd */
	char *ctl;	 /* NULL: the default */
	unsigned int ctl_mode;
	const char *ctl_group;
	const char *user;
	bool with_sandbox;
	bool log_time;
	int log_level;
	struct sw_options options;

	struct vhu_switch *sw;
	struct loop *loop;
	struct loop_source *signals;
	struct loop_source *sw_source;
	struct ctl_server *ctl_server;
};

/* ---- Command line ---- */

/* True: there is a port of that name already. */
static bool has_name_of(const struct program *program, const char *spec, char *err, size_t size)
{
	size_t len = strcspn(spec, "=") + 1;

	for (unsigned int i = 0; i < program->nr_ports; i++) {
		if (strncmp(program->ports[i], spec, len))
			continue;
		snprintf(err, size, "the name %.*s is given to another port", (int)len - 1, spec);
		return true;
	}
	return false;
}

static int add_port_option(struct program *program, const char *option, const char *spec)
{
	char err[SW_ERR_MAX] = "";

	if (program->nr_ports == MAX_PORT_OPTIONS)
		return opt_error(&program->opt, option, "more than %d ports", MAX_PORT_OPTIONS);
	if (sw_check_spec(spec, err, sizeof(err)) < 0 ||
	    has_name_of(program, spec, err, sizeof(err))) {
		char what[512];

		snprintf(what, sizeof(what), "%s %s", option, spec);
		return opt_error(&program->opt, what, "%s", err);
	}
	program->ports[program->nr_ports++] = spec;
	return 0;
}

/* --socket-path and --fd: the one port of a backend program. */
static int set_only_port(struct program *program, const char *option, const char *before,
			 const char *where)
{
	if (program->only_port)
		return opt_error(&program->opt, option, "there is one already; use --port");
	if (asprintf(&program->only_port, ONLY_PORT "=vhost-user:%s%s", before, where) < 0) {
		program->only_port = NULL;
		return opt_error(&program->opt, option, "no memory");
	}
	return add_port_option(program, option, program->only_port);
}

static int set_fd(struct program *program, const char *text)
{
	uint64_t fd;

	if (!opt_number(text, 0, INT32_MAX, &fd))
		return opt_error(&program->opt, "--fd", "%s: no number of a file descriptor", text);
	if (fcntl((int)fd, F_GETFD) < 0)
		return opt_error(&program->opt, "--fd", "%s: it is not open", text);
	return set_only_port(program, "--fd", "fd=", text);
}

static int set_number(struct program *program, const char *option, uint64_t max,
		      unsigned int *ret_number)
{
	uint64_t number;

	if (!opt_number(optarg, 1, max, &number))
		return opt_error(&program->opt, option, "%s: no number from 1 to %llu", optarg,
				 (unsigned long long)max);
	*ret_number = (unsigned int)number;
	return 0;
}

/* PATH[,mode=0660][,group=NAME] */
static int set_ctl(struct program *program)
{
	char *rest, *word;

	free(program->ctl);
	program->ctl = strdup(optarg);
	if (!program->ctl)
		return opt_error(&program->opt, "--ctl", "no memory");
	rest = strchr(program->ctl, ',');
	if (rest)
		*rest++ = '\0';
	while ((word = strsep(&rest, ",")) != NULL) {
		if (!strncmp(word, "group=", 6) && word[6]) {
			program->ctl_group = word + 6;
		} else if (!strncmp(word, "mode=", 5) && strlen(word) <= 9 && word[5] &&
			   !word[5 + strspn(word + 5, "01234567")] &&
			   strtoul(word + 5, NULL, 8) <= 0777) {
			program->ctl_mode = (unsigned int)strtoul(word + 5, NULL, 8);
		} else {
			return opt_error(&program->opt, "--ctl",
					 "%s: neither mode= nor group=", word);
		}
	}
	return *program->ctl ? 0 : opt_error(&program->opt, "--ctl", "the path is empty");
}

static int take_option(struct program *program, int val)
{
	switch (val) {
	case 'p':
		return add_port_option(program, "--port", optarg);
	case 'c':
		return set_ctl(program);
	case OPT_SOCKET_PATH:
		return set_only_port(program, "--socket-path", "", optarg);
	case OPT_FD:
		return set_fd(program, optarg);
	case OPT_WORKERS:
		return set_number(program, "--workers", SW_WORKERS_MAX,
				  &program->options.nr_workers);
	case OPT_MODE:
		program->options.mode = sw_mode_named(optarg);
		if (program->options.mode != SW_MODE_END)
			return 0;
		return opt_error(&program->opt, "--mode",
				 "%s: none of adaptive, poll and interrupt", optarg);
	case OPT_SPIN:
		return set_number(program, "--spin", SW_SPIN_MAX, &program->options.spin_us);
	case OPT_FDB_SIZE:
		return set_number(program, "--fdb-size", SW_FDB_SIZE_MAX,
				  &program->options.fdb_size);
	case OPT_AGEING:
		return set_number(program, "--ageing", 1000000, &program->options.ageing_s);
	case OPT_USER:
		program->user = optarg;
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
		return OPT_EXIT;
	}
}

/* OPT_END: go on. Else the exit status. */
static int parse(struct program *program)
{
	const char *word;
	int val;

	opt_begin(&program->opt);
	while ((val = opt_next(&program->opt)) != OPT_END) {
		int status;

		if (val == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (val == OPT_PRINT_CAPABILITIES) {
			puts("{\"type\": \"net\"}");
			return 0;
		}
		status = take_option(program, val);
		if (status)
			return status;
	}
	word = opt_rest(&program->opt);
	if (word)
		return opt_error(&program->opt, word, "everything here is an option: --port %s?",
				 word);
	if (!program->nr_ports)
		return opt_error(&program->opt, "--port", "at least one is needed");
	return OPT_END;
}

/* ---- Start ---- */

static void on_log(void *arg, int level, const char *text)
{
	(void)arg;
	log_text(level, text);
}

static void on_signal(void *arg, int signal, pid_t sender)
{
	struct program *program = arg;

	(void)sender;
	log_line(LOG_INFO, NULL, "ended by SIG%s", sigabbrev_np(signal));
	loop_stop(program->loop, 0);
}

static void on_switch(void *arg, uint32_t events)
{
	struct program *program = arg;
	int err = sw_process(program->sw);

	(void)events;
	if (err < 0) {
		log_line(LOG_ERR, NULL, "cannot go on: %s", strerror(-err));
		loop_stop(program->loop, 1);
	}
}

static int cannot(const char *what, int err)
{
	log_line(LOG_ERR, NULL, "%s: %s", what, strerror(-err));
	return 1;
}

static bool is_tap(const char *spec)
{
	const char *equals = strchr(spec, '=');

	return equals && !strncmp(equals, "=tap:", 5);
}

/* Those ports that are taps, or those that are not. The exit status. */
static int open_ports(struct program *program, bool taps, bool others)
{
	for (unsigned int i = 0; i < program->nr_ports; i++) {
		const char *spec = program->ports[i];
		char text[SW_ERR_MAX] = "";
		int err;

		if (is_tap(spec) ? !taps : !others)
			continue;
		err = sw_add_port(program->sw, spec, text, sizeof(text));
		if (err >= 0)
			continue;
		log_line(LOG_ERR, NULL, "--port %s: %s", spec, text);
		return 1;
	}
	return 0;
}

/*
 * Taps want privileges; whatever has a name in the file system should belong to the user that the
 * switch will be, who has to remove it in the end.
 */
static int open_all(struct program *program)
{
	char text[SANDBOX_TEXT];
	int status;

	if (!program->user)
		return open_ports(program, true, true);
	status = open_ports(program, true, false);
	if (status)
		return status;
	if (sandbox_become(program->user, text) < 0) {
		log_line(LOG_ERR, NULL, "--user %s: %s", program->user, text);
		return 1;
	}
	return open_ports(program, false, true);
}

/* Without --ctl a control socket is a convenience: its failure is no reason not to switch. */
static int open_ctl(struct program *program)
{
	char path[4096], text[SW_ERR_MAX] = "";
	bool is_default = !program->ctl;
	int err;

	if (!is_default && !strcmp(program->ctl, "none"))
		return 0;
	if (is_default) {
		if (!HAVE_JANSSON || !ctl_default_path(path, sizeof(path)))
			return 0;
	} else {
		snprintf(path, sizeof(path), "%s", program->ctl);
	}
	err = ctl_server_new(&program->ctl_server, program->loop, program->sw, path,
			     program->ctl_mode, program->ctl_group, text);
	if (!err) {
		log_line(LOG_INFO, NULL, "control socket: %s", path);
		return 0;
	}
	if (is_default) {
		log_line(LOG_NOTICE, NULL, "no control socket: %s: %s (--ctl names another)", path,
			 text);
		return 0;
	}
	log_line(LOG_ERR, NULL, "--ctl %s: %s", path, text);
	return 1;
}

/* As root, and before another user is become: nobody else may make it. */
static void make_ctl_dir(const struct program *program)
{
	if (!program->ctl && !geteuid())
		mkdir(CTL_SYSTEM_DIR, 0755);
}

static int say_port(void *arg, const struct sw_port_info *port)
{
	(void)arg;
	log_line(LOG_INFO, port->name, "%s %s, %s%s%s", port->kind, port->target, port->state,
		 strcmp(port->vlan, "-") ? ", " : "", strcmp(port->vlan, "-") ? port->vlan : "");
	return 0;
}

static int start(struct program *program)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP };
	char text[SANDBOX_TEXT];
	int err, status;

	sandbox_raise_files();
	make_ctl_dir(program);
	err = sw_new(&program->sw, &program->options);
	if (!err)
		err = loop_new(&program->loop);
	/* Before the workers: they inherit the mask. */
	if (!err)
		err = loop_add_signals(program->loop, ends, 3, on_signal, program,
				       &program->signals);
	if (err < 0)
		return cannot("start", err);
	status = open_all(program);
	if (!status)
		status = open_ctl(program);
	if (status)
		return status;
	sw_each_port(program->sw, say_port, NULL);
	if (sandbox_enter(switch_calls, nr_switch_calls, program->with_sandbox, text) < 0) {
		log_line(LOG_ERR, NULL, "sandbox: %s", text);
		return 1;
	}
	err = sw_start(program->sw);
	if (!err)
		err = loop_add_fd(program->loop, sw_fd(program->sw), EPOLLIN, on_switch, program,
				  &program->sw_source);
	return err < 0 ? cannot("start", err) : 0;
}

static int run(struct program *program)
{
	int status = start(program);

	if (!status) {
		char text[64];

		snprintf(text, sizeof(text), "%u ports", program->nr_ports);
		notify_ready(text);
		/* What came before it was added, if anything. */
		on_switch(program, EPOLLIN);
		status = loop_run(program->loop);
		notify_stopping();
	}
	if (program->sw)
		sw_stop(program->sw);
	ctl_server_free(program->ctl_server);
	loop_remove(program->sw_source);
	sw_free(program->sw);
	loop_free(program->loop);
	return status < 0 ? cannot("loop", status) : status;
}

int cmd_switch(int argc, char **argv)
{
	struct program program = {
		.opt = {
			.program = PROGRAM,
			.help = "vhu help switch",
			.shorts = "p:c:vqh",
			.longs = longs,
			.argc = argc,
			.argv = argv,
		},
		.ctl_mode = 0600,
		.with_sandbox = true,
		.log_level = LOG_INFO,
		.options = { .log = on_log },
	};
	int status = parse(&program);

	if (status == OPT_END) {
		log_init(PROGRAM, program.log_level, program.log_time);
		status = run(&program);
	}
	free(program.only_port);
	free(program.ctl);
	return status;
}
