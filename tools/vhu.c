// SPDX-License-Identifier: MIT
/* The vhu command: finds the subcommand and calls it; knows nothing of what any of them does. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vhu/types.h>

#include "commands.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "switch", cmd_switch, "join virtual machines and host interfaces in one Ethernet" },
	{ "ctl", cmd_ctl, "look into a running switch, and change it" },
	{ "trace", cmd_trace, "show every message between a frontend and a backend" },
	{ "bench", cmd_bench, "carry and verify frames, and measure how fast" },
	{ "tap", cmd_tap, "give this host an interface on anybody's vhost-user switch" },
	{ "vm", cmd_vm, "boot a Linux guest whose devices are on vhost-user sockets" },
};
#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* The name under which the specification's conventions want a backend program of type net. */
#define BACKEND_PROGRAM "vhost-user-net"

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void usage(FILE *to)
{
	fputs("usage: vhu COMMAND [OPTION]...\n\n", to);
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(to, "  vhu %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("\n  vhu help COMMAND    how to use one of these\n"
	      "  vhu --version       the version\n",
	      to);
}

static int run(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = argc > 1 ? argv[1] : "";
	const struct command *command;

	if (!strcmp(slash ? slash + 1 : argv[0], BACKEND_PROGRAM))
		return cmd_switch(argc, argv);
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("vhu %s\n", vhu_version());
		return 0;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") ||
	    (!strcmp(name, "help") && argc == 2)) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(name, "help")) {
		command = find_command(argv[2]);
		if (command)
			return command->run(2, (char *[]){ argv[2], (char *)"--help", NULL });
		name = argv[2];
	} else {
		command = find_command(name);
		if (command)
			return command->run(argc - 1, argv + 1);
	}
	if (*name)
		fprintf(stderr, "vhu: %s: no such command\n\n", name);
	usage(stderr);
	return 2;
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 1)
		return 2;
	/* Nothing that is opened later may end up as standard input, output or error. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return 1;
	/* A reader that has gone is an error of write(), not a reason to die. */
	signal(SIGPIPE, SIG_IGN);

	status = run(argc, argv);
	if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE) {
		fprintf(stderr, "vhu: standard output: %s\n", strerror(errno));
		return status ? status : 1;
	}
	return status;
}
