/* SPDX-License-Identifier: MIT */
/* vhu trace: its command line, its sandbox, its end; knows nothing of messages. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "commands.h"
#include "common/loop.h"
#include "common/opt.h"
#include "common/sandbox.h"
#include "trace/proxy.h"
#include "trace/show.h"

enum {
	OPT_FRONTEND = 256,
	OPT_BACKEND,
	OPT_JSON
};

static const struct option longs[] = {
	{ "frontend", required_argument, NULL, OPT_FRONTEND },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: vhu trace [OPTION]... LISTEN CONNECT\n"
	"       vhu trace [OPTION]... --frontend listen:PATH|connect:PATH\n"
	"                             --backend listen:PATH|connect:PATH\n"
	"\n"
	"Passes every vhost-user message between a frontend (a virtual machine) and a\n"
	"backend (a switch) on, and shows it: LISTEN is a socket made for the frontend,\n"
	"CONNECT is the backend's. Kicks, calls and memory do not go through here.\n"
	"\n"
	"  --frontend WHERE  wait for the frontend on a socket, or connect to its socket\n"
	"  --backend WHERE   the same for the backend\n"
	"  --json            one JSON object a line\n"
	"  -o, --output FILE write there instead of standard output\n"
	"  -h, --help        show this\n";

struct settings {
	struct proxy_end ends[2];
	bool json;
	const char *output;
};

/* What this tool needs beyond the common list. */
static const struct sandbox_call calls[] = {
	{ .nr = SYS_socketpair, .why = "our own ends of the backend's channel" },
	{ .nr = SYS_readlinkat, .why = "what an fd is, in /proc/self/fd" },
	{ .nr = SYS_openat,
	  .why = "the number of an eventfd, in /proc/self/fdinfo",
	  .has_value = true,
	  .arg = 2,
	  .mask = O_ACCMODE | O_CREAT,
	  .value = O_RDONLY },
	{ .nr = SYS_ioctl,
	  .why = "whether the backend has read a message",
	  .has_value = true,
	  .arg = 1,
	  .mask = UINT32_MAX,
	  .value = SIOCOUTQ },
};

struct program {
	struct loop *loop;
	struct show show;
	int output_err, output_status;
};

static bool parse_end(const char *text, struct proxy_end *ret_end)
{
	static const char listens[] = "listen:", connects[] = "connect:";

	if (!strncmp(text, listens, sizeof(listens) - 1)) {
		ret_end->listens = true;
		ret_end->path = text + sizeof(listens) - 1;
	} else if (!strncmp(text, connects, sizeof(connects) - 1)) {
		ret_end->listens = false;
		ret_end->path = text + sizeof(connects) - 1;
	} else {
		return false;
	}
	return *ret_end->path != '\0';
}

/* LISTEN and CONNECT, or both options; -1: go on. */
static int parse_rest(struct opt *opt, struct settings *settings)
{
	const char *first = opt_rest(opt), *second = opt_rest(opt), *third = opt_rest(opt);

	if (!first && settings->ends[TRACE_FRONTEND].path && settings->ends[TRACE_BACKEND].path)
		return -1;
	if (settings->ends[TRACE_FRONTEND].path || settings->ends[TRACE_BACKEND].path)
		return opt_error(opt, "--frontend",
				 "goes with --backend, without LISTEN and CONNECT");
	if (!first || !second)
		return opt_error(opt, "", "two sockets are needed: LISTEN and CONNECT");
	if (third)
		return opt_error(opt, third, "too many arguments");
	if (!*first || !*second)
		return opt_error(opt, "", "the path of a socket is empty");
	settings->ends[TRACE_FRONTEND] = (struct proxy_end){ .listens = true, .path = first };
	settings->ends[TRACE_BACKEND] = (struct proxy_end){ .listens = false, .path = second };
	return -1;
}

