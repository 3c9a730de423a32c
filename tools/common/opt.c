// SPDX-License-Identifier: MIT
/* Command lines on getopt_long, with one form of error; knows no option by name. */

#include "common/opt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/out.h"

void opt_begin(struct opt *opt)
{
	(void)opt;
	optind = 0; /* GNU: forget the last command line entirely */
	opterr = 0; /* what is wrong is said here, in our form */
}

/* What getopt_long() found wrong, said in words. */
static void say_wrong(const struct opt *opt, int what)
{
	const char *word = optind > 0 && optind <= opt->argc ? opt->argv[optind - 1] : "";
	bool is_long = !strncmp(word, "--", 2);
	char name[80];

	if (is_long || !optopt)
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	else
		snprintf(name, sizeof(name), "-%c", optopt);
	if (what == ':')
		opt_error(opt, name, "a value is missing");
	else if (is_long && optopt)
		opt_error(opt, name, "takes no value");
	else
		opt_error(opt, name, "no such option");
}

int opt_next(struct opt *opt)
{
	char shorts[64];
	int val;

	/* The colon tells a missing value from an unknown option. */
	snprintf(shorts, sizeof(shorts), ":%s", opt->shorts ? opt->shorts : "");
	val = getopt_long(opt->argc, opt->argv, shorts, opt->longs, NULL);
	if (val != '?' && val != ':')
		return val;
	say_wrong(opt, val);
	return OPT_WRONG;
}

const char *opt_rest(struct opt *opt)
{
	return optind < opt->argc ? opt->argv[optind++] : NULL;
}

int opt_error(const struct opt *opt, const char *what, const char *fmt, ...)
{
	char reason[512], line[1024], safe[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	snprintf(line, sizeof(line), "%s: %s%s%s", opt->program, what, *what ? ": " : "", reason);
	fprintf(stderr, "%s\n%s: '%s' tells how to use it\n", out_safe(safe, sizeof(safe), line),
		opt->program, opt->help);
	return OPT_EXIT;
}

bool opt_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	/* strtoull() would take a sign and spaces. */
	if (!*text || text[strspn(text, "0123456789")])
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}
