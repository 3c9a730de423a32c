// SPDX-License-Identifier: MIT
/* vhu ctl: turns its command line into one request to a switch, and shows the reply. */

#include "commands.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ctl_path.h"
#include "common/loop.h"
#include "common/opt.h"
#include "common/out.h"
#include "switch/switch.h"

#define PROGRAM "vhu ctl"

static const char usage[] =
	"usage: vhu ctl [--socket PATH] COMMAND\n"
	"\n"
	"  show ports                   the ports, their state, what was agreed\n"
	"  show counters                frames, bytes, kicks, calls; drops by cause\n"
	"  show fdb [PORT]              the addresses that were learnt, and where\n"
	"  show workers                 which worker has which queue, and what it did\n"
	"  add-port SPEC                SPEC as for 'vhu switch --port'\n"
	"  del-port NAME\n"
	"  set-port NAME[:QUEUE] mode=M[,rate=10M][,pps=10k]   what of a port can change\n"
	"  move-queue NAME:QUEUE WORKER          another worker takes its frames\n"
	"  fdb add MAC[,vlan=N] PORT    an address that never ages or moves\n"
	"  fdb del MAC[,vlan=N]\n"
	"  fdb flush [PORT]             forget what was learnt\n"
	"\n"
	"  -s, --socket PATH    the switch's control socket (default: /run/vhu/switch.ctl\n"
	"                       for root, else $XDG_RUNTIME_DIR/vhu-switch.ctl)\n"
	"  -j, --json           with show: JSON instead of tables\n"
	"  -w, --watch          with show: again each second; counters then as rates\n"
	"  -h, --help           this text\n";

#if HAVE_JANSSON
static const struct option longs[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "watch", no_argument, NULL, 'w' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

typedef int show_fn(const json_t *reply, const json_t *before, double seconds, FILE *to);

/* What the command line asks for. */
struct task {
	struct opt opt;
	const char *socket;
	char path[4096]; /* the default socket */
	bool json, watch;
	json_t *request;
	show_fn *show; /* NULL: nothing is shown */
};

static int say(const char *what, const char *reason)
{
	char line[1024], safe[1024];

	snprintf(line, sizeof(line), "%s%s%s", what, *what ? ": " : "", reason);
	fprintf(stderr, PROGRAM ": %s\n", out_safe(safe, sizeof(safe), line));
	return 1;
}

/* The next word, or NULL after having said that it is missing. */
static const char *need(struct task *task, const char *before, const char *what)
{
	const char *word = opt_rest(&task->opt);

	if (!word)
		opt_error(&task->opt, before, "%s is missing", what);
	return word;
}

static void ask(struct task *task, const char *command)
{
	json_object_set_new(task->request, "command", json_string(command));
}

/* Puts a word into the request; what is no UTF-8 cannot be said in JSON. */
static int put(struct task *task, const char *key, const char *text)
{
	json_t *value = json_string(text);

	if (!value)
		return opt_error(&task->opt, text, "this is no UTF-8 text");
	json_object_set_new(task->request, key, value);
	return 0;
}

static int parse_show(struct task *task)
{
	static const struct {
		const char *what, *command;
		show_fn *show;
	} shows[] = {
		{ "ports", "show ports", show_ports },
		{ "counters", "show counters", show_counters },
		{ "fdb", "show fdb", show_fdb },
		{ "workers", "show workers", show_workers },
	};
	const char *what = need(task, "show", "what (ports, counters, fdb or workers)");
	const char *port;

	if (!what)
		return OPT_EXIT;
	for (unsigned int i = 0; i < sizeof(shows) / sizeof(shows[0]); i++) {
		if (strcmp(shows[i].what, what))
			continue;
		task->show = shows[i].show;
		ask(task, shows[i].command);
		port = task->show == show_fdb ? opt_rest(&task->opt) : NULL;
		return port ? put(task, "port", port) : 0;
	}
	return opt_error(&task->opt, what, "show what? ports, counters, fdb or workers");
}

/* The switch has a working directory of its own: what is relative here is made absolute. */
static int parse_add_port(struct task *task)
{
	static const char *const kinds[] = { "=vhost-user:", "=pcap:" };
	const char *spec = need(task, "add-port", "the port (NAME=KIND:WHERE)");
	const char *equals = spec ? strchr(spec, '=') : NULL;
	char *cwd = NULL, *full = NULL;
	int status;

	if (!spec)
		return OPT_EXIT;
	ask(task, "add-port");
	for (unsigned int i = 0; equals && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i]);
		const char *path = equals + len;

		if (strncmp(equals, kinds[i], len) || *path == '/' || !*path ||
		    !strncmp(path, "fd=", 3))
			continue;
		cwd = getcwd(NULL, 0);
		if (!cwd || asprintf(&full, "%.*s%s/%s", (int)(path - spec), spec, cwd, path) < 0)
			full = NULL;
		free(cwd);
		break;
	}
	status = put(task, "spec", full ? full : spec);
	free(full);
	return status;
}