/* The exit status, or -1: go on. */
static int parse(int argc, char **argv, struct settings *settings)
{
	struct opt opt = {
		.program = "vhu trace",
		.help = "vhu help trace",
		.shorts = "ho:",
		.longs = longs,
		.argc = argc,
		.argv = argv,
	};
	int val;

	opt_begin(&opt);
	while ((val = opt_next(&opt)) != OPT_END) {
		switch (val) {
		case OPT_FRONTEND:
		case OPT_BACKEND:
			if (!parse_end(optarg, &settings->ends[val - OPT_FRONTEND]))
				return opt_error(&opt,
						 val == OPT_FRONTEND ? "--frontend" : "--backend",
						 "must be listen:PATH or connect:PATH, is '%s'",
						 optarg);
			break;
		case OPT_JSON:
			settings->json = true;
			break;
		case 'o':
			settings->output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return OPT_EXIT;
		}
	}
	return parse_rest(&opt, settings);
}

static void on_record(void *arg, struct trace_record *record)
{
	struct program *program = arg;

	show_record(&program->show, record);
}

static void on_signal(void *arg, int signal, pid_t sender)
{
	struct program *program = arg;

	(void)signal;
	(void)sender;
	loop_stop(program->loop, 0);
}

/* Nobody looks any more (a pager that was left, say), or the disk is full. */
static void on_broken_output(void *arg, int err)
{
	struct program *program = arg;

	program->output_err = err;
	program->output_status = err == -EPIPE ? 0 : 1;
	loop_stop(program->loop, program->output_status);
}

static int failed(const char *what, int err)
{
	fprintf(stderr, "vhu trace: %s: %s\n", what, strerror(-err));
	return 1;
}

static int run_proxy(struct program *program, const struct settings *settings)
{
	struct proxy_options options = {
		.loop = program->loop,
		.ends = { settings->ends[0], settings->ends[1] },
		.start_ns = loop_now_ns(),
		.emit = on_record,
		.arg = program,
	};
	char text[SANDBOX_TEXT];
	struct proxy *proxy;
	const char *path;
	int status, err;

	err = proxy_new(&proxy, &options, &path);
	if (err)
		return failed(path, err);
	err = sandbox_enter(calls, sizeof(calls) / sizeof(calls[0]), sandbox_has_filter(), text);
	if (err) {
		proxy_free(proxy);
		fprintf(stderr, "vhu trace: sandbox: %s\n", text);
		return 1;
	}
	show_legend(&program->show);
	proxy_start(proxy);
	/* loop_run() knows nothing of a stop before it. */
	status = program->output_err ? program->output_status : loop_run(program->loop);
	proxy_free(proxy);
	if (program->output_err && program->output_err != -EPIPE)
		failed("output", program->output_err);
	return status < 0 ? failed("event loop", status) : status;
}

static int run(struct program *program, const struct settings *settings)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct loop_source *source;
	int fd = STDOUT_FILENO, status, err;

	if (settings->output) {
		fd = open(settings->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (fd < 0)
			return failed(settings->output, -errno);
	}
	program->show.json = settings->json;
	program->show.color = !settings->json && show_wants_color(fd);
	err = loop_add_signals(program->loop, signals, sizeof(signals) / sizeof(signals[0]),
			       on_signal, program, &source);
	if (!err)
		err = writer_new(&program->show.writer, program->loop, fd, on_broken_output,
				 program);
	status = err ? failed("start", err) : run_proxy(program, settings);
	writer_free(program->show.writer);
	if (settings->output)
		close(fd);
	return status;
}

int cmd_trace(int argc, char **argv)
{
	struct settings settings = { .json = false };
	struct program program = { .output_err = 0 };
	int status = parse(argc, argv, &settings), err;

	if (status >= 0)
		return status;
	sandbox_raise_files();
	err = loop_new(&program.loop);
	if (err)
		return failed("event loop", err);
	status = run(&program, &settings);
	loop_free(program.loop);
	return status;
}
