// SPDX-License-Identifier: MIT
/* vhu bench: its sandbox, its beginning and its end; knows nothing of frames. */

#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/fault.h"
#include "bench/options.h"
#include "bench/report.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "config.h"

#if HAVE_SECCOMP
#include <seccomp.h>

#define CALL(name, reason)                                                                         \
	{                                                                                          \
		.nr = SCMP_SYS(name), .why = reason                                                \
	}

/* What this tool needs beyond the common list. */
static const struct sandbox_call calls[] = {
	CALL(readlink, "whether an fd is an eventfd: its name in /proc/self/fd tells"),
	CALL(readlinkat, "the same"),
	CALL(memfd_create, "an in-flight region"),
	CALL(ftruncate, "its size"),
	CALL(socketpair, "the backend's channel, made for each backend that comes"),
};
static const size_t nr_calls = sizeof(calls) / sizeof(calls[0]);
#else
static const struct sandbox_call calls[1];
static const size_t nr_calls;
#endif

static int enter_sandbox(const struct bench_options *options)
{
	char text[SANDBOX_TEXT];

	if (!sandbox_enter(calls, nr_calls, !options->no_sandbox, text))
		return 0;
	log_line(LOG_ERR, NULL, "sandbox: %s", text);
	return -1;
}

static int show(struct bench *bench)
{
	struct report *report;
	int err = report_new(&report, bench), status;

	if (err) {
		log_line(LOG_ERR, NULL, "result: %s", strerror(-err));
		return 1;
	}
	if (bench->options.json)
		report_json(report, stdout);
	else
		err = report_table(report, stdout);
	if (!bench->failed)
		report_complain(report);
	status = err || bench->failed || !report_is_good(report);
	report_free(report);
	return status;
}

static void say_start(const struct bench *bench)
{
	for (unsigned int i = 0; i < bench->nr_sides; i++) {
		const struct side *side = bench->sides[i];

		side_say(side, LOG_NOTICE, "%s",
			 side->where.is_server ? "listening" : "connecting");
	}
}

static int run(struct bench *bench, const struct bench_options *options)
{
	/* on a terminal; asked now, since the call is not allowed later */
	bool with_progress = !options->quiet && isatty(STDERR_FILENO);
	int err;

	if (bench_open(bench, options))
		return 1;
	err = fault_begin();
	if (!err)
		err = bench_clock_begin();
	if (err) {
		log_line(LOG_ERR, NULL, "start: %s", strerror(-err));
		return 1;
	}
	if (with_progress)
		bench->on_second = report_progress;
	say_start(bench);
	if (enter_sandbox(options))
		return 1;
	err = bench_run(bench);
	report_progress_end(bench);
	if (err) {
		log_line(LOG_ERR, NULL, "event loop: %s", strerror(-err));
		return 1;
	}
	return show(bench);
}

int cmd_bench(int argc, char **argv)
{
	struct bench_options options;
	struct bench *bench;
	int status = bench_options_parse(argc, argv, &options);

	if (status != BENCH_GO)
		return status;
	log_init("vhu bench", options.quiet ? LOG_ERR : LOG_INFO, false);
	bench = calloc(1, sizeof(*bench));
	if (!bench) {
		log_line(LOG_ERR, NULL, "start: no memory");
		return 1;
	}
	sandbox_raise_files();
	/* stdio would ask what it writes to, and that call is not allowed later */
	if (setvbuf(stdout, NULL, _IOFBF, BUFSIZ))
		log_line(LOG_WARNING, NULL, "standard output has no buffer");
	status = run(bench, &options);
	bench_close(bench);
	free(bench);
	return status;
}