static int parse_del_port(struct task *task)
{
	const char *name = need(task, "del-port", "the port's name");

	if (!name)
		return OPT_EXIT;
	ask(task, "del-port");
	return put(task, "name", name);
}

/* NAME, or NAME:QUEUE; no name has a colon. */
static int put_queue(struct task *task, const char *text, bool must_have_queue)
{
	const char *colon = strrchr(text, ':');
	uint64_t queue;
	char name[64];

	if (!colon)
		return must_have_queue ? opt_error(&task->opt, text, "NAME:QUEUE is wanted") :
					 put(task, "name", text);
	if (colon - text >= (ptrdiff_t)sizeof(name) ||
	    !opt_number(colon + 1, 0, SW_QUEUES_MAX - 1, &queue))
		return opt_error(&task->opt, text, "behind the name only :0 to :%d",
				 SW_QUEUES_MAX - 1);
	snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
	json_object_set_new(task->request, "queue", json_integer((json_int_t)queue));
	return put(task, "name", name);
}

static int parse_set_port(struct task *task)
{
	const char *port = need(task, "set-port", "the port");
	const char *options = port ? need(task, "set-port", "what to set (mode=poll)") : NULL;
	int status;

	if (!options)
		return OPT_EXIT;
	ask(task, "set-port");
	status = put_queue(task, port, false);
	return status ? status : put(task, "options", options);
}

static int parse_move_queue(struct task *task)
{
	const char *queue = need(task, "move-queue", "the queue (NAME:QUEUE)");
	const char *worker = queue ? need(task, "move-queue", "the worker") : NULL;
	uint64_t number;

	if (!worker)
		return OPT_EXIT;
	if (!opt_number(worker, 0, SW_WORKERS_MAX - 1, &number))
		return opt_error(&task->opt, worker, "no number from 0 to %d", SW_WORKERS_MAX - 1);
	ask(task, "move-queue");
	json_object_set_new(task->request, "worker", json_integer((json_int_t)number));
	return put_queue(task, queue, true);
}

/* MAC[,vlan=N]; whether the address is one is for the switch to say. */
static int parse_mac(struct task *task, const char *what)
{
	const char *text = need(task, what, "the address (MAC[,vlan=N])");
	size_t len = text ? strcspn(text, ",") : 0;
	char mac[64];
	uint64_t vlan;

	if (!text)
		return OPT_EXIT;
	snprintf(mac, sizeof(mac), "%.*s", (int)len, text);
	if (text[len]) {
		if (strncmp(text + len, ",vlan=", 6) || !opt_number(text + len + 6, 1, 4094, &vlan))
			return opt_error(&task->opt, text,
					 "behind the address only ,vlan=1 to ,vlan=4094");
		json_object_set_new(task->request, "vlan", json_integer((json_int_t)vlan));
	}
	return put(task, "mac", mac);
}

static int parse_fdb(struct task *task)
{
	const char *what = need(task, "fdb", "what to do (add, del or flush)");
	const char *port;
	int status;

	if (!what)
		return OPT_EXIT;
	if (!strcmp(what, "add")) {
		ask(task, "fdb add");
		status = parse_mac(task, "fdb add");
		port = status ? NULL : need(task, "fdb add", "the port");
		return port ? put(task, "port", port) : OPT_EXIT;
	}
	if (!strcmp(what, "del")) {
		ask(task, "fdb del");
		return parse_mac(task, "fdb del");
	}
	if (!strcmp(what, "flush")) {
		ask(task, "fdb flush");
		port = opt_rest(&task->opt);
		return port ? put(task, "port", port) : 0;
	}
	return opt_error(&task->opt, what, "fdb what? add, del or flush");
}

