/* SPDX-License-Identifier: MIT */
/*
 * Command lines: getopt_long with one form of error for all subcommands, and values taken apart.
 * It knows no option by name.
 *
 * An error is one line on standard error that names the thing, "vhu switch: --port x: reason",
 * and one that says where to read on. The exit status is then OPT_EXIT.
 */
#ifndef COMMON_OPT_H
#define COMMON_OPT_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	OPT_EXIT = 2,	 /* exit status of a wrong command line */
	OPT_WRONG = '?', /* from opt_next(): the error has been said */
	OPT_END = -1,
};

struct opt {
	const char *program; /* "vhu switch" */
	const char *help;    /* "vhu help switch" */
	const char *shorts;  /* short options as for getopt; NULL: none */
	const struct option *longs;
	int argc;
	char **argv;
};

/* Begins with argv[1]. */
void opt_begin(struct opt *opt);
/* The val of the next option, its argument in optarg; OPT_WRONG or OPT_END. */
int opt_next(struct opt *opt);
/* What stands behind the options, or NULL at the end. */
const char *opt_rest(struct opt *opt);

/* Says what is wrong with what; returns OPT_EXIT. */
int opt_error(const struct opt *opt, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A whole decimal number between min and max, digits only. False: it is none. */
bool opt_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number);

#endif