static int parse_command(struct task *task)
{
	static const struct {
		const char *name;
		int (*parse)(struct task *task);
	} parsers[] = {
		{ "show", parse_show },
		{ "add-port", parse_add_port },
		{ "del-port", parse_del_port },
		{ "set-port", parse_set_port },
		{ "move-queue", parse_move_queue },
		{ "fdb", parse_fdb },
	};
	const char *name = need(task, "", "the command");
	const char *more;
	int status;

	if (!name)
		return OPT_EXIT;
	for (unsigned int i = 0; i < sizeof(parsers) / sizeof(parsers[0]); i++) {
		if (strcmp(parsers[i].name, name))
			continue;
		status = parsers[i].parse(task);
		more = status ? NULL : opt_rest(&task->opt);
		if (more)
			return opt_error(&task->opt, more, "one word too many");
		if (!status && !task->show && (task->json || task->watch))
			return opt_error(&task->opt, task->json ? "--json" : "--watch",
					 "goes with show only");
		return status;
	}
	return opt_error(&task->opt, name, "no such command");
}

/* OPT_END: go on. Else the exit status. */
static int parse(struct task *task)
{
	int val, status;

	opt_begin(&task->opt);
	while ((val = opt_next(&task->opt)) != OPT_END) {
		switch (val) {
		case 's':
			task->socket = optarg;
			break;
		case 'j':
			task->json = true;
			break;
		case 'w':
			task->watch = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return OPT_EXIT;
		}
	}
	status = parse_command(task);
	return status ? status : OPT_END;
}

static int print_json(const struct task *task, const json_t *reply)
{
	/* One object a line when there are many of them. */
	json_dumpf(reply, stdout, task->watch ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static int show_once(const struct task *task, const json_t *reply, const json_t *before,
		     double seconds)
{
	int err;

	if (task->json)
		return print_json(task, reply);
	if (task->watch && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	err = task->show(reply, before, seconds, stdout);
	return err ? say("", strerror(-err)) : 0;
}

/* Asks, and shows, once or again and again. */
static int converse(const struct task *task, int fd)
{
	json_t *before = NULL, *reply = NULL;
	uint64_t before_ns = 0;
	int status;

	do {
		const char *error, *why;
		uint64_t now;

		if (before)
			sleep(1);
		reply = ctl_ask(fd, task->request, &why);
		if (!reply) {
			status = say(task->socket, why);
			break;
		}
		now = loop_now_ns();
		error = json_string_value(json_object_get(reply, "error"));
		status = error	     ? say("", error) :
			 !task->show ? 0 :
				       show_once(task, reply, before,
						 (double)(now - before_ns) / (double)LOOP_S);
		json_decref(before);
		before = reply;
		before_ns = now;
	} while (!status && task->watch && !fflush(stdout));
	json_decref(before);
	return status;
}

static int run(struct task *task)
{
	int fd, status;

	if (!task->socket) {
		if (!ctl_default_path(task->path, sizeof(task->path)))
			return say("", "where is the switch's control socket? Give --socket PATH");
		task->socket = task->path;
	}
	fd = ctl_connect(task->socket);
	if (fd < 0)
		return say(task->socket, fd == -ENOENT || fd == -ECONNREFUSED ?
						 "no switch listens there" :
						 strerror(-fd));
	status = converse(task, fd);
	close(fd);
	return status;
}

int cmd_ctl(int argc, char **argv)
{
	struct task task = {
		.opt = {
			.program = PROGRAM,
			.help = "vhu help ctl",
			.shorts = "s:jwh",
			.longs = longs,
			.argc = argc,
			.argv = argv,
		},
		.request = json_object(),
	};
	int status = parse(&task);

	if (status == OPT_END)
		status = run(&task);
	json_decref(task.request);
	return status;
}
#else
int cmd_ctl(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	fputs(PROGRAM ": this vhu was built without libjansson, which this needs\n", stderr);
	return 1;
}
#endif
